"""Proves the audit of references, and by it that no crash between two commits can bend a count."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from s3d.metadata import commands, keys, tables
from s3d.metadata.commands import Command, DeletedKey, NamedPart
from s3d.metadata.machine import apply
from s3d.metadata.outcomes import Outcome
from s3d.metadata.references import audit
from s3d.metadata.rows import (
    SLICES_INLINE_MAX,
    BlobRow,
    CondemnedBlobRow,
    CondemnedRow,
    ObjectRow,
    Row,
    SlicesRow,
    decode_row,
    encode_row,
)
from s3d.metadata.state import State
from s3d.metadata.tables import MemoryTables, Table
from s3d.metadata.view import View
from tests.s3d.metadata.machine.story import ATTRIBUTES, MIB, SHARDS, Story, blob_id, dump

STEPS = int(os.environ.get("QUOIN_REFERENCE_STEPS", "5000"))
STEPS_A_STATE = 50
kinds: Counter[tuple[str, str]] = Counter()
MAP_SIZE = 1 << 26
NAMES = ("a", "b")
KEYS = (b"k", b"l", b"m")
UPLOADS = ("u", "v")
PICKS = st.integers(0, 5)


@pytest.fixture
def story() -> Story:
    """Two versions that share a blob, an object with pages of slices, and an upload with a part."""
    story = Story()
    story.bucket()
    story.put(b"source")
    copy(story, b"source", b"copy")
    story.upload("many", key=b"many")
    for number in range(1, SLICES_INLINE_MAX + 3):
        story.part("many", number, key=b"many")
    story.complete("many", *range(1, SLICES_INLINE_MAX + 3), key=b"many")
    story.upload("u")
    story.part("u", 1)
    story.put(b"gone")
    story.delete(b"gone")
    assert audit(story.view) == []
    return story


def copy(story: Story, source: bytes, key: bytes) -> None:
    bucket = story.view.bucket("b")
    assert bucket is not None
    row = story.view.current(bucket.incarnation, source)
    assert row is not None
    outcome = story.tell(
        commands.CopyObject,
        bucket="b",
        key=key,
        source_incarnation=bucket.incarnation,
        source_key=source,
        source_sequence=row.sequence,
        attributes=ATTRIBUTES,
    )
    assert not outcome.error


def put(story: Story, table: Table, key: bytes, row: Row) -> None:
    story.tables.put(table, key, encode_row(key, row))


def recount(story: Story, by: int) -> None:
    blob, row = next(iter(story.view.blobs()))
    put(story, tables.BLOBS, blob, msgspec.structs.replace(row, references=row.references + by))


def lose(table: Table) -> Callable[[Story], None]:
    def first(story: Story) -> None:
        story.tables.delete(table, next(story.tables.scan(table, b"", b""))[0])

    return first


def condemn_named(story: Story) -> None:
    blob = blob_id(1)
    put(story, tables.CONDEMNED_BLOBS, blob, CondemnedBlobRow(1))
    put(story, tables.CONDEMNED, keys.condemned_key(1, blob, 1, 0), CondemnedRow(blob, ((1, 0, 0),)))


def condemn_shard(story: Story) -> None:
    row = CondemnedRow(blob_id(1), ((SHARDS[1][0], 1, 7),), whole=False)
    put(story, tables.CONDEMNED, keys.condemned_key(1, row.blob, 1, 0), row)


FAULTS: dict[str, Callable[[Story], None]] = {
    "3 references in its row, 2 in what": lambda story: recount(story, 1),
    "1 references in its row, 2 in what": lambda story: recount(story, -1),
    "no row, though it is named 2 times": lose(tables.BLOBS),
    "page 0 of version": lose(tables.MANIFESTS),
    "a part of no upload": lose(tables.UPLOADS),
    "condemned, though it has a row": condemn_named,
    "a shard is condemned where its row keeps it": condemn_shard,
    "condemned in one of two tables": lose(tables.CONDEMNED_BLOBS),
    "0 in what names it": lose(tables.PARTS),
    "a page of slices of no version": lambda story: put(
        story, tables.MANIFESTS, keys.manifest_key(999, 0), SlicesRow(())
    ),
}


@pytest.mark.parametrize("what", FAULTS)
def test_each_fault_is_found(story: Story, what: str) -> None:
    FAULTS[what](story)
    found = audit(story.view)
    assert found and any(what in str(fault) for fault in found), found


class Crashing(RuleBasedStateMachine):
    """Gateways prepare commands on views that grow old; batches of them are committed, undone by a crash, met again."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.state = State.open(Path(self.folder.name), MAP_SIZE)
        self.model = MemoryTables()  # the commands that were committed, once each
        self.told: dict[bytes, tuple[Command, Outcome]] = {}
        self.waiting: list[Command] = []
        self.made = 0
        for name in NAMES:
            self.prepare(commands.CreateBucket, bucket=name, account="1" * 12)
        for key in KEYS:
            self.put("a", key)
        for upload in UPLOADS:
            self.begin(upload)
            self.part(upload, 1)
        self.commit(len(self.waiting))

    def prepare(self, kind: type[Command], **fields: Any) -> None:
        self.made += 1
        self.waiting.append(kind(self.made.to_bytes(16, "big"), 1_000_000 * self.made, **fields))

    def source(self, pick: int) -> dict[str, Any]:
        """One of the live objects as a gateway sees them now; one that never was where there are none."""
        with self.state.view() as view:
            live = [
                (int.from_bytes(at[:8], "big"), at[8:], decode_row(ObjectRow, at, raw).sequence)
                for at, raw in view.reads.scan(tables.CURRENT, b"", b"")
            ]
        found = live[pick % len(live)] if live else (1, b"never", 1)
        return dict(zip(("source_incarnation", "source_key", "source_sequence"), found, strict=True))

    def body(self, size: int) -> dict[str, Any]:
        blob = BlobRow(size, 2, 3, 2, 65_536, SHARDS)
        return {"blob": blob_id(1_000 + self.made), "row": blob, "etag": "0" * 32}

    @rule(name=st.sampled_from(NAMES), key=st.sampled_from(KEYS))
    def put(self, name: str, key: bytes) -> None:
        self.prepare(commands.PutObject, bucket=name, key=key, attributes=ATTRIBUTES, **self.body(5 * MIB))

    @rule(pick=PICKS, name=st.sampled_from(NAMES), key=st.sampled_from(KEYS))
    def copy(self, pick: int, name: str, key: bytes) -> None:
        self.prepare(commands.CopyObject, bucket=name, key=key, attributes=ATTRIBUTES, **self.source(pick))

    @rule(name=st.sampled_from(NAMES), doomed=st.lists(st.sampled_from(KEYS), min_size=1, max_size=3))
    def delete(self, name: str, doomed: list[bytes]) -> None:
        named = tuple(DeletedKey(key) for key in doomed)
        self.prepare(commands.DeleteObjects, bucket=name, keys=named, grace_us=9)

    @rule(name=st.sampled_from(NAMES), status=st.sampled_from(("Enabled", "Suspended")))
    def versioning(self, name: str, status: str) -> None:
        self.prepare(commands.PutVersioning, bucket=name, status=status)

    @rule(upload=st.sampled_from(UPLOADS))
    def begin(self, upload: str) -> None:
        self.prepare(commands.CreateUpload, bucket="a", key=b"m", upload=upload, attributes=ATTRIBUTES)

    @rule(upload=st.sampled_from(UPLOADS), number=st.integers(1, 3))
    def part(self, upload: str, number: int) -> None:
        said = {"bucket": "a", "key": b"m", "upload": upload, "number": number}
        self.prepare(commands.PutPart, **said, **self.body(5 * MIB))

    @rule(upload=st.sampled_from(UPLOADS), number=st.integers(1, 3), pick=PICKS)
    def copy_part(self, upload: str, number: int, pick: int) -> None:
        said = {"bucket": "a", "key": b"m", "upload": upload, "number": number}
        self.prepare(commands.CopyPart, **said, **self.source(pick))

    @rule(upload=st.sampled_from(UPLOADS), most=st.integers(1, 3))
    def complete(self, upload: str, most: int) -> None:
        with self.state.view() as view:
            named = tuple(NamedPart(row.number, row.etag) for row in view.parts(upload))[:most]
        self.prepare(commands.CompleteUpload, bucket="a", key=b"m", upload=upload, parts=named)

    @rule(upload=st.sampled_from(UPLOADS))
    def abort(self, upload: str) -> None:
        self.prepare(commands.AbortUpload, bucket="a", key=b"m", upload=upload)

    @rule(count=st.integers(2, 12))
    @precondition(lambda self: len(self.waiting) > 2)
    def commit(self, count: int) -> None:
        batch, self.waiting = self.waiting[:count], self.waiting[count:]
        with self.state.write() as writes:
            outcomes = [apply(writes, command) for command in batch]
        for command, outcome in zip(batch, outcomes, strict=True):
            assert outcome == self.told.setdefault(command.write_id, (command, outcome))[1]
            assert outcome == apply(self.model, command)
            kinds[type(command).__name__, outcome.error] += 1

    @rule(count=st.integers(1, 6), asked_again=st.booleans())
    @precondition(lambda self: self.waiting)
    def crash(self, count: int, asked_again: bool) -> None:
        """A gateway dies in its transaction; whoever it worked for asks again, or is gone too."""
        before = self.state.environment.info()["last_txnid"]
        with pytest.raises(KeyboardInterrupt), self.state.write() as writes:
            for command in self.waiting[:count]:
                apply(writes, command)
            raise KeyboardInterrupt
        assert self.state.environment.info()["last_txnid"] == before
        if not asked_again:
            del self.waiting[:count]

    @rule(data=st.data())
    @precondition(lambda self: self.told)
    def meet_again(self, data: st.DataObject) -> None:
        """A command whose answer was lost is told once more."""
        self.waiting.insert(0, data.draw(st.sampled_from(list(self.told.values())))[0])

    @invariant()
    def every_reference_is_counted(self) -> None:
        with self.state.view() as view:
            faults = audit(view)
            assert not faults, faults
            assert dump(view.reads) == dump(self.model)

    def teardown(self) -> None:
        self.state.close()
        self.folder.cleanup()


def test_no_crash_bends_a_count() -> None:
    run_state_machine_as_test(
        Crashing,
        settings=settings(
            max_examples=max(1, STEPS // STEPS_A_STATE),
            stateful_step_count=STEPS_A_STATE,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(f"{STEPS} steps, QUOIN_REFERENCE_STEPS for more; commands by outcome: {dict(kinds)}")


def test_the_audit_reads_tables_of_any_kind(tmp_path: Path, story: Story) -> None:
    state = State.open(tmp_path / "state", MAP_SIZE)
    with state.write() as writes:
        for command in story.told:
            apply(writes, command)
    with state.view() as view:
        assert audit(view) == audit(View(story.tables)) == []
    state.close()
