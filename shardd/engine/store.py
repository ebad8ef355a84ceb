"""Owns the order of a write: append, sync, index, answer; and the store's other requests. Never runs by itself.

`commit`, `compact_step`, `scrub_step`, `flush_index` and `close` exclude each other; `read` and `stat` run beside
them in any thread.
"""

import errno
import logging
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from shardd.contract.blobs import (
    EXTENT_UNITS_MAX,
    UNIT_SIZE,
    BlobId,
    NodeId,
    units_in,
)
from shardd.contract.cluster import StorageConfig
from shardd.contract.errors import (
    BadRequestError,
    ShardCorruptError,
    ShardError,
    ShardNotFoundError,
    StorageFailedError,
    StorageFullError,
)
from shardd.contract.messages import Page, Stat, Status
from shardd.engine import ledger
from shardd.engine.compaction import Compactor, Level
from shardd.engine.condition import Condition
from shardd.engine.filesystem import Filesystem
from shardd.engine.group import Delete, Group, Metadata, Put
from shardd.engine.identity import own_origin
from shardd.engine.index import PENDING_ROWS_MAX, Index
from shardd.engine.journal import Journal
from shardd.engine.listing import page
from shardd.engine.record import FormatError, Header, metadata_in, unit_crcs_in
from shardd.engine.recovery import recovered
from shardd.engine.rows import SHARD_KEY_SIZE, DamagedRowError, ExtentRow, shard_key
from shardd.engine.scrub import Scrubbed, scrub
from shardd.engine.segment import Entry, Segment

LIST_LIMIT_MAX = 1_000
ONE_READ_SIZE_MAX = 32 << 10
LOCATE_TRIES = 3

log = logging.getLogger(__name__)

__all__ = ["Delete", "Extent", "Put", "ShardStore"]


class Extent(msgspec.Struct, frozen=True, gc=False):
    """Units as they were put: `length` bytes of them in `units`, 4 bytes of CRC each in `crcs`; not verified here."""

    length: int
    crcs: bytes
    units: bytes


