"""Access control lists: the canned ones, whom a grant reaches, and the bytes that they are kept as."""

import msgspec
import pytest

from s3d.access.acl import (
    ALL_USERS,
    AUTHENTICATED_USERS,
    LOG_DELIVERY,
    PERMISSIONS,
    Acl,
    AclGrant,
    Permission,
    allows,
    canned,
    decode_acl,
    encode_acl,
    is_public,
    ordered,
    private,
)

OWNER, BUCKET, OTHER = "111111111111", "222222222222", "333333333333"
OWNERS = AclGrant(OWNER, "FULL_CONTROL")


@pytest.mark.parametrize(
    ("name", "grants", "public"),
    [
        ("private", [], False),
        ("public-read", [(ALL_USERS, "READ")], True),
        ("public-read-write", [(ALL_USERS, "READ"), (ALL_USERS, "WRITE")], True),
        ("authenticated-read", [(AUTHENTICATED_USERS, "READ")], True),
        ("bucket-owner-read", [(BUCKET, "READ")], False),
        ("bucket-owner-full-control", [(BUCKET, "FULL_CONTROL")], False),
        ("log-delivery-write", [(LOG_DELIVERY, "WRITE"), (LOG_DELIVERY, "READ_ACP")], False),
        ("aws-exec-read", [], False),
    ],
)
def test_canned_ones(name: str, grants: list[tuple[str, Permission]], public: bool) -> None:
    acl = canned(name, owner=OWNER, bucket_owner=BUCKET)
    assert acl == Acl((*(AclGrant(*each) for each in grants), OWNERS))
    assert is_public(acl) is public


def test_who_owns_the_bucket_too_is_granted_it_once() -> None:
    assert canned("bucket-owner-full-control", owner=OWNER, bucket_owner=OWNER) == private(OWNER)
    assert canned("Private", owner=OWNER, bucket_owner=OWNER) is None


@pytest.mark.parametrize("held", PERMISSIONS)
@pytest.mark.parametrize("wanted", PERMISSIONS)
def test_a_permission_is_itself_and_full_control_is_all(held: Permission, wanted: Permission) -> None:
    acl = Acl((AclGrant(OTHER, held),))
    assert allows(acl, wanted, OTHER, ignore_public=False) is (held in (wanted, "FULL_CONTROL"))
    assert not allows(acl, wanted, OWNER, ignore_public=False)
    assert not allows(acl, wanted, "", ignore_public=False)


@pytest.mark.parametrize(
    ("grantee", "account", "ignored", "allowed"),
    [
        (ALL_USERS, "", False, True),
        (ALL_USERS, OTHER, False, True),
        (ALL_USERS, OTHER, True, False),
        (AUTHENTICATED_USERS, "", False, False),
        (AUTHENTICATED_USERS, OTHER, False, True),
        (AUTHENTICATED_USERS, OTHER, True, False),
        (LOG_DELIVERY, OTHER, False, False),
        (OTHER, OTHER, True, True),
        ("", "", False, False),
    ],
)
def test_groups(grantee: str, account: str, ignored: bool, allowed: bool) -> None:
    acl = Acl((AclGrant(grantee, "READ"),))
    assert allows(acl, "READ", account, ignore_public=ignored) is allowed


def test_groups_come_first_and_nothing_twice() -> None:
    everyone, other = AclGrant(ALL_USERS, "READ"), AclGrant(OTHER, "READ")
    assert ordered([OWNERS, other, everyone, other]) == Acl((everyone, OWNERS, other))


def test_the_bytes_that_one_is_kept_as() -> None:
    acl = Acl((AclGrant(ALL_USERS, "READ"), OWNERS))
    raw = encode_acl(acl)
    assert raw == b'[[["%s","READ"],["111111111111","FULL_CONTROL"]]]' % ALL_USERS.encode()
    assert decode_acl(raw) == acl
    with pytest.raises(msgspec.DecodeError):
        decode_acl(raw.replace(b"READ", b"ROAD"))
