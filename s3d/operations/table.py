"""Owns which handler serves which operation of S3; the catalog says how each is told from the others.

An operation that is not here is answered 501 NotImplemented by its name. One more operation is its handler, or its
declared document, and its line here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from s3d.operations import (
    access_settings,
    acls,
    buckets,
    copies,
    cors,
    deletes,
    listings,
    multipart,
    object_attributes,
    objects,
    parts,
    policies,
    posts,
    tagging,
    unbuilt,
    versioning,
)
from s3d.operations.catalog import OPERATIONS
from s3d.operations.sub_resources import SubResource
from s3d.protocol.routing import Handler, Router

_NAMES: Final = frozenset(operation.name for operation in OPERATIONS)

# By the noun of their operations: each has those of GET, PUT and DELETE that S3 has.
_SUB_RESOURCES: Final[Mapping[str, SubResource]] = {
    "BucketAccelerateConfiguration": unbuilt.ACCELERATION,
    "BucketCors": cors.RULES,
    "BucketEncryption": unbuilt.ENCRYPTION,
    "BucketLifecycle": unbuilt.LIFECYCLE,
    "BucketLifecycleConfiguration": unbuilt.LIFECYCLE,
    "BucketLogging": unbuilt.LOGGING,
    "BucketNotificationConfiguration": unbuilt.NOTIFICATION,
    "BucketOwnershipControls": access_settings.OWNERSHIP_CONTROLS,
    "BucketPolicy": policies.BUCKET_POLICY,
    "BucketReplication": unbuilt.REPLICATION,
    "BucketRequestPayment": unbuilt.REQUEST_PAYMENT,
    "BucketTagging": tagging.BUCKET_TAGS,
    "BucketWebsite": unbuilt.WEBSITE,
    "ObjectLockConfiguration": unbuilt.OBJECT_LOCK,
    "PublicAccessBlock": access_settings.PUBLIC_ACCESS,
}


def _of_sub_resources() -> Iterator[tuple[str, Handler]]:
    for noun, sub_resource in _SUB_RESOURCES.items():
        served = [(name, handler) for name, handler in sub_resource.handlers(noun) if name in _NAMES]
        assert served, f"{noun} is in operations of the catalog"
        yield from served


HANDLERS: Final[Mapping[str, Handler]] = {
    **dict(_of_sub_resources()),
    "ListBuckets": listings.list_buckets,
    "CreateBucket": buckets.create_bucket,
    "DeleteBucket": buckets.delete_bucket,
    "HeadBucket": buckets.head_bucket,
    "GetBucketLocation": buckets.get_location,
    "GetBucketVersioning": versioning.get_versioning,
    "PutBucketVersioning": versioning.put_versioning,
    "GetBucketAcl": acls.get_bucket_acl,
    "PutBucketAcl": acls.put_bucket_acl,
    "GetObjectAcl": acls.get_object_acl,
    "PutObjectAcl": acls.put_object_acl,
    "GetBucketPolicyStatus": policies.get_policy_status,
    "PreflightBucket": cors.preflight,
    "PreflightObject": cors.preflight,
    "GetObjectTagging": tagging.get_object_tagging,
    "PutObjectTagging": tagging.put_object_tagging,
    "DeleteObjectTagging": tagging.delete_object_tagging,
    "ListObjects": listings.list_objects,
    "ListObjectsV2": listings.list_objects_v2,
    "ListObjectVersions": listings.list_versions,
    "ListMultipartUploads": listings.list_uploads,
    "DeleteObjects": deletes.delete_objects,
    "PutObject": objects.put_object,
    "PostObject": posts.post_object,
    "GetObject": objects.get_object,
    "HeadObject": objects.head_object,
    "GetObjectAttributes": object_attributes.get_object_attributes,
    "DeleteObject": deletes.delete_object,
    "CopyObject": copies.copy_object,
    "CreateMultipartUpload": multipart.create_upload,
    "UploadPart": parts.upload_part,
    "UploadPartCopy": parts.upload_part_copy,
    "CompleteMultipartUpload": multipart.complete_upload,
    "AbortMultipartUpload": multipart.abort_upload,
    "ListParts": parts.list_parts,
}


def router() -> Router:
    """All operations of S3, each with its handler where it has one."""
    assert HANDLERS.keys() <= _NAMES, "a handler serves an operation of the catalog"
    return Router([replace(operation, handler=HANDLERS.get(operation.name)) for operation in OPERATIONS])
