"""Owns CopyObject, and the finding of what a copy copies: its source is authorised like any other read."""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import msgspec

from s3d.metadata.commands import CopyObject
from s3d.metadata.outcomes import Outcome
from s3d.metadata.rows import Attributes, BucketRow, VersionRow
from s3d.operations import documents
from s3d.operations.attributes import attributes_of, refuse_unbuilt, tags_in
from s3d.operations.authorise import Named, absent, authorise_source, check_judged, check_owner
from s3d.operations.call import Call
from s3d.operations.ownership import begin_object
from s3d.operations.preconditions import check_copy_source, check_live, write_conditions
from s3d.operations.reading import plan_of, read
from s3d.operations.reply import Reply, xml_reply
from s3d.operations.versioning import check_version_id, made
from s3d.protocol.checksums import ALGORITHMS, Claims, Digests
from s3d.protocol.composite import FULL_OBJECT
from s3d.protocol.errors import S3Error
from s3d.protocol.routing import KEY_SIZE_BYTES_MAX, Target, percent_decode
from shardd.contract.bucket_names import valid_bucket_name

COPY_SIZE_MAX: Final = 5 << 30
SOURCE_TRIES_MAX: Final = 8  # how often a source that is replaced while it is copied is looked up again


@dataclass(frozen=True, slots=True)
class Source:
    """What is copied: one version, which stays what it is whatever becomes of its key."""

    bucket: BucketRow
    key: bytes
    version: VersionRow

    @property
    def headers(self) -> list[tuple[str, str]]:
        """What the answer to a copy says of its source."""
        if not self.bucket.versioning:
            return []
        return [("x-amz-copy-source-version-id", self.version.version_id)]


async def copy_object(call: Call) -> Reply:
    """CopyObject: the copy shares the source's blobs; no byte moves."""
    conditions = write_conditions(call)
    check_live(call, conditions)
    for _ in range(SOURCE_TRIES_MAX):
        source = find_source(call)
        attributes = await _checksummed(call, source, _attributes(call, source))
        outcome = await call.store.apply(
            CopyObject(
                call.store.write_id(call.now_us),
                call.now_us,
                bucket=call.bucket.name,
                key=call.key,
                source_incarnation=source.bucket.incarnation,
                source_key=source.key,
                source_sequence=source.version.sequence,
                attributes=attributes,
                incarnation=call.bucket.incarnation,
                conditions=conditions,
                grace_us=call.store.grace_us,
            )
        )
        if outcome.error != "OperationAborted":
            break
    return _result(outcome, source, attributes)


def _result(outcome: Outcome, source: Source, attributes: Attributes) -> Reply:
    if outcome.error:
        raise S3Error(outcome.error)
    checksums = [*attributes.checksums.items()]
    body = documents.copy_result(
        "CopyObjectResult",
        etag=outcome.etag,
        modified_us=outcome.modified_us,
        checksums=[*checksums, ("Type", attributes.checksum_type or FULL_OBJECT)] if checksums else (),
    )
    return xml_reply(body, headers=[*made(outcome.version_id), *source.headers])


def _attributes(call: Call, source: Source) -> Attributes:
    """What the copy says of itself: as its source, or with REPLACE as the request does.

    Checksums stay the bytes'; an ACL is never copied.
    """
    directive = call.header("x-amz-metadata-directive") or "COPY"
    if directive not in ("COPY", "REPLACE"):
        raise S3Error(
            "InvalidArgument", "Unknown metadata directive.", ArgumentName="x-amz-metadata-directive"
        )
    old = source.version.attributes
    if directive == "COPY":
        refuse_unbuilt(call.request.headers)
        storage_class = call.header("x-amz-storage-class") or "STANDARD"
        _refuse_no_change(call, source, storage_class)
        new = old
    else:
        new = attributes_of(call.request.headers)
        storage_class = new.storage_class
    described = msgspec.structs.replace(
        new,
        storage_class=storage_class,
        checksum_algorithm=old.checksum_algorithm,
        checksum_type=old.checksum_type,
        checksums=old.checksums,
        tags=_tags(call, source),
    )
    return begin_object(call).of(described)


