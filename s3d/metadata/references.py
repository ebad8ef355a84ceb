"""Owns the audit of what names blobs: all of it counted again and held against the rows; pure, never mends.

Versions (their slices, in the row or in pages) and the parts of uploads name blobs. Whatever commands were applied, and
wherever a process died, a sound state has no fault: tests ask it behind commands, crashes, reconcile and salvage.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from s3d.metadata import keys, tables
from s3d.metadata.rows import (
    BlobRow,
    CondemnedRow,
    PartRow,
    RowMissingError,
    SlicesRow,
    UploadRow,
    VersionRow,
    decode_row,
)
from s3d.metadata.view import View


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, in words, with a blob (its 16 bytes), or with the row under the key `at`."""

    at: bytes
    what: str

    def __str__(self) -> str:
        return f"{self.at.hex()}: {self.what}"


@dataclass(frozen=True, slots=True)
class _Doomed:
    """What condemned rows say: of each blob its places, and the blobs that must go as a whole."""

    places: dict[bytes, set[tuple[int, int, int]]]
    whole: set[bytes]


def audit(view: View) -> list[Fault]:
    """Every fault of the references of a state, in order of its tables.

    Reads all of it, and holds a count for every blob (some 150 bytes). Raises RowError where a row is damaged.
    """
    named: Counter[bytes] = Counter()
    faults = [*_count_versions(view, named), *_count_parts(view, named)]
    return [*faults, *_faults_of_blobs(view, named)]


def _count_versions(view: View, named: Counter[bytes]) -> Iterator[Fault]:
    pages: set[bytes] = set()
    for at, raw in view.reads.scan(tables.VERSIONS, b"", b""):
        row = decode_row(VersionRow, at, raw)
        pages.update(keys.manifest_key(row.sequence, page) for page in range(len(row.pages)))
        try:
            slices = [part for _, part in view.slices(row)]
        except RowMissingError as fault:
            yield Fault(at, str(fault))
            continue
        named.update(part.blob for part in slices)
        size = sum(part.size for part in slices)
        if size != row.size:
            yield Fault(at, f"a version of {row.size} bytes whose slices have {size}")
    for at, raw in view.reads.scan(tables.MANIFESTS, b"", b""):
        decode_row(SlicesRow, at, raw)
        if at not in pages:
            yield Fault(at, "a page of slices of no version")


def _count_parts(view: View, named: Counter[bytes]) -> Iterator[Fault]:
    uploads = {decode_row(UploadRow, at, raw).upload for at, raw in view.reads.scan(tables.UPLOADS, b"", b"")}
    for at, raw in view.reads.scan(tables.PARTS, b"", b""):
        named[decode_row(PartRow, at, raw).blob] += 1
        if at[:-3].decode() not in uploads:  # an upload, a zero byte, a number of two bytes
            yield Fault(at, "a part of no upload")


def _faults_of_blobs(view: View, named: Counter[bytes]) -> Iterator[Fault]:
    doomed = _doomed(view)
    for blob, row in view.blobs():
        count = named.pop(blob, 0)
        if row.references != count:
            yield Fault(blob, f"{row.references} references in its row, {count} in what names it")
        if blob in doomed.whole:
            yield Fault(blob, "condemned, though it has a row")
        elif any(_kept(row, *place) for place in doomed.places.get(blob, ())):
            yield Fault(blob, "a shard is condemned where its row keeps it")
    for blob, count in named.items():
        yield Fault(blob, f"no row, though it is named {count} times")
    marked = {blob for blob, _ in view.reads.scan(tables.CONDEMNED_BLOBS, b"", b"")}
    for blob in sorted(marked ^ doomed.whole):
        yield Fault(blob, "condemned in one of two tables")


def _doomed(view: View) -> _Doomed:
    found = _Doomed(defaultdict(set), set())
    for at, raw in view.reads.scan(tables.CONDEMNED, b"", b""):
        row = decode_row(CondemnedRow, at, raw)
        found.places[row.blob].update(row.places)
        if row.whole:
            found.whole.add(row.blob)
    return found


def _kept(row: BlobRow, node: int, shard: int, generation: int) -> bool:
    """Whether deleting that generation, and with it those before it, takes a shard that the row names."""
    return shard < len(row.shards) and row.shards[shard][0] == node and row.shards[shard][1] <= generation
