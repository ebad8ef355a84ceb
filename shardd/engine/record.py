"""Owns the bytes of segments and records, format version 1; never opens a file.

All numbers are big endian. A segment is one block of header, then commits. A commit is a run of records, each
starting at a multiple of 8, padded with zeros to a whole block; its final record carries ENDS_COMMIT.

    segment   | header, 4096 | record | record | zeros | record | zeros | ...
              0            4096     multiple of 8    multiple of 4096

    segment header  0 magic "QSEG" | 4 version u16 | 6 zero u16 | 8 node u32 | 12 zero u32 | 16 cluster 16
                    32 incarnation 16 | 48 segment id u64 | 56 created_us u64 | 64 zeros | 4092 CRC32C of 0..4092

    record    | header 80 | metadata | CRC32C 4 | unit CRCs, 4 each | zeros to 8 | units | zeros to 8 | footer 16 |
              |<-------------------------- head --------------------------->|

    header    0 magic "QREC" | 4 version u16 | 6 kind u8 | 7 flags u8 | 8 record length u32 | 12 metadata length u32
              16 units length u32 | 20 shard u8 | 21 zero 3 | 24 extent u32 | 28 generation u32 | 32 blob id 16
              48 segment id u64 | 56 own offset u64 | 64 synced_to u64 | 72 zero u32 | 76 CRC32C of 0..76
    footer    0 magic "QEND" | 4 record length u32 | 8 CRC32C of the head | 12 zero u32

Magic and version keep their places in every version, so that an unknown version is told from damage. The CRC of a
record's header starts from the origin (cluster, node, incarnation): a record of another store cannot look right,
and neither can bytes that a client chose. The unit CRCs are those of the gateway (shardd.contract.blobs.unit_crc),
so the digest in the footer, over the head, covers every byte of the record without another pass over the units.
"""

import struct
from collections.abc import Sequence
from enum import IntEnum

import msgspec

from shardd.contract.blobs import EXTENT_SIZE_MAX, UNIT_SIZE, BlobId, NodeId, crc32c, shard_seed, units_in
from shardd.contract.errors import QuoinError

VERSION = 1
BLOCK_SIZE = 4_096
ALIGNMENT = 8
HEADER_SIZE = 80
FOOTER_SIZE = 16
METADATA_SIZE_MAX = 65_536
RECORD_SIZE_MAX = HEADER_SIZE + METADATA_SIZE_MAX + 4 + 64 + EXTENT_SIZE_MAX + FOOTER_SIZE + 2 * ALIGNMENT

RECORD_MAGIC = b"QREC"
SEGMENT_MAGIC = b"QSEG"
FOOTER_MAGIC = b"QEND"

LAST = 1  # the shard ends with this extent
ENDS_COMMIT = 2  # the next record, if any, starts at the next block

_HEADER = struct.Struct(">4sHBBIIIB3xII16sQQQ4x")
_FOOTER = struct.Struct(">4sIII")
_SEGMENT = struct.Struct(">4sH2xI4x16s16sQQ")
_PREFIX = struct.Struct(">4sH")
_U32 = struct.Struct(">I")
_ORIGIN = struct.Struct(">16sI16s")
_ZEROS = bytes(ALIGNMENT)


class FormatError(QuoinError):
    """Bytes that should be a segment or a record are not a whole, valid one."""


class TruncatedFormatError(FormatError):
    """The bytes end before the structure does."""


class UnsupportedFormatError(FormatError):
    """The structure is of a version that this program does not know."""


class DamagedFormatError(FormatError):
    """Magic, checksum or layout do not hold."""


class Kind(IntEnum):
    """What a record says: these units are here, or this shard is deleted up to a generation."""

    EXTENT = 1
    TOMBSTONE = 2


class Origin(msgspec.Struct, frozen=True):
    """Whose segments these are: the cluster's uuid, the node, and the life of its data folder."""

    cluster: bytes
    node: NodeId
    incarnation: bytes

    @property
    def seed(self) -> int:
        """What the CRC of every record header of this store starts from."""
        return crc32c(_ORIGIN.pack(self.cluster, self.node, self.incarnation))


