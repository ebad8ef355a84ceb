"""Owns the XML documents that S3 is sent: each read strictly into a fact; never done anything with."""

import re
from dataclasses import dataclass
from typing import Final

from s3d.metadata.commands import ANY, Conditions, NamedPart
from s3d.metadata.fields import PARTS_MAX
from s3d.protocol.conditions import parse_modified, parse_size
from s3d.protocol.documents import root_of
from s3d.protocol.errors import S3Error
from s3d.protocol.xml import Node

_PART_NUMBER: Final = re.compile(r"[0-9]{1,10}", re.ASCII)
_CHECKSUMS: Final = ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256")


@dataclass(frozen=True, slots=True)
class ObjectIdentifier:
    """A key that DeleteObjects names."""

    key: str
    version_id: str = ""
    conditions: Conditions = ANY


@dataclass(frozen=True, slots=True)
class DeleteOrder:
    """The document of DeleteObjects."""

    objects: tuple[ObjectIdentifier, ...]
    quiet: bool


def read_delete(raw: bytes, *, keys_max: int) -> DeleteOrder:
    """The document of DeleteObjects: 1 to `keys_max` keys, else MalformedXML."""
    root = root_of(raw, "Delete")
    nodes = [child for child in root.children if child.name == "Object"]
    if not 1 <= len(nodes) <= keys_max:
        raise S3Error("MalformedXML")
    return DeleteOrder(
        tuple(map(_identifier, nodes)), (root.text_of("Quiet") or "").strip().lower() == "true"
    )


def _identifier(node: Node) -> ObjectIdentifier:
    key = node.text_of("Key")
    if not key:
        raise S3Error("MalformedXML")
    return ObjectIdentifier(key, (node.text_of("VersionId") or "").strip(), _conditions(node))


def _conditions(node: Node) -> Conditions:
    etag, modified, size = (node.text_of(name) for name in ("ETag", "LastModifiedTime", "Size"))
    if etag is None and modified is None and size is None:
        return ANY
    return Conditions(
        bare_etag(etag or ""),
        "",
        parse_modified(modified) if modified else -1,
        parse_size(size) if size else -1,
    )


def read_parts(raw: bytes) -> tuple[NamedPart, ...]:
    """The document of CompleteMultipartUpload: its parts as they stand there. MalformedXML, InvalidArgument.

    A number that follows itself with another ETag is a part that was sent again: the later one counts.
    """
    root = root_of(raw, "CompleteMultipartUpload")
    nodes = [child for child in root.children if child.name == "Part"]
    if not 1 <= len(nodes) <= PARTS_MAX:
        raise S3Error("MalformedXML")
    parts: list[NamedPart] = []
    for part in map(_part, nodes):
        if parts and parts[-1].number == part.number and parts[-1].etag != part.etag:
            parts.pop()
        parts.append(part)
    return tuple(parts)


def _part(node: Node) -> NamedPart:
    number, etag = node.text_of("PartNumber"), node.text_of("ETag")
    if number is None or etag is None or not _PART_NUMBER.fullmatch(number.strip()):
        raise S3Error("MalformedXML")
    if not 1 <= int(number) <= PARTS_MAX:
        raise S3Error("InvalidArgument", "PartNumber must be >= 1", ArgumentName="PartNumber")
    checksums = [text for name in _CHECKSUMS if (text := node.text_of(f"Checksum{name}"))]
    return NamedPart(int(number), bare_etag(etag), checksums[0].strip() if checksums else "")


def read_location(raw: bytes) -> str:
    """The region that CreateBucketConfiguration names; "" where it names none."""
    root = root_of(raw, "CreateBucketConfiguration")
    return (root.text_of("LocationConstraint") or "").strip()


def bare_etag(text: str) -> str:
    """An ETag without its quotes, in the spelling of our rows."""
    return text.strip().removeprefix('"').removesuffix('"')
