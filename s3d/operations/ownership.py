"""Owns who owns what a request writes, and the ACL that it begins with; never a later change of either.

Source: S3 user guide, "Controlling ownership of objects and disabling ACLs for your bucket".
"""

from dataclasses import dataclass, field
from typing import Final

import msgspec

from s3d.access.acl import Acl, encode_acl, is_public, private
from s3d.access.public_access import OWNERSHIPS
from s3d.metadata.rows import Attributes, BucketRow
from s3d.operations.acl_documents import CANNED_HEADER, GRANT_HEADERS, acl_in_headers
from s3d.operations.call import Call
from s3d.operations.settings import ACL, OWNERSHIP, block_of, ownership_of
from s3d.protocol.errors import S3Error

_FULL_CONTROL: Final = "bucket-owner-full-control"
_OWNERSHIP_HEADER: Final = "x-amz-object-ownership"


@dataclass(frozen=True, slots=True)
class Beginning:
    """The account that owns a new object, and the documents that it is kept with."""

    owner: str
    settings: dict[str, bytes] = field(default_factory=dict)

    def of(self, attributes: Attributes) -> Attributes:
        """`attributes` of an object that begins so."""
        return msgspec.structs.replace(attributes, owner=self.owner, settings=self.settings)


def begin_object(call: Call) -> Beginning:
    """Who owns the object that a request writes, with the ACL that its headers ask for.

    What nobody in particular writes belongs to the bucket's account, which would else hold what nobody can remove.
    Raises AccessControlListNotSupported, AccessDenied (public ACLs are blocked), and those of acl_in_headers.
    """
    row = call.bucket
    writer, ownership = call.account or row.account, ownership_of(row)
    whole = call.header(CANNED_HEADER) == _FULL_CONTROL
    if ownership == "BucketOwnerEnforced":
        if not whole and asks_for_acl(call):
            raise S3Error("AccessControlListNotSupported")
        return Beginning(row.account)
    owner = row.account if whole and ownership == "BucketOwnerPreferred" else writer
    acl = acl_in_headers(call.request.headers, call.store.accounts, owner=owner, bucket_owner=row.account)
    check_public(row, acl)
    return Beginning(owner, settings_of(acl, owner=owner))


def begin_bucket(call: Call) -> dict[str, bytes]:
    """The documents of the bucket that a request creates: its ACL and its rule of ownership.

    Raises InvalidArgument, InvalidBucketAclWithObjectOwnership, and those of acl_in_headers.
    """
    owner, ownership = call.account, call.header(_OWNERSHIP_HEADER)
    if ownership and ownership not in OWNERSHIPS:
        raise S3Error("InvalidArgument", ArgumentName=_OWNERSHIP_HEADER, ArgumentValue=ownership)
    acl = acl_in_headers(call.request.headers, call.store.accounts, owner=owner, bucket_owner=owner)
    settings = settings_of(acl, owner=owner)
    if ownership:
        if ownership == "BucketOwnerEnforced" and settings:
            raise S3Error("InvalidBucketAclWithObjectOwnership")
        settings[OWNERSHIP] = ownership.encode()
    return settings


def asks_for_acl(call: Call) -> bool:
    """Whether the headers of a request ask for an ACL."""
    headers = call.request.headers
    return CANNED_HEADER in headers or not headers.keys().isdisjoint(GRANT_HEADERS)


def check_public(row: BucketRow, acl: Acl | None) -> None:
    """Refuse an ACL that lets strangers in where the bucket blocks those. Raises AccessDenied."""
    if acl is not None and block_of(row).block_public_acls and is_public(acl):
        raise S3Error("AccessDenied")


def settings_of(acl: Acl | None, *, owner: str) -> dict[str, bytes]:
    """An ACL as a document; none for what holds anyway."""
    return {} if acl is None or acl == private(owner) else {ACL: encode_acl(acl)}
