"""Owns the LMDB index and the rows in memory that are not in it yet; never whether its file may be opened.

The index is a cache of the segments. Changes gather in memory and go to LMDB in one synced transaction together with
the checkpoint (how far each segment is in it), so that any earlier commit of it is a consistent past that replay
brings up to date. A file that is not sound, or is another store's, is thrown away and made anew from the segments.
"""

import errno
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import lmdb
import msgspec

from shardd.engine import soundness
from shardd.engine.record import Origin
from shardd.engine.rows import (
    ROWS_VERSION,
    SHARD_KEY_SIZE,
    DamagedPageError,
    DamagedRowError,
    ExtentRow,
    SegmentRow,
    TombstoneRow,
    decode_extent,
    decode_tombstone,
    encode_extent,
    encode_tombstone,
    extent_in,
    extent_suffix,
)

MAP_SIZE_BYTES = 64 << 30  # of addresses, not of disk: the file is as big as its rows
PENDING_ROWS_MAX = 32_768
READERS_MAX = 126
DAMAGED_MAX = 1_000  # rows that are told apart
NOTHING = -1  # as a generation: up to it there is none

_DAMAGES = (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.PanicError)

log = logging.getLogger(__name__)


class Totals(msgspec.Struct, array_like=True):
    """What `status` says of all shards. A shard counts by its first extent.

    `losses`: records that were ever found damaged or gone. It only grows, until the index is made anew: then it goes
    on from a number of chance, so that reconcile looks for what is gone with the old index.
    """

    shards: int = 0
    shard_bytes: int = 0
    quarantined: int = 0
    losses: int = 0


class _Stamp(msgspec.Struct, array_like=True, frozen=True):
    version: int
    origin: Origin


class _Pending:
    """Rows that are newer than LMDB's; None is a deleted one."""

    __slots__ = ("count", "extents", "segments", "tombstones")

    def __init__(self) -> None:
        self.extents: dict[bytes, dict[int, ExtentRow | None]] = {}
        self.tombstones: dict[bytes, TombstoneRow | None] = {}
        self.segments: set[int] = set()
        self.count = 0

    def __bool__(self) -> bool:
        return bool(self.count or self.segments)


