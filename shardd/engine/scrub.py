"""Owns the verification of what lies in a segment, a few MiB at a time; never decides when."""

import logging

import msgspec

from shardd.engine import ledger
from shardd.engine.index import Index
from shardd.engine.journal import Journal
from shardd.engine.record import BLOCK_SIZE
from shardd.engine.segment import Found, Gap

STEP_BYTES = 8 << 20

log = logging.getLogger(__name__)


class Scrubbed(msgspec.Struct, frozen=True):
    """What one step saw: whole records, damaged stretches, rows that were quarantined; `position` 0: the end."""

    records: int
    damaged: int
    quarantined: int
    position: int


def scrub(journal: Journal, index: Index, *, segment: int, position: int) -> Scrubbed:
    """Read and verify the records of `segment` from `position` on, up to STEP_BYTES of them."""
    found = journal.segments.get(segment)
    if found is None:
        return Scrubbed(0, 0, 0, 0)
    start = max(position, BLOCK_SIZE)
    end = index.segment(segment).scanned_to
    records, gaps = 0, list[Gap]()
    following = 0
    for item in found.scan(start, end):
        if isinstance(item, Found):
            records += 1
            stop = item.header.offset + item.header.size
        else:
            gaps.append(item)
            stop = item.stop
        if stop - start >= STEP_BYTES and stop < end:
            following = stop
            break
    return Scrubbed(records, len(gaps), _quarantine(index, segment, gaps) if gaps else 0, following)


def _quarantine(index: Index, segment: int, gaps: list[Gap]) -> int:
    """The rows that point into `gaps`. Rare, so the whole index may be walked for it."""
    index.flush()
    hit = [
        (key, extent, row)
        for key, extent, row in index.walk()
        if row.segment == segment and any(gap.start <= row.offset < gap.stop for gap in gaps)
    ]
    for key, extent, row in hit:
        log.error("segment %d at %d is damaged: the record is quarantined", segment, row.offset)
        ledger.quarantine(index, key, extent, row)
    return sum(not row.quarantined for _, _, row in hit)
