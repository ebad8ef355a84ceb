"""Owns the framing of multipart/form-data: from its bytes to parts, strictly; never what a part means.

Source: RFC 7578 and RFC 2046, 5.1. The verdict is the same wherever the bytes are cut, which the libraries at hand
do not promise: they judge a preamble and an epilogue by the piece that these come in.

    body   --boundary CRLF part  [CRLF --boundary CRLF part] ...  CRLF --boundary--  [epilogue]
    part   Content-Disposition: form-data; name="..."[; filename="..."] CRLF  [other headers]  CRLF  bytes
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from s3d.protocol.errors import S3Error

BOUNDARY_LENGTH_MAX: Final = 70  # RFC 2046, 5.1.1
PART_HEADERS_MAX: Final = 8
PART_HEADERS_BYTES_MAX: Final = 4_096
EPILOGUE_BYTES_MAX: Final = 4_096

_FORM_DATA: Final = "multipart/form-data"
_BOUNDARY_PARAMETER: Final = re.compile(
    r""";[ \t]*boundary=(?:"([^"]*)"|([^\s;"]+))[ \t]*(?=;|\Z)""", re.ASCII | re.IGNORECASE
)
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]*[0-9A-Za-z'()+_,\-./:=?]", re.ASCII)
_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_QUOTED: Final = r'"((?:[^"\\]|\\.)*)"'
_DISPOSITION: Final = re.compile(
    rf"form-data[ \t]*;[ \t]*name={_QUOTED}(?:[ \t]*;[ \t]*filename={_QUOTED})?[ \t]*", re.IGNORECASE
)
_UNENCODED: Final = frozenset(("7bit", "8bit", "binary"))


@dataclass(frozen=True, slots=True)
class Part:
    """The beginning of one part. `filename` is None where it has none; `size_bytes`: of its headers."""

    name: str
    filename: str | None
    size_bytes: int


class PartEnd(Enum):
    """The end of the part that began last."""

    WHOLE = "whole"


Event = Part | bytes | PartEnd


class _State(Enum):
    """What the next bytes are."""

    FIRST_BOUNDARY = 1
    BEHIND_BOUNDARY = 2
    HEADERS = 3
    BYTES = 4
    EPILOGUE = 5


def is_form(content_type: str) -> bool:
    """Whether a Content-Type says that the body is a form."""
    return content_type.partition(";")[0].strip(" \t").lower() == _FORM_DATA


def boundary_of(content_type: str) -> bytes:
    """The boundary that a form's Content-Type names. Raises MalformedPOSTRequest."""
    found = _BOUNDARY_PARAMETER.findall(content_type)
    boundary = found[0][0] or found[0][1] if len(found) == 1 else ""
    if len(boundary) > BOUNDARY_LENGTH_MAX or not _BOUNDARY.fullmatch(boundary):
        raise malformed("The Content-Type names no boundary of 1 to 70 characters.")
    return boundary.encode("ascii")


