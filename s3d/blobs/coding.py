"""Owns what becomes of bytes between a body and its shards: units, parity, checksums; no I/O."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from google_crc32c import extend

from s3d.placement.erasure import Codec
from shardd.contract.blobs import UNIT_SIZE, BlobId, shard_seed, unit_crc

Pieces = list[bytes | memoryview]


class Digests(Protocol):
    """Checksums of a body. Called in the order of its bytes, once a stripe or oftener, maybe in another thread."""

    def update(self, data: bytes, /) -> object:
        """Take in the next bytes."""


@dataclass(frozen=True, slots=True)
class Column:
    """One extent of one shard: its units, and their checksums as messages.PutExtent carries them."""

    units: list[bytes]
    crcs: bytes
    length: int


def code(
    stripes: Iterable[Pieces], *, codec: Codec, blob: BlobId, first_unit: int, digests: Digests | None
) -> list[Column]:
    """The extents of all k+m shards that some stripes of a blob make; stripe 0 here is unit `first_unit` of each.

    A stripe is given in pieces; only the blob's last may be short: its units are ceil(rest/k) bytes, padded with
    zeros. Takes no stripes for a blob of 0 bytes.
    """
    shards = range(codec.k + codec.m)
    units: list[list[bytes]] = [[] for _ in shards]
    for pieces in stripes:
        stripe = pieces[0] if len(pieces) == 1 and isinstance(pieces[0], bytes) else b"".join(pieces)
        pieces.clear()
        if digests is not None:
            digests.update(stripe)
        for shard, unit in enumerate(_units(stripe, codec)):
            units[shard].append(unit)
    return [column(units[shard], blob=blob, shard=shard, first_unit=first_unit) for shard in shards]


def column(units: list[bytes], *, blob: BlobId, shard: int, first_unit: int) -> Column:
    """One extent of one shard from its units, the first of which is unit `first_unit` of the shard."""
    crcs = [
        unit_crc(blob, shard, number, unit).to_bytes(4, "big")
        for number, unit in enumerate(units, first_unit)
    ]
    return Column(units, b"".join(crcs), sum(map(len, units)))


def _units(stripe: bytes, codec: Codec) -> list[bytes]:
    length = -(-len(stripe) // codec.k)
    if length * codec.k != len(stripe):
        stripe = stripe.ljust(length * codec.k, b"\0")
    if codec.k == 1:
        return [stripe, *codec.encode(stripe)]
    data = [stripe[start : start + length] for start in range(0, len(stripe), length)]
    return data + codec.encode(stripe)


def cut(chunks: Sequence[bytes], length: int) -> list[bytes]:
    """The units in chunks that came in any lengths: UNIT_SIZE each, the last what is left of `length`.

    Empty where the chunks are not `length` bytes together.
    """
    if sum(map(len, chunks)) != length:
        return []
    if len(chunks) == 1 and length <= UNIT_SIZE:
        return list(chunks)
    units: list[bytes] = []
    parts: Pieces = []
    missing = min(UNIT_SIZE, length)
    for chunk in chunks:
        start, size = 0, len(chunk)
        view = memoryview(chunk)
        while size - start >= missing:
            parts.append(view[start : start + missing])
            units.append(b"".join(parts))
            parts.clear()
            start += missing
            length -= len(units[-1])
            if not length:
                return units
            missing = min(UNIT_SIZE, length)
        if start < size:
            parts.append(view[start:])
            missing -= size - start
    return units


def verify(
    units: Sequence[bytes], crcs: bytes, *, blob: BlobId, shard: int, first_unit: int
) -> list[bytes | None]:
    """The units whose checksum holds, None in place of each other: end to end, seeded with blob, shard and unit."""
    return [
        unit
        if extend(shard_seed(blob, shard, number), unit) == int.from_bytes(crcs[at : at + 4], "big")
        else None
        for at, (number, unit) in zip(range(0, len(crcs), 4), enumerate(units, first_unit), strict=False)
    ]
