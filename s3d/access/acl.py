"""Owns access control lists: who is granted which of five permissions, and S3's canned ones; never an XML document.

Source: S3 user guide, "Access control list (ACL) overview".
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final, Literal

import msgspec

Permission = Literal["FULL_CONTROL", "READ", "WRITE", "READ_ACP", "WRITE_ACP"]

GRANTS_MAX: Final = 100
ACLS_CACHED_MAX: Final = 4_096
PERMISSIONS: Final[tuple[Permission, ...]] = ("READ", "WRITE", "READ_ACP", "WRITE_ACP", "FULL_CONTROL")

ALL_USERS: Final = "http://acs.amazonaws.com/groups/global/AllUsers"
AUTHENTICATED_USERS: Final = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
LOG_DELIVERY: Final = "http://acs.amazonaws.com/groups/s3/LogDelivery"
GROUPS: Final = (ALL_USERS, AUTHENTICATED_USERS, LOG_DELIVERY)
PUBLIC_GROUPS: Final = (ALL_USERS, AUTHENTICATED_USERS)


class AclGrant(msgspec.Struct, frozen=True, array_like=True):
    """A permission of one grantee: an account by its canonical id, which is its number, or a group by its URI."""

    grantee: str
    permission: Permission


class Acl(msgspec.Struct, frozen=True, array_like=True):
    """What is granted, groups first. The owner is no part of it: a bucket's row and an object's attributes say it."""

    grants: tuple[AclGrant, ...] = ()


_encoder = msgspec.json.Encoder()
_decoder: "msgspec.json.Decoder[Acl]" = msgspec.json.Decoder(Acl)

# Beside the owner's full control: (grantee, permission); "bucket" is whoever owns the bucket.
_CANNED: Final[dict[str, tuple[tuple[str, Permission], ...]]] = {
    "private": (),
    "public-read": ((ALL_USERS, "READ"),),
    "public-read-write": ((ALL_USERS, "READ"), (ALL_USERS, "WRITE")),
    "authenticated-read": ((AUTHENTICATED_USERS, "READ"),),
    "bucket-owner-read": (("bucket", "READ"),),
    "bucket-owner-full-control": (("bucket", "FULL_CONTROL"),),
    "log-delivery-write": ((LOG_DELIVERY, "WRITE"), (LOG_DELIVERY, "READ_ACP")),
    "aws-exec-read": (),
}


def canned(name: str, *, owner: str, bucket_owner: str) -> Acl | None:
    """The canned ACL `name` of what `owner` owns in a bucket of `bucket_owner`; None where S3 has none of that name."""
    if name not in _CANNED:
        return None
    extra = [
        AclGrant(bucket_owner if grantee == "bucket" else grantee, permission)
        for grantee, permission in _CANNED[name]
        if grantee != "bucket" or bucket_owner != owner
    ]
    return ordered([*extra, AclGrant(owner, "FULL_CONTROL")])


def private(owner: str) -> Acl:
    """What holds where nothing was said: the owner has full control."""
    return Acl((AclGrant(owner, "FULL_CONTROL"),))


def ordered(grants: Iterable[AclGrant]) -> Acl:
    """An ACL of `grants`, groups first and otherwise as they came, each once."""
    return Acl(tuple(sorted(dict.fromkeys(grants), key=lambda grant: grant.grantee not in GROUPS)))


def allows(acl: Acl, permission: Permission, account: str, *, ignore_public: bool) -> bool:
    """Whether `account` ("": anonymous) has `permission`. `ignore_public`: grants to strangers do not count."""
    for grant in acl.grants:
        if grant.permission not in (permission, "FULL_CONTROL"):
            continue
        if grant.grantee in PUBLIC_GROUPS:
            if not ignore_public and (account or grant.grantee == ALL_USERS):
                return True
        elif account and grant.grantee == account:
            return True
    return False


def is_public(acl: Acl) -> bool:
    """Whether strangers are granted anything."""
    return any(grant.grantee in PUBLIC_GROUPS for grant in acl.grants)


def encode_acl(acl: Acl) -> bytes:
    """The bytes that an ACL is kept as."""
    return _encoder.encode(acl)


@lru_cache(maxsize=ACLS_CACHED_MAX)
def decode_acl(raw: bytes) -> Acl:
    """The ACL that encode_acl wrote; msgspec.DecodeError where it is none."""
    return _decoder.decode(raw)