class ShardStore:
    """All shards of one node."""

    def __init__(self, journal: Journal, index: Index, *, limits: StorageConfig) -> None:
        self._journal = journal
        self._index = index
        self._limits = limits
        self._writing = threading.Lock()
        self._compactor = Compactor(journal, index, limits, flush=self._flush_or_fail)
        self._closed = False
        self._unlock: Callable[[], None] = lambda: None
        self._condition = Condition(journal, index, limits)
        self.incarnation = journal.origin.incarnation

    @classmethod
    def open(
        cls, folder: Path, *, cluster: bytes, node: NodeId, filesystem: Filesystem, limits: StorageConfig
    ) -> "ShardStore":
        """The store in `folder`, recovered; a new folder becomes a new store with a new incarnation.

        Raises WrongClusterError for a folder of another cluster or node, StorageFailedError where the disk refuses
        or another process has the folder, UnsupportedFormatError for segments of a later version.
        """
        try:
            filesystem.make_folder(folder)
            is_new = not filesystem.names(folder)
            lock = filesystem.lock(folder / "lock")
        except OSError as fault:
            raise StorageFailedError(f"{folder} cannot be taken: {fault}") from fault
        try:
            origin = own_origin(filesystem, folder, cluster=cluster, node=node, chance=secrets.token_bytes)
            losses = 0 if is_new else secrets.randbits(32)
            journal, index = recovered(folder, origin, filesystem=filesystem, limits=limits, losses=losses)
            journal.keep_spare()
        except OSError as fault:
            lock.close()
            raise StorageFailedError(f"{folder} cannot be recovered: {fault}") from fault
        except BaseException:
            lock.close()
            raise
        store = cls(journal, index, limits=limits)
        store._unlock = lock.close
        return store

    def commit(self, batch: Sequence[Put | Delete], *, now_us: int) -> list[ShardError | None]:
        """Make a group durable; one outcome each, in order: None where it is durable, or the error to answer with.

        BadRequestError, ShardCorruptError (the payload fails its checksums), ShardConflictError (the same generation
        is here with other bytes), StaleGenerationError, StorageFullError, StorageFailedError.
        """
        with self._writing:
            group = Group(self._index, self._same_bytes, now_us=now_us)
            refusal = self._condition.refusal(now_us)
            outcomes = [
                refusal if refusal and isinstance(item, Put) else group.admit(item, number)
                for number, item in enumerate(batch)
            ]
            self._make_durable(group, outcomes, now_us=now_us)
            return outcomes

    def _make_durable(self, group: Group, outcomes: list[ShardError | None], *, now_us: int) -> None:
        """THE order: append and sync, then the index, and the answer is whatever is in `outcomes` after that."""
        entries = group.entries
        if not entries:
            return
        try:
            places = self._journal.append(entries, now_us=now_us, essential=False)
        except StorageFullError as full:
            entries = group.refuse_puts(outcomes, full)
            if not entries:
                return
            try:
                places = self._journal.append(entries, now_us=now_us, essential=True)
            except ShardError as error:
                group.refuse_all(outcomes, error)
                return
        except ShardError as error:
            group.refuse_all(outcomes, error)
            return
        self._enter(entries, places)

    def _enter(self, entries: Sequence[Entry], places: Sequence[tuple[int, int]]) -> None:
        for entry, (segment, offset) in zip(entries, places, strict=True):
            try:
                ledger.enter(self._index, entry.record, segment=segment, offset=offset)
            except DamagedRowError:
                self._index.condemn()  # the record is durable: the rebuilt index will have it
        active = self._journal.active
        assert active is not None
        self._index.segment(active).scanned_to = self._journal.position
        if self._index.pending > PENDING_ROWS_MAX:
            self._flush()

    def read(self, blob: BlobId, shard: int, extent: int, *, first: int, count: int) -> Extent:
        """`count` units of an extent from its unit `first` on, as they were put.

        Raises ShardNotFoundError, ShardCorruptError (header or layout fail; the record is quarantined) and
        BadRequestError for units that the extent does not have. The units' own CRCs are for the reader to check.
        """
        key = shard_key(blob, shard)
        row, segment = self._locate(key, extent)
        if not (first >= 0 and 0 <= count <= EXTENT_UNITS_MAX and first + count <= units_in(row.length)):
            raise BadRequestError(f"units {first} to {first + count} of an extent of {row.length} bytes")
        start = first * UNIT_SIZE
        stop = min(start + count * UNIT_SIZE, row.length)
        try:
            head, units = _read_parts(segment, row, start, stop)
            header = segment.header(head, row.offset)
            _check_agrees(header, key, extent, row)
            if len(units) != stop - start or len(head) != row.head_size:
                raise ShardCorruptError("the segment ends before the record does")
        except (FormatError, ShardCorruptError, OSError) as fault:
            self._quarantine(key, extent, row, fault)
            raise ShardCorruptError(f"the record is quarantined: {fault}") from fault
        return Extent(stop - start, unit_crcs_in(head, header)[4 * first : 4 * (first + count)], units)

    def stat(self, blob: BlobId, shard: int) -> Stat:
        """The extents of a shard; an empty Stat where there are none. Raises ShardCorruptError."""
        key = shard_key(blob, shard)
        try:
            rows = self._index.extents(key)
        except DamagedRowError as fault:
            self._index.condemn()
            raise ShardCorruptError(str(fault)) from fault
        whole = [(extent, row) for extent, row in rows.items() if not row.quarantined]
        extents = [(extent, row.generation, row.length) for extent, row in whole]
        if not whole or not whole[-1][1].last:
            return Stat(extents)
        return Stat(extents, last=True, identity=self._identity(key, whole[-1][0]))

    def _identity(self, key: bytes, extent: int) -> bytes:
        row, segment = self._locate(key, extent)
        try:
            head = segment.file.read(row.head_size, row.offset)
            metadata = metadata_in(head, segment.header(head, row.offset))
            return msgspec.msgpack.decode(metadata, type=Metadata).identity
        except (FormatError, msgspec.DecodeError, OSError) as fault:
            self._quarantine(key, extent, row, fault)
            raise ShardCorruptError(f"the record is quarantined: {fault}") from fault

    def list(self, after: bytes, limit: int) -> Page:
        """A page of all shards behind `after` (17 bytes: blob, shard; or none). Raises ShardCorruptError."""
        if (after and len(after) != SHARD_KEY_SIZE) or not 0 < limit <= LIST_LIMIT_MAX:
            raise BadRequestError(f"a page of {limit} behind a key of {len(after)} bytes")
        with self._writing:
            self._flush()
            try:
                return page(self._index, after=after, limit=limit)
            except DamagedRowError as fault:
                self._index.condemn()
                raise ShardCorruptError(str(fault)) from fault

    @property
    def needs_restart(self) -> bool:
        """Is the index gone until the next start, which makes it anew? Reads fail until then, and puts are refused."""
        return self._index.broken

    def status(self, now_us: int) -> Status:
        """How the store is."""
        return self._condition.status(now_us)

    def compact_step(self, now_us: int) -> bool:
        """A few MiB of compaction; whether there is more to do."""
        with self._writing:
            room = self._journal.room()
            level = Level.PRESSED if room.full > self._limits.compact_above_full else Level.EASY
            try:
                return self._compactor.step(level, now_us=now_us)
            except DamagedRowError:
                self._index.condemn()
                return False
            except OSError as fault:
                log.error("compaction: %s", fault)
                return False

    def scrub_step(self, segment: int, position: int) -> Scrubbed:
        """Verify the next few MiB of a segment, units too, from `position` on; quarantine what fails.

        Raises OSError, ShardCorruptError where the index is damaged.
        """
        with self._writing:
            try:
                return scrub(self._journal, self._index, segment=segment, position=position)
            except DamagedRowError as fault:
                self._index.condemn()
                raise ShardCorruptError(str(fault)) from fault

    def segments(self) -> Mapping[int, int]:
        """The numbers of all segments, in order, and how many bytes of each are written."""
        known = self._index.segments
        return {
            number: known[number].scanned_to if number in known else 0
            for number in sorted(self._journal.segments)
        }

    def flush_index(self) -> None:
        """Commit the index and its checkpoint; keep the spare room. A disk that refuses is tried again next time."""
        with self._writing:
            self._flush()
            self._journal.keep_spare()

    def close(self) -> None:
        """Flush the index, close the files and give the folder free. Idempotent."""
        with self._writing:
            if self._closed:
                return
            self._closed = True
            self._flush()
            self._index.close()
            self._journal.close()
            self._unlock()

    def _flush(self) -> None:
        try:
            self._flush_or_fail()
        except OSError as fault:
            log.error("the index cannot be written, it is tried again: %s", fault)

    def _flush_or_fail(self) -> None:
        """Raises OSError. On a full disk the index may have the spare room: compaction needs it to give room back."""
        try:
            self._index.flush()
        except OSError as fault:
            if fault.errno != errno.ENOSPC or not self._journal.has_spare:
                raise
            self._journal.release_spare()
            self._index.flush()

    def _locate(self, key: bytes, extent: int) -> tuple[ExtentRow, Segment]:
        """The row of an extent and its segment, which compaction may take away between the two look-ups."""
        for _ in range(LOCATE_TRIES):
            row = self._row(key, extent)
            segment = self._journal.segments.get(row.segment)
            if segment is not None:
                return row, segment
        raise ShardCorruptError("the segment of the extent is gone")

    def _row(self, key: bytes, extent: int) -> ExtentRow:
        try:
            row = self._index.extent(key, extent)
        except DamagedRowError as fault:
            self._index.condemn()
            raise ShardCorruptError(str(fault)) from fault
        if row is None:
            raise ShardNotFoundError("no such extent here")
        if row.quarantined:
            raise ShardCorruptError("the record is quarantined")
        return row

    def _same_bytes(self, row: ExtentRow, put: Put) -> bool:
        """Whether the record of `row` has the units of `put`, by length and checksums."""
        segment = self._journal.segments.get(row.segment)
        if segment is None or row.length != put.length:
            return False
        head = segment.file.read(row.head_size, row.offset)
        return unit_crcs_in(head, segment.header(head, row.offset)) == put.crcs

    def _quarantine(self, key: bytes, extent: int, row: ExtentRow, fault: Exception) -> None:
        log.error("segment %d at %d: %s; the record is quarantined", row.segment, row.offset, fault)
        with self._writing:
            if self._index.extent(key, extent) == row:
                ledger.quarantine(self._index, key, extent, row)


def _read_parts(segment: Segment, row: ExtentRow, start: int, stop: int) -> tuple[bytes, bytes]:
    """The head of a record and its units from byte `start` to `stop`: in one read where that is little."""
    if row.head_size + stop <= ONE_READ_SIZE_MAX:
        data = segment.file.read(row.head_size + stop, row.offset)
        return data[: row.head_size], data[row.head_size + start :]
    head = segment.file.read(row.head_size, row.offset)
    return head, segment.file.read(stop - start, row.offset + row.head_size + start)


def _check_agrees(header: Header, key: bytes, extent: int, row: ExtentRow) -> None:
    if (shard_key(header.blob, header.shard), header.extent, header.generation, header.length) != (
        key,
        extent,
        row.generation,
        row.length,
    ):
        raise ShardCorruptError("the record is not the one that the index names")