class Index:
    """Rows by shard and extent. One writer at a time; `extent`, `tombstone` and `extents` from any thread."""

    def __init__(self, folder: Path, origin: Origin, *, losses: int = 0) -> None:
        """Opens the index in `folder`; an unsound or foreign one is replaced by an empty one, which has `losses`."""
        self._folder = folder
        self._losses = losses
        self.broken = False  # LMDB neither reads nor writes it any more: nothing helps but a new start
        self._damaged: set[bytes] = set()
        self.totals = Totals()
        self.segments: dict[int, SegmentRow] = {}
        if not soundness.may_be_opened(folder):
            shutil.rmtree(folder, ignore_errors=True)
        try:
            self._load(origin)
        except (lmdb.Error, msgspec.DecodeError, OSError) as fault:
            log.warning("the index in %s cannot be read (%s): it is rebuilt", folder, fault)
            shutil.rmtree(folder, ignore_errors=True)
            self._load(origin)
        soundness.note_opened(folder)

    def _load(self, origin: Origin) -> None:
        # What is not in LMDB, the newest first, and what is going there: one attribute, so that a reader never sees
        # a row in neither.
        self._layers = (_Pending(), _Pending())
        self._folder.mkdir(parents=True, exist_ok=True)
        data = self._folder / "data.mdb"
        used = data.stat().st_size if data.exists() else 0
        self._environment = lmdb.open(
            str(self._folder),
            map_size=max(MAP_SIZE_BYTES, 4 * used),
            max_dbs=4,
            max_readers=READERS_MAX,
            metasync=True,
            sync=True,
            readahead=False,
        )
        self._extents = self._environment.open_db(b"extents")
        self._tombstones = self._environment.open_db(b"tombstones")
        self._segments = self._environment.open_db(b"segments")
        self._facts = self._environment.open_db(b"facts")
        self._load_facts(_Stamp(ROWS_VERSION, origin))

    def _load_facts(self, stamp: _Stamp) -> None:
        with self._environment.begin(write=True) as transaction:
            found = transaction.get(b"stamp", db=self._facts)
            if found is not None and msgspec.msgpack.decode(found, type=_Stamp) != stamp:
                log.warning("the index in %s is of another store or version: it is rebuilt", self._folder)
                for table in (self._extents, self._tombstones, self._segments, self._facts):
                    transaction.drop(table, delete=False)
                found = None
            if found is None:
                transaction.put(b"stamp", msgspec.msgpack.encode(stamp), db=self._facts)
                transaction.put(
                    b"totals", msgspec.msgpack.encode(Totals(losses=self._losses)), db=self._facts
                )
            totals = transaction.get(b"totals", db=self._facts)
            self.totals = msgspec.msgpack.decode(totals, type=Totals) if totals else Totals()
            for key, value in transaction.cursor(db=self._segments):
                self.segments[int.from_bytes(key, "big")] = msgspec.msgpack.decode(value, type=SegmentRow)

    def extent(self, key: bytes, extent: int) -> ExtentRow | None:
        """The row of one extent of the shard `key`. Raises DamagedRowError."""
        for pending in self._layers:
            rows = pending.extents.get(key)
            if rows is not None and extent in rows:
                return rows[extent]
        try:
            with self._environment.begin(db=self._extents) as transaction:
                value = transaction.get(key + extent_suffix(extent))
        except _DAMAGES as fault:
            raise DamagedPageError(f"a page of the index is damaged: {fault}") from fault
        return None if value is None else decode_extent(value)

    def sound_extent(self, key: bytes, extent: int) -> ExtentRow | None:
        """The row of one extent; None also where it is damaged, so that another may take its place.

        Raises DamagedPageError.
        """
        try:
            return self.extent(key, extent)
        except DamagedPageError:
            raise
        except DamagedRowError:
            self._pass_over(key + extent_suffix(extent))
            return None

    @property
    def damaged(self) -> bool:
        """Were rows passed over that fail their checksums?"""
        return bool(self._damaged)

    def _pass_over(self, place: bytes) -> None:
        """The row at `place` is damaged: a loss, and the index is made anew at the next start."""
        if place not in self._damaged and len(self._damaged) < DAMAGED_MAX:
            self._damaged.add(place)
            self.totals.losses += 1
            self.condemn()

    def _decoded(self, place: bytes, value: bytes) -> ExtentRow | None:
        try:
            return decode_extent(value)
        except DamagedRowError:
            self._pass_over(place)
            return None

    def tombstone(self, key: bytes) -> TombstoneRow | None:
        """The deletion of the shard `key`. Raises DamagedPageError.

        Of one whose row is damaged nobody knows what it hides, nor where: it is one that hides nothing and that every
        segment holds records for. What stands in its record holds again when compaction meets that, or a start.
        """
        for pending in self._layers:
            if key in pending.tombstones:
                return pending.tombstones[key]
        try:
            with self._environment.begin(db=self._tombstones) as transaction:
                value = transaction.get(key)
        except _DAMAGES as fault:
            raise DamagedPageError(f"a page of the index is damaged: {fault}") from fault
        try:
            return None if value is None else decode_tombstone(value)
        except DamagedRowError:
            self._pass_over(key)
            return TombstoneRow(NOTHING, 0, 0, tuple(self.segments))

    def extents(self, key: bytes) -> dict[int, ExtentRow]:
        """All extents of the shard `key` whose rows are sound, in order. Raises DamagedPageError."""
        newest, newer = (pending.extents.get(key, {}).copy() for pending in self._layers)
        try:
            with self._environment.begin(db=self._extents) as transaction:
                stored = {
                    extent_in(place): self._decoded(place, value) for place, value in _under(transaction, key)
                }
        except _DAMAGES as fault:
            raise DamagedPageError(f"a page of the index is damaged: {fault}") from fault
        merged: dict[int, ExtentRow | None] = {**stored, **newer, **newest}
        return {extent: row for extent, row in sorted(merged.items()) if row is not None}

    def set_extent(self, key: bytes, extent: int, row: ExtentRow | None) -> None:
        pending = self._layers[0]
        pending.extents.setdefault(key, {})[extent] = row
        pending.count += 1

    def set_tombstone(self, key: bytes, row: TombstoneRow | None) -> None:
        pending = self._layers[0]
        pending.tombstones[key] = row
        pending.count += 1

    def segment(self, segment: int) -> SegmentRow:
        """The row of a segment, to change in place; it is written with the next flush."""
        self._layers[0].segments.add(segment)
        return self.segments.setdefault(segment, SegmentRow())

    def forget_segment(self, segment: int) -> None:
        self.segments.pop(segment, None)
        self._layers[0].segments.add(segment)

    @property
    def pending(self) -> int:
        """Rows that are in memory only."""
        return self._layers[0].count

    def flush(self) -> None:
        """Commit and sync what is pending, with the checkpoint. OSError where the disk refuses: nothing is lost."""
        rows = self._layers[0]
        if not rows:
            return
        newer, left = _Pending(), rows
        self._layers = (newer, rows)
        try:
            self._commit(rows)
            left = newer
        except lmdb.Error as fault:
            if isinstance(fault, _DAMAGES):
                self.condemn()
            self.broken = self.broken or isinstance(fault, lmdb.PanicError)
            raise OSError(*_errno_of(fault)) from fault
        finally:
            self._layers = (left, _Pending())

    def vouch(self) -> None:
        """A start has come to its end with this index: it need not be made anew because nothing walked it."""
        soundness.vouch(self._folder)

    def _commit(self, rows: _Pending) -> None:
        with self._environment.begin(write=True) as transaction:
            for key, extents in sorted(rows.extents.items()):
                for extent, row in extents.items():
                    place = key + extent_suffix(extent)
                    if row is None:
                        transaction.delete(place, db=self._extents)
                    else:
                        transaction.put(place, encode_extent(row), db=self._extents)
            for key, grave in sorted(rows.tombstones.items()):
                if grave is None:
                    transaction.delete(key, db=self._tombstones)
                else:
                    transaction.put(key, encode_tombstone(grave), db=self._tombstones)
            for segment in rows.segments:
                place = segment.to_bytes(8, "big")
                if segment in self.segments:
                    transaction.put(place, msgspec.msgpack.encode(self.segments[segment]), db=self._segments)
                else:
                    transaction.delete(place, db=self._segments)
            transaction.put(b"totals", msgspec.msgpack.encode(self.totals), db=self._facts)

    def walk(self, after: bytes = b"") -> Iterator[tuple[bytes, int, ExtentRow]]:
        """(shard key, extent, row) of all flushed extents behind `after`, in order, whose rows are sound.

        Raises DamagedPageError.
        """
        try:
            with self._environment.begin(db=self._extents) as transaction:
                cursor = transaction.cursor()
                if not cursor.set_range(after + b"\xff" * 5 if after else b"\0"):
                    return
                for place, value in cursor:
                    row = self._decoded(place, value)
                    if row is not None:
                        yield place[:SHARD_KEY_SIZE], extent_in(place), row
        except _DAMAGES as fault:
            raise DamagedPageError(f"a page of the index is damaged: {fault}") from fault

    def walk_tombstones(self) -> Iterator[tuple[bytes, TombstoneRow]]:
        """(shard key, row) of all flushed deletions. Raises DamagedRowError."""
        try:
            with self._environment.begin(db=self._tombstones) as transaction:
                for key, value in transaction.cursor():
                    yield key, decode_tombstone(value)
        except _DAMAGES as fault:
            raise DamagedPageError(f"a page of the index is damaged: {fault}") from fault

    def condemn(self) -> None:
        """A row or a page of it is damaged: the next start makes the index anew from the segments."""
        log.error("the index in %s is damaged: it will be rebuilt at the next start", self._folder)
        soundness.condemn(self._folder)

    def close(self) -> None:
        self._environment.close()
        soundness.note_closed(self._folder)


def _under(transaction: "lmdb.Transaction[bytes]", prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    cursor = transaction.cursor()
    if not cursor.set_range(prefix):
        return
    for key, value in cursor:
        if not key.startswith(prefix):
            return
        yield key, value


def _errno_of(fault: lmdb.Error) -> tuple[int, str]:
    """The binding tells ENOSPC by DiskError; a full map is the same thing to whoever asks."""
    full = isinstance(fault, lmdb.DiskError | lmdb.MapFullError)
    return errno.ENOSPC if full else errno.EIO, str(fault)


__all__ = ["PENDING_ROWS_MAX", "DamagedRowError", "Index", "Totals"]
