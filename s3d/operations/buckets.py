"""Owns the operations on a bucket itself: create, delete, look; never its objects."""

from s3d.access.acl import encode_acl, private
from s3d.metadata.commands import CreateBucket, DeleteBucket
from s3d.operations import documents, orders
from s3d.operations.bodies import read_document
from s3d.operations.call import Call
from s3d.operations.ownership import begin_bucket
from s3d.operations.reply import Reply, no_content, xml_reply
from s3d.operations.settings import ACL
from s3d.protocol.errors import S3Error

DEFAULT_REGION = "us-east-1"


async def create_bucket(call: Call) -> Reply:
    """CreateBucket. Done again by its owner it succeeds in us-east-1 only, as AWS answers."""
    document = await read_document(call)
    location = orders.read_location(document) if document else ""
    if call.header("x-amz-bucket-object-lock-enabled").lower() == "true":
        raise S3Error("NotImplemented", Header="x-amz-bucket-object-lock-enabled")
    name = call.request.target.bucket
    region = call.store.cluster.region
    command = CreateBucket(
        call.store.write_id(call.now_us),
        call.now_us,
        bucket=name,
        account=call.account,
        region=location,
        settings=begin_bucket(call),
    )
    outcome = await call.store.apply(command)
    again = outcome.error == "BucketAlreadyOwnedByYou" and region == DEFAULT_REGION
    if again and not _as_asked(call, command):
        raise S3Error("BucketAlreadyExists", BucketName=name)
    if outcome.error and not again:
        raise S3Error(outcome.error, BucketName=name)
    return Reply(headers=(("Location", f"/{name}"),))


def _as_asked(call: Call, command: CreateBucket) -> bool:
    """Whether a bucket that is there already has the ACL that it would be created with: success must not hide that."""
    with call.store.state.view() as view:
        row = view.bucket(command.bucket)
    asked = command.settings.get(ACL) or encode_acl(private(command.account))
    return row is not None and (row.settings.get(ACL) or encode_acl(private(row.account))) == asked


async def delete_bucket(call: Call) -> Reply:
    """DeleteBucket: refused while it holds an object or a version."""
    await call.apply(
        DeleteBucket(
            call.store.write_id(call.now_us),
            call.now_us,
            bucket=call.bucket.name,
            incarnation=call.bucket.incarnation,
            grace_us=call.store.grace_us,
        )
    )
    return no_content()


async def head_bucket(call: Call) -> Reply:
    """HeadBucket."""
    region = call.bucket.region or call.store.cluster.region
    return Reply(headers=(("x-amz-bucket-region", region), ("Content-Type", "application/xml")))


async def get_location(call: Call) -> Reply:
    """GetBucketLocation: the constraint it was created with; without one the region, of which us-east-1 is not said."""
    region = call.store.cluster.region
    return xml_reply(
        documents.location_constraint(call.bucket.region or ("" if region == DEFAULT_REGION else region))
    )
