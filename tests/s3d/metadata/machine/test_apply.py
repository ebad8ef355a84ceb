"""Owns T-D2 for one machine: commands met twice, forgotten outcomes, and the same state on both kinds of tables."""

import os
import random
from pathlib import Path
from typing import Any

import pytest

from s3d.metadata import commands, keys, tables
from s3d.metadata.commands import Command, Conditions, DeletedKey, NamedPart, SweptItem
from s3d.metadata.fields import OUTCOMES_WINDOW
from s3d.metadata.machine import apply
from s3d.metadata.outcomes import Outcome
from s3d.metadata.rows import AppliedRow, encode_row
from s3d.metadata.state import State
from s3d.metadata.tables import MemoryTables
from tests.s3d.metadata.machine.story import (
    ACCOUNT,
    ATTRIBUTES,
    MD5,
    MIB,
    Story,
    blob_id,
    blob_row,
    check,
    dump,
)

ROUNDS = int(os.environ.get("QUOIN_REPLAY_ROUNDS", "20"))
SEED = int(os.environ.get("QUOIN_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
STEPS = 150


class Teller:
    """Tells random commands that often meet: three buckets, six keys, few uploads, few blobs to condemn."""

    def __init__(self, seed: int, story: Story) -> None:
        self.chance = random.Random(seed)
        self.story = story

    def step(self) -> None:
        tell = self.chance.choice(
            (
                self.put,
                self.put,
                self.put,
                self.delete,
                self.copy,
                self.part,
                self.part,
                self.complete,
                self.other,
            )
        )
        tell()

    def put(self) -> None:
        fields: dict[str, Any] = {"bucket": self.name(), "conditions": self.conditions()}
        if self.chance.random() < 0.3:
            fields |= {"row": blob_row(9, ((1, 0), (0, 0), (3, 0), (4, 0), (5, 0))), "degraded": True}
        if self.chance.random() < 0.1:
            fields["blob"] = self.some_blob()
        self.story.put(self.key(), **fields)

    def delete(self) -> None:
        doomed = tuple(
            DeletedKey(self.key(), self.chance.choice(("", "", "null")), self.conditions()) for _ in range(3)
        )
        self.story.tell(commands.DeleteObjects, bucket=self.name(), keys=doomed, grace_us=self.grace())

    def source(self) -> dict[str, Any]:
        bucket, key = self.story.view.bucket(self.name()), self.key()
        incarnation = bucket.incarnation if bucket else 1
        row = self.story.view.current(incarnation, key)
        sequence = row.sequence if row else self.chance.randint(1, 50)
        return {"source_incarnation": incarnation, "source_key": key, "source_sequence": sequence}

    def copy(self) -> None:
        said = {"bucket": self.name(), "key": self.key(), "attributes": ATTRIBUTES, "grace_us": self.grace()}
        self.story.tell(commands.CopyObject, **said, **self.source())

    def part(self) -> None:
        upload, number = self.upload(), self.chance.randint(1, 3)
        if self.chance.random() < 0.3:
            self.story.upload(upload, key=b"k" + upload.encode())
        elif self.chance.random() < 0.3:
            said = {"bucket": "b", "key": b"k" + upload.encode(), "upload": upload, "number": number}
            self.story.tell(commands.CopyPart, **said, **self.source())
        else:
            size = self.chance.choice((1, 5 * MIB))
            self.story.part(upload, number, key=b"k" + upload.encode(), size=size)

    def complete(self) -> None:
        upload = self.upload()
        key = b"k" + upload.encode()
        if self.chance.random() < 0.2:
            self.story.tell(commands.AbortUpload, bucket="b", key=key, upload=upload)
            return
        named = tuple(NamedPart(row.number, row.etag) for row in self.story.view.parts(upload))
        self.story.complete(
            upload, key=key, parts=named[: self.chance.choice((1, 3))], conditions=self.conditions()
        )

    def other(self) -> None:
        tell = self.story.tell
        blob = self.some_blob()
        row = self.story.view.blob(blob)
        match self.chance.randrange(9):
            case 0:
                tell(
                    commands.CreateBucket, bucket=self.name(), account=self.chance.choice((ACCOUNT, "2" * 12))
                )
            case 1:
                tell(commands.DeleteBucket, bucket=self.name(), grace_us=self.grace())
            case 2:
                tell(commands.Condemn, blob=blob, places=((1, 0, 0),), grace_us=self.grace())
            case 3:
                tell(commands.MarkDegraded, blob=blob, suspects=(self.chance.randrange(5),))
            case 4 | 5 if row is not None:
                generation = row.next_generation if self.chance.random() < 0.7 else self.chance.randint(1, 5)
                moved = tuple((self.chance.randint(1, 5), generation) for _ in row.shards)
                expected = self.chance.choice((row.shards, moved))
                short = self.chance.random() < 0.5
                tell(commands.Relocate, blob=blob, expected=expected, shards=moved, degraded=short)
            case 6:
                due = [key for key, _ in self.story.view.condemned(1 << 60)][:2]
                left = self.chance.choice(((), ((1, 0, 0),)))
                tell(commands.Swept, items=tuple(SweptItem(key, left, 1 << 50) for key in due))
            case 7:
                status = self.chance.choice(("Enabled", "Suspended"))
                tell(commands.PutVersioning, bucket=self.name(), status=status)
            case _:
                entry = commands.ConfiguredBucket(self.name(), ACCOUNT)
                tell(commands.ImportBuckets, buckets=(entry,))

    def name(self) -> str:
        return self.chance.choice(("b", "b", "c"))

    def key(self) -> bytes:
        return self.chance.choice((b"a", b"a\0", b"ku", b"kv", b"x" * 700, b"x" * 700 + b"y"))

    def upload(self) -> str:
        return self.chance.choice("uv")

    def grace(self) -> int:
        return self.chance.choice((0, 5_000_000))

    def conditions(self) -> Conditions:
        return Conditions(
            self.chance.choice(("", "", "", "*", MD5, "0" * 32)), self.chance.choice(("", "", "", "*", MD5))
        )

    def some_blob(self) -> bytes:
        return blob_id(self.chance.randint(1, self.story.blobs + 2))


def test_the_same_commands_give_the_same_state_byte_for_byte_and_no_step_breaks_an_invariant(
    tmp_path: Path,
) -> None:
    print(f"{ROUNDS} rounds of {STEPS} commands, QUOIN_REPLAY_ROUNDS for more, QUOIN_SEED={SEED}")
    state = State.open(tmp_path / "state", 1 << 28)
    for turn in range(ROUNDS):
        story = Story()
        story.bucket()
        teller = Teller(SEED + turn, story)
        for _ in range(STEPS):
            teller.step()
            check(story.tables)
        with state.write() as writes:
            for table in tables.TABLES:
                for key, _ in list(writes.scan(table, b"", b"")):
                    writes.delete(table, key)
            met_again(story.told, writes, random.Random(SEED + turn))
            assert dump(writes) == dump(story.tables), SEED + turn
    state.close()


def met_again(told: list[Command], writes: tables.Tables, chance: random.Random) -> None:
    """Applies what was told, as a log carries it, some of it again and again: each time with the first outcome."""
    outcomes: dict[bytes, Outcome] = {}
    for n, command in enumerate(told):
        carried = commands.decode_command(commands.encode_command(command))
        outcomes[command.write_id] = apply(writes, carried)
        if chance.random() < 0.2:
            old = chance.choice(told[: n + 1])
            assert apply(writes, old) == outcomes[old.write_id]


def fill(writes: tables.Tables, count: int) -> None:
    for n in range(count):
        apply(writes, commands.RegisterNode(b"fill" + n.to_bytes(12, "big"), n, node=n % 7, incarnation=b"i"))


def test_outcomes_are_remembered_within_the_window_and_a_command_behind_it_is_refused() -> None:
    writes = MemoryTables()
    command = commands.CreateBucket(b"w" * 16, 1, 1, bucket="b", account=ACCOUNT)
    first = apply(writes, command)
    fill(writes, OUTCOMES_WINDOW - 1)
    assert apply(writes, command) == first
    apply(writes, commands.DeleteBucket(b"x" * 16, 1, bucket="b"))
    before = dump(writes)
    assert apply(writes, command).error == "OperationAborted"
    assert dump(writes) == before
    assert writes.count(tables.OUTCOMES) == writes.count(tables.WRITES) == OUTCOMES_WINDOW


def test_a_command_at_the_edge_of_the_window_is_applied() -> None:
    writes = MemoryTables()
    writes.put(
        tables.APPLIED,
        keys.APPLIED,
        encode_row(keys.APPLIED, AppliedRow(b"log", 10 + OUTCOMES_WINDOW - 1)),
    )
    at_edge = commands.RegisterNode(b"w" * 16, 1, 10, node=1, incarnation=b"i")
    assert apply(writes, at_edge).error == ""
    behind = commands.RegisterNode(b"x" * 16, 1, 10, node=1, incarnation=b"i")
    assert apply(writes, behind).error == "OperationAborted"


@pytest.mark.parametrize("refused", [False, True])
def test_every_command_moves_the_index_by_one_and_keeps_the_logs_name(refused: bool) -> None:
    writes = MemoryTables()
    writes.put(tables.APPLIED, keys.APPLIED, encode_row(keys.APPLIED, AppliedRow(b"log", 41)))
    command = commands.DeleteBucket(b"w" * 16, 1, bucket="none")
    if not refused:
        command = commands.CreateBucket(b"w" * 16, 1, bucket="b", account=ACCOUNT)
    for _ in range(2):
        assert apply(writes, command).index == 42
        assert Story(writes).view.applied() == AppliedRow(b"log", 42)
