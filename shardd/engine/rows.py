"""Owns the rows of the index and their bytes; never touches LMDB.

    extent row     ">IQQIIB" generation, segment, offset, head size, length, flags | holders, u64 each | CRC32C
    tombstone row  ">IQQ" generation, segment, offset | holders, u64 each | CRC32C
    key            blob id 16 | shard u8 | extent u32 (extent rows only)

`holders` are the other segments that may still hold dead records of the same key. A tombstone must be kept while one
of them is on the disk: a rebuild of the index would bring the dead back. ROWS_VERSION stands once, in the stamp of the
index: one of another version is made anew from the segments.
"""

import struct

import msgspec

from shardd.contract.blobs import BLOB_ID_SIZE, crc32c
from shardd.contract.errors import QuoinError
from shardd.engine.record import FOOTER_SIZE, align, record_size

ROWS_VERSION = 1
SHARD_KEY_SIZE = BLOB_ID_SIZE + 1

LAST = 1
QUARANTINED = 2

_EXTENT = struct.Struct(">IQQIIB")
_TOMBSTONE = struct.Struct(">IQQ")
_SHARD_KEY = struct.Struct(">16sB")
_EXTENT_NUMBER = struct.Struct(">I")
_CRC = struct.Struct(">I")


class DamagedRowError(QuoinError):
    """A row of the index fails its checksum: the index must be rebuilt from the segments."""


class DamagedPageError(DamagedRowError):
    """A page of the index is damaged: nobody knows what stood in it."""


class ExtentRow(msgspec.Struct, frozen=True, gc=False):
    """Where the newest record of an extent is."""

    generation: int
    segment: int
    offset: int
    head_size: int
    length: int
    last: bool = False
    quarantined: bool = False
    holders: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of the record."""
        return align(self.head_size + self.length) + FOOTER_SIZE


class TombstoneRow(msgspec.Struct, frozen=True, gc=False):
    """Everything of this shard up to `generation` is deleted, and where the record is that says so."""

    generation: int
    segment: int
    offset: int
    holders: tuple[int, ...] = ()


TOMBSTONE_SIZE = record_size(0, 0)


class SegmentRow(msgspec.Struct, array_like=True):
    """What the index knows of a segment: the checkpoint, and what compaction chooses by.

    All records before `scanned_to` are in the index. `guards` are the holders of all tombstones in the segment.
    """

    scanned_to: int = 0
    live_bytes: int = 0
    quarantined_bytes: int = 0
    tombstone_bytes: int = 0
    guards: set[int] = msgspec.field(default_factory=set)


def shard_key(blob: bytes, shard: int) -> bytes:
    """The key of a shard's tombstone, with which those of its extents begin."""
    return _SHARD_KEY.pack(blob, shard)


def split_shard_key(key: bytes) -> tuple[bytes, int]:
    """The blob and the number of a shard."""
    blob, shard = _SHARD_KEY.unpack(key)
    return blob, shard


def extent_suffix(extent: int) -> bytes:
    """What follows the shard's key in the key of an extent."""
    return _EXTENT_NUMBER.pack(extent)


def extent_in(key: bytes) -> int:
    """The number of the extent whose key this is."""
    (extent,) = _EXTENT_NUMBER.unpack_from(key, SHARD_KEY_SIZE)
    return int(extent)


def encode_extent(row: ExtentRow) -> bytes:
    """The bytes of an extent's row."""
    flags = (LAST if row.last else 0) | (QUARANTINED if row.quarantined else 0)
    fixed = _EXTENT.pack(row.generation, row.segment, row.offset, row.head_size, row.length, flags)
    return _sealed(fixed, row.holders)


def decode_extent(data: bytes) -> ExtentRow:
    """Raises DamagedRowError."""
    generation, segment, offset, head, length, flags = _EXTENT.unpack_from(_checked(data, _EXTENT.size))
    holders = _holders(data, _EXTENT.size)
    return ExtentRow(
        generation, segment, offset, head, length, flags & LAST != 0, flags & QUARANTINED != 0, holders
    )


def encode_tombstone(row: TombstoneRow) -> bytes:
    """The bytes of a tombstone's row."""
    return _sealed(_TOMBSTONE.pack(row.generation, row.segment, row.offset), row.holders)


def decode_tombstone(data: bytes) -> TombstoneRow:
    """Raises DamagedRowError."""
    generation, segment, offset = _TOMBSTONE.unpack_from(_checked(data, _TOMBSTONE.size))
    return TombstoneRow(generation, segment, offset, _holders(data, _TOMBSTONE.size))


def _sealed(fixed: bytes, holders: tuple[int, ...]) -> bytes:
    if holders:
        fixed += struct.pack(f">{len(holders)}Q", *holders)
    return fixed + _CRC.pack(crc32c(fixed))


def _checked(data: bytes, fixed_size: int) -> bytes:
    rest = len(data) - fixed_size - _CRC.size
    if rest < 0 or rest % 8 or crc32c(data[: -_CRC.size]) != _CRC.unpack_from(data, len(data) - _CRC.size)[0]:
        raise DamagedRowError("a row of the index fails its checksum")
    return data


def _holders(data: bytes, fixed_size: int) -> tuple[int, ...]:
    count = (len(data) - fixed_size - _CRC.size) // 8
    return struct.unpack_from(f">{count}Q", data, fixed_size) if count else ()
