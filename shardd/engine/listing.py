"""Owns how the rows of a shard's extents become one line of a page; never reads a segment."""

from itertools import groupby

from shardd.contract.messages import Page
from shardd.engine.index import Index
from shardd.engine.rows import ExtentRow, split_shard_key

Line = tuple[bytes, int, int, int, int, bool]  # blob, shard, generation, extents, bytes, complete


def page(index: Index, *, after: bytes, limit: int) -> Page:
    """The next `limit` shards behind the shard key `after`, out of what is flushed. Raises DamagedRowError.

    Rot is listed, too: what no row of the metadata names is deleted by its line, and nothing else would ever do that.
    """
    lines: list[Line] = []
    for key, found in groupby(index.walk(after), key=lambda item: item[0]):
        rows = [(extent, row) for _, extent, row in found]
        if len(lines) == limit:
            blob, shard = lines[-1][:2]
            return Page(lines, blob + bytes((shard,)))
        lines.append(_line(key, rows))
    return Page(lines, b"")


def _line(key: bytes, rows: list[tuple[int, ExtentRow]]) -> Line:
    """Complete: all extents are there and whole, of one generation, up to the one that is marked as the last."""
    blob, shard = split_shard_key(key)
    generations = {row.generation for _, row in rows}
    whole = [row for _, row in rows if not row.quarantined]
    final, last = rows[-1]
    complete = len(generations) == 1 and last.last and final == len(whole) - 1
    return blob, shard, max(generations), len(whole), sum(row.length for row in whole), complete
