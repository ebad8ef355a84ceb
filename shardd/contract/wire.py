"""Owns the frames between a gateway and a shard server: header, body, payload; never a socket, never a meaning.

     0            4      5      6            8                            24           28
    +------------+------+------+------------+----------------------------+------------+
    | "\\x93QNF"  | vers | flag | operation  | cluster uuid               | epoch      |
    +------------+------+------+------------+----------------------------+------------+
    | body length u32    | payload length   | CRC32C of the 36 before    |
    +--------------------+------------------+----------------------------+
     28                   32                 36                         40
    | body: msgpack array of the operation's struct | payload: units as they are |

Big endian. The operation names the struct of the body; requests are below 0x4000, the hello is 0x40xx, replies are
0x80xx. The version stands outside the checksum's verdict: a frame of another version says so, and not "corrupt".
A payload is handed on in the chunks it came in, never joined: a mebibyte is too much to copy for tidiness.
"""

import struct
from collections.abc import Mapping
from typing import Any

import msgspec

from shardd.contract import hello, messages
from shardd.contract.blobs import EXTENT_SIZE_MAX, crc32c
from shardd.contract.errors import CorruptFrameError, TruncatedFrameError, UnsupportedVersionError

MAGIC = b"\x93QNF"
VERSION = 1
HEADER_SIZE = 40
CLUSTER_SIZE = 16
BODY_SIZE_MAX = 256 * 1024
PAYLOAD_SIZE_MAX = EXTENT_SIZE_MAX
HELLO_BODY_SIZE_MAX = 56 * 1024  # a proof with a datagram's padding; below what a session keeps of a stranger

_FIELDS = struct.Struct(">4sBBH16sIII")
_CRC = struct.Struct(">I")
_FLAGS_KNOWN = 0  # no flag has a meaning yet: a set one belongs to a later version


_REPLIES: Mapping[type, int] = {
    messages.Done: 0x8001,
    messages.Units: 0x8002,
    messages.Stat: 0x8003,
    messages.Page: 0x8004,
    messages.Status: 0x8005,
    messages.Failure: 0x80FF,
}
_REQUEST_TYPES = (
    messages.PutExtent,
    messages.GetUnits,
    messages.DeleteShards,
    messages.StatShard,
    messages.ListShards,
    messages.GetStatus,
)
_HELLO_TYPES = (hello.Challenge, hello.Proof, hello.Welcome)
_OPERATION_OF: dict[type, int] = {
    **{kind: kind.OPERATION for kind in _REQUEST_TYPES},
    **{kind: kind.OPERATION for kind in _HELLO_TYPES},
    **_REPLIES,
}
_ENCODER = msgspec.msgpack.Encoder()


class Frame(msgspec.Struct, frozen=True):
    """One decoded message. `payload`: its bytes in the chunks they came in, `payload_size` together."""

    body: Any
    cluster: bytes
    epoch: int
    payload: list[bytes]
    payload_size: int


class Grammar:
    """The operations that one side of one stream understands, and how large each may be."""

    __slots__ = ("body_size_max", "decoders", "payload_size_max")

    def __init__(self, operations: Mapping[int, type], *, body_size_max: int, payload_size_max: int) -> None:
        self.decoders: dict[int, msgspec.msgpack.Decoder[Any]] = {
            code: msgspec.msgpack.Decoder(kind) for code, kind in operations.items()
        }
        self.body_size_max = body_size_max
        self.payload_size_max = payload_size_max


REQUEST = Grammar(
    {kind.OPERATION: kind for kind in _REQUEST_TYPES},
    body_size_max=BODY_SIZE_MAX,
    payload_size_max=PAYLOAD_SIZE_MAX,
)
REPLY = Grammar(
    {code: kind for kind, code in _REPLIES.items()},
    body_size_max=BODY_SIZE_MAX,
    payload_size_max=PAYLOAD_SIZE_MAX,
)
HELLO = Grammar(
    {kind.OPERATION: kind for kind in _HELLO_TYPES}, body_size_max=HELLO_BODY_SIZE_MAX, payload_size_max=0
)


