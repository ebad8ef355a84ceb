"""Owns which handler serves which operation of S3; the catalog says how each is told from the others.

An operation that is not here is answered 501 NotImplemented by its name. One more operation is its handler and
its line here.
"""

from collections.abc import Mapping
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
    versioning,
)
from s3d.operations.catalog import OPERATIONS
from s3d.protocol.routing import Handler, Router

HANDLERS: Final[Mapping[str, Handler]] = {
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
    "GetBucketPolicy": policies.get_policy,
    "PutBucketPolicy": policies.put_policy,
    "DeleteBucketPolicy": policies.delete_policy,
    "GetBucketPolicyStatus": policies.get_policy_status,
    "GetPublicAccessBlock": access_settings.get_public_access_block,
    "PutPublicAccessBlock": access_settings.put_public_access_block,
    "DeletePublicAccessBlock": access_settings.delete_public_access_block,
    "GetBucketOwnershipControls": access_settings.get_ownership,
    "PutBucketOwnershipControls": access_settings.put_ownership,
    "DeleteBucketOwnershipControls": access_settings.delete_ownership,
    "GetBucketCors": cors.get_cors,
    "PutBucketCors": cors.put_cors,
    "DeleteBucketCors": cors.delete_cors,
    "PreflightBucket": cors.preflight,
    "PreflightObject": cors.preflight,
    "GetBucketTagging": tagging.get_bucket_tagging,
    "PutBucketTagging": tagging.put_bucket_tagging,
    "DeleteBucketTagging": tagging.delete_bucket_tagging,
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
    names = {operation.name for operation in OPERATIONS}
    assert names >= HANDLERS.keys(), "a handler serves an operation of the catalog"
    return Router([replace(operation, handler=HANDLERS.get(operation.name)) for operation in OPERATIONS])
