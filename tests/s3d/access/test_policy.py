"""Who may do what: nothing is allowed by default, and a bucket of another account never is but in public."""

import time
from dataclasses import dataclass
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3d.access.patterns import fits
from s3d.access.policy import Grant, Resource, evaluate, statements_of
from s3d.access.policy_language import Identity, Statement

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
