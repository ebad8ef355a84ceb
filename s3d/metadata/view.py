"""Owns what can be asked of the state: rows by their names, over any tables; never changes one, never makes a page."""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from s3d.metadata import keys, tables
from s3d.metadata.rows import (
    NULL_VERSION,
    UNKNOWN,
    AppliedRow,
    BlobRow,
    BucketRow,
    CondemnedRow,
    DegradedRow,
    JobRow,
    LeaseRow,
    NodeRow,
    ObjectRow,
    PartRow,
    Row,
    RowError,
    RowMissingError,
    Slice,
    SlicesRow,
    UploadRow,
    VersionRow,
    decode_row,
)
from s3d.metadata.tables import Reads, Table

R = TypeVar("R", bound=Row)
Damaged = Callable[[bytes, RowError], None]


def _raise(key: bytes, fault: RowError) -> None:
    raise fault


class NamedUpload(NamedTuple):
    """An upload under its key `at`, which names its bucket's incarnation and its S3 key."""

    at: bytes
    incarnation: int
    key: bytes
    row: UploadRow


class View:
    """One consistent state. Every row comes checked: a damaged one raises a RowError, never a wrong answer."""

    __slots__ = ("reads",)

    def __init__(self, reads: Reads) -> None:
        self.reads = reads

    def row(self, kind: type[R], table: Table, key: bytes) -> R | None:
        """The row of type `kind` under `key`."""
        raw = self.reads.get(table, key)
        return None if raw is None else decode_row(kind, key, raw)

    def bucket(self, name: str) -> BucketRow | None:
        """The bucket of that name."""
        return self.row(BucketRow, tables.BUCKETS, name.encode())

    def buckets(self) -> Iterator[BucketRow]:
        """All buckets in order of name."""
        for at, raw in self.reads.scan(tables.BUCKETS, b"", b""):
            yield decode_row(BucketRow, at, raw)

    def current(self, incarnation: int, key: bytes) -> ObjectRow | None:
        """The live object of a key, as lists show it; None where there is none or its newest is a delete marker."""
        return self.row(ObjectRow, tables.CURRENT, keys.current_key(incarnation, key))

    def version(self, incarnation: int, key: bytes, sequence: int) -> VersionRow | None:
        """The version of a key that the command `sequence` made."""
        return self.row(VersionRow, tables.VERSIONS, keys.version_key(incarnation, key, sequence))

    def find(self, incarnation: int, key: bytes, version_id: str = "") -> VersionRow | None:
        """The live object of a key ("" for the id), or the version of that id, which may be a delete marker."""
        sequence = keys.sequence_from(version_id)
        if sequence:
            row = self.version(incarnation, key, sequence)
            return row if row is not None and row.version_id == version_id else None
        if version_id:
            null = self.null(incarnation, key) if version_id == NULL_VERSION else 0
            return self.version(incarnation, key, null) if null else None
        current = self.current(incarnation, key)
        return None if current is None else self.version(incarnation, key, current.sequence)

    def null(self, incarnation: int, key: bytes) -> int:
        """The sequence of the version "null" of a key, or of one that is gone; 0 where there is none.

        It is made above all others, so what the newest version says of it stays true, whichever go meanwhile.
        """
        versions = self.versions(incarnation, key)
        newest = next(versions, None)
        if newest is None:
            return 0
        if newest.version_id == NULL_VERSION:
            return newest.sequence
        if newest.null != UNKNOWN:
            return newest.null
        return next((row.sequence for row in versions if row.version_id == NULL_VERSION), 0)

    def versions(self, incarnation: int, key: bytes) -> Iterator[VersionRow]:
        """All versions of a key, newest first."""
        start = keys.stack_prefix(incarnation, key)
        for at, raw in self.reads.scan(tables.VERSIONS, start, keys.after_prefix(start)):
            yield decode_row(VersionRow, at, raw)

    def slices(
        self, version: VersionRow, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[int, Slice]]:
        """The slices that hold bytes of [start, stop) of an object, each with the offset of its first byte."""
        end = version.size if stop is None else stop
        first = max(0, bisect_right(version.pages, start, key=_offset) - 1)
        offset = version.pages[first][0] if version.pages else 0
        for part in self._slices_from(version, first):
            if offset >= end and version.size:
                return
            if offset + part.size > start or not version.size:
                yield offset, part
            offset += part.size
            if offset >= end and version.size:  # before the page behind it is read
                return

    def part_of(self, version: VersionRow, number: int) -> tuple[int, Slice] | None:
        """The slice that part `number` of a multipart object is, with the offset of its first byte."""
        first = max(0, bisect_right(version.pages, number, key=_number) - 1)
        offset = version.pages[first][0] if version.pages else 0
        for part in self._slices_from(version, first):
            if part.number == number:
                return offset, part
            offset += part.size
        return None

    def _slices_from(self, version: VersionRow, page: int) -> Iterator[Slice]:
        yield from version.slices
        for number in range(page, len(version.pages)):
            row = self.row(SlicesRow, tables.MANIFESTS, keys.manifest_key(version.sequence, number))
            if row is None:
                raise RowMissingError(f"page {number} of version {version.sequence}")
            yield from row.slices

    def blob(self, blob: bytes) -> BlobRow | None:
        """The blob of that id; None once it is condemned."""
        return self.row(BlobRow, tables.BLOBS, blob)

    def blobs(self, after: bytes = b"", *, damaged: Damaged = _raise) -> Iterator[tuple[bytes, BlobRow]]:
        """All blobs in order of id, from the one behind `after` on. `damaged` as for `degraded`."""
        return _sound(BlobRow, self.reads.scan(tables.BLOBS, after + b"\0", b""), damaged)

    def blobs_count(self) -> int:
        """How many blobs there are."""
        return self.reads.count(tables.BLOBS)

    def condemned_blob(self, blob: bytes) -> bool:
        """Whether a blob is condemned and not yet swept."""
        return self.reads.get(tables.CONDEMNED_BLOBS, blob) is not None

    def upload(self, incarnation: int, key: bytes, upload: str) -> UploadRow | None:
        """The upload of that id of that key."""
        return self.row(UploadRow, tables.UPLOADS, keys.upload_key(incarnation, key, upload))

    def uploads(self, after: bytes = b"", *, damaged: Damaged = _raise) -> Iterator[NamedUpload]:
        """The uploads of all buckets, from the one behind the key `after` on. `damaged` as for `degraded`."""
        for at, row in _sound(UploadRow, self.reads.scan(tables.UPLOADS, after + b"\0", b""), damaged):
            yield NamedUpload(at, int.from_bytes(at[:8], "big"), keys.split_stack(at)[0], row)

    def part(self, upload: str, number: int) -> PartRow | None:
        """One part of an upload."""
        return self.row(PartRow, tables.PARTS, keys.part_key(upload, number))

    def parts(self, upload: str, after: int = 0) -> Iterator[PartRow]:
        """The parts of an upload in order of number, from the one behind `after` on."""
        stop = keys.after_prefix(keys.parts_prefix(upload))
        for at, raw in self.reads.scan(tables.PARTS, keys.part_key(upload, after + 1), stop):
            yield decode_row(PartRow, at, raw)

    def degraded(
        self, after: bytes = b"", *, damaged: Damaged = _raise
    ) -> Iterator[tuple[bytes, bytes, DegradedRow]]:
        """(key, blob, row) of degraded blobs, fewest survivors first, from the one behind the key `after` on.

        Rows that are not sound are given to `damaged`, with their keys, and passed over; without it RowError.
        """
        for at, row in _sound(DegradedRow, self.reads.scan(tables.DEGRADED, after + b"\0", b""), damaged):
            yield at, at[1:], row

    def degraded_count(self) -> int:
        """How many blobs are degraded."""
        return self.reads.count(tables.DEGRADED)

    def condemned(self, now_us: int, *, damaged: Damaged = _raise) -> Iterator[tuple[bytes, CondemnedRow]]:
        """(key, row) of condemned shards that are due at `now_us`, first due first. `damaged` as for `degraded`."""
        return _sound(
            CondemnedRow, self.reads.scan(tables.CONDEMNED, b"\0", keys.due_prefix(now_us + 1)), damaged
        )

    def condemned_count(self) -> int:
        """How many condemned rows there are, due or not."""
        return self.reads.count(tables.CONDEMNED)

    def node(self, node: int) -> NodeRow | None:
        """What is known of a node."""
        return self.row(NodeRow, tables.NODES, keys.node_key(node))

    def nodes(self) -> Iterator[NodeRow]:
        """What is known of all nodes, in order of id; of those that were removed, too."""
        for at, raw in self.reads.scan(tables.NODES, b"\0", b""):
            yield decode_row(NodeRow, at, raw)

    def lease(self, job: str) -> LeaseRow | None:
        """Who does a job, or did it last."""
        return self.row(LeaseRow, tables.LEASES, job.encode())

    def job(self, job: str) -> JobRow | None:
        """How far a job has come."""
        return self.row(JobRow, tables.JOBS, job.encode())

    def jobs(self) -> Iterator[tuple[str, JobRow]]:
        """All jobs by name."""
        for at, raw in self.reads.scan(tables.JOBS, b"\0", b""):
            yield at.decode(), decode_row(JobRow, at, raw)

    def applied(self) -> AppliedRow:
        """The log that the state follows, and the index of the last command; a new state follows none."""
        return self.row(AppliedRow, tables.APPLIED, keys.APPLIED) or AppliedRow(b"", 0)


def _offset(page: tuple[int, int]) -> int:
    return page[0]


def _number(page: tuple[int, int]) -> int:
    return page[1]


def _sound(kind: type[R], items: Iterator[tables.Item], damaged: Damaged) -> Iterator[tuple[bytes, R]]:
    for at, raw in items:
        try:
            row = decode_row(kind, at, raw)
        except RowError as fault:
            damaged(at, fault)
        else:
            yield at, row