async def _checksummed(call: Call, source: Source, attributes: Attributes) -> Attributes:
    """`attributes` with the checksum that the request asks for; one that the source has not, its bytes give."""
    algorithm = call.header("x-amz-checksum-algorithm").upper()
    if algorithm in ("", attributes.checksum_algorithm):
        return attributes
    if algorithm not in ALGORITHMS:
        raise S3Error("InvalidRequest", "Checksum algorithm provided is unsupported.")
    digests = Digests(Claims(algorithm=ALGORITHMS[algorithm], computed=True))
    with call.store.state.view() as view:
        plan = plan_of(view, source.version, 0, source.version.size)
    loop, coding = asyncio.get_running_loop(), call.store.blobs.resources.coding
    async with aclosing(read(call.store, plan)) as batches:
        async for batch in batches:
            await loop.run_in_executor(coding, _take, digests, batch)
    return msgspec.structs.replace(
        attributes, checksum_algorithm=algorithm, checksum_type=FULL_OBJECT, checksums=digests.check({})
    )


def _take(digests: Digests, pieces: list[bytes]) -> None:
    for piece in pieces:
        digests.update(piece)


def _tags(call: Call, source: Source) -> dict[str, str]:
    directive = call.header("x-amz-tagging-directive") or "COPY"
    if directive not in ("COPY", "REPLACE"):
        raise S3Error("InvalidArgument", "Unknown tagging directive.", ArgumentName="x-amz-tagging-directive")
    return tags_in(call.request.headers) if directive == "REPLACE" else source.version.attributes.tags


def _refuse_no_change(call: Call, source: Source, storage_class: str) -> None:
    same = (source.bucket.name, source.key) == (call.bucket.name, call.key)
    if same and storage_class == source.version.attributes.storage_class and not _names_version(call):
        raise S3Error(
            "InvalidRequest",
            "This copy request is illegal because it is trying to copy an object to itself without changing the "
            "object's metadata, storage class, website redirect location or encryption attributes.",
        )


def _names_version(call: Call) -> bool:
    return "?versionId=" in call.header("x-amz-copy-source")


def find_source(call: Call) -> Source:
    """What x-amz-copy-source names, if the caller may read it and the x-amz-copy-source-if-* headers hold.

    Raises InvalidArgument, AccessDenied, NoSuchBucket, NoSuchKey, NoSuchVersion, PreconditionFailed, InvalidRequest.
    """
    target, version_id = parse_copy_source(call.header("x-amz-copy-source"))
    bucket = authorise_source(call, target.bucket, target.key, version_id)
    check_owner(bucket, call.request.headers.get("x-amz-source-expected-bucket-owner"))
    key = target.key.encode()
    with call.store.state.view() as view:
        version = view.find(bucket.incarnation, key, version_id)
    if version is None:
        raise absent(call, bucket, target.key, "NoSuchVersion" if version_id else "NoSuchKey")
    if version.delete_marker:
        if version_id:
            raise S3Error(
                "InvalidRequest",
                "The source of a copy request may not specifically refer to a delete marker.",
            )
        raise S3Error("NoSuchKey", Key=target.key)
    check_judged(call, version, row=bucket, at=Named(target.key, version_id))
    check_copy_source(call.request.headers, version)
    if version.size > COPY_SIZE_MAX and call.operation.name == "CopyObject":
        raise S3Error(
            "InvalidRequest",
            "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120",
        )
    return Source(bucket, key, version)


def parse_copy_source(header: str) -> tuple[Target, str]:
    """(what is read, version id) of x-amz-copy-source: `/bucket/key?versionId=id`, the path percent-encoded.

    The version is cut off before the one decoding, so that an encoded question mark stays part of the key.
    """
    raw_path, _, raw_query = header.partition("?")
    name, _, version_id = raw_query.partition("=")
    try:
        path = percent_decode(raw_path)
    except S3Error as error:
        raise _bad_source() from error
    bucket, _, key = path.removeprefix("/").partition("/")
    if not key or (raw_query and (name != "versionId" or not version_id)):
        raise _bad_source()
    if not valid_bucket_name(bucket):
        raise S3Error("InvalidBucketName", BucketName=bucket)
    if len(key.encode()) > KEY_SIZE_BYTES_MAX:
        raise S3Error("KeyTooLongError")
    if version_id:
        check_version_id(version_id, "x-amz-copy-source")
    return Target(raw_path, "", bucket, key, {}), version_id


def _bad_source() -> S3Error:
    return S3Error(
        "InvalidArgument",
        "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
        ArgumentName="x-amz-copy-source",
    )
