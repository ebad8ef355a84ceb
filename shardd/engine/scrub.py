"""Owns the verification of what lies in a segment, a little at a time; never decides when."""

import msgspec

from shardd.engine import ledger
from shardd.engine.index import Index
from shardd.engine.journal import Journal
from shardd.engine.record import BLOCK_SIZE
from shardd.engine.segment import Found, Gap

STEP_BYTES = 2 << 20  # writes wait meanwhile: some ms


class Scrubbed(msgspec.Struct, frozen=True):
    """What one step saw: whole records, damaged stretches, rows that were quarantined; `position` 0: the end."""

    records: int
    damaged: int
    quarantined: int
    position: int


def scrub(journal: Journal, index: Index, *, segment: int, position: int) -> Scrubbed:
    """Read and verify the records of `segment` from `position` on, up to STEP_BYTES of them.

    What the disk does not give back (EIO) is damaged, as what it gives back changed. Raises OSError, DamagedRowError.
    """
    found = journal.segments.get(segment)
    if found is None:
        return Scrubbed(0, 0, 0, 0)
    start = max(position, BLOCK_SIZE)
    end = index.segment(segment).scanned_to
    records, gaps = 0, list[Gap]()
    following = 0
    for item in found.scan(start, end, over_bad_blocks=True):
        if isinstance(item, Found):
            records += 1
        else:
            gaps.append(item)
        if item.stop - start >= STEP_BYTES and item.stop < end:
            following = item.stop
            break
    if not gaps:
        return Scrubbed(records, 0, 0, following)
    index.flush()
    return Scrubbed(records, len(gaps), ledger.quarantine_gaps(index, segment, gaps), following)
