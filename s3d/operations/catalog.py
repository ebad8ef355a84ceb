"""Owns the list of all operations of S3: how a request names each, and the permission it takes; never what it does.

From the S3 API reference and the service model of botocore, without WriteGetObjectResponse and ListDirectoryBuckets,
which have hosts of their own. An operation that has no handler yet answers 501 by its
name; one that is missing here would be taken for another, so the list is whole from the start. Bucket settings that
come in families (GET, PUT, DELETE of one sub-resource) are one line each.
"""

from collections.abc import Iterator
from typing import Final

from s3d.protocol.routing import Operation, Scope

_COPY_SOURCE: Final = "x-amz-copy-source"

SERVICE_AND_BUCKET: Final = (
    Operation("ListBuckets", "GET", "service", "s3:ListAllMyBuckets"),
    Operation("CreateBucket", "PUT", "bucket", "s3:CreateBucket"),
    Operation("HeadBucket", "HEAD", "bucket", "s3:ListBucket"),
    Operation("DeleteBucket", "DELETE", "bucket", "s3:DeleteBucket"),
    Operation("ListObjects", "GET", "bucket", "s3:ListBucket"),
    Operation("ListObjectsV2", "GET", "bucket", "s3:ListBucket", ("list-type=2",)),
    Operation("ListObjectVersions", "GET", "bucket", "s3:ListBucketVersions", ("versions",)),
    Operation("ListMultipartUploads", "GET", "bucket", "s3:ListBucketMultipartUploads", ("uploads",)),
    Operation("GetBucketLocation", "GET", "bucket", "s3:GetBucketLocation", ("location",)),
    Operation("GetBucketPolicyStatus", "GET", "bucket", "s3:GetBucketPolicyStatus", ("policyStatus",)),
    Operation("DeleteObjects", "POST", "bucket", "s3:DeleteObject", ("delete",)),
    Operation("PostObject", "POST", "bucket", "s3:PutObject"),
    Operation("CreateSession", "GET", "bucket", "s3express:CreateSession", ("session",)),
    Operation("PreflightBucket", "OPTIONS", "bucket", "s3:GetObject"),
)

OBJECT: Final = (
    Operation("GetObject", "GET", "object", "s3:GetObject", optional=("partNumber",)),
    Operation("HeadObject", "HEAD", "object", "s3:GetObject", optional=("partNumber",)),
    Operation("PutObject", "PUT", "object", "s3:PutObject"),
    Operation("AppendObject", "PUT", "object", "s3:PutObject", headers=("x-amz-write-offset-bytes",)),
    Operation("CopyObject", "PUT", "object", "s3:PutObject", headers=(_COPY_SOURCE,)),
    Operation("DeleteObject", "DELETE", "object", "s3:DeleteObject"),
    Operation("GetObjectAttributes", "GET", "object", "s3:GetObjectAttributes", ("attributes",)),
    Operation("GetObjectTorrent", "GET", "object", "s3:GetObjectTorrent", ("torrent",)),
    Operation("CreateMultipartUpload", "POST", "object", "s3:PutObject", ("uploads",)),
    Operation("UploadPart", "PUT", "object", "s3:PutObject", ("partNumber", "uploadId")),
    Operation("UploadPartCopy", "PUT", "object", "s3:PutObject", ("partNumber", "uploadId"), (_COPY_SOURCE,)),
    Operation("ListParts", "GET", "object", "s3:ListMultipartUploadParts", ("uploadId",)),
    Operation("CompleteMultipartUpload", "POST", "object", "s3:PutObject", ("uploadId",)),
    Operation("AbortMultipartUpload", "DELETE", "object", "s3:AbortMultipartUpload", ("uploadId",)),
    Operation("RestoreObject", "POST", "object", "s3:RestoreObject", ("restore",)),
    Operation("SelectObjectContent", "POST", "object", "s3:GetObject", ("select", "select-type=2")),
    Operation("RenameObject", "PUT", "object", "s3:PutObject", ("renameObject",)),
    Operation("UpdateObjectEncryption", "PUT", "object", "s3:UpdateObjectEncryption", ("encryption",)),
    Operation("PreflightObject", "OPTIONS", "object", "s3:GetObject"),
    Operation("ListObjectAnnotations", "GET", "object", "s3:GetObjectAnnotation", ("annotation",)),
    Operation(
        "GetObjectAnnotation", "GET", "object", "s3:GetObjectAnnotation", ("annotation", "annotationName")
    ),
)