class Record(msgspec.Struct, frozen=True, gc=False):
    """What a record says, apart from its place and its units. A tombstone has no units and extent 0."""

    kind: int
    blob: BlobId
    shard: int
    extent: int
    generation: int
    length: int = 0  # bytes of units
    crcs: bytes = b""  # 4 bytes a unit
    metadata: bytes = b""
    last: bool = False


class Header(msgspec.Struct, frozen=True, gc=False):
    """The decoded header of a record. `size` counts the whole record, `length` its units."""

    kind: int
    flags: int
    size: int
    metadata_size: int
    length: int
    shard: int
    extent: int
    generation: int
    blob: BlobId
    segment: int
    offset: int
    synced_to: int

    @property
    def head_size(self) -> int:
        return head_size(self.metadata_size, self.length)

    @property
    def ends_commit(self) -> bool:
        return self.flags & ENDS_COMMIT != 0


class SegmentHeader(msgspec.Struct, frozen=True):
    """The first block of a segment."""

    origin: Origin
    segment: int
    created_us: int


def align(size: int, step: int = ALIGNMENT) -> int:
    """The next multiple of `step` from `size` on."""
    return -(-size // step) * step


def head_size(metadata_size: int, length: int) -> int:
    """Bytes before the units of a record with so much metadata and `length` bytes of units."""
    return align(HEADER_SIZE + metadata_size + 4 + 4 * units_in(length))


def record_size(metadata_size: int, length: int) -> int:
    """Bytes of a whole record, a multiple of 8."""
    return align(head_size(metadata_size, length) + length) + FOOTER_SIZE


def encode_head(record: Record, *, segment: int, offset: int, synced_to: int, flags: int, seed: int) -> bytes:
    """Everything before the units. `flags` is 0 or ENDS_COMMIT; LAST comes from the record."""
    metadata = record.metadata
    fixed = _HEADER.pack(
        RECORD_MAGIC,
        VERSION,
        record.kind,
        flags | LAST if record.last else flags,
        record_size(len(metadata), record.length),
        len(metadata),
        record.length,
        record.shard,
        record.extent,
        record.generation,
        record.blob,
        segment,
        offset,
        synced_to,
    )
    head = b"%b%b%b%b%b" % (
        fixed,
        _U32.pack(crc32c(fixed, seed)),
        metadata,
        _U32.pack(crc32c(metadata)),
        record.crcs,
    )
    return head + _ZEROS[: -len(head) % ALIGNMENT]


def encode_footer(head: bytes, size: int) -> bytes:
    """The commit marker of a record of `size` bytes that begins with `head`."""
    return _FOOTER.pack(FOOTER_MAGIC, size, crc32c(head), 0)


def decode_header(data: bytes, at: int = 0, *, seed: int) -> Header:
    """The header at `data[at:]`.

    Raises TruncatedFormatError, UnsupportedFormatError or DamagedFormatError. Whether the record stands in its own
    place is asked by `check_place`.
    """
    if len(data) - at < HEADER_SIZE:
        raise TruncatedFormatError(f"a record header is {HEADER_SIZE} bytes, {len(data) - at} are there")
    fields = _HEADER.unpack_from(data, at)
    if fields[0] != RECORD_MAGIC:
        raise DamagedFormatError("no record begins here")
    if fields[1] != VERSION:
        raise UnsupportedFormatError(f"record version {fields[1]}, this program knows {VERSION}")
    (crc,) = _U32.unpack_from(data, at + HEADER_SIZE - 4)
    if crc32c(data[at : at + HEADER_SIZE - 4], seed) != crc:
        raise DamagedFormatError("the checksum of a record header does not hold")
    header = Header(*fields[2:])
    if header.length > EXTENT_SIZE_MAX or header.size != record_size(header.metadata_size, header.length):
        raise DamagedFormatError("the lengths in a record header contradict each other")
    return header


def check_place(header: Header, *, segment: int, offset: int) -> None:
    """DamagedFormatError where the record was written to, or read from, another place than its own."""
    if (header.segment, header.offset) != (segment, offset):
        raise DamagedFormatError(
            f"a record of segment {header.segment} at {header.offset} stands in segment {segment} at {offset}"
        )


def unit_crcs_in(head: bytes, header: Header) -> bytes:
    """The unit CRCs, 4 bytes each, out of the bytes of a record's head."""
    end = HEADER_SIZE + header.metadata_size + 4
    return head[end : end + 4 * units_in(header.length)]


def metadata_in(head: bytes, header: Header) -> bytes:
    """The metadata out of the bytes of a record's head. Raises DamagedFormatError."""
    metadata = head[HEADER_SIZE : HEADER_SIZE + header.metadata_size]
    if _U32.unpack_from(head, HEADER_SIZE + header.metadata_size)[0] != crc32c(metadata):
        raise DamagedFormatError("the checksum of a record's metadata does not hold")
    return metadata


def check_body(data: bytes, header: Header, *, at: int = 0) -> Record:
    """The record at `data[at:]` with everything after its header checked, units too.

    Raises TruncatedFormatError or DamagedFormatError.
    """
    if len(data) - at < header.size:
        raise TruncatedFormatError(f"a record of {header.size} bytes, {len(data) - at} are there")
    size = header.head_size
    head = data[at : at + size]
    metadata = metadata_in(head, header)
    end = at + header.size - FOOTER_SIZE
    if data[end : end + FOOTER_SIZE] != encode_footer(head, header.size):
        raise DamagedFormatError("a record has no valid footer")
    if any(data[at + size + header.length : end]):
        raise DamagedFormatError("a record is not padded with zeros")
    record = Record(
        kind=header.kind,
        blob=header.blob,
        shard=header.shard,
        extent=header.extent,
        generation=header.generation,
        length=header.length,
        crcs=unit_crcs_in(head, header),
        metadata=metadata,
        last=header.flags & LAST != 0,
    )
    units = data[at + size : at + size + header.length]
    if unit_crcs(record, (units,)) != record.crcs:
        raise DamagedFormatError("the checksum of a unit does not hold")
    return record


def unit_crcs(record: Record, payload: Sequence[bytes]) -> bytes:
    """The CRCs that the units of `record` ought to have, from `payload`, its bytes in pieces of any size."""
    first = record.extent * (EXTENT_SIZE_MAX // UNIT_SIZE)
    found: list[int] = []
    crc, room = 0, 0
    for piece in payload:
        at, end = 0, len(piece)
        while at < end:
            if room == 0:
                crc, room = shard_seed(record.blob, record.shard, first + len(found)), UNIT_SIZE
                found.append(0)
            take = min(room, end - at)
            crc = crc32c(piece if take == end else piece[at : at + take], crc)
            found[-1] = crc
            at += take
            room -= take
    return struct.pack(f">{len(found)}I", *found)


def encode_segment_header(header: SegmentHeader) -> bytes:
    """One block."""
    origin = header.origin
    fixed = _SEGMENT.pack(
        SEGMENT_MAGIC,
        VERSION,
        origin.node,
        origin.cluster,
        origin.incarnation,
        header.segment,
        header.created_us,
    ).ljust(BLOCK_SIZE - 4, b"\0")
    return fixed + _U32.pack(crc32c(fixed))


def decode_segment_header(data: bytes) -> SegmentHeader:
    """The header in the first block of a segment.

    Raises TruncatedFormatError, UnsupportedFormatError or DamagedFormatError.
    """
    if len(data) < BLOCK_SIZE:
        raise TruncatedFormatError(f"a segment begins with {BLOCK_SIZE} bytes, {len(data)} are there")
    magic, version = _PREFIX.unpack_from(data)
    if magic != SEGMENT_MAGIC:
        raise DamagedFormatError("no segment begins here")
    if version != VERSION:
        raise UnsupportedFormatError(f"segment version {version}, this program knows {VERSION}")
    fixed = data[: BLOCK_SIZE - 4]
    if crc32c(fixed) != _U32.unpack_from(data, BLOCK_SIZE - 4)[0]:
        raise DamagedFormatError("the checksum of a segment header does not hold")
    _, _, node, cluster, incarnation, segment, created_us = _SEGMENT.unpack_from(data)
    return SegmentHeader(Origin(cluster, NodeId(node), incarnation), segment, created_us)


def with_version(data: bytes) -> bytes:
    """A header as it would be if it were of this version: whole, where only its version is damaged."""
    return _PREFIX.pack(data[:4], VERSION) + data[_PREFIX.size :]
