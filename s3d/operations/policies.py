"""Owns the operations on the policy of a bucket; never what a policy means."""

from typing import Final

from s3d.access.acl import decode_acl, is_public
from s3d.access.policy_language import (
    NO_DOCUMENT,
    POLICY_BYTES_MAX,
    MalformedPolicyError,
    Policy,
    parse_policy,
)
from s3d.access.public_access import NO_BLOCK, is_public as is_public_policy
from s3d.metadata.rows import BucketRow
from s3d.operations.call import Call
from s3d.operations.documents import document, element
from s3d.operations.reply import Reply, no_content, xml_reply
from s3d.operations.settings import ACL, POLICY, block_of, ownership_of
from s3d.operations.sub_resources import SubResource
from s3d.protocol.errors import S3Error


def _read(raw: bytes, row: BucketRow) -> bytes:
    """A policy that could not be read whole is refused: half a policy is another one."""
    if len(raw) > POLICY_BYTES_MAX:
        raise S3Error("MalformedPolicy", "Policy exceeds the maximum allowed document size.")
    try:
        policy = parse_policy(raw, row.name)
    except MalformedPolicyError as error:
        raise S3Error("MalformedPolicy", str(error)) from error
    if block_of(row).block_public_policy and is_public_policy(policy):
        raise S3Error("AccessDenied")
    return raw


def _show(kept: bytes) -> Reply:
    """Byte for byte as it was put."""
    return Reply(headers=(("Content-Type", "application/json"),), body=(kept,))


BUCKET_POLICY: Final = SubResource(
    POLICY, _read, _show, absent="NoSuchBucketPolicy", done=no_content, left=NO_DOCUMENT
)


async def get_policy_status(call: Call) -> Reply:
    """GetBucketPolicyStatus: whether strangers are let in, by the policy, by the ACL, or by the cluster's file."""
    settings, block = call.bucket.settings, block_of(call.bucket)
    policy: Policy | None = None
    if settings.get(POLICY):
        policy = parse_policy(settings[POLICY], call.bucket.name)
    by_policy = policy is not None and is_public_policy(policy) and not block.restrict_public_buckets
    acl = settings.get(ACL)
    by_acl = bool(acl) and is_public(decode_acl(acl or b"")) and not block.ignore_public_acls
    if ownership_of(call.bucket) == "BucketOwnerEnforced":
        by_acl = False
    by_file = call.bucket.public and block == NO_BLOCK
    return xml_reply(document("PolicyStatus", element("IsPublic", by_policy or by_acl or by_file)))
