"""Owns how the rows of a shard's extents become one line of a page; never reads a segment."""

from itertools import groupby

from shardd.contract.messages import Page
from shardd.engine.index import Index
from shardd.engine.rows import ExtentRow, split_shard_key

Line = tuple[bytes, int, int, int, int, bool]  # blob, shard, generation, extents, bytes, complete


def page(index: Index, *, after: bytes, limit: int) -> Page:
    """The next `limit` shards behind the shard key `after`, out of what is flushed. Raises DamagedRowError."""
    lines: list[Line] = []
    for key, found in groupby(index.walk(after), key=lambda item: item[0]):
        rows = [(extent, row) for _, extent, row in found if not row.quarantined]
        if not rows:
            continue
        if len(lines) == limit:
            blob, shard = lines[-1][:2]
            return Page(lines, blob + bytes((shard,)))
        lines.append(_line(key, rows))
    return Page(lines, b"")


def _line(key: bytes, rows: list[tuple[int, ExtentRow]]) -> Line:
    """Complete: all extents are there, of one generation, up to the one that is marked as the last."""
    blob, shard = split_shard_key(key)
    generations = {row.generation for _, row in rows}
    final, row = rows[-1]
    complete = len(generations) == 1 and row.last and final == len(rows) - 1
    return blob, shard, max(generations), len(rows), sum(row.length for _, row in rows), complete
