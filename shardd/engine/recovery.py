"""Owns what happens to segments and index when a store opens; never serves a request.

A record that is not valid is corruption only where a later valid record says that its place had been synced
(`synced_to` beyond it), or where a whole segment follows; otherwise it is the torn tail of writes that nobody was
told about, and is cut. Valid records behind a tear are kept: nobody was told about them either, but they are whole.
Nothing is appended to a segment that recovery found, so no block that may have been acknowledged is written again.
"""

import contextlib
import errno
import logging
from collections.abc import Callable, Set
from pathlib import Path

import msgspec

from shardd.contract.cluster import StorageConfig
from shardd.engine import ledger
from shardd.engine.filesystem import File, Filesystem
from shardd.engine.index import PENDING_ROWS_MAX, Index
from shardd.engine.journal import SPARE, SUFFIX, UNFINISHED, Journal
from shardd.engine.record import (
    BLOCK_SIZE,
    DamagedFormatError,
    Origin,
    TruncatedFormatError,
    UnsupportedFormatError,
    align,
    decode_segment_header,
    with_version,
)
from shardd.engine.rows import DamagedRowError, ExtentRow, TombstoneRow
from shardd.engine.segment import SCAN_WINDOW, Gap, Segment

NUMBER_MAX = 1 << 56  # of a segment; leaves room for all that will ever follow

log = logging.getLogger(__name__)


class _Tail(msgspec.Struct):
    """What replay saw of one segment."""

    end: int  # of the last valid record's commit
    proven_to: int  # synced up to here, as later records say
    gaps: list[Gap]


def recovered(
    folder: Path, origin: Origin, *, filesystem: Filesystem, limits: StorageConfig, losses: int
) -> tuple[Journal, Index]:
    """The store in `folder` as far as it is durable. An index with a damaged row is made anew; one so has `losses`.

    Raises as `recover`.
    """

    def read() -> tuple[Journal, Index]:
        return Journal(folder, origin, filesystem=filesystem, limits=limits), Index(
            folder / "index", origin, losses=losses
        )

    journal, index = read()
    with contextlib.suppress(DamagedRowError):
        recover(journal, index)
        if not index.damaged:
            return journal, index
    index.condemn()
    index.close()
    journal.close()
    journal, index = read()
    recover(journal, index)
    return journal, index


def recover(journal: Journal, index: Index) -> None:
    """Bring `index` up to what is durable in the segments of `journal`, and make that durable itself.

    Raises UnsupportedFormatError for a segment of a later version, and OSError where the disk refuses.
    """
    _discover(journal)
    _forget_missing(journal, index)
    newest = max(journal.segments, default=0)
    for number in journal.segments:
        index.segment(number)
    for number, segment in sorted(journal.segments.items()):
        _replay(segment, index, newest=number == newest)
    index.flush()
    index.vouch()


def _discover(journal: Journal) -> None:
    """Open every segment of ours; foreign files are left alone, unfinished ones go."""
    filesystem, folder = journal.filesystem, journal.folder
    for name in filesystem.names(folder):
        if name.endswith(UNFINISHED) or name == SPARE:
            filesystem.unlink(folder / name)
        elif name.endswith(SUFFIX):
            number = _number_in(name)
            if number is None:
                log.error("%s has no name of a segment: it is left alone", name)
                continue
            journal.skip(number)
            file = filesystem.open(folder / name)
            if _is_ours(journal, file, name):
                journal.adopt(number, file)


def _number_in(name: str) -> int | None:
    with contextlib.suppress(ValueError):
        number = int(name.removesuffix(SUFFIX), 16)
        if 0 < number <= NUMBER_MAX:
            return number
    return None


def _is_ours(journal: Journal, file: File, name: str) -> bool:
    data = file.read(BLOCK_SIZE, 0)
    try:
        header = decode_segment_header(data)
    except UnsupportedFormatError:
        # A start must stop at a later version, but not at a flipped bit in this one.
        with contextlib.suppress(DamagedFormatError):
            decode_segment_header(with_version(data))
            log.error("the version of %s is damaged; its records are read all the same", name)
            return True
        raise
    except TruncatedFormatError:
        log.error("%s is shorter than a header: it is left alone", name)
        return False
    except DamagedFormatError as fault:
        # A name stands only behind a durable header, so this is bit rot; each record proves itself whose it is.
        log.error("%s: %s; its records are read all the same", name, fault)
        return True
    if header.origin != journal.origin or journal.path(header.segment).name != name:
        log.error("%s is a segment of another store or place (%s): it is left alone", name, header)
        return False
    return True


