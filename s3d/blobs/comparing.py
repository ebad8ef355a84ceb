"""Owns the comparison of what a node has with what rows place on it; pure: a stretch of blobs of each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from s3d.metadata.fields import Places
from s3d.metadata.rows import BlobRow
from shardd.contract.blobs import NodeId
from shardd.contract.messages import Stat

Line = tuple[bytes, int, int, int, int, bool]  # of a shard server's LIST: messages.Page
Place = tuple[bytes, int]  # (blob, shard)

END = b"\xff" * 17  # behind every blob


@dataclass(frozen=True, slots=True)
class Findings:
    """What one stretch of blobs showed.

    `missing`: shards that rows place on the node and that it has not, or not whole. `unnamed`: of each blob the places
    (node, shard, generation) that no row names.
    """

    missing: tuple[Place, ...]
    unnamed: Mapping[bytes, Places]


@dataclass(frozen=True, slots=True)
class UnderWay:
    """What may have put shards that no row names yet: uploads begun from `since_ms` on, and moves where one `moves`."""

    since_ms: int
    moves: bool = False

    def may_name(self, blob: bytes, row: BlobRow | None, generation: int) -> bool:
        """Whether a row may name such a shard soon. A move puts the next generation; repair has filed its blob."""
        if row is None:
            return begun_ms(blob) >= self.since_ms
        return bool(row.filed) or (self.moves and generation >= row.next_generation)


def stretch(lines: Sequence[Line], rows: Sequence[bytes], *, lines_max: int, rows_max: int) -> bytes:
    """Up to which blob two pages that begin behind the same blob tell of everything; END where both are the last.

    The last blob of a full page of `lines` may have more shards on the next one.
    """
    of_lines = END if len(lines) < lines_max else _before_last(lines)
    of_rows = END if len(rows) < rows_max else rows[-1]
    return min(of_lines, of_rows)


def compare(
    node: NodeId, lines: Iterable[Line], rows: Mapping[bytes, BlobRow], *, stop: bytes, under_way: UnderWay
) -> Findings:
    """Hold what the node listed against the rows, both up to the blob `stop`.

    What is `under_way` is left alone; a later pass meets what it leaves behind.
    """
    there = {(line[0], line[1]): line for line in lines if line[0] <= stop}
    named = {
        (blob, shard): generation
        for blob, row in rows.items()
        for shard, (at, generation) in enumerate(row.shards)
        if at == node and blob <= stop
    }
    missing = [place for place, generation in named.items() if not _has(there.get(place), generation)]
    unnamed: dict[bytes, Places] = {}
    for blob, shard in sorted(there.keys() - named.keys()):
        generation = there[blob, shard][2]
        if not under_way.may_name(blob, rows.get(blob), generation):
            unnamed[blob] = (*unnamed.get(blob, ()), (int(node), shard, generation))
    return Findings(tuple(missing), unnamed)


def begun_ms(blob: bytes) -> int:
    """When the upload of a blob began (milliseconds since 1970), by its UUIDv7."""
    return int.from_bytes(blob[:6], "big")


def is_whole(stat: Stat, *, extents: int, generation: int) -> bool:
    """Whether a shard is there with all its extents, of the row's generation or of a repair in place after it."""
    there = [extent for extent, found, _ in stat.extents if found >= generation]
    return stat.last and there == list(range(extents))


def _before_last(lines: Sequence[Line]) -> bytes:
    last = lines[-1][0]
    return next(line[0] for line in reversed(lines) if line[0] != last)


def _has(line: Line | None, generation: int) -> bool:
    return line is not None and line[5] and line[2] >= generation
