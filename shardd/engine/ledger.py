"""Owns what a record means for the index, whether it was just appended or is replayed; never reads a segment.

Segments are one log, in order of (segment, offset). Rules, so that replay from any checkpoint ends in the same rows:
a tombstone hides every generation up to its own, wherever it stands; the higher generation of an extent wins; of two
records with the same generation the later one does (compaction copies forward); whatever loses is dead, and the
winner remembers the loser's segment as a holder until that segment is gone.
"""

import logging
from collections.abc import Iterator, Sequence

import msgspec

from shardd.engine.index import Index
from shardd.engine.record import LAST, Header, Kind, Record, head_size
from shardd.engine.rows import (
    TOMBSTONE_SIZE,
    ExtentRow,
    TombstoneRow,
    shard_key,
)
from shardd.engine.segment import Gap

log = logging.getLogger(__name__)


def enter(index: Index, record: Record, *, segment: int, offset: int) -> None:
    """Take up `record`, which is durable at `offset` of `segment`. Raises DamagedRowError."""
    if record.kind == Kind.TOMBSTONE:
        _enter_tombstone(index, record, TombstoneRow(record.generation, segment, offset))
    else:
        size = head_size(len(record.metadata), record.length)
        row = ExtentRow(record.generation, segment, offset, size, record.length, record.last)
        _enter_extent(index, record, row)


def enter_rot(index: Index, header: Header | None) -> None:
    """Replay met a record that is not whole: a loss, and quarantined where its `header` is. Raises DamagedRowError.

    Where nothing says whose it is there is no row, and nothing that a PUT could replace: reconcile meets what lacks.
    """
    index.totals.losses += 1
    if header is None or header.kind != Kind.EXTENT:
        return
    row = ExtentRow(
        header.generation,
        header.segment,
        header.offset,
        header.head_size,
        header.length,
        header.flags & LAST != 0,
        quarantined=True,
    )
    _enter_extent(index, header, row)


def _enter_extent(index: Index, record: Record | Header, row: ExtentRow) -> None:
    key = shard_key(record.blob, record.shard)
    grave = index.tombstone(key)
    if grave is not None and row.generation <= grave.generation:
        _hold_tombstone(index, key, grave, row.segment)
        return
    old = index.sound_extent(key, record.extent)
    if old is None:
        _gain(index, key, record.extent, row)
    elif _order(old) >= _order(row):
        if (old.segment, old.offset) != (row.segment, row.offset):
            holders = _living(index, (*old.holders, row.segment), apart=old.segment)
            index.set_extent(key, record.extent, _replace(old, holders=holders))
    else:
        _lose(index, record.extent, old)
        holders = _living(index, (*old.holders, old.segment), apart=row.segment)
        _gain(index, key, record.extent, _replace(row, holders=holders))


def _enter_tombstone(index: Index, record: Record, row: TombstoneRow) -> None:
    key = shard_key(record.blob, record.shard)
    holders: set[int] = set()
    old = index.tombstone(key)
    if old is not None:
        if (old.generation, old.segment, old.offset) >= (row.generation, row.segment, row.offset):
            return
        holders.update(old.holders, (old.segment,))
        _uncount(index, old)
    for extent, found in index.extents(key).items():
        if found.generation <= row.generation:
            holders.update(found.holders, (found.segment,))
            _lose(index, extent, found)
            index.set_extent(key, extent, None)
    kept = _living(index, tuple(holders), apart=row.segment)
    index.set_tombstone(key, TombstoneRow(row.generation, row.segment, row.offset, kept))
    stats = index.segment(row.segment)
    stats.tombstone_bytes += TOMBSTONE_SIZE
    stats.guards.update(kept)


def drop_tombstone(index: Index, key: bytes, row: TombstoneRow) -> None:
    """Forget a deletion that no other segment holds anything for."""
    index.set_tombstone(key, None)
    _uncount(index, row)


