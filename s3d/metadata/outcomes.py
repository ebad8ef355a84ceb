"""Owns what becomes of a command, and the bytes that the state remembers it as; never decides it (machine/ does)."""

from typing import ClassVar

import msgspec


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    """What became of a command. `error` is empty where it did what it says, else the name of an S3 error code."""

    OK: ClassVar[str] = ""
    error: str = OK
    index: int = 0  # where the command stands in the order of all
    version_id: str = ""  # "" in a bucket without versions
    delete_marker: bool = False
    etag: str = ""
    size: int = 0
    modified_us: int = 0
    incarnation: int = 0  # of the bucket that was created
    changed: bool = False
    detail: str = ""  # the part that an InvalidPart or EntityTooSmall is about
    checksums: dict[str, str] = {}
    results: tuple["Outcome", ...] = ()


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Outcome)


def encode_outcome(outcome: Outcome) -> bytes:
    """The msgpack of an outcome, as the state remembers it."""
    return _encoder.encode(outcome)


def decode_outcome(raw: bytes) -> Outcome:
    """The outcome that encode_outcome wrote."""
    return _decoder.decode(raw)
