"""Owns the XML documents that S3 answers with; never what is in them.

Built as strings, because a page of a thousand keys is: element order and spelling are those of the S3 API reference.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from s3d.metadata.rows import BucketRow, ObjectRow, PartRow
from s3d.protocol.xml import S3_NAMESPACE, XML_DECLARATION, escape

_XMLNS: Final = f'xmlns="{S3_NAMESPACE}"'


@dataclass(frozen=True, slots=True)
class Deleted:
    """What became of one key of DeleteObjects; `error` empty where it is gone."""

    key: str
    version_id: str = ""
    error: str = ""
    message: str = ""
    marker_version_id: str = ""


@lru_cache(maxsize=4_096)
def timestamp(time_s: int) -> str:
    """Seconds since 1970 as S3 writes a time in XML. Whole seconds: equal to Last-Modified, which has no more."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time_s))


def stamp(time_us: int) -> str:
    """Microseconds since 1970 as S3 writes a time in XML."""
    return timestamp(time_us // 1_000_000)


def element(name: str, value: str | int | bool) -> str:
    """One element with text."""
    if value is True or value is False:
        return f"<{name}>{'true' if value else 'false'}</{name}>"
    return f"<{name}>{escape(value) if isinstance(value, str) else value}</{name}>"


def document(root: str, *parts: str) -> bytes:
    """A document of S3's namespace."""
    return f"{XML_DECLARATION}<{root} {_XMLNS}>{''.join(parts)}</{root}>".encode("utf-8", "surrogateescape")


def owner(account: str, name: str, *, element_name: str = "Owner") -> str:
    """Who owns a bucket or an object."""
    return (
        f"<{element_name}>{element('ID', account)}{element('DisplayName', name or account)}</{element_name}>"
    )


def buckets(rows: Iterable[BucketRow], *, account: str, name: str, token: str, prefix: str) -> bytes:
    """ListAllMyBucketsResult."""
    entries = "".join(
        f"<Bucket>{element('Name', row.name)}{element('CreationDate', stamp(row.created_us))}"
        f"{element('BucketRegion', row.region) if row.region else ''}</Bucket>"
        for row in rows
    )
    return document(
        "ListAllMyBucketsResult",
        owner(account, name),
        f"<Buckets>{entries}</Buckets>",
        element("ContinuationToken", token) if token else "",
        element("Prefix", prefix) if prefix else "",
    )


def contents(key: str, row: ObjectRow, owner_element: str) -> str:
    """One key of a list; `key` is encoded and escaped already."""
    checksum = checksum_kind(row.checksum_algorithm, row.checksum_type) if row.checksum_algorithm else ""
    return (
        f"<Contents><Key>{key}</Key><LastModified>{timestamp(row.modified_us // 1_000_000)}</LastModified>"
        f"<ETag>&quot;{row.etag}&quot;</ETag>{checksum}<Size>{row.size}</Size>{owner_element}"
        f"<StorageClass>{row.storage_class}</StorageClass></Contents>"
    )


def checksum_kind(algorithm: str, kind: str) -> str:
    """Which checksum an entry of a list has; nothing without an `algorithm`."""
    if not algorithm:
        return ""
    return f"<ChecksumAlgorithm>{algorithm}</ChecksumAlgorithm><ChecksumType>{kind or 'FULL_OBJECT'}</ChecksumType>"


def common_prefixes(prefixes: Iterable[str]) -> str:
    """The prefixes that a delimiter rolled up; encoded and escaped already."""
    return "".join(f"<CommonPrefixes><Prefix>{prefix}</Prefix></CommonPrefixes>" for prefix in prefixes)


def location_constraint(region: str) -> bytes:
    """LocationConstraint."""
    return document("LocationConstraint", escape(region))


def versioning(status: str) -> bytes:
    """VersioningConfiguration; empty where versioning was never asked for."""
    return document("VersioningConfiguration", element("Status", status) if status else "")


def delete_result(answers: Iterable[Deleted]) -> bytes:
    """DeleteResult."""
    return document("DeleteResult", *map(_deleted, answers))


def _deleted(answer: Deleted) -> str:
    name = element("Key", answer.key) + (element("VersionId", answer.version_id) if answer.version_id else "")
    if answer.error:
        return f"<Error>{name}{element('Code', answer.error)}{element('Message', answer.message)}</Error>"
    marker = (
        element("DeleteMarker", True) + element("DeleteMarkerVersionId", answer.marker_version_id)
        if answer.marker_version_id
        else ""
    )
    return f"<Deleted>{name}{marker}</Deleted>"


def copy_result(
    kind: str, *, etag: str, modified_us: int, checksums: Sequence[tuple[str, str]] = ()
) -> bytes:
    """CopyObjectResult or CopyPartResult, by `kind`. `checksums`: (algorithm, base64)."""
    return document(
        kind,
        element("LastModified", stamp(modified_us)),
        element("ETag", f'"{etag}"'),
        *(element(f"Checksum{name}", value) for name, value in checksums),
    )


def upload_begun(bucket: str, key: str, upload: str) -> bytes:
    """InitiateMultipartUploadResult."""
    return document(
        "InitiateMultipartUploadResult",
        element("Bucket", bucket),
        element("Key", key),
        element("UploadId", upload),
    )


def upload_completed(
    location: str, bucket: str, key: str, *, etag: str, checksums: Sequence[tuple[str, str]] = ()
) -> bytes:
    """CompleteMultipartUploadResult."""
    return document(
        "CompleteMultipartUploadResult",
        element("Location", location),
        element("Bucket", bucket),
        element("Key", key),
        element("ETag", f'"{etag}"'),
        *(element(f"Checksum{name}", value) for name, value in checksums),
    )


def part(row: PartRow, algorithm: str) -> str:
    """One part of ListParts."""
    checksum = element(f"Checksum{algorithm}", row.checksum) if algorithm and row.checksum else ""
    return (
        f"<Part>{element('PartNumber', row.number)}{element('LastModified', stamp(row.modified_us))}"
        f"{element('ETag', chr(34) + row.etag + chr(34))}{checksum}{element('Size', row.size)}</Part>"
    )
