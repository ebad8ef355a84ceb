"""Owns the bytes of a snapshot of the state, version 1, which can be cut or changed nowhere unseen; never a file.

    snapshot | head | frame | ... | frame of kind END |
    head     | "QuoinSnp" 8 B | version 1 B | index 8 B | made at 8 B, us since 1970 | CRC32C 4 B |
    frame    | kind 1 B | length 4 B | CRC32C of these 4 B | payload, `length` bytes | CRC32C 4 B |
      ROWS   | n 1 B | name of the table, n bytes | row | row | ... |
      row    | key length 2 B | value length 4 B | key | value |
      END    | number of rows 8 B | SHA-256 of all before this frame 32 B |

Integers are big endian. Each CRC goes on from the one before it, the first from 0, so no frame can be missing or
elsewhere. Tables come in the order of tables.TABLES, rows in the order of their keys; values are rows as rows.py
stores them. `index`: the last command that is in it.
"""

import hashlib
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from s3d.metadata import tables
from s3d.metadata.rows import RowMissingError, check_row
from s3d.metadata.tables import Table
from s3d.metadata.view import View
from shardd.contract.blobs import crc32c
from shardd.contract.errors import QuoinError

MAGIC: Final = b"QuoinSnp"
VERSION: Final = 1
ROWS, END = 1, 2
FRAME_BYTES: Final = 256 * 1_024  # of payload, after which a frame ends
FRAME_BYTES_MAX: Final = 64 << 20  # of one that a single large row makes

_HEAD: Final = struct.Struct(">8sBQQ")
_FRAME: Final = struct.Struct(">BI")
_ROW: Final = struct.Struct(">HI")
_END: Final = struct.Struct(">Q32s")
_CRC_SIZE: Final = 4


class SnapshotError(QuoinError):
    """The bytes are no snapshot that can be used."""


class SnapshotUnreadError(SnapshotError):
    """The disk does not give the bytes back."""


class SnapshotForeignError(SnapshotError):
    """They are something else."""


class SnapshotVersionError(SnapshotError):
    """The snapshot's version is not one that this program reads."""


class SnapshotTruncatedError(SnapshotError):
    """The snapshot ends before it should: whoever wrote it did not come to its end."""


class SnapshotChecksumError(SnapshotError):
    """The snapshot was changed after it was written."""


@dataclass(frozen=True, slots=True)
class Head:
    """Which state it is: up to command `index`, as it was at `made_us`."""

    index: int
    made_us: int


Entry = tuple[Table, bytes, bytes]
Write = Callable[[bytes], object]
Read = Callable[[int], bytes]


def write_snapshot(view: View, write: Write, *, now_us: int) -> Head:
    """Give all of a state to `write`, piece by piece; about FRAME_BYTES are held at a time.

    Every row is checked on its way, and that there are as many as the table counts: raises RowError where one is
    damaged or out of reach, and what was written has no end then.
    """
    head = Head(view.applied().index, now_us)
    out = _Writer(write)
    out.sealed(_HEAD.pack(MAGIC, VERSION, head.index, now_us))
    rows = 0
    for table in tables.TABLES:
        name, before = table.encode(), rows
        begun = bytes((len(name),)) + name
        pieces, size = [begun], len(begun)
        for key, value in view.reads.scan(table, b"", b""):
            check_row(key, value)
            pieces += (_ROW.pack(len(key), len(value)), key, value)
            size += _ROW.size + len(key) + len(value)
            rows += 1
            if size >= FRAME_BYTES:
                out.frame(ROWS, b"".join(pieces))
                pieces, size = [begun], len(begun)
        if len(pieces) > 1:
            out.frame(ROWS, b"".join(pieces))
        counted = view.reads.count(table)  # a signpost counts as one, and leads to rows
        if rows - before < counted:
            raise RowMissingError(f"{table}: {rows - before} rows are in reach, and it counts {counted}")
    out.frame(END, _END.pack(rows, out.digest()))
    return head


def read_snapshot(read: Read) -> tuple[Head, Iterator[Entry]]:
    """What the snapshot is, and its rows, from `read(size)`, which gives `size` bytes unless there are fewer left.

    The rows are whole and unchanged as they come; that none is missing is known at the end of the iterator. Both
    raise one of the SnapshotErrors.
    """
    source = _Reader(read)
    raw = source.take(_HEAD.size)
    magic, version, index, made_us = _HEAD.unpack(raw)
    if magic != MAGIC:
        raise SnapshotForeignError("this is no snapshot of a state")
    if version != VERSION:
        raise SnapshotVersionError(f"a snapshot of version {version}")
    source.check("head")
    return Head(index, made_us), _entries(source)


def _entries(source: "_Reader") -> Iterator[Entry]:
    rows = 0
    known = {table.encode(): table for table in tables.TABLES}
    while True:
        digest = source.digest()
        kind, payload = source.frame()
        if kind == END:
            break
        name = payload[1 : 1 + payload[0]]
        if kind != ROWS or name not in known:
            raise SnapshotVersionError(f"a frame of kind {kind}, of table {name!r}")
        for key, value in _rows(payload, 1 + len(name)):
            rows += 1
            yield known[name], key, value
    if payload != _END.pack(rows, digest) or source.read(1):
        raise SnapshotChecksumError("the snapshot is not what its end says")


def _rows(payload: bytes, at: int) -> Iterator[tuple[bytes, bytes]]:
    while at < len(payload):
        key_size, value_size = _ROW.unpack_from(payload, at)
        at += _ROW.size
        yield payload[at : at + key_size], payload[at + key_size : at + key_size + value_size]
        at += key_size + value_size


class _Writer:
    """Seals what it is given: with the CRC that goes on from the last one, and in the digest."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._crc = 0
        self._sha = hashlib.sha256()

    def digest(self) -> bytes:
        return self._sha.digest()

    def sealed(self, data: bytes) -> None:
        self._crc = crc32c(data, self._crc)
        for piece in (data, self._crc.to_bytes(_CRC_SIZE, "big")):
            self._sha.update(piece)
            self._write(piece)

    def frame(self, kind: int, payload: bytes) -> None:
        self.sealed(_FRAME.pack(kind, len(payload)))
        self.sealed(payload)


class _Reader:
    """Takes what a _Writer sealed."""

    def __init__(self, read: Read) -> None:
        self.read = read
        self._crc = 0
        self._sha = hashlib.sha256()

    def digest(self) -> bytes:
        return self._sha.digest()

    def take(self, size: int) -> bytes:
        """The next bytes, not checked yet. Raises SnapshotTruncatedError."""
        data = self.read(size)
        if len(data) < size:
            raise SnapshotTruncatedError("the snapshot has no end: it was not written to its last frame")
        self._crc = crc32c(data, self._crc)
        self._sha.update(data)
        return data

    def check(self, what: str) -> None:
        """The CRC of what was taken. Raises SnapshotChecksumError, SnapshotTruncatedError."""
        crc = self._crc
        if self.take(_CRC_SIZE) != crc.to_bytes(_CRC_SIZE, "big"):
            raise SnapshotChecksumError(f"the {what} of the snapshot fails its checksum")
        self._crc = crc

    def frame(self) -> tuple[int, bytes]:
        head = self.take(_FRAME.size)
        self.check("head of a frame")
        kind, length = _FRAME.unpack(head)
        if length > FRAME_BYTES_MAX:
            raise SnapshotVersionError(f"a frame of {length} bytes")
        payload = self.take(length)
        self.check("payload of a frame")
        return kind, payload
