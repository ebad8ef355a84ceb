"""Owns what a request makes its answer depend on: conditions, ranges, HTTP dates; never what is stored.

Source: RFC 9110, sections 8.8, 13 and 14, and where S3 differs, the S3 API reference: an ETag may come without its
quotes, a Range that S3 cannot read is ignored, and a PUT knows two conditions only.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache
from typing import Final

from s3d.protocol.errors import S3Error

ETAGS_MAX: Final = 64
COPY_SOURCE_PREFIX: Final = "x-amz-copy-source-"

_ETAG: Final = re.compile(r'\s*(?:(W/)?"([!#-~]*)"|([!#-+\--~]+))\s*(?:,|$)', re.ASCII)
_RANGE: Final = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})", re.ASCII | re.IGNORECASE)
_SIZE: Final = re.compile(r"[0-9]{1,15}", re.ASCII)
_COPY_RANGE: Final = re.compile(r"bytes=([0-9]{1,19})-([0-9]{1,19})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Tags:
    """The entity tags of a condition, without quotes. `weak` are those that came as W/"..."; `anything`: a star."""

    anything: bool = False
    strong: tuple[str, ...] = ()
    weak: tuple[str, ...] = ()

    def strongly(self, etag: str) -> bool:
        """Whether an existing `etag` is one of them, byte for byte the same (If-Match)."""
        return self.anything or etag in self.strong

    def weakly(self, etag: str) -> bool:
        """Whether an existing `etag` is one of them, weak or not (If-None-Match)."""
        return self.anything or etag in self.strong or etag in self.weak


@dataclass(frozen=True, slots=True)
class WriteConditions:
    """What a write asks of the live object: each an ETag without quotes, "*", or "" where nothing is asked."""

    if_match: str = ""
    if_none_match: str = ""


def parse_tags(value: str) -> Tags:
    """The entity tags of If-Match or If-None-Match; what is none of them matches nothing. Raises InvalidArgument."""
    if value.strip() == "*":
        return Tags(anything=True)
    strong: list[str] = []
    weak: list[str] = []
    position = 0
    while position < len(value):
        found = _ETAG.match(value, position)
        if found is None or len(strong) + len(weak) >= ETAGS_MAX:
            raise S3Error("InvalidArgument", "An entity tag is not well-formed.")
        (weak if found[1] else strong).append(found[2] if found[2] is not None else found[3])
        position = found.end()
    return Tags(strong=tuple(strong), weak=tuple(weak))


def check_read(headers: Mapping[str, str], *, etag: str, modified_s: int) -> None:
    """Hold a GET or HEAD of an existing object against its conditions, in the order of RFC 9110, 13.2.2.

    `etag` without quotes; `modified_s` seconds since 1970, as Last-Modified shows it. Raises PreconditionFailed
    (412) and NotModified (304, with the headers that it must carry).
    """
    if "if-match" in headers:
        if not parse_tags(headers["if-match"]).strongly(etag):
            raise S3Error("PreconditionFailed", Condition="If-Match")
    elif _changed_since(headers.get("if-unmodified-since"), modified_s):
        raise S3Error("PreconditionFailed", Condition="If-Unmodified-Since")
    if "if-none-match" in headers:
        unchanged = parse_tags(headers["if-none-match"]).weakly(etag)
    else:
        unchanged = _unchanged_since(headers.get("if-modified-since"), modified_s)
    if unchanged:
        raise S3Error("NotModified", headers={"ETag": f'"{etag}"', "Last-Modified": http_date(modified_s)})


def check_copy_source(headers: Mapping[str, str], *, etag: str, modified_s: int) -> None:
    """Hold the source of a copy against x-amz-copy-source-if-*. Raises PreconditionFailed (412) for any."""
    conditions = {
        name.removeprefix(COPY_SOURCE_PREFIX): value
        for name, value in headers.items()
        if name.startswith(f"{COPY_SOURCE_PREFIX}if-")
    }
    try:
        check_read(conditions, etag=etag, modified_s=modified_s)
    except S3Error as error:
        if error.code == "NotModified":
            raise S3Error("PreconditionFailed") from error
        raise


def read_write_conditions(headers: Mapping[str, str]) -> WriteConditions:
    """The conditions of PutObject, CompleteMultipartUpload, CopyObject and DeleteObject.

    If-None-Match takes an ETag as well as a star (RFC 9110, 13.1.2; S3 documents the star only). Raises
    NotImplemented (501) for the forms that no write takes: more than one ETag, a weak one, both headers at once.
    """
    match, none_match = headers.get("if-match"), headers.get("if-none-match")
    if match is not None and none_match is not None:
        raise S3Error("NotImplemented", Header="If-None-Match")
    if none_match is not None:
        return WriteConditions(if_none_match=_one_tag(none_match, "If-None-Match"))
    return WriteConditions(if_match=_one_tag(match, "If-Match")) if match is not None else WriteConditions()


def _one_tag(value: str, header: str) -> str:
    tags = parse_tags(value)
    if tags.anything:
        return "*"
    if len(tags.strong) != 1 or tags.weak:
        raise S3Error("NotImplemented", Header=header)
    return tags.strong[0]


def parse_modified(value: str) -> int:
    """Seconds since 1970 of the Last-Modified that a delete asks for. Raises InvalidArgument."""
    modified_s = parse_http_date(value.strip())
    if modified_s is None or modified_s < 0:
        raise S3Error("InvalidArgument", "The last modified time is not a date.", ArgumentValue=value[:64])
    return modified_s


def parse_size(value: str) -> int:
    """The bytes that a delete asks the object to have. Raises InvalidArgument."""
    if not _SIZE.fullmatch(value.strip()):
        raise S3Error("InvalidArgument", "The size is not a number of bytes.", ArgumentValue=value[:64])
    return int(value)


def parse_range(value: str, size: int) -> tuple[int, int] | None:
    """(first byte, byte after the last) of a Range header on `size` bytes; None where it is to be ignored.

    S3 serves one range; several, other units and what is malformed get the whole object. Raises InvalidRange (416)
    where the range begins after the end, or is empty.
    """
    found = _RANGE.fullmatch(value.strip(" \t"))
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        start, stop = max(0, size - int(found[2])), size
    else:
        start = int(found[1])
        stop = min(size, int(found[2]) + 1) if found[2] else size
        if found[2] and int(found[2]) < start:
            return None
    if start >= stop:
        raise S3Error(
            "InvalidRange",
            headers={"Content-Range": f"bytes */{size}"},
            RangeRequested=value,
            ActualObjectSize=str(size),
        )
    return start, stop


def parse_copy_range(value: str, size: int) -> tuple[int, int]:
    """(first byte, byte after the last) of x-amz-copy-source-range, which S3 reads strictly.

    Raises InvalidArgument, and InvalidRange (416) for bytes that the source has not.
    """
    found = _COPY_RANGE.fullmatch(value)
    if found is None or int(found[1]) > int(found[2]):
        raise S3Error(
            "InvalidArgument",
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the "
            "zero-based offsets of the first and last bytes to copy",
            ArgumentName="x-amz-copy-source-range",
            ArgumentValue=value,
        )
    if int(found[2]) >= size:
        raise S3Error(
            "InvalidRange",
            f"Range specified is not valid for source object of size: {size}",
            RangeRequested=value,
        )
    return int(found[1]), int(found[2]) + 1


def range_applies(headers: Mapping[str, str], *, etag: str, modified_s: int) -> bool:
    """Whether If-Range, where there is one, lets Range count: the client's part is of this very object (13.1.5)."""
    value = headers.get("if-range")
    if value is None:
        return True
    date_s = parse_http_date(value)
    if date_s is not None:
        return date_s == modified_s
    return value.strip() in (f'"{etag}"', etag)


def _changed_since(value: str | None, modified_s: int) -> bool:
    date_s = None if value is None else parse_http_date(value)
    return date_s is not None and modified_s > date_s


def _unchanged_since(value: str | None, modified_s: int) -> bool:
    date_s = None if value is None else parse_http_date(value)
    return date_s is not None and modified_s <= date_s


@lru_cache(maxsize=1_024)
def http_date(time_s: int) -> str:
    """A time in seconds since 1970 as Last-Modified has it (RFC 9110, 5.6.7)."""
    return formatdate(time_s, usegmt=True)


def parse_http_date(value: str) -> int | None:
    """Seconds since 1970 of an HTTP date, or of the ISO form that S3 takes as well; None for anything else."""
    try:
        date = datetime.fromisoformat(value) if value[:1].isdigit() else parsedate_to_datetime(value)
        return int((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp())
    except (ValueError, TypeError, OverflowError):
        return None
