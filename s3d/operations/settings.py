"""Owns the documents of a bucket by their names: how one is kept, and what those about access say to the evaluator."""

from typing import Final

from s3d.access.acl import decode_acl
from s3d.access.policy import Resource, StoredObject
from s3d.access.policy_language import parse_policy
from s3d.access.public_access import (
    NO_BLOCK,
    OWNERSHIP_DEFAULT,
    OWNERSHIPS,
    Ownership,
    PublicAccessBlock,
    decode_block,
)
from s3d.metadata.commands import PutBucketSetting
from s3d.metadata.rows import BucketRow, VersionRow
from s3d.operations.call import Call

ACL: Final = "acl"
POLICY: Final = "policy"
OWNERSHIP: Final = "ownershipControls"
BLOCK: Final = "publicAccessBlock"

# The documents that decide who may do what; where there are none, the owner's keys are all there is.
DECIDING: Final = frozenset((ACL, POLICY, OWNERSHIP, BLOCK))


async def keep(call: Call, name: str, document: bytes | None) -> None:
    """Keep a document with the bucket of a call, or forget it (None)."""
    await call.apply(
        PutBucketSetting(
            call.store.write_id(call.now_us),
            call.now_us,
            bucket=call.bucket.name,
            name=name,
            document=document,
            incarnation=call.bucket.incarnation,
        )
    )


def resource_of(row: BucketRow, key: str = "", version: VersionRow | None = None) -> Resource:
    """What the evaluator needs to know of a bucket, and of an object in it."""
    policy, acl = row.settings.get(POLICY), row.settings.get(ACL)
    return Resource(
        row.name,
        row.account,
        row.public,
        key,
        parse_policy(policy, row.name) if policy else None,
        decode_acl(acl) if acl else None,
        ownership_of(row),
        block_of(row),
        None if version is None else stored_object(row, version),
    )


def stored_object(row: BucketRow, version: VersionRow) -> StoredObject:
    """Who owns a version, and its ACL. What is older than ACLs, or written by nobody, is the bucket's."""
    acl = version.attributes.settings.get(ACL)
    return StoredObject(version.attributes.owner or row.account, decode_acl(acl) if acl else None)


def ownership_of(row: BucketRow) -> Ownership:
    """Who owns what is written to a bucket."""
    said = row.settings.get(OWNERSHIP)
    if said is None:
        return OWNERSHIP_DEFAULT
    return next((each for each in OWNERSHIPS if each == said.decode()), OWNERSHIP_DEFAULT)


def block_of(row: BucketRow) -> PublicAccessBlock:
    """What a bucket blocks of public access."""
    raw = row.settings.get(BLOCK)
    return decode_block(raw) if raw else NO_BLOCK
