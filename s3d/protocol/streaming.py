"""Owns the aws-chunked body: from its bytes to those of the object, every chunk's length and signature checked.

Source: "Signature calculations: transferring payload in multiple chunks", S3 API reference.

    chunk    size in hexadecimal [;chunk-signature=64 hexadecimal digits] CRLF  data  CRLF
    body     chunk ...  a chunk of 0 without its data and CRLF  [trailer ...]  CRLF
    trailer  name:value CRLF; the last, where chunks are signed, is x-amz-trailer-signature:64 hexadecimal digits

Bytes are handed on as they come, and the signature of their chunk is checked at its end. That is safe since nothing
is committed before `finish` has said that the body is whole; it keeps a decoder's memory at one line.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Final

from s3d.protocol.errors import S3Error
from s3d.protocol.signature import PayloadMode, Verified
from s3d.protocol.sigv4 import sign

CHUNK_SIZE_BYTES_MAX: Final = 16 << 20
LINE_SIZE_BYTES_MAX: Final = 4_096
TRAILERS_MAX: Final = 8
TRAILER_SIZE_BYTES_MAX: Final = 8_192

_LENGTH: Final = re.compile(r"[0-9]{1,19}", re.ASCII)
_SIGNED_CHUNK: Final = re.compile(rb"([0-9a-fA-F]{1,16});chunk-signature=([0-9a-f]{64})\r\n")
_UNSIGNED_CHUNK: Final = re.compile(rb"([0-9a-fA-F]{1,16})\r\n")
_TRAILER: Final = re.compile(rb"([A-Za-z0-9-]{1,128}):([\x20-\x7e]*?)\r?\n")
_TRAILER_SIGNATURE: Final = b"x-amz-trailer-signature"
_EMPTY_SHA256: Final = hashlib.sha256().hexdigest()

_CHUNKED: Final = frozenset(
    (PayloadMode.SIGNED_CHUNKS, PayloadMode.SIGNED_CHUNKS_TRAILER, PayloadMode.UNSIGNED_CHUNKS_TRAILER)
)
_TRAILED: Final = frozenset((PayloadMode.SIGNED_CHUNKS_TRAILER, PayloadMode.UNSIGNED_CHUNKS_TRAILER))

# What the next bytes are.
_SIZE, _DATA, _DATA_END, _TRAILERS, _DONE = range(5)


def decoder(verified: Verified, headers: Mapping[str, str]) -> "AwsChunkedDecoder | None":
    """The decoder for a request's body; None where the body is the object's bytes as they are.

    Raises MissingContentLength (411) without x-amz-decoded-content-length, InvalidRequest for trailers that we do
    not know or that the payload mode has not.
    """
    declared = frozenset(
        name for each in headers.get("x-amz-trailer", "").split(",") if (name := each.strip().lower())
    )
    if verified.payload not in _TRAILED and declared:
        raise S3Error("InvalidRequest", "The x-amz-trailer header needs a payload with a trailer.")
    if verified.payload not in _CHUNKED:
        return None
    if len(declared) > TRAILERS_MAX or any(not name.startswith("x-amz-checksum-") for name in declared):
        raise S3Error("InvalidRequest", "The value specified in the x-amz-trailer header is not supported")
    return AwsChunkedDecoder(verified, decoded_length(headers), declared=declared)


def decoded_length(headers: Mapping[str, str]) -> int:
    """Bytes of the object in an aws-chunked body. Raises MissingContentLength (411), InvalidArgument (400)."""
    value = headers.get("x-amz-decoded-content-length")
    if value is None:
        raise S3Error("MissingContentLength")
    if not _LENGTH.fullmatch(value):
        raise S3Error("InvalidArgument", ArgumentName="x-amz-decoded-content-length", ArgumentValue=value)
    return int(value)


class AwsChunkedDecoder:
    """Bytes of the body in, bytes of the object out; never more of them than `decoded_length`."""

    def __init__(self, verified: Verified, decoded_length: int, *, declared: frozenset[str]) -> None:
        """`declared` are the names of the x-amz-trailer header, in lower case."""
        self._chain = None if verified.payload is PayloadMode.UNSIGNED_CHUNKS_TRAILER else _Chain(verified)
        self._declared = declared
        self._trailed = verified.payload in _TRAILED
        self.size = decoded_length  # of the object, as announced
        self._left = decoded_length
        self._rest = 0  # of this chunk
        self._state = _SIZE
        self._line = b""  # the beginning of a line whose end has not come
        self._trailers: dict[str, str] = {}
        self._trailer_size_bytes = 0
        self._signed_trailers = False
        self._gap = False  # an empty line has come before the trailer's signature

    def feed(self, data: bytes) -> list[bytes]:
        """The object's bytes in `data`, in order, in pieces. Raises S3Error as soon as something is wrong."""
        pieces: list[bytes] = []
        position, end = 0, len(data)
        while position < end:
            if self._state == _DATA:
                stop = min(position + self._rest, end)
                piece = data if stop - position == end else data[position:stop]
                if self._chain is not None:
                    self._chain.update(piece)
                pieces.append(piece)
                self._rest -= stop - position
                position = stop
                if self._rest == 0:
                    self._end_chunk()
            else:
                position = self._take_line(data, position)
        return pieces

    def finish(self) -> dict[str, str]:
        """The trailers, by lower-case name, of a body that has come to its end. Raises IncompleteBody otherwise."""
        if self._state != _DONE:
            raise _incomplete()
        return self._trailers

    def _take_line(self, data: bytes, position: int) -> int:
        """Act on the line that starts at `position`, if all of it is here; where the next bytes are."""
        newline = data.find(b"\n", position, position + LINE_SIZE_BYTES_MAX)
        stop = newline + 1 if newline >= 0 else len(data)
        if len(self._line) + stop - position > LINE_SIZE_BYTES_MAX:
            raise _malformed("a line is too long")
        line = self._line + data[position:stop]
        if newline < 0:
            self._line = line
            return stop
        self._line = b""
        if self._state == _SIZE:
            self._begin_chunk(line)
        elif self._state == _DATA_END:
            if line != b"\r\n":
                raise _malformed("a chunk is longer than it says")
            self._state = _SIZE
        elif self._state == _TRAILERS:
            self._trailer(line)
        else:
            raise _malformed("there is something after the end")
        return stop

    def _begin_chunk(self, line: bytes) -> None:
        found = (_UNSIGNED_CHUNK if self._chain is None else _SIGNED_CHUNK).fullmatch(line)
        if found is None:
            raise _malformed("a chunk's first line is not well-formed")
        size = int(found[1], 16)
        if size > CHUNK_SIZE_BYTES_MAX:
            raise S3Error("InvalidChunkSizeError", "A chunk is larger than 16 MiB.")
        if size > self._left:
            raise _incomplete()
        self._left -= size
        self._rest = size
        if self._chain is not None:
            self._chain.begin(found[2])
        if size:
            self._state = _DATA
        else:
            self._end_chunks()

    def _end_chunk(self) -> None:
        if self._chain is not None:
            self._chain.end()
        self._state = _DATA_END

    def _end_chunks(self) -> None:
        """After the chunk of 0: all the object's bytes must be here, and its own signature holds too."""
        if self._chain is not None:
            self._chain.end()
        if self._left:
            raise _incomplete()
        self._state = _TRAILERS

    def _trailer(self, line: bytes) -> None:
        if line == b"\r\n":
            self._end_trailers()
            return
        found = _TRAILER.fullmatch(line)
        if found is None or self._signed_trailers or not self._trailed:
            raise S3Error("MalformedTrailerError")
        name, value = found[1].lower(), found[2].strip(b" ")
        if name == _TRAILER_SIGNATURE and self._chain is not None:
            self._chain.end_trailers(self._trailers, value)
            self._signed_trailers = True
            return
        self._trailer_size_bytes += len(line)
        text = name.decode("ascii")
        if (
            text not in self._declared
            or text in self._trailers
            or self._trailer_size_bytes > TRAILER_SIZE_BYTES_MAX
        ):
            raise S3Error("MalformedTrailerError")
        self._trailers[text] = value.decode("ascii")

    def _end_trailers(self) -> None:
        """At an empty line: the end, but that Go clients put one before the trailer's signature, as S3's page does."""
        if self._chain is not None and self._trailed and not self._signed_trailers:
            if self._gap:
                raise S3Error("SignatureDoesNotMatch", "The signature of the trailer is missing.")
            self._gap = True
            return
        if self._declared != self._trailers.keys():
            raise S3Error("MalformedTrailerError")
        self._state = _DONE


