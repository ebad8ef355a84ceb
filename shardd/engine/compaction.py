"""Owns which segments are worth rewriting, and doing it in small steps beside the writes; never runs by itself."""

import logging
from collections.abc import Callable, Iterator, Mapping
from enum import Enum

from shardd.contract.cluster import StorageConfig
from shardd.contract.errors import ShardError
from shardd.engine import ledger
from shardd.engine.index import Index
from shardd.engine.journal import Journal
from shardd.engine.record import BLOCK_SIZE, Kind
from shardd.engine.rows import SegmentRow, TombstoneRow, shard_key
from shardd.engine.segment import Entry, Found, Gap

STEP_BYTES = 4 << 20  # of copies in one step: what a write may have to wait for
SMALL_PART = 8  # a segment is small under 1/8 of the full size
SMALL_MAX = 16  # so many small ones are worth joining: every one costs a file descriptor
FORGOTTEN_MAX = 65_536  # tombstones that one segment may lose; what is over is copied once more
PRESSED_BELOW_LIVE = 0.95
REST_US = 600_000_000  # before a segment that could not be walked, or not be left, is tried again

log = logging.getLogger(__name__)


class Level(Enum):
    """How much the disk needs room."""

    EASY = "easy"
    PRESSED = "pressed"


def live_part(segment: int, row: SegmentRow, living: Mapping[int, SegmentRow]) -> float:
    """How much of a segment would have to be copied, 0 to 1.

    Its tombstones count while any segment that they guard against is there: to copy them again and again would
    free nothing.
    """
    used = row.scanned_to - BLOCK_SIZE
    if used <= 0:
        return 0.0
    guarding = any(other in living for other in row.guards if other != segment)
    return (row.live_bytes + (row.tombstone_bytes if guarding else 0)) / used


def choose_victim(
    rows: Mapping[int, SegmentRow], *, sealed: list[int], below_live: float, segment_bytes: int
) -> int | None:
    """The sealed segment that gives most room for least copying; none with a quarantined record, which repair needs."""
    parts = {
        number: live_part(number, rows[number], rows)
        for number in sealed
        if rows[number].quarantined_bytes == 0
    }
    victim = min(parts, key=lambda number: parts[number], default=None)
    if victim is not None and parts[victim] < below_live:
        return victim
    small = [number for number in parts if rows[number].scanned_to * SMALL_PART < segment_bytes]
    return min(small) if len(small) > SMALL_MAX else None


class Compactor:
    """Rewrites one victim at a time: copy, sync, index (synced), unlink, sync the folder.

    Copies are appended like new records, in the writer's thread, so a put or delete of the same shard comes either
    before, and the record is not copied, or after, and hides the copy.
    """

    def __init__(
        self, journal: Journal, index: Index, limits: StorageConfig, *, flush: Callable[[], None]
    ) -> None:
        self._journal = journal
        self._index = index
        self._limits = limits
        self._flush = flush
        self._victim: int | None = None
        self._records: Iterator[Found | Gap] = iter(())
        self._gaps: list[Gap] = []
        self._set_aside: dict[int, int] = {}  # segment -> when it is tried again
        self._forgotten: list[tuple[bytes, TombstoneRow]] = []

    def step(self, level: Level, *, now_us: int) -> bool:
        """Whether something was done. Raises OSError where the disk refuses, and DamagedRowError."""
        if self._victim is None and not self._begin(level, now_us=now_us):
            return False
        assert self._victim is not None
        victim = self._victim
        try:
            if self._copy(victim, now_us=now_us):
                return True
        except ShardError as error:
            log.warning("compaction of segment %s stops: %s", victim, error)
            self._victim = None
            return False
        except BaseException:
            # The walk is over where it broke: going on would take what it did not reach for gone.
            self._victim = None
            self._set_aside[victim] = now_us + REST_US
            raise
        self._victim = None
        return self._finish(victim, now_us=now_us)

    def _begin(self, level: Level, *, now_us: int) -> bool:
        self._set_aside = {segment: due for segment, due in self._set_aside.items() if due > now_us}
        below = self._limits.compact_below_live if level is Level.EASY else PRESSED_BELOW_LIVE
        victim = self._choose(below)
        if victim is None and level is Level.PRESSED and self._active_is_poor():
            self._journal.seal()
            victim = self._choose(below)
        if victim is None:
            return False
        self._victim, self._forgotten, self._gaps = victim, [], []
        self._records = self._journal.segments[victim].scan(
            BLOCK_SIZE, self._index.segment(victim).scanned_to
        )
        return True

    def _choose(self, below_live: float) -> int | None:
        newest = max(self._journal.segments, default=0)
        # The newest one stays, whatever is in it: its number must never come back.
        kept = {newest, self._journal.active, *self._set_aside}
        sealed = [number for number in self._journal.segments if number not in kept]
        return choose_victim(
            self._index.segments,
            sealed=sealed,
            below_live=below_live,
            segment_bytes=self._limits.segment_bytes,
        )

    def _active_is_poor(self) -> bool:
        active = self._journal.active
        if active is None:
            return False
        row = self._index.segments[active]
        return live_part(active, row, self._index.segments) < self._limits.compact_below_live

    def _copy(self, victim: int, *, now_us: int) -> bool:
        """Copy the next records that are needed; False where there are none left."""
        entries: list[Entry] = []
        size = 0
        for found in self._records:
            if isinstance(found, Gap):
                self._gaps.append(found)
            elif self._is_needed(victim, found):
                entries.append(Entry.of(found.record, (found.units(),)))
                size += found.header.size
                if size >= STEP_BYTES:
                    break
        if not entries:
            return False
        places = self._journal.append(entries, now_us=now_us, essential=True)
        for entry, (segment, offset) in zip(entries, places, strict=True):
            ledger.enter(self._index, entry.record, segment=segment, offset=offset)
        active = self._journal.active
        assert active is not None
        self._index.segment(active).scanned_to = self._journal.position
        return True

    def _is_needed(self, victim: int, found: Found) -> bool:
        """Compare: the index must still name this very record, or have lost a deletion that stands in it."""
        record, place = found.record, (victim, found.header.offset)
        key = shard_key(record.blob, record.shard)
        if record.kind == Kind.EXTENT:
            row = self._index.extent(key, record.extent)
            return row is not None and not row.quarantined and (row.segment, row.offset) == place
        grave = self._index.tombstone(key)
        if grave is None:
            return False
        if (grave.segment, grave.offset) != place:
            return record.generation > grave.generation
        if ledger.guarded(self._index, grave) or len(self._forgotten) >= FORGOTTEN_MAX:
            return True
        self._forgotten.append((key, grave))
        return False

    def _finish(self, victim: int, *, now_us: int) -> bool:
        stats = self._index.segment(victim)
        self._flush()
        if stats.live_bytes:
            # The index names records that the walk did not meet whole. The segment stays for them.
            if ledger.quarantine_gaps(self._index, victim, self._gaps):
                return True
            log.error("segment %d has records that neither a walk nor a gap explains: it stays", victim)
            self._set_aside[victim] = now_us + REST_US
            return False
        self._journal.remove(victim)
        self._index.forget_segment(victim)
        # Not before the segment is gone for good: until then a start may meet the tombstone again, and what was
        # put in the meantime would be taken for deleted.
        for key, grave in self._forgotten:
            if self._index.tombstone(key) == grave:
                ledger.drop_tombstone(self._index, key, grave)
        self._journal.keep_spare()
        return True
