"""Owns a second reading of HTTP/1.1 (RFC 9112), as strict as its grammar: where requests begin and end."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

# More than one space is one mark between words to any reader that takes it at all (RFC 9112, 3).
_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) +([\x21-\x7e]+) +HTTP/1\.([01])")
_FIELD = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*((?:[\x21-\x7e\x80-\xff][\x20-\x7e\x80-\xff\t]*)?)"
)
_CHUNK = re.compile(rb"0*([0-9A-Fa-f]{1,16})(?:[ \t]*;[\x20-\x7e\x80-\xff\t]*)?")
_LENGTH = re.compile(rb"[0-9]{1,19}")

Fields = dict[bytes, list[bytes]]


class NotHttpError(Exception):
    """From here on nobody can say for sure what is meant."""


@dataclass(frozen=True, slots=True)
class Strict:
    """One request. `body`: what is there of it; `whole`: that is all of it."""

    method: str
    target: str
    body: bytes
    whole: bool


def read(data: bytes) -> tuple[list[Strict], bool]:
    """The requests of a connection that brings these bytes and no more, and whether nothing is wrong with it.

    What follows a request that ends the connection is no request.
    """
    found = list[Strict]()
    try:
        for request in _requests(data):
            found.append(request)
    except NotHttpError:
        return found, False
    return found, True


def _requests(data: bytes) -> Iterator[Strict]:
    at = 0
    while True:
        while data[at : at + 1] in (b"\r", b"\n"):  # before a request they mean nothing (RFC 9112, 2.2)
            at += 1
        if at == len(data):
            return
        line, at = _line(data, at)
        matched = _LINE.fullmatch(line)
        if not matched:
            raise NotHttpError("a request line")
        method, target, minor = matched.groups()
        fields, at = _fields(data, at)
        if len(fields.get(b"host", [])) != 1 and (minor == b"1" or b"host" in fields):
            raise NotHttpError("one Host")
        body, whole, at = _body(data, at, fields, minor=minor)
        yield Strict(method.decode(), target.decode(), body, whole)
        options = [word.strip().lower() for word in b",".join(fields.get(b"connection", [])).split(b",")]
        if b"transfer-encoding" in fields:  # the store takes nothing behind chunks
            return
        if not whole or b"close" in options or (minor == b"0" and b"keep-alive" not in options):
            return


def _line(data: bytes, at: int) -> tuple[bytes, int]:
    end = data.find(b"\r\n", at)
    if end < 0:
        raise NotHttpError("no end of a line")
    return data[at:end], end + 2


def _fields(data: bytes, at: int) -> tuple[Fields, int]:
    fields: Fields = {}
    while True:
        line, at = _line(data, at)
        if not line:
            return fields, at
        matched = _FIELD.fullmatch(line)
        if not matched:
            raise NotHttpError("a field")
        fields.setdefault(matched[1].lower(), []).append(matched[2].rstrip(b" \t"))


def _body(data: bytes, at: int, fields: Fields, *, minor: bytes) -> tuple[bytes, bool, int]:
    lengths, codings = fields.get(b"content-length", []), fields.get(b"transfer-encoding", [])
    if codings:
        if lengths or minor == b"0" or [each.lower() for each in codings] != [b"chunked"]:
            raise NotHttpError("a framing")  # RFC 9112, 6.1
        return _chunks(data, at)
    if not lengths:
        return b"", True, at
    if len(lengths) != 1 or not _LENGTH.fullmatch(lengths[0]):
        raise NotHttpError("a length")
    end = at + int(lengths[0])
    return data[at:end], end <= len(data), end


def _chunks(data: bytes, at: int) -> tuple[bytes, bool, int]:
    """A chunked body; one that is cut short or wrong is not whole, and what comes behind it is nobody's."""
    body = b""
    try:
        while True:
            line, at = _line(data, at)
            matched = _CHUNK.fullmatch(line)
            if not matched:
                return body, False, at
            size = int(matched[1], 16)
            if not size:
                _, at = _fields(data, at)
                return body, True, at
            body += data[at : at + size]
            at += size
            if data[at : at + 2] != b"\r\n":
                return body, False, at
            at += 2
    except NotHttpError:
        return body, False, at