def encode(body: object, *, cluster: bytes, epoch: int = 0, payload_size: int = 0) -> bytes:
    """Header and body of a message; `payload_size` bytes of payload must follow it on the stream."""
    packed = _ENCODER.encode(body)
    assert len(packed) <= BODY_SIZE_MAX and payload_size <= PAYLOAD_SIZE_MAX, (
        "a message of ours keeps the limits"
    )
    fields = _FIELDS.pack(
        MAGIC, VERSION, 0, _OPERATION_OF[type(body)], cluster, epoch, len(packed), payload_size
    )
    return fields + _CRC.pack(crc32c(fields)) + packed


class _Header(msgspec.Struct, frozen=True):
    decoder: msgspec.msgpack.Decoder[Any]
    cluster: bytes
    epoch: int
    body_size: int
    payload_size: int


def _parse_header(data: bytes, grammar: Grammar) -> _Header:
    magic, version, flags, operation, cluster, epoch, body_size, payload_size = _FIELDS.unpack_from(data)
    if magic != MAGIC:
        raise CorruptFrameError("these bytes are not a frame: wrong magic")
    if version != VERSION:
        raise UnsupportedVersionError(f"frame version {version}; this side speaks {VERSION}")
    if _CRC.unpack_from(data, _FIELDS.size)[0] != crc32c(data[: _FIELDS.size]):
        raise CorruptFrameError("the header fails its checksum")
    decoder = grammar.decoders.get(operation)
    if decoder is None or flags & ~_FLAGS_KNOWN:
        raise CorruptFrameError(f"operation {operation:#06x} with flags {flags:#04x} is not understood here")
    if body_size > grammar.body_size_max or payload_size > grammar.payload_size_max:
        raise CorruptFrameError(f"body of {body_size} and payload of {payload_size} bytes exceed the limits")
    return _Header(decoder, cluster, epoch, body_size, payload_size)


class Decoder:
    """Bytes in, one frame out. `held` is what it keeps of a frame that is not whole; never more than the limits."""

    __slots__ = ("_frame", "_grammar", "_head", "_header", "_missing", "_needed")

    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar
        self._head = bytearray()
        self._header: _Header | None = None
        self._needed = HEADER_SIZE
        self._frame: Frame | None = None
        self._missing = 0

    @property
    def payload_size(self) -> int:
        """The announced size of the payload in bytes; 0 as long as the header is not here."""
        return self._header.payload_size if self._header else 0

    def feed(self, data: bytes) -> Frame | None:
        """Takes the next bytes; gives the frame once it is whole.

        Raises CorruptFrameError, UnsupportedVersionError; the decoder is of no use after either.
        """
        if self._frame is None:
            data = self._feed_head(data)
        if self._frame is None:
            return None
        if data:
            self._missing -= len(data)
            self._frame.payload.append(data)
            if self._missing < 0:
                raise CorruptFrameError("there are bytes after the end of the frame")
        return self._frame if self._missing == 0 else None

    def finish(self) -> Frame:
        """The frame, at the end of its stream; raises TruncatedFrameError where something is missing."""
        if self._frame is None or self._missing:
            raise TruncatedFrameError("the stream ended in the middle of a frame")
        return self._frame

    def _feed_head(self, data: bytes) -> bytes:
        """Collects header and body; gives what of `data` is payload."""
        if self._head or len(data) < self._needed:
            self._head += data
            if len(self._head) < self._needed:
                return b""
            data = bytes(self._head)
        if self._header is None:
            self._header = _parse_header(data, self._grammar)
            self._needed = HEADER_SIZE + self._header.body_size
            if len(data) < self._needed:
                self._head = bytearray(data)
                return b""
        header, rest = self._header, data[self._needed :]
        body = _decode_body(header.decoder, data[HEADER_SIZE : self._needed])
        self._frame = Frame(body, header.cluster, header.epoch, [], header.payload_size)
        self._missing = header.payload_size
        self._head = bytearray()
        return rest


def _decode_body(decoder: msgspec.msgpack.Decoder[Any], data: bytes) -> object:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise CorruptFrameError(f"the body is not what its operation asks for: {error}") from None