_METADATA_TABLES: Final = tuple(
    Operation(
        f"UpdateBucketMetadata{table}TableConfiguration",
        "PUT",
        "bucket",
        "s3:UpdateBucketMetadataTableConfiguration",
        (f"metadata{table}Table",),
    )
    for table in ("Annotation", "Inventory", "Journal")
)

# One sub-resource a line: scope, query, the noun of its operations, the noun of its permissions where S3 has another.
# The methods' verbs before the nouns make the names; DELETE takes the permission to put, but for _DELETE_APART.
_SETTINGS: Final[tuple[tuple[Scope, str, str, str, str], ...]] = (
    ("bucket", "abac", "BucketAbac", "", "GET PUT"),
    ("bucket", "accelerate", "BucketAccelerateConfiguration", "AccelerateConfiguration", "GET PUT"),
    ("bucket", "acl", "BucketAcl", "", "GET PUT"),
    ("bucket", "cors", "BucketCors", "BucketCORS", "GET PUT DELETE"),
    ("bucket", "encryption", "BucketEncryption", "EncryptionConfiguration", "GET PUT DELETE"),
    ("bucket", "lifecycle", "BucketLifecycleConfiguration", "LifecycleConfiguration", "GET PUT"),
    ("bucket", "lifecycle", "BucketLifecycle", "LifecycleConfiguration", "DELETE"),
    ("bucket", "logging", "BucketLogging", "", "GET PUT"),
    ("bucket", "metadataConfiguration", "BucketMetadataConfiguration", "", "GET POST DELETE"),
    ("bucket", "metadataTable", "BucketMetadataTableConfiguration", "", "GET POST DELETE"),
    ("bucket", "notification", "BucketNotificationConfiguration", "BucketNotification", "GET PUT"),
    ("bucket", "object-lock", "ObjectLockConfiguration", "BucketObjectLockConfiguration", "GET PUT"),
    ("bucket", "ownershipControls", "BucketOwnershipControls", "", "GET PUT DELETE"),
    ("bucket", "policy", "BucketPolicy", "", "GET PUT DELETE"),
    ("bucket", "publicAccessBlock", "PublicAccessBlock", "BucketPublicAccessBlock", "GET PUT DELETE"),
    ("bucket", "replication", "BucketReplication", "ReplicationConfiguration", "GET PUT DELETE"),
    ("bucket", "requestPayment", "BucketRequestPayment", "", "GET PUT"),
    ("bucket", "tagging", "BucketTagging", "", "GET PUT DELETE"),
    ("bucket", "versioning", "BucketVersioning", "", "GET PUT"),
    ("bucket", "website", "BucketWebsite", "", "GET PUT DELETE"),
    ("object", "acl", "ObjectAcl", "", "GET PUT"),
    ("object", "annotation", "ObjectAnnotation", "", "PUT DELETE"),
    ("object", "legal-hold", "ObjectLegalHold", "", "GET PUT"),
    ("object", "retention", "ObjectRetention", "", "GET PUT"),
    ("object", "tagging", "ObjectTagging", "", "GET PUT DELETE"),
)
_VERBS: Final = {"GET": "Get", "PUT": "Put", "DELETE": "Delete", "POST": "Create"}
_DELETE_APART: Final = ("BucketPolicy", "BucketWebsite", "ObjectTagging")

# Settings of which a bucket has many, each with an "id"; without one, GET lists them.
_NUMBERED_SETTINGS: Final = ("analytics", "inventory", "metrics", "intelligent-tiering")


def _settings() -> Iterator[Operation]:
    for scope, query, noun, action_noun, methods in _SETTINGS:
        for method in methods.split():
            put = method == "POST" or (method == "DELETE" and noun not in _DELETE_APART)
            permission = f"s3:{'Put' if put else _VERBS[method]}{action_noun or noun}"
            yield Operation(f"{_VERBS[method]}{noun}", method, scope, permission, (query,))
    for query in _NUMBERED_SETTINGS:
        noun = f"{query.title().replace('-', '')}Configuration"
        for method in ("GET", "PUT", "DELETE"):
            permission = f"s3:{'Get' if method == 'GET' else 'Put'}{noun}"
            yield Operation(f"{_VERBS[method]}Bucket{noun}", method, "bucket", permission, (query, "id"))
        yield Operation(f"ListBucket{noun}s", "GET", "bucket", f"s3:Get{noun}", (query,))


OPERATIONS: Final = (*SERVICE_AND_BUCKET, *OBJECT, *_METADATA_TABLES, *_settings())
