"""Owns the operations on ACLs of buckets and objects; never what an ACL allows."""

from s3d.access.acl import Acl, decode_acl, encode_acl, private
from s3d.metadata.commands import PutObjectSetting
from s3d.metadata.rows import NULL_VERSION
from s3d.operations.acl_documents import acl_in_headers, read_acl, write_acl
from s3d.operations.bodies import read_document
from s3d.operations.call import Call
from s3d.operations.objects import find_version
from s3d.operations.ownership import asks_for_acl, check_public, settings_of
from s3d.operations.reply import Reply, xml_reply
from s3d.operations.settings import ACL, keep, ownership_of, stored_object
from s3d.protocol.errors import S3Error


async def get_bucket_acl(call: Call) -> Reply:
    """GetBucketAcl."""
    row = call.bucket
    raw = row.settings.get(ACL)
    acl = decode_acl(raw) if raw and not _enforced(call) else private(row.account)
    return xml_reply(write_acl(acl, call.store.accounts, owner_account=row.account))


async def put_bucket_acl(call: Call) -> Reply:
    """PutBucketAcl, by a canned name, by grants in headers, or by a document.

    One that says nothing new is kept too, because others may own objects in a bucket that ever had another.
    """
    acl = await _asked(call, owner=call.bucket.account)
    await keep(call, ACL, encode_acl(acl))
    return Reply()


async def get_object_acl(call: Call) -> Reply:
    """GetObjectAcl."""
    with call.store.state.view() as view:
        version = find_version(call, view)
    stored = stored_object(call.bucket, version)
    owner = call.bucket.account if _enforced(call) else stored.owner
    acl = (None if _enforced(call) else stored.acl) or private(owner)
    return xml_reply(
        write_acl(acl, call.store.accounts, owner_account=owner), headers=_version(version.version_id)
    )


async def put_object_acl(call: Call) -> Reply:
    """PutObjectAcl: of one version, whose time and ETag stay as they are."""
    with call.store.state.view() as view:
        version = find_version(call, view)
    owner = stored_object(call.bucket, version).owner
    acl = await _asked(call, owner=owner)
    outcome = await call.apply(
        PutObjectSetting(
            call.store.write_id(call.now_us),
            call.now_us,
            bucket=call.bucket.name,
            key=call.key,
            name=ACL,
            document=settings_of(acl, owner=owner).get(ACL),
            version_id=version.version_id,
            incarnation=call.bucket.incarnation,
            sequence=version.sequence,
        )
    )
    return Reply(headers=_version(outcome.version_id))


async def _asked(call: Call, *, owner: str) -> Acl:
    """The ACL that a request sets on what `owner` owns. It says so in one way of three."""
    if _enforced(call):
        raise S3Error("AccessControlListNotSupported")
    body = await read_document(call)
    if body and asks_for_acl(call):
        raise S3Error("UnexpectedContent")
    if body:
        acl = read_acl(body, call.store.accounts, owner=owner)
    else:
        bucket_owner = call.bucket.account
        found = acl_in_headers(
            call.request.headers, call.store.accounts, owner=owner, bucket_owner=bucket_owner
        )
        if found is None:
            raise S3Error("MissingSecurityHeader", MissingHeaderName="x-amz-acl")
        acl = found
    check_public(call.bucket, acl)
    return acl


def _enforced(call: Call) -> bool:
    return ownership_of(call.bucket) == "BucketOwnerEnforced"


def _version(version_id: str) -> list[tuple[str, str]]:
    return [] if version_id == NULL_VERSION else [("x-amz-version-id", version_id)]