def drop_extent(index: Index, key: bytes, extent: int, row: ExtentRow) -> None:
    """Forget an extent whose segment is gone."""
    index.totals.losses += 1
    _lose(index, extent, row)
    index.set_extent(key, extent, None)


def quarantine(index: Index, key: bytes, extent: int, row: ExtentRow) -> None:
    """The record is damaged: it is not served, not listed and not compacted; any PUT of it may replace it."""
    if not row.quarantined:
        index.set_extent(key, extent, _replace(row, quarantined=True))
        index.segment(row.segment).quarantined_bytes += row.size
        index.totals.quarantined += 1
        index.totals.losses += 1


def quarantine_gaps(index: Index, segment: int, gaps: Sequence[Gap]) -> int:
    """Quarantine the flushed rows that point into `gaps` of a segment; how many were not yet.

    Where not even a header says which row that is, which is rare, the whole index is walked. Raises DamagedRowError.
    """
    hit = [*_named_by(gaps, index, segment)]
    blind = [gap for gap in gaps if gap.header is None]
    if blind:
        hit += (
            (key, extent, row)
            for key, extent, row in index.walk()
            if row.segment == segment and any(gap.start <= row.offset < gap.stop for gap in blind)
        )
    for key, extent, row in hit:
        log.error("segment %d at %d is damaged: the record is quarantined", segment, row.offset)
        quarantine(index, key, extent, row)
    return sum(not row.quarantined for _, _, row in hit)


def _named_by(gaps: Sequence[Gap], index: Index, segment: int) -> Iterator[tuple[bytes, int, ExtentRow]]:
    """The rows of records whose headers are whole and the rest is not, where they are the newest of their extents."""
    for header in (gap.header for gap in gaps if gap.header is not None):
        key = shard_key(header.blob, header.shard)
        row = index.sound_extent(key, header.extent)
        if row is not None and (row.segment, row.offset) == (segment, header.offset):
            yield key, header.extent, row


def guarded(index: Index, row: TombstoneRow) -> bool:
    """Whether a segment other than the tombstone's own may still hold what it deletes."""
    return any(holder in index.segments for holder in row.holders if holder != row.segment)


def _uncount(index: Index, row: TombstoneRow) -> None:
    if row.segment in index.segments:
        index.segment(row.segment).tombstone_bytes -= TOMBSTONE_SIZE


def _hold_tombstone(index: Index, key: bytes, grave: TombstoneRow, segment: int) -> None:
    if segment != grave.segment and segment not in grave.holders:
        holders = _living(index, (*grave.holders, segment), apart=grave.segment)
        index.set_tombstone(key, TombstoneRow(grave.generation, grave.segment, grave.offset, holders))
        index.segment(grave.segment).guards.add(segment)


def _gain(index: Index, key: bytes, extent: int, row: ExtentRow) -> None:
    index.set_extent(key, extent, row)
    stats = index.segment(row.segment)
    stats.live_bytes += row.size
    if row.quarantined:
        stats.quarantined_bytes += row.size
        index.totals.quarantined += 1
    index.totals.shard_bytes += row.length
    index.totals.shards += extent == 0


def _lose(index: Index, extent: int, row: ExtentRow) -> None:
    stats = index.segment(row.segment)
    stats.live_bytes -= row.size
    if row.quarantined:
        stats.quarantined_bytes -= row.size
        index.totals.quarantined -= 1
    index.totals.shard_bytes -= row.length
    index.totals.shards -= extent == 0


def _order(row: ExtentRow) -> tuple[bool, int, int, int]:
    """What is whole stays beside rot of any generation: that may be of a write that a power cut left torn."""
    return (not row.quarantined, row.generation, row.segment, row.offset)


def _living(index: Index, holders: tuple[int, ...], *, apart: int) -> tuple[int, ...]:
    return tuple(sorted({holder for holder in holders if holder != apart and holder in index.segments}))


def _replace(row: ExtentRow, **changes: object) -> ExtentRow:
    return msgspec.structs.replace(row, **changes)