class FormParser:
    """Bytes of a form in, events out: a Part, its bytes in pieces, its PartEnd, and so on.

    It holds no more than the headers of one part.
    """

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._buffer = b"\r\n"  # what the first boundary lacks to be like the others
        self._at = 0  # what is before it in the buffer is done with
        self._state = _State.FIRST_BOUNDARY
        self._epilogue_bytes = 0

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events in the next bytes, all to be taken. Raises MalformedPOSTRequest where something is wrong.

        One by one, so that what is wrong first is said first, wherever the bytes are cut.
        """
        self._buffer = self._buffer[self._at :] + data
        self._at = 0
        events: list[Event] = []
        more = True
        while more:
            more = self._step(events)
            yield from events
            events.clear()

    def finish(self) -> None:
        """The body has come to its end. Raises MalformedPOSTRequest where the form has not."""
        if self._state is not _State.EPILOGUE:
            raise malformed()

    def _step(self, events: list[Event]) -> bool:
        """Take what is next; False where more bytes must come first."""
        match self._state:
            case _State.FIRST_BOUNDARY:
                return self._take_first_boundary()
            case _State.BEHIND_BOUNDARY:
                return self._take_behind_boundary()
            case _State.HEADERS:
                return self._take_headers(events)
            case _State.BYTES:
                return self._take_bytes(events)
            case _State.EPILOGUE:
                return self._take_epilogue()

    def _take_first_boundary(self) -> bool:
        delimiter = self._delimiter
        begun = self._buffer[: len(delimiter)]
        if not delimiter.startswith(begun):
            raise malformed("It does not begin with its boundary.")
        if len(begun) < len(delimiter):
            return False
        self._go_on(len(delimiter), _State.BEHIND_BOUNDARY)
        return True

    def _take_behind_boundary(self) -> bool:
        follows = self._buffer[self._at : self._at + 2]
        if len(follows) < 2:
            return False
        if follows not in (b"\r\n", b"--"):
            raise malformed("A boundary is followed by something else than a line.")
        self._go_on(self._at + 2, _State.HEADERS if follows == b"\r\n" else _State.EPILOGUE)
        return True

    def _take_headers(self, events: list[Event]) -> bool:
        end = self._buffer.find(b"\r\n\r\n", self._at)
        size_bytes = (len(self._buffer) - 3 if end < 0 else end) - self._at
        if size_bytes > PART_HEADERS_BYTES_MAX:
            raise malformed("The headers of a part are too long.")
        if end < 0:
            return False
        events.append(_part(self._buffer[self._at : end]))
        self._go_on(end + 4, _State.BYTES)
        return True

    def _take_bytes(self, events: list[Event]) -> bool:
        buffer, delimiter = self._buffer, self._delimiter
        end = buffer.find(delimiter, self._at)
        whole = end >= 0
        if not whole:
            end = self._begun_delimiter()
        if end > self._at:
            events.append(buffer[self._at : end])
        self._go_on(end, _State.BYTES)
        if whole:
            events.append(PartEnd.WHOLE)
            self._go_on(end + len(delimiter), _State.BEHIND_BOUNDARY)
        return whole

    def _begun_delimiter(self) -> int:
        """Where in the buffer a delimiter begins that does not end in it; its length where none does."""
        buffer, delimiter = self._buffer, self._delimiter
        begun = buffer.rfind(b"\r", max(self._at, len(buffer) - len(delimiter) + 1))
        # A boundary has no CR, so that the last one decides.
        return begun if begun >= 0 and delimiter.startswith(buffer[begun:]) else len(buffer)

    def _take_epilogue(self) -> bool:
        self._epilogue_bytes += len(self._buffer) - self._at
        if self._epilogue_bytes > EPILOGUE_BYTES_MAX:
            raise malformed("Too much follows its end.")
        self._go_on(len(self._buffer), _State.EPILOGUE)
        return False

    def _go_on(self, at: int, state: _State) -> None:
        self._at, self._state = at, state


def _part(block: bytes) -> Part:
    """The part that begins with such headers, the last without its line break."""
    try:
        lines = block.decode().split("\r\n")
    except UnicodeDecodeError as error:
        raise malformed("A header of a part is not UTF-8.") from error
    headers: dict[str, str] = {}
    for line in lines:
        found = _HEADER.fullmatch(line)
        if found is None or (name := found[1].lower()) in headers or len(headers) == PART_HEADERS_MAX:
            raise malformed("The headers of a part are too many, repeated or not of their form.")
        headers[name] = found[2]
    disposition = _DISPOSITION.fullmatch(headers.get("content-disposition", ""))
    if disposition is None:
        raise malformed("A part has no Content-Disposition of form-data with a name.")
    if headers.get("content-transfer-encoding", "binary").lower() not in _UNENCODED:
        raise malformed("The bytes of a part are encoded.")
    name, filename = disposition.groups()
    return Part(_unquoted(name), None if filename is None else _unquoted(filename), len(block))


def _unquoted(text: str) -> str:
    """A quoted name as its sender meant it: a quotation mark comes as %22, or with a backslash before it."""
    return text.replace('\\"', '"').replace("%22", '"')


def malformed(why: str = "") -> S3Error:
    """The error for a body that is no such form; `why` is a sentence."""
    message = "The body of your POST request is not well-formed multipart/form-data."
    return S3Error("MalformedPOSTRequest", f"{message} {why}".rstrip())