class _Chain:
    """The chain of signatures: each covers the one before it, the first that of the request."""

    __slots__ = ("_claimed", "_hash", "_key", "_prefix", "_previous")

    def __init__(self, verified: Verified) -> None:
        self._key = verified.signing_key
        self._prefix = f"{verified.amz_date}\n{verified.scope}\n"
        self._previous = verified.signature
        self._claimed = ""
        self._hash = hashlib.sha256()

    def begin(self, claimed: bytes) -> None:
        self._claimed = claimed.decode("ascii")
        self._hash = hashlib.sha256()

    def update(self, data: bytes) -> None:
        self._hash.update(data)

    def end(self) -> None:
        content = f"{_EMPTY_SHA256}\n{self._hash.hexdigest()}"
        self._check("AWS4-HMAC-SHA256-PAYLOAD", content, claimed=self._claimed)

    def end_trailers(self, trailers: Mapping[str, str], claimed: bytes) -> None:
        lines = "".join(f"{name}:{value}\n" for name, value in trailers.items())
        content = hashlib.sha256(lines.encode("ascii")).hexdigest()
        self._check("AWS4-HMAC-SHA256-TRAILER", content, claimed=claimed.decode("ascii"))

    def _check(self, kind: str, content: str, *, claimed: str) -> None:
        expected = sign(self._key, f"{kind}\n{self._prefix}{self._previous}\n{content}")
        if not hmac.compare_digest(expected, claimed):
            raise S3Error("SignatureDoesNotMatch")
        self._previous = expected


def _incomplete() -> S3Error:
    return S3Error("IncompleteBody", "The request body terminated unexpectedly")


def _malformed(reason: str) -> S3Error:
    return S3Error("IncompleteBody", f"The aws-chunked body is not well-formed: {reason}.")
