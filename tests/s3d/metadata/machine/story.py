"""Owns a state in memory, commands on it in few words, and the invariants that hold after every one."""

from collections.abc import Iterator
from typing import Any

from s3d.metadata import commands, keys, tables
from s3d.metadata.commands import Command
from s3d.metadata.fields import OUTCOMES_WINDOW, Placement
from s3d.metadata.machine import apply
from s3d.metadata.outcomes import Outcome
from s3d.metadata.references import audit
from s3d.metadata.rows import (
    NULL_VERSION,
    Attributes,
    BlobRow,
    BucketRow,
    ObjectRow,
    VersionRow,
    decode_row,
)
from s3d.metadata.tables import MemoryTables, Table, Tables
from s3d.metadata.view import View

ACCOUNT = "111111111111"
MD5 = "d41d8cd98f00b204e9800998ecf8427e"
MIB = 1 << 20
SHARDS = ((1, 0), (2, 0), (3, 0), (4, 0), (5, 0))
ATTRIBUTES = Attributes(owner=ACCOUNT, content_type="text/plain")


def blob_id(n: int) -> bytes:
    return n.to_bytes(16, "big")


def blob_row(size: int = 10, shards: Placement = SHARDS) -> BlobRow:
    return BlobRow(size, 2, 3, 2, 65_536, shards, 1, 5)


class Story:
    """Commands one after the other; time goes on by a second each, write ids count up."""

    def __init__(self, writes: Tables | None = None) -> None:
        self.tables = writes or MemoryTables()
        self.view = View(self.tables)
        self.told: list[Command] = []
        self.blobs = 0

    def tell(self, kind: type[Command], **fields: Any) -> Outcome:
        """Apply a command of this kind as the next one."""
        n = len(self.told) + 1
        command = kind(n.to_bytes(16, "big"), 1_000_000 * n, **fields)
        self.told.append(command)
        return apply(self.tables, command)

    def bucket(self, name: str = "b", account: str = ACCOUNT) -> BucketRow:
        self.tell(commands.CreateBucket, bucket=name, account=account)
        row = self.view.bucket(name)
        assert row is not None
        return row

    def new_blob(self) -> bytes:
        self.blobs += 1
        return blob_id(self.blobs)

    def put(self, key: bytes, *, bucket: str = "b", size: int = 10, **fields: Any) -> Outcome:
        fields = {"blob": self.new_blob(), "row": blob_row(size), "etag": MD5, "grace_us": 60} | fields
        return self.tell(commands.PutObject, bucket=bucket, key=key, attributes=ATTRIBUTES, **fields)

    def delete(self, *names: bytes, bucket: str = "b", **fields: Any) -> Outcome:
        doomed = tuple(commands.DeletedKey(key, **fields) for key in names)
        return self.tell(commands.DeleteObjects, bucket=bucket, keys=doomed, grace_us=60)

    def part(
        self, upload: str, number: int, *, key: bytes = b"k", size: int = 5 * MIB, **fields: Any
    ) -> Outcome:
        fields = {"blob": self.new_blob(), "row": blob_row(size), "etag": MD5, "grace_us": 60} | fields
        return self.tell(commands.PutPart, bucket="b", key=key, upload=upload, number=number, **fields)

    def upload(self, upload: str = "u", *, key: bytes = b"k") -> Outcome:
        return self.tell(commands.CreateUpload, bucket="b", key=key, upload=upload, attributes=ATTRIBUTES)

    def complete(self, upload: str, *numbers: int, key: bytes = b"k", **fields: Any) -> Outcome:
        named = tuple(commands.NamedPart(number, MD5) for number in numbers)
        return self.tell(
            commands.CompleteUpload,
            bucket="b",
            key=key,
            upload=upload,
            **({"parts": named, "grace_us": 60} | fields),
        )

    def condemned(self) -> list[bytes]:
        """The blobs of the condemned rows, in order of when they are due."""
        return [row.blob for _, row in self.view.condemned(keys.SEQUENCE_MAX - 1)]


def dump(reads: tables.Reads) -> dict[Table, list[tables.Item]]:
    """Every row of every table, byte for byte."""
    return {table: list(reads.scan(table, b"", b"")) for table in tables.TABLES}


def check(reads: tables.Reads) -> None:
    """What holds between commands, whatever they were."""
    view = View(reads)
    assert not (faults := audit(view)), faults
    blobs = dict(view.blobs())
    newest: dict[tuple[int, bytes], VersionRow] = {}
    nulls: dict[tuple[int, bytes], VersionRow] = {}
    for incarnation, key, row in _versions(reads):
        newest.setdefault((incarnation, key), row)
        if row.version_id == NULL_VERSION:
            nulls[incarnation, key] = row

    assert all(view.find(*name, NULL_VERSION) == nulls.get(name) for name in newest)
    live = {at: decode_row(ObjectRow, at, raw) for at, raw in reads.scan(tables.CURRENT, b"", b"")}
    expected = {
        keys.current_key(*name): row.sequence for name, row in newest.items() if not row.delete_marker
    }
    assert {at: row.sequence for at, row in live.items()} == expected

    filed = {at: blob for at, blob, _ in view.degraded()}
    assert filed == {keys.degraded_key(row.filed - 1, blob): blob for blob, row in blobs.items() if row.filed}

    owned = {
        keys.account_bucket_key(row.account, row.name)
        for at, raw in reads.scan(tables.BUCKETS, b"", b"")
        if (row := decode_row(BucketRow, at, raw))
    }
    assert owned == {at for at, _ in reads.scan(tables.ACCOUNT_BUCKETS, b"", b"")}
    window = min(view.applied().index, OUTCOMES_WINDOW)
    assert reads.count(tables.OUTCOMES) == reads.count(tables.WRITES) == window


def _versions(reads: tables.Reads) -> Iterator[tuple[int, bytes, VersionRow]]:
    for at, raw in reads.scan(tables.VERSIONS, b"", b""):
        yield int.from_bytes(at[:8], "big"), keys.split_stack(at)[0], decode_row(VersionRow, at, raw)
