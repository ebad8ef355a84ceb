"""Owns the folder of segments as one log: create, append with the rule for a disk that refuses, roll, remove.

<16 hex digits>.segment   a segment; its number is never used again
<16 hex digits>.new       a segment whose header is not durable yet; worth nothing after a crash
spare                     room kept for tombstones and compaction when the disk is full
"""

import contextlib
import errno
import logging
from collections.abc import Sequence
from pathlib import Path

from shardd.contract.cluster import StorageConfig
from shardd.contract.errors import OverloadedError, StorageFailedError, StorageFullError
from shardd.engine.filesystem import File, Filesystem, Room
from shardd.engine.record import BLOCK_SIZE, RECORD_SIZE_MAX, Origin, SegmentHeader, align
from shardd.engine.segment import PIECE_SIZE_MAX, Entry, Segment, SegmentWriter, WriteArea

SPARE_SIZE_MAX = 16 << 20
SUFFIX = ".segment"
UNFINISHED = ".new"
SPARE = "spare"
FAILED = "the disk refused a write; the shard server takes none until it is started again"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # the process lacks something, and not the disk

log = logging.getLogger(__name__)


class Journal:
    """All segments of a store; the newest may be open for appending. One writer; `segments` may be read anywhere."""

    def __init__(
        self, folder: Path, origin: Origin, *, filesystem: Filesystem, limits: StorageConfig
    ) -> None:
        self.folder = folder
        self.origin = origin
        self.filesystem = filesystem
        self.segments: dict[int, Segment] = {}
        self.failed = False
        self._segment_bytes = limits.segment_bytes
        self._next = 1
        self._writer: SegmentWriter | None = None
        self._spare: File | None = None
        self._spare_missed = False  # said, and only looked for again when the disk says that it has room
        self._spare_size = align(min(SPARE_SIZE_MAX, limits.segment_bytes), BLOCK_SIZE)
        self._area = WriteArea()

    @property
    def active(self) -> int | None:
        """The segment that is being written, if any."""
        return self._writer.segment if self._writer else None

    @property
    def position(self) -> int:
        """Where the active segment ends; all of it is synced between two appends."""
        return self._writer.position if self._writer else 0

    @property
    def has_spare(self) -> bool:
        return self._spare is not None

    def room(self) -> Room:
        return self.filesystem.room(self.folder)

    def adopt(self, segment: int, file: File) -> Segment:
        """Take up a segment that recovery found."""
        found = Segment(file, segment, self.origin)
        self.segments[segment] = found
        self.skip(segment)
        return found

    def skip(self, segment: int) -> None:
        """Never use this number for a new segment."""
        self._next = max(self._next, segment + 1)

    def append(self, entries: Sequence[Entry], *, now_us: int, essential: bool) -> list[tuple[int, int]]:
        """Append `entries` as one durable commit; gives (segment, offset) of each.

        A failed write or sync is never tried again on the same file, because the kernel may have dropped the dirty
        pages and would call the second sync a success (LWN 752063): the file is sealed and all is appended to a new
        one. `essential` entries may use the spare room. Raises StorageFullError, OverloadedError where the process can
        open no more files, and StorageFailedError for good.
        """
        if self.failed:
            raise StorageFailedError(FAILED)
        size = sum(entry.size for entry in entries)
        size += BLOCK_SIZE * (1 + size // (PIECE_SIZE_MAX - RECORD_SIZE_MAX))
        fault: OSError | None = None
        for _ in range(2):
            try:
                writer = self._writer_for(size, now_us, essential=essential)
                offsets = writer.append(entries)
                writer.sync()
                return [(writer.segment, offset) for offset in offsets]
            except OSError as error:
                fault = error
                log.error("segment %s refuses writes: %s", self.active, error)
                self.seal()
        self.failed = True
        raise StorageFailedError(f"the disk refused twice: {fault}") from fault

    def seal(self) -> None:
        """Close the active segment, if any; the next append begins a new one."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            with contextlib.suppress(OSError):  # only gives room back; what is synced stays
                writer.seal()

    def remove(self, segment: int) -> None:
        """Take a segment off the disk for good. OSError where that fails."""
        self.filesystem.unlink(self.path(segment))
        self.segments.pop(segment)  # readers that have it go on: its file closes with the last of them
        self.filesystem.sync_folder(self.folder)

    def keep_spare(self) -> bool:
        """Have the spare room, if the disk has it; whether it is there."""
        if self._spare is None:
            path = self.folder / SPARE
            try:
                if self._spare_missed and self.room().free_bytes < self._spare_size:
                    return False
                if SPARE in self.filesystem.names(self.folder):
                    self.filesystem.unlink(path)
                file = self.filesystem.create(path)
                file.allocate(self._spare_size)
            except OSError as fault:
                if not self._spare_missed:
                    log.warning("no spare room in %s: %s", self.folder, fault)
                self._spare_missed = True
                with contextlib.suppress(OSError):
                    self.filesystem.unlink(path)
                return False
            self._spare, self._spare_missed = file, False
        return True

    def release_spare(self) -> None:
        """Give the spare room to whoever needs it now."""
        if self._spare is not None:
            self._spare = None
            self.filesystem.unlink(self.folder / SPARE)

    def close(self) -> None:
        self.seal()
        self.segments.clear()
        self._spare = None

    def path(self, segment: int) -> Path:
        return self.folder / f"{segment:016x}{SUFFIX}"

    def _writer_for(self, size: int, now_us: int, *, essential: bool) -> SegmentWriter:
        """A segment with `size` bytes of room, the active one where it has that."""
        writer = self._writer
        if writer is not None and (
            writer.position == BLOCK_SIZE or writer.position + size <= self._segment_bytes
        ):
            try:
                writer.reserve(writer.position + size)
                return writer
            except OSError as fault:
                if fault.errno not in _FULL or not essential:
                    raise self._translated(fault) from fault
        self.seal()
        try:
            return self._begin(size, now_us)
        except OSError as fault:
            if fault.errno not in _FULL or not essential or self._spare is None:
                raise self._translated(fault) from fault
        return self._begin_spare(now_us)

    def _translated(self, fault: OSError) -> Exception:
        """What to say where there is no segment to write to: nothing has been written yet."""
        if fault.errno in _SCARCE:
            return OverloadedError(f"no new segment can be opened now: {fault}")
        return StorageFullError(f"no room for new shards: {fault}") if fault.errno in _FULL else fault

    def _begin(self, size: int, now_us: int) -> SegmentWriter:
        unfinished = self.path(self._next).with_suffix(UNFINISHED)
        try:
            writer = self._writer_on(self.filesystem.create(unfinished), now_us)
            writer.reserve(BLOCK_SIZE + size)
            return self._enlist(writer, unfinished)
        except OSError:
            with contextlib.suppress(OSError):
                self.filesystem.unlink(unfinished)
            self._next += 1
            raise

    def _begin_spare(self, now_us: int) -> SegmentWriter:
        assert self._spare is not None
        file, self._spare = self._spare, None
        return self._enlist(self._writer_on(file, now_us, allocated=self._spare_size), self.folder / SPARE)

    def _writer_on(self, file: File, now_us: int, *, allocated: int = 0) -> SegmentWriter:
        header = SegmentHeader(self.origin, self._next, now_us)
        return SegmentWriter(
            file, header, buffer=self._area, capacity=self._segment_bytes, allocated=allocated
        )

    def _enlist(self, writer: SegmentWriter, unfinished: Path) -> SegmentWriter:
        """The name comes after the header, so that a segment without a sound header is never one of a crash."""
        writer.begin()
        self.filesystem.rename(unfinished, self.path(writer.segment))
        self.filesystem.sync_folder(self.folder)
        self.adopt(writer.segment, writer.file)
        self._writer = writer
        return writer
