"""Who may do what: nothing is allowed by default; grants, policies, ACLs and blocks meet in one evaluator."""

import itertools
import json
import time
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import pytest
from hypothesis import given, strategies as st

from s3d.access.acl import AUTHENTICATED_USERS, Acl, AclGrant, Permission, canned
from s3d.access.patterns import fits
from s3d.access.policy import Grant, Resource, StoredObject, evaluate, statements_of
from s3d.access.policy_language import Identity, Policy, Statement, parse_policy
from s3d.access.public_access import PublicAccessBlock

OWNER, OTHER = "111111111111", "222222222222"


@dataclass(frozen=True)
class Key:
    """A principal as the evaluator sees it."""

    account: str
    grants: tuple[Grant, ...]

    @property
    def identity(self) -> Identity:
        return Identity(self.account, f"arn:aws:iam::{self.account}:user/key")

    @property
    def statements(self) -> tuple[Statement, ...]:
        return statements_of(self.grants)


ADMINISTRATOR = Key(OWNER, (Grant("*", ("*",)),))
READER = Key(OWNER, (Grant("photos-*", ("s3:Get*", "s3:ListBucket")),))
NOBODY = Key(OWNER, ())
FOREIGNER = Key(OTHER, (Grant("*", ("*",)),))
PHOTOS = Resource("photos-2025", OWNER)
PUBLIC = Resource("photos-2025", OWNER, public=True)
ABSENT = Resource("photos-new")


@pytest.mark.parametrize(
    ("principal", "action", "resource", "allowed"),
    [
        (ADMINISTRATOR, "s3:PutObject", PHOTOS, True),
        (ADMINISTRATOR, "s3:ListAllMyBuckets", Resource(), True),
        (ADMINISTRATOR, "admin:Status", Resource(), True),
        (ADMINISTRATOR, "s3:CreateBucket", ABSENT, True),
        (READER, "s3:GetObject", PHOTOS, True),
        (READER, "s3:GetObjectTagging", PHOTOS, True),
        (READER, "s3:ListBucket", PHOTOS, True),
        (READER, "s3:ListBucketVersions", PHOTOS, False),
        (READER, "s3:PutObject", PHOTOS, False),
        (READER, "s3:GetObject", Resource("videos", OWNER), False),
        (READER, "s3:ListAllMyBuckets", Resource(), False),
        (READER, "admin:Status", Resource(), False),
        (NOBODY, "s3:GetObject", PHOTOS, False),
        (NOBODY, "s3:GetObject", PUBLIC, True),
        (FOREIGNER, "s3:GetObject", PHOTOS, False),
        (FOREIGNER, "s3:DeleteBucket", PHOTOS, False),
        (FOREIGNER, "s3:GetObject", PUBLIC, True),
        (FOREIGNER, "s3:PutObject", PUBLIC, False),
        (FOREIGNER, "s3:CreateBucket", ABSENT, True),
        (None, "s3:GetObject", PUBLIC, True),
        (None, "s3:ListBucket", PUBLIC, True),
        (None, "s3:GetObject", PHOTOS, False),
        (None, "s3:PutObject", PUBLIC, False),
        (None, "s3:DeleteObject", PUBLIC, False),
        (None, "s3:GetObjectAcl", PUBLIC, False),
        (None, "s3:ListAllMyBuckets", Resource(), False),
        (None, "admin:Status", Resource(), False),
    ],
)
def test_decisions(principal: Key | None, action: str, resource: Resource, allowed: bool) -> None:
    decision = evaluate(principal, action, resource)
    assert decision.allowed is allowed
    assert decision.reason


def policy(effect: str = "Allow", action: str = "*", principal: object = "*", **condition: object) -> Policy:
    """A policy of one statement about the bucket and all that is in it."""
    statement = {
        "Effect": effect,
        "Principal": principal,
        "Action": action,
        "Resource": ["arn:aws:s3:::photos-2025", "arn:aws:s3:::photos-2025/*"],
        "Condition": condition,
    }
    return parse_policy(json.dumps({"Statement": statement}).encode(), "photos-2025")


def acl(name: str) -> Acl:
    made = canned(name, owner=OWNER, bucket_owner=OWNER)
    assert made is not None
    return made


def to(grantee: str, permission: Permission) -> Acl:
    return Acl((AclGrant(grantee, permission),))


OPEN = replace(PHOTOS, policy=policy())
SHUT = replace(PHOTOS, policy=policy("Deny"))
MINE = StoredObject(OWNER)
THEIRS = StoredObject(OTHER)
POWERLESS_FOREIGNER = Key(OTHER, ())


