"""Owns what every command needs while it is applied: its place in the order, checked reads, encoded writes."""

import msgspec

from s3d.metadata import keys, tables
from s3d.metadata.commands import Command, Conditions
from s3d.metadata.fields import Placement, Places
from s3d.metadata.rows import (
    BlobRow,
    BucketRow,
    CondemnedBlobRow,
    CondemnedRow,
    DegradedRow,
    ObjectRow,
    Row,
    RowMissingError,
    VersionRow,
    encode_row,
)
from s3d.metadata.tables import Table, Tables
from s3d.metadata.view import View
from shardd.contract.errors import QuoinError


class Refused(QuoinError):  # noqa: N818 (an answer to the client, not a fault)
    """The command does nothing: `code` is the name of an S3 error. Raised before anything is written."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


class Step:
    """One command being applied: `index` is its place in the order of all, and the sequence of what it makes."""

    __slots__ = ("_grace_us", "_ordinal", "index", "tables", "time_us", "view")

    def __init__(self, writes: Tables, index: int, command: Command) -> None:
        self.tables = writes
        self.view = View(writes)
        self.index = index
        self.time_us = command.time_us
        self._grace_us: int = getattr(command, "grace_us", 0)  # a command without one condemns at once
        self._ordinal = 0

    def put(self, table: Table, key: bytes, row: Row) -> None:
        """Store a row."""
        self.tables.put(table, key, encode_row(key, row))

    def bucket(self, name: str, incarnation: int) -> BucketRow:
        """The bucket that a command names; Refused where it is gone, or is not in the life that the caller saw."""
        row = self.view.bucket(name)
        if row is None or incarnation not in (0, row.incarnation):
            raise Refused("NoSuchBucket")
        return row

    def source(self, incarnation: int, key: bytes, sequence: int) -> VersionRow:
        """The version that a copy reads; Refused where it is gone, so that the caller looks again."""
        version = self.view.version(incarnation, key, sequence)
        if version is None or version.delete_marker:
            raise Refused("OperationAborted", "the source of the copy was replaced")
        return version

    def admit(self, blob: bytes) -> None:
        """Refused where `blob` cannot be named for the first time: it is condemned, or has a row."""
        if self.view.condemned_blob(blob):
            raise Refused("OperationAborted", "the blob is condemned")
        if self.view.blob(blob) is not None:
            raise Refused("OperationAborted", "the blob has a name")

    def add_blob(self, blob: bytes, row: BlobRow, *, degraded: bool, strays: Places = ()) -> None:
        """Store a new blob with one reference, filed for repair where it is degraded; condemn its `strays`.

        Deleting a generation deletes those before it, so no later placement may use one up to theirs.
        """
        kept = {place[:2] for place in places_of(row.shards)}
        extra = tuple(sorted(place for place in strays if place[:2] not in kept))
        spent = max((row.spent, *(generation for _, _, generation in extra)))
        filed = self._file(blob, row, ()) if degraded else 0
        self.put(tables.BLOBS, blob, msgspec.structs.replace(row, references=1, filed=filed, spent=spent))
        if extra:
            self.condemn_places(blob, extra)

    def share(self, blob: bytes) -> None:
        """Add a reference to a blob."""
        row = self._named(blob)
        self.put(tables.BLOBS, blob, msgspec.structs.replace(row, references=row.references + 1))

    def release(self, blob: bytes) -> None:
        """Drop a reference to a blob; with the last one the blob is condemned."""
        row = self._named(blob)
        if row.references > 1:
            self.put(tables.BLOBS, blob, msgspec.structs.replace(row, references=row.references - 1))
            return
        self.unfile(blob, row)
        self.tables.delete(tables.BLOBS, blob)
        self.condemn_blob(blob, places_of(row.shards))

    def condemn_blob(self, blob: bytes, places: Places) -> None:
        """Condemn a blob that no row names (any longer): no command may name it again."""
        due_us = self.condemn_places(blob, places, whole=True)
        self.put(tables.CONDEMNED_BLOBS, blob, CondemnedBlobRow(due_us))

    def condemn_places(self, blob: bytes, places: Places, *, whole: bool = False) -> int:
        """Condemn shards of a blob, due when the command's grace is over; when that is."""
        due_us = self.time_us + self._grace_us
        self.file_condemned(due_us, CondemnedRow(blob, places, whole))
        return due_us

    def file_condemned(self, due_us: int, row: CondemnedRow) -> None:
        """File condemned shards under the time that they are due."""
        self.put(tables.CONDEMNED, keys.condemned_key(due_us, row.blob, self.index, self._ordinal), row)
        self._ordinal += 1

    def refile(self, blob: bytes, row: BlobRow, suspects: tuple[int, ...]) -> None:
        """File a blob for repair in its place by survivors, and store its row."""
        self.unfile(blob, row)
        self.put(tables.BLOBS, blob, msgspec.structs.replace(row, filed=self._file(blob, row, suspects)))

    def suspects(self, blob: bytes, row: BlobRow) -> tuple[int, ...]:
        """The shards of a blob that were complained of and not put again since."""
        if not row.filed:
            return ()
        filed = self.view.row(DegradedRow, tables.DEGRADED, keys.degraded_key(row.filed - 1, blob))
        return filed.suspects if filed is not None else ()

    def unfile(self, blob: bytes, row: BlobRow) -> None:
        """Take a blob's degraded row away, where it has one."""
        if row.filed:
            self.tables.delete(tables.DEGRADED, keys.degraded_key(row.filed - 1, blob))

    def _file(self, blob: bytes, row: BlobRow, suspects: tuple[int, ...]) -> int:
        lost = {shard for shard in suspects if shard < len(row.shards) and row.shards[shard][0]}
        survivors = row.stored - len(lost)
        self.put(tables.DEGRADED, keys.degraded_key(survivors, blob), DegradedRow(self.time_us, suspects))
        return survivors + 1

    def _named(self, blob: bytes) -> BlobRow:
        row = self.view.blob(blob)
        if row is None:
            raise RowMissingError(f"blob {blob.hex()}, which a version or a part names")
        return row


def places_of(shards: Placement) -> Places:
    """Where the shards of a placement are stored."""
    return tuple((node, shard, generation) for shard, (node, generation) in enumerate(shards) if node)


def check_conditions(conditions: Conditions, current: ObjectRow | None) -> None:
    """Refused where a precondition on the live object fails (RFC 9110, 13.1; S3: If-Match on nothing is 404)."""
    if conditions.if_match:
        if current is None:
            raise Refused("NoSuchKey")
        if conditions.if_match not in ("*", current.etag):
            raise Refused("PreconditionFailed", "If-Match")
    if conditions.if_none_match and current is not None and conditions.if_none_match in ("*", current.etag):
        raise Refused("PreconditionFailed", "If-None-Match")
