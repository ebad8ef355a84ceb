"""Owns what a writer says about an object in headers, and the headers that say it to a reader."""

import re
from collections.abc import Mapping
from typing import Final

from s3d.metadata.rows import STANDARD, Attributes, Slice, VersionRow
from s3d.protocol.conditions import http_date
from s3d.protocol.errors import S3Error
from s3d.protocol.tags import read_tag_header

METADATA_PREFIX: Final = "x-amz-meta-"
METADATA_BYTES_MAX: Final = 2_048
KEPT_BYTES_MAX: Final = 8_192  # of all headers that are kept with an object, as S3 limits them for a PUT
DEFAULT_CONTENT_TYPE: Final = "binary/octet-stream"

# Kept as they come, given back as they came: lower case -> as it is written on a reply.
KEPT_HEADERS: Final = {
    "cache-control": "Cache-Control",
    "content-disposition": "Content-Disposition",
    "content-encoding": "Content-Encoding",
    "content-language": "Content-Language",
    "expires": "Expires",
    "x-amz-website-redirect-location": "x-amz-website-redirect-location",
}
OVERRIDES: Final = {
    "response-content-type": "Content-Type",
    "response-content-language": "Content-Language",
    "response-expires": "Expires",
    "response-cache-control": "Cache-Control",
    "response-content-disposition": "Content-Disposition",
    "response-content-encoding": "Content-Encoding",
}
STORAGE_CLASSES: Final = frozenset(
    (
        STANDARD,
        "REDUCED_REDUNDANCY",
        "STANDARD_IA",
        "ONEZONE_IA",
        "INTELLIGENT_TIERING",
        "GLACIER",
        "GLACIER_IR",
        "DEEP_ARCHIVE",
    )
)

# What a request may ask of an object that is not built yet: to ignore it would be to promise it.
_NOT_BUILT: Final = re.compile(r"x-amz-(server-side-encryption|object-lock-)")


def refuse_unbuilt(headers: Mapping[str, str]) -> None:
    """Raise NotImplemented where a header asks for something that would be left undone in silence."""
    for name in headers:
        if name.startswith("x-amz-") and _NOT_BUILT.match(name):
            raise S3Error("NotImplemented", Header=name)


def attributes_of(headers: Mapping[str, str]) -> Attributes:
    """What the headers of a PUT say about its object; who owns it is for ownership.begin_object.

    Raises MetadataTooLarge over 2 KiB of user metadata or 8 KiB of other kept headers, InvalidStorageClass,
    InvalidTag and NotImplemented.
    """
    refuse_unbuilt(headers)
    metadata = {
        name.removeprefix(METADATA_PREFIX): value
        for name, value in headers.items()
        if name.startswith(METADATA_PREFIX)
    }
    if sum(len(name) + len(value.encode()) for name, value in metadata.items()) > METADATA_BYTES_MAX:
        raise S3Error("MetadataTooLarge", MaxSizeAllowed=str(METADATA_BYTES_MAX))
    storage_class = headers.get("x-amz-storage-class", STANDARD)
    if storage_class not in STORAGE_CLASSES:
        raise S3Error("InvalidStorageClass")
    kept = {name: headers[name] for name in KEPT_HEADERS if name in headers}
    if "content-encoding" in kept:
        kept["content-encoding"] = _without_aws_chunked(kept["content-encoding"])
        if not kept["content-encoding"]:
            del kept["content-encoding"]
    content_type = headers.get("content-type", "")
    if len(content_type.encode()) + sum(len(value.encode()) for value in kept.values()) > KEPT_BYTES_MAX:
        raise S3Error("MetadataTooLarge", "Your request headers exceed the maximum allowed size")
    return Attributes(
        content_type=content_type,
        headers=kept,
        metadata=metadata,
        storage_class=storage_class,
        tags=tags_in(headers),
    )


def tags_in(headers: Mapping[str, str]) -> dict[str, str]:
    """The tags that a write gives its object. Raises InvalidArgument, InvalidTag."""
    return read_tag_header(headers["x-amz-tagging"]) if "x-amz-tagging" in headers else {}


def _without_aws_chunked(encoding: str) -> str:
    """Content-Encoding without the framing of the transfer, which is no property of the object."""
    names = (name.strip() for name in encoding.split(","))
    return ", ".join(name for name in names if name and name.lower() != "aws-chunked")


def reply_headers(
    version: VersionRow, *, checksums: bool, overrides: Mapping[str, str]
) -> list[tuple[str, str]]:
    """The headers of GET and HEAD. `overrides`: the query of the request, whose response-* replace headers."""
    attributes = version.attributes
    named = {"Content-Type": attributes.content_type or DEFAULT_CONTENT_TYPE}
    for name, value in attributes.headers.items():
        named[KEPT_HEADERS[name]] = value
    for name, header in OVERRIDES.items() if overrides else ():
        if name in overrides:
            named[header] = _one_line(overrides[name])
    headers = [
        ("ETag", f'"{version.etag}"'),
        ("Last-Modified", http_date(version.modified_us // 1_000_000)),
        ("Accept-Ranges", "bytes"),
        *named.items(),
    ]
    headers += [(METADATA_PREFIX + name, _as_sent(value)) for name, value in attributes.metadata.items()]
    if attributes.storage_class != STANDARD:
        headers.append(("x-amz-storage-class", attributes.storage_class))
    if checksums and attributes.checksums:
        headers += checksum_headers(attributes.checksums)
        headers.append(("x-amz-checksum-type", attributes.checksum_type or "FULL_OBJECT"))
    return headers


def part_headers(version: VersionRow, part: Slice, *, checksums: bool) -> list[tuple[str, str]]:
    """What is said of one part of an object that was uploaded in parts: how many there are, and its own checksum."""
    headers = [("x-amz-mp-parts-count", str(version.parts))]
    if checksums and part.checksum:
        said = version.attributes
        headers += checksum_headers({said.checksum_algorithm: part.checksum})
        headers.append(("x-amz-checksum-type", said.checksum_type))
    return headers


def checksum_headers(checksums: Mapping[str, str]) -> list[tuple[str, str]]:
    """Checksums by algorithm, as headers."""
    return [(f"x-amz-checksum-{name.lower()}", value) for name, value in checksums.items()]


def _as_sent(value: str) -> str:
    """User metadata as message.head_bytes takes it: in ISO-8859-1 where that has all of it, otherwise in UTF-8.

    The clients of Python, Java and JavaScript read headers so, even those that write them in UTF-8.
    """
    if value.isascii():
        return value
    try:
        return value.encode("iso-8859-1").decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return value


def _one_line(value: str) -> str:
    """The value of a header that came in a query, where anything can be percent-encoded."""
    if not value.isprintable():
        raise S3Error("InvalidArgument", "A response header override holds a control character.")
    return value