@pytest.mark.parametrize(
    ("principal", "action", "resource", "allowed"),
    [
        # The bucket's policy lets strangers in; whoever has a key needs a grant of it too, but for the owner's keys.
        (None, "s3:GetObject", OPEN, True),
        (FOREIGNER, "s3:GetObject", OPEN, True),
        (POWERLESS_FOREIGNER, "s3:GetObject", OPEN, False),
        (NOBODY, "s3:GetObject", OPEN, True),
        (FOREIGNER, "s3:GetObject", replace(PHOTOS, policy=policy(principal={"AWS": OTHER})), True),
        (FOREIGNER, "s3:PutObject", replace(PHOTOS, policy=policy(action="s3:Get*")), False),
        (None, "s3:GetObject", replace(PHOTOS, policy=policy(principal={"AWS": OTHER})), False),
        (NOBODY, "s3:GetObject", replace(PHOTOS, policy=policy(principal={"AWS": OWNER})), False),
        (
            NOBODY,
            "s3:GetObject",
            replace(PHOTOS, policy=policy(principal={"AWS": NOBODY.identity.arn})),
            True,
        ),
        # A denial ends it, for the owner too; the owner can still take the policy away, if a grant says so.
        (ADMINISTRATOR, "s3:GetObject", SHUT, False),
        (ADMINISTRATOR, "s3:PutBucketPolicy", SHUT, True),
        (ADMINISTRATOR, "s3:GetBucketPolicy", SHUT, True),
        (ADMINISTRATOR, "s3:DeleteBucketPolicy", SHUT, True),
        (READER, "s3:GetBucketPolicy", SHUT, True),
        (READER, "s3:DeleteBucketPolicy", SHUT, False),
        (FOREIGNER, "s3:DeleteBucketPolicy", SHUT, False),
        (None, "s3:GetObject", replace(PUBLIC, policy=policy("Deny")), False),
        (FOREIGNER, "s3:ListBucket", replace(SHUT, acl=acl("public-read")), False),
        # ACLs of buckets.
        (None, "s3:ListBucket", replace(PHOTOS, acl=acl("public-read")), True),
        (None, "s3:GetObject", replace(PHOTOS, acl=acl("public-read")), False),
        (None, "s3:PutObject", replace(PHOTOS, acl=acl("public-read")), False),
        (None, "s3:PutObject", replace(PHOTOS, acl=acl("public-read-write")), True),
        (None, "s3:DeleteObject", replace(PHOTOS, acl=acl("public-read-write")), True),
        (None, "s3:GetBucketAcl", replace(PHOTOS, acl=acl("public-read-write")), False),
        (None, "s3:ListBucket", replace(PHOTOS, acl=acl("authenticated-read")), False),
        (FOREIGNER, "s3:ListBucket", replace(PHOTOS, acl=acl("authenticated-read")), True),
        (POWERLESS_FOREIGNER, "s3:ListBucket", replace(PHOTOS, acl=acl("authenticated-read")), False),
        (FOREIGNER, "s3:GetBucketAcl", replace(PHOTOS, acl=to(OTHER, "READ_ACP")), True),
        (FOREIGNER, "s3:PutBucketAcl", replace(PHOTOS, acl=to(OTHER, "READ_ACP")), False),
        (FOREIGNER, "s3:PutBucketAcl", replace(PHOTOS, acl=to(OTHER, "WRITE_ACP")), True),
        (FOREIGNER, "s3:PutBucketAcl", replace(PHOTOS, acl=to(OTHER, "FULL_CONTROL")), True),
        (FOREIGNER, "s3:DeleteBucket", replace(PHOTOS, acl=to(OTHER, "FULL_CONTROL")), False),
        (FOREIGNER, "s3:PutBucketPolicy", replace(PHOTOS, acl=to(OTHER, "FULL_CONTROL")), False),
        (ADMINISTRATOR, "s3:ListBucket", replace(PHOTOS, acl=Acl()), True),
        # ACLs of objects, and objects that others wrote.
        (None, "s3:GetObject", replace(PHOTOS, stored=StoredObject(OWNER, acl("public-read"))), True),
        (None, "s3:GetObjectVersion", replace(PHOTOS, stored=StoredObject(OWNER, acl("public-read"))), True),
        (None, "s3:GetObjectAcl", replace(PHOTOS, stored=StoredObject(OWNER, acl("public-read"))), False),
        (None, "s3:GetObject", replace(PHOTOS, stored=MINE, acl=acl("public-read")), False),
        (FOREIGNER, "s3:GetObject", replace(PHOTOS, stored=StoredObject(OWNER, to(OTHER, "READ"))), True),
        (FOREIGNER, "s3:PutObjectAcl", replace(PHOTOS, stored=StoredObject(OWNER, to(OTHER, "READ"))), False),
        (
            FOREIGNER,
            "s3:PutObjectAcl",
            replace(PHOTOS, stored=StoredObject(OWNER, to(OTHER, "WRITE_ACP"))),
            True,
        ),
        (FOREIGNER, "s3:GetObject", replace(PHOTOS, stored=THEIRS), True),
        (FOREIGNER, "s3:GetObjectAcl", replace(PHOTOS, stored=THEIRS), True),
        (ADMINISTRATOR, "s3:GetObject", replace(PHOTOS, stored=THEIRS), False),
        (ADMINISTRATOR, "s3:GetObjectAcl", replace(PHOTOS, stored=THEIRS), False),
        (ADMINISTRATOR, "s3:DeleteObject", replace(PHOTOS, stored=THEIRS), True),
        (ADMINISTRATOR, "s3:GetObject", replace(PHOTOS, stored=StoredObject(OTHER, to(OWNER, "READ"))), True),
        # The policy speaks for what the bucket's account owns, and denies for all.
        (None, "s3:GetObject", replace(OPEN, stored=MINE), True),
        (None, "s3:GetObject", replace(OPEN, stored=THEIRS), False),
        (FOREIGNER, "s3:GetObject", replace(SHUT, stored=THEIRS), False),
        # Ownership enforced: ACLs are out of force, everything is the bucket's.
        (
            None,
            "s3:ListBucket",
            replace(PHOTOS, acl=acl("public-read"), ownership="BucketOwnerEnforced"),
            False,
        ),
        (
            None,
            "s3:GetObject",
            replace(PHOTOS, stored=StoredObject(OTHER, acl("public-read")), ownership="BucketOwnerEnforced"),
            False,
        ),
        (
            ADMINISTRATOR,
            "s3:GetObject",
            replace(PHOTOS, stored=THEIRS, ownership="BucketOwnerEnforced"),
            True,
        ),
        (FOREIGNER, "s3:GetObject", replace(PHOTOS, stored=THEIRS, ownership="BucketOwnerEnforced"), False),
    ],
)
def test_decisions_with_documents(
    principal: Key | None, action: str, resource: Resource, allowed: bool
) -> None:
    assert evaluate(principal, action, resource).allowed is allowed


