"""Owns what a set of tags may be, and how headers and documents write one; never what is tagged."""

import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import parse_qsl

from s3d.protocol.documents import root_of
from s3d.protocol.errors import S3Error
from s3d.protocol.xml import S3_NAMESPACE, XML_DECLARATION, escape

OBJECT_TAGS_MAX: Final = 10
BUCKET_TAGS_MAX: Final = 50
KEY_LENGTH_MAX: Final = 128
VALUE_LENGTH_MAX: Final = 256
HEADER_LENGTH_MAX: Final = 8_192
SYSTEM_PREFIX: Final = "aws:"

# Letters, digits and spaces of any script, and these signs (AWS, "Tag naming limits and requirements").
_ALLOWED: Final = re.compile(r"[\w \xa0+\-=.:/@]*")


def read_tag_header(value: str) -> dict[str, str]:
    """The tags of x-amz-tagging, which is a query string. Raises InvalidArgument, InvalidTag."""
    try:
        if len(value) > HEADER_LENGTH_MAX:
            raise ValueError("too long")
        pairs = parse_qsl(
            value, keep_blank_values=True, errors="strict", max_num_fields=OBJECT_TAGS_MAX * 2, separator="&"
        )
    except ValueError as error:
        raise S3Error(
            "InvalidArgument",
            "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag "
            "name duplicates.",
            ArgumentName="x-amz-tagging",
        ) from error
    return _checked(pairs, most=OBJECT_TAGS_MAX)


def read_tag_document(raw: bytes, *, most: int) -> dict[str, str]:
    """The tags of a Tagging document, `most` of them at most. Raises MalformedXML, InvalidTag."""
    tag_set = root_of(raw, "Tagging").find("TagSet")
    if tag_set is None:
        raise S3Error("MalformedXML")
    pairs: list[tuple[str, str]] = []
    for node in tag_set.children:
        key, value = node.text_of("Key"), node.text_of("Value")
        if node.name != "Tag" or key is None or value is None:
            raise S3Error("MalformedXML")
        pairs.append((key, value))
    return _checked(pairs, most=most)


def write_tags(tags: Mapping[str, str]) -> bytes:
    """The Tagging document."""
    listed = "".join(
        f"<Tag><Key>{escape(key)}</Key><Value>{escape(value)}</Value></Tag>" for key, value in tags.items()
    )
    return f'{XML_DECLARATION}<Tagging xmlns="{S3_NAMESPACE}"><TagSet>{listed}</TagSet></Tagging>'.encode()


def _checked(pairs: Iterable[tuple[str, str]], *, most: int) -> dict[str, str]:
    """The tags in order of their keys. Raises InvalidTag."""
    tags: dict[str, str] = {}
    for key, value in pairs:
        if not 1 <= len(key) <= KEY_LENGTH_MAX or not _ALLOWED.fullmatch(key):
            raise S3Error(
                "InvalidTag", "The TagKey you have provided is invalid", TagKey=key[:KEY_LENGTH_MAX]
            )
        if len(value) > VALUE_LENGTH_MAX or not _ALLOWED.fullmatch(value):
            raise S3Error("InvalidTag", "The TagValue you have provided is invalid", TagKey=key)
        if key.lower().startswith(SYSTEM_PREFIX):
            raise S3Error("InvalidTag", "System tags cannot be added/updated by requester", TagKey=key)
        if key in tags:
            raise S3Error("InvalidTag", "Cannot provide multiple Tags with the same key", TagKey=key)
        tags[key] = value
    if len(tags) > most:
        raise S3Error("InvalidTag", f"There cannot be more than {most} tags.")
    return dict(sorted(tags.items()))