def _forget_missing(journal: Journal, index: Index) -> None:
    """Rows of segments that are gone or shorter than they were: the index is older than a compaction, or files went."""
    sizes = {number: segment.file.size() for number, segment in journal.segments.items()}
    short = {
        number for number, stats in index.segments.items() if sizes.get(number, -1) < stats.scanned_to
    } | (index.segments.keys() - sizes.keys())
    if short:
        _drop_rows(
            index,
            lambda row: row.segment in short and row.offset + row.size > sizes.get(row.segment, 0),
            there=sizes.keys(),
        )
    for number in short:
        if number in sizes:
            index.segment(number).scanned_to = align(sizes[number] - BLOCK_SIZE + 1, BLOCK_SIZE)
        else:
            index.forget_segment(number)


def _drop_rows(index: Index, gone: Callable[[ExtentRow], bool], *, there: Set[int]) -> None:
    """Rows whose records are gone. Raises DamagedRowError where one hides others, in the segments that are `there`.

    Compaction flushes the index before it removes anything, so that index is an older copy: the record stands somewhere
    else, and replay, which does not read those segments again, would take it for one that hides nothing.
    """
    lost = [(key, extent, row) for key, extent, row in index.walk() if gone(row)]
    graves = [
        (key, grave)
        for key, grave in index.walk_tombstones()
        if grave.segment not in index.segments or gone(_as_extent(grave.segment, grave.offset))
    ]
    rows: list[ExtentRow | TombstoneRow] = [*(row for *_, row in lost), *(row for _, row in graves)]
    if there & {holder for row in rows for holder in row.holders if holder != row.segment}:
        raise DamagedRowError("the index is older than a compaction")
    for key, extent, row in lost:
        ledger.drop_extent(index, key, extent, row)
    for key, grave in graves:
        ledger.drop_tombstone(index, key, grave)


def _as_extent(segment: int, offset: int) -> ExtentRow:
    return ExtentRow(0, segment, offset, 0, 0)


def _replay(segment: Segment, index: Index, *, newest: bool) -> None:
    """Enter what is in `segment` behind its checkpoint, cut its tail, and sync what was found."""
    stats = index.segment(segment.segment)
    size = segment.file.size()
    start = max(stats.scanned_to, BLOCK_SIZE)
    if size > start:
        tail = _enter_records(segment, index, start, size, newest=newest)
        end = _cut(segment, tail, size, newest=newest)
        # What was read may be in the page cache or the disk's only: it is answered from, so it must be durable.
        segment.file.datasync()
        index.segment(segment.segment).scanned_to = end
        for gap in tail.gaps:
            if gap.start < end:
                ledger.enter_rot(index, gap.header)


def _enter_records(segment: Segment, index: Index, start: int, size: int, *, newest: bool) -> _Tail:
    tail = _Tail(start, start, [])
    # In the newest one a block that the disk does not give back could be taken for the end, and cut.
    for found in segment.scan(start, size, over_bad_blocks=not newest):
        if isinstance(found, Gap):
            tail.gaps.append(found)
            continue
        ledger.enter(index, found.record, segment=segment.segment, offset=found.header.offset)
        end = found.header.offset + found.header.size
        if found.header.ends_commit:
            end = align(end, BLOCK_SIZE)  # what follows is padding, and no record begins in it
        tail.end = align(end, BLOCK_SIZE)
        tail.proven_to = max(tail.proven_to, found.header.synced_to)
        if index.pending > PENDING_ROWS_MAX:
            index.segment(segment.segment).scanned_to = end
            index.flush()
    return tail


def _cut(segment: Segment, tail: _Tail, size: int, *, newest: bool) -> int:
    """Where the segment ends now. Gaps in what was synced stay, for salvage; the rest of `tail.gaps` is taken out."""
    if not newest and any(not _is_zero(segment, gap) for gap in tail.gaps):
        tail.end = tail.proven_to = size
    tail.end = max(tail.end, align(tail.proven_to, BLOCK_SIZE))
    tail.gaps = [gap for gap in tail.gaps if gap.start < tail.proven_to]
    for gap in tail.gaps:
        log.error("segment %d is damaged from %d to %d", segment.segment, gap.start, gap.stop)
    if tail.end < size:
        segment.file.truncate(tail.end)
    return tail.end


def _is_zero(segment: Segment, gap: Gap) -> bool:
    at = gap.start
    while at < gap.stop:
        try:
            data = segment.file.read(min(SCAN_WINDOW, gap.stop - at), at)
        except OSError as fault:
            if fault.errno != errno.EIO:
                raise
            return False  # nobody knows, so it stays
        if not data:
            return True
        if data.count(0) != len(data):
            return False
        at += len(data)
    return True