IGNORE = PublicAccessBlock(ignore_public_acls=True)
RESTRICT = PublicAccessBlock(restrict_public_buckets=True)
NARROW = policy(IpAddress={"aws:SourceIp": "192.0.2.0/24"})


@pytest.mark.parametrize(
    ("principal", "action", "resource", "allowed"),
    [
        (None, "s3:ListBucket", replace(PHOTOS, acl=acl("public-read"), block=IGNORE), False),
        (
            FOREIGNER,
            "s3:ListBucket",
            replace(PHOTOS, acl=to(AUTHENTICATED_USERS, "READ"), block=IGNORE),
            False,
        ),
        (FOREIGNER, "s3:ListBucket", replace(PHOTOS, acl=to(OTHER, "READ"), block=IGNORE), True),
        (None, "s3:GetObject", replace(OPEN, block=IGNORE), True),
        (None, "s3:GetObject", replace(OPEN, block=RESTRICT), False),
        (FOREIGNER, "s3:GetObject", replace(OPEN, block=RESTRICT), False),
        (NOBODY, "s3:GetObject", replace(OPEN, block=RESTRICT), True),
        (ADMINISTRATOR, "s3:GetObject", replace(OPEN, block=RESTRICT), True),
        (None, "s3:GetObject", replace(PHOTOS, policy=NARROW, block=RESTRICT), True),
        (None, "s3:GetObject", replace(PUBLIC, block=RESTRICT), False),
        (None, "s3:GetObject", replace(PUBLIC, block=PublicAccessBlock(block_public_acls=True)), False),
    ],
)
def test_public_access_blocked(principal: Key | None, action: str, resource: Resource, allowed: bool) -> None:
    facts = {"aws:sourceip": ("192.0.2.7",)}
    assert evaluate(principal, action, resource, said=facts.get).allowed is allowed


def test_the_grants_of_a_key_are_of_buckets_and_never_reach_into_keys() -> None:
    logger = Key(OWNER, (Grant("*-logs", ("s3:GetObject",)),))
    assert evaluate(logger, "s3:GetObject", Resource("a-logs", OWNER, key="x")).allowed
    assert not evaluate(logger, "s3:GetObject", Resource("secrets", OWNER, key="x-logs")).allowed


def test_whatever_is_added_a_denial_is_never_allowed() -> None:
    principals = (None, ADMINISTRATOR, READER, NOBODY, FOREIGNER)
    acls = (None, acl("public-read-write"), to(OTHER, "FULL_CONTROL"), to(OWNER, "FULL_CONTROL"))
    objects = (None, MINE, THEIRS, StoredObject(OWNER, acl("public-read")))
    for principal, bucket_acl, stored, public in itertools.product(principals, acls, objects, (True, False)):
        resource = replace(SHUT, acl=bucket_acl, stored=stored, public=public, key="k")
        for action in ("s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:PutObjectAcl"):
            decision = evaluate(principal, action, resource)
            assert decision.explicit and not decision.allowed


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("*", "", True),
        ("*", "a\nb", True),
        ("a*c", "abbc", True),
        ("a*c", "abcd", False),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("a.c", "abc", False),
        ("[ab]", "a", False),
        ("s3:get*", "s3:GetObject", False),
        ("", "", True),
        ("", "a", False),
    ],
)
def test_patterns(pattern: str, text: str, expected: bool) -> None:
    assert fits(pattern, text) is expected


@given(st.text("ab*?.-", max_size=8), st.text("ab.-", max_size=8))
def test_patterns_are_those_of_a_shell(pattern: str, text: str) -> None:
    assert fits(pattern, text) == fnmatchcase(text, pattern)


def test_patterns_with_many_stars_are_quick() -> None:
    begun = time.process_time()
    assert not fits("*a" * 20 + "c", "a" * 200)
    assert time.process_time() - begun < 1
