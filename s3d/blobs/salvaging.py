"""Owns what becomes of blobs that shards tell of and the state does not know: purely decided, applied as commands.

A record of a shard says whose its blob is (identity.py), never what became of it later: a delete, a copy, tags and
the end of a multipart upload are in the state alone. What that leaves open is a Doubt.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice, pairwise
from typing import Any, Final

from s3d.blobs.comparing import Line
from s3d.blobs.identity import Identity
from s3d.metadata import keys, tables
from s3d.metadata.commands import (
    Command,
    CreateBucket,
    CreateUpload,
    DeletedKey,
    DeleteObjects,
    PutObject,
    PutPart,
    Relocate,
)
from s3d.metadata.fields import Placement
from s3d.metadata.machine import apply
from s3d.metadata.outcomes import Outcome
from s3d.metadata.rows import Attributes, BlobRow, VersionRow, decode_row
from s3d.metadata.state import State
from s3d.metadata.view import View
from s3d.placement.durability import NOWHERE, settled
from shardd.contract.blobs import UNIT_SIZE, BlobId, NodeId, new_blob_id, shard_length

GRACE_US: Final = 7 * 86_400_000_000  # what salvage gives up stays on the disks for so long
COMMANDS_AT_ONCE: Final = 1_000  # in one transaction

Held = Sequence[tuple[NodeId, Line]]  # the lines of all nodes about one blob


@dataclass(frozen=True, slots=True)
class Found:
    """A blob that the state does not know, readable, with where its shards are."""

    blob: BlobId
    identity: Identity
    shards: Placement


@dataclass(frozen=True, slots=True)
class Doubt:
    """What could not be decided about a blob, or was decided on thin grounds."""

    what: str
    bucket: str = ""
    key: str = ""
    blob: str = ""

    @classmethod
    def about(cls, what: str, bucket: str, key: bytes, *, blob: bytes = b"") -> "Doubt":
        """One that names a key, whose bytes may be no text."""
        return cls(what, bucket, key.decode(errors="replace"), blob.hex())


@dataclass(slots=True)
class Report:
    """What salvage did. `dropped`: versions of which no node has a shard any more: they were deleted meanwhile."""

    objects: int = 0
    parts: int = 0
    relocated: int = 0
    dropped: int = 0
    doubts: list[Doubt] = field(default_factory=list)


def place(held: Held, *, size: int, k: int, m: int) -> Placement:
    """The newest whole shard of each number, (node, generation); (0, 0) for those that nobody has."""
    best: dict[int, tuple[int, int]] = {}
    for node, (_, shard, generation, _, stored_bytes, complete) in held:
        whole = complete and shard < k + m and stored_bytes == shard_length(size, k)
        if whole and (shard not in best or generation > best[shard][1]):
            best[shard] = (node, generation)
    return tuple(best.get(shard, (NOWHERE, 0)) for shard in range(k + m))


def replace(row: BlobRow, held: Held) -> Placement:
    """The placement of a row with each shard that is not where it says, but elsewhere, put there."""
    there = {(node, line[1]): line[2] for node, line in held if line[5]}
    found = place(held, size=row.size, k=row.k, m=row.m)
    return tuple(
        named if there.get((NodeId(named[0]), shard), -1) >= named[1] or not now[0] else now
        for shard, (named, now) in enumerate(zip(row.shards, found, strict=True))
    )


class Salvage:
    """Changes one state that nobody serves. `accounts`: owners of buckets; `owner`: of all others."""

    def __init__(self, state: State, *, accounts: Mapping[str, str], owner: str, now_us: int) -> None:
        self.report = Report()
        self.state = state
        self._accounts = accounts
        self._owner = owner
        self._now_us = now_us

    def relocate(self, moved: Iterable[tuple[bytes, BlobRow, Placement]]) -> None:
        """Follow shards that were moved since the snapshot."""
        orders: list[Relocate] = [
            self._made(
                Relocate,
                blob=blob,
                expected=row.shards,
                shards=shards,
                degraded=not settled([NodeId(node) for node, _ in shards]),
                grace_us=GRACE_US,
            )
            for blob, row, shards in moved
        ]
        for order, outcome in zip(orders, self._apply(orders), strict=True):
            if outcome.error:
                self._doubt(f"its shards were moved, and are not followed: {outcome.detail}", blob=order.blob)
            else:
                self.report.relocated += 1

    def add(self, found: Iterable[Found]) -> None:
        """Give keys back their bodies, in the order in which those were begun, and uploads their parts."""
        ordered = sorted(found, key=lambda one: (one.identity.created_us, one.blob))
        self._add_buckets({one.identity.bucket for one in ordered})
        whole = [one for one in ordered if not one.identity.upload and not self._is_late(one)]
        for one, outcome in zip(whole, self._apply(map(self._put, whole)), strict=True):
            self.report.objects += not outcome.error
            if outcome.error:
                self._doubt(f"refused: {outcome.error}", one)
        by_name = sorted(whole, key=_name)  # stable: in order of time within a name
        for first, second in pairwise(by_name):
            if _name(first) == _name(second):
                self._doubt("an older body of a key; the newest is its object", first)
        self._add_parts([one for one in ordered if one.identity.upload])

    def drop(self, gone: set[bytes]) -> None:
        """Delete versions that name a blob of which no node has a shard."""
        with self.state.view() as view:
            doomed = [(bucket, key, row) for bucket, key, row, blobs in _named(view) if blobs & gone]
        orders = [
            self._made(
                DeleteObjects,
                bucket=bucket,
                keys=(DeletedKey(key, version_id=row.version_id),),
                grace_us=GRACE_US,
            )
            for bucket, key, row in doomed
        ]
        self._apply(orders)
        self.report.dropped += len(doomed)
        for bucket, key, _ in doomed:
            what = "no node has a shard of it: deleted or replaced since"
            self.report.doubts.append(Doubt.about(what, bucket, key))

    def tell_unread(self, unread: Mapping[bytes, str]) -> None:
        """Name the versions of which a blob cannot be read from the nodes that are there; `unread` says why."""
        if not unread:
            return
        left = set(unread)
        with self.state.view() as view:
            for bucket, key, _, blobs in _named(view):
                for blob in blobs & unread.keys():
                    left.discard(blob)
                    self.report.doubts.append(Doubt.about(unread[blob], bucket, key, blob=blob))
        for blob in sorted(left):
            self._doubt(f"{unread[blob]}: a part of an upload", blob=blob)

    def _add_buckets(self, wanted: set[str]) -> None:
        with self.state.view() as view:
            missing = sorted(name for name in wanted if view.bucket(name) is None)
        self._apply(
            [
                self._made(CreateBucket, bucket=name, account=self._accounts.get(name, self._owner))
                for name in missing
            ]
        )
        for name in missing:
            self._doubt("a bucket made anew: its owner is a guess, its settings are gone", bucket=name)

    def _add_parts(self, parts: Sequence[Found]) -> None:
        """Uploads stay in progress: which of their parts were completed, if they were, no shard says."""
        by_upload = sorted(parts, key=lambda one: one.identity.upload)
        for upload, group in groupby(by_upload, key=lambda one: one.identity.upload):
            held = sorted(group, key=lambda one: one.identity.created_us)
            identity = held[0].identity
            orders: list[Command] = []
            with self.state.view() as view:
                bucket = view.bucket(identity.bucket)
                known = bucket and view.upload(bucket.incarnation, identity.key, upload)
            if not known:
                orders.append(
                    self._made(
                        CreateUpload,
                        bucket=identity.bucket,
                        key=identity.key,
                        upload=upload,
                        attributes=self._attributes(identity),
                    )
                )
            orders += [self._part(one) for one in held]
            failed = sum(bool(outcome.error) for outcome in self._apply(orders))
            self.report.parts += len(orders) - failed - (not known)
            numbers = sorted({one.identity.part for one in held})
            self._doubt(
                f"upload {upload}: parts {numbers[0]} to {numbers[-1]}, {len(numbers)} of them, are there; whether it "
                "was completed is not known, so it is in progress",
                held[0],
            )

    def _is_late(self, one: Found) -> bool:
        """Is its key's live object younger? Then it was replaced, or never acknowledged."""
        with self.state.view() as view:
            bucket = view.bucket(one.identity.bucket)
            live = view.current(bucket.incarnation, one.identity.key) if bucket is not None else None
        if live is None or live.modified_us <= one.identity.created_us:
            return False
        self._doubt("a body that is older than its key's object, which stays", one)
        return True

    def _put(self, one: Found) -> Command:
        said = one.identity
        return self._body(
            PutObject, one, attributes=self._attributes(said), time_us=said.created_us or self._now_us
        )

    def _part(self, one: Found) -> Command:
        return self._body(PutPart, one, upload=one.identity.upload, number=one.identity.part)

    def _body(self, kind: type[Command], one: Found, **fields: Any) -> Command:
        made: Command = self._made(
            kind,
            bucket=one.identity.bucket,
            key=one.identity.key,
            blob=one.blob,
            row=_row(one),
            etag=one.identity.etag,
            degraded=not settled([NodeId(node) for node, _ in one.shards]),
            grace_us=GRACE_US,
            **fields,
        )
        return made

    def _attributes(self, identity: Identity) -> Attributes:
        return Attributes(
            owner=self._accounts.get(identity.bucket, self._owner),
            content_type=identity.content_type,
            headers=identity.headers,
            metadata=identity.metadata,
        )

    def _made(self, kind: type[Command], *, time_us: int = 0, **fields: Any) -> Any:
        return kind(new_blob_id(self._now_us // 1_000), time_us or self._now_us, **fields)

    def _apply(self, orders: Iterable[Command]) -> list[Outcome]:
        outcomes, left = list[Outcome](), iter(orders)
        while some := list(islice(left, COMMANDS_AT_ONCE)):
            with self.state.write() as writes:
                outcomes += [apply(writes, order) for order in some]
        return outcomes

    def _doubt(self, what: str, one: Found | None = None, *, bucket: str = "", blob: bytes = b"") -> None:
        if one is None:
            self.report.doubts.append(Doubt(what, bucket, blob=blob.hex()))
        else:
            said = one.identity
            self.report.doubts.append(Doubt.about(what, said.bucket, said.key, blob=one.blob))


def _name(one: Found) -> tuple[str, bytes]:
    return one.identity.bucket, one.identity.key


def _row(one: Found) -> BlobRow:
    said = one.identity
    return BlobRow(said.size, said.codec, said.k, said.m, UNIT_SIZE, one.shards, created_us=said.created_us)


def _named(view: View) -> Iterator[tuple[str, bytes, VersionRow, set[bytes]]]:
    """(bucket, key, version, the blobs that it names) of every version."""
    names = {row.incarnation: row.name for row in view.buckets()}
    for at, raw in view.reads.scan(tables.VERSIONS, b"", b""):
        row = decode_row(VersionRow, at, raw)
        bucket = names.get(int.from_bytes(at[:8], "big"), "")
        yield bucket, keys.split_stack(at)[0], row, {part.blob for _, part in view.slices(row)}
