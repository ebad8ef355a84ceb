"""Owns a simulated machine: metadata behind a model log that loses what is not synced, shards on nodes, clients.

Commands come repeated and late, deletes of shards too; the machine dies at every boundary of a commit. All chance is
of one seed. A Flaw puts a known fault back in.
"""

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum, auto
from random import Random
from typing import Any

from s3d.metadata import commands, tables
from s3d.metadata.commands import Command, DeletedKey, NamedPart
from s3d.metadata.machine import apply
from s3d.metadata.machine.step import places_of
from s3d.metadata.outcomes import Outcome, decode_outcome
from s3d.metadata.rows import Attributes, BlobRow, OutcomeRow
from s3d.metadata.tables import MemoryTables
from s3d.metadata.view import View
from tests.s3d.metadata.machine.story import ACCOUNT, MD5, dump

NODES = (1, 2, 3)
NAMES = (b"k", b"l")
SECOND_US = 1_000_000
AGE_US = 2 * SECOND_US  # for the flaw that deletes by age
HANDED_ON_MAX = 4  # of what may come late, or again


class Flaw(Enum):
    """A fault that is put back in."""

    NONE = auto()
    ANSWER_BEFORE_SYNC = auto()
    APPLY_TWICE = auto()
    SKIP_A_COMMAND = auto()
    DELETE_BY_AGE = auto()
    GENERATION_IGNORED = auto()


class Broken(AssertionError):
    """An invariant does not hold."""


class Died(Exception):
    """The machine lost its power."""


@dataclass(slots=True)
class World:
    """One machine. `synced` is what a power cut leaves of the metadata; `order` what was committed, in order."""

    chance: Random
    flaw: Flaw = Flaw.NONE
    synced: MemoryTables = field(default_factory=MemoryTables)
    order: list[Command] = field(default_factory=list)
    answered: dict[bytes, Outcome] = field(default_factory=dict)
    sent: list[Command] = field(default_factory=list)
    shards: dict[tuple[int, bytes, int], int] = field(
        default_factory=dict
    )  # (node, blob, shard) -> generation
    deletes: list[tuple[int, bytes, int, int]] = field(default_factory=list)  # under way, or to come again
    begun: dict[bytes, int] = field(default_factory=dict)  # blob -> when its shards were put, us
    now_us: int = SECOND_US
    number: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    def step(self) -> None:
        """One thing that happens, and the invariants after it."""
        self.now_us += self.chance.choice((1, SECOND_US // 2, SECOND_US))
        happening = self.chance.choice(
            (self.put, self.put, self.part, self.delete, self.move, self.repeat, self.sweep, self.late_delete)
        )
        applied = self.view.applied().index
        try:
            happening()
        except Died:
            self.counts["power cuts"] += 1
        if self.view.applied().index < applied:
            raise Broken("the applied index went back")
        self.check()

    @property
    def view(self) -> View:
        return View(self.synced)

    def commit(self, *batch: Command) -> list[Outcome]:
        """What LocalLog does: apply, sync, answer; the power may go before and after each. Raises Died."""
        self.sent = [*self.sent, *batch][-HANDED_ON_MAX:]
        made = copied(self.synced)
        outcomes = []
        for command in batch:
            if self.flaw is Flaw.APPLY_TWICE:
                made.delete(tables.OUTCOMES, command.write_id)
            if self.flaw is Flaw.SKIP_A_COMMAND and self.chance.random() < 0.2:
                outcomes.append(Outcome(index=View(made).applied().index))
                continue
            outcomes.append(apply(made, command))
        if self.flaw is Flaw.ANSWER_BEFORE_SYNC:
            self._answer(batch, outcomes)
        self._power()
        self.synced = made
        self.order += batch
        self._power()
        self._answer(batch, outcomes)
        self._power()
        return outcomes

    def _power(self) -> None:
        if self.chance.random() < 0.1:
            raise Died

    def _answer(self, batch: tuple[Command, ...], outcomes: list[Outcome]) -> None:
        for command, outcome in zip(batch, outcomes, strict=True):
            before = self.answered.setdefault(command.write_id, outcome)
            if before != outcome:
                raise Broken(f"{command}: {before}, and again {outcome}")

    def made(self, kind: type[Command], **fields: Any) -> Any:
        self.number += 1
        return kind(self.number.to_bytes(16, "big"), self.now_us, **fields)

    def new_blob(self) -> tuple[bytes, BlobRow]:
        """A blob of two shards that are durable on two nodes; time may pass before a row names it."""
        self.number += 1
        blob = self.number.to_bytes(16, "big")
        nodes = self.chance.sample(NODES, 2)
        row = BlobRow(10, 2, 1, 1, 65_536, tuple((node, 0) for node in nodes), created_us=self.now_us)
        for shard, node in enumerate(nodes):
            self.shards[node, blob, shard] = 0
        self.begun[blob] = self.now_us
        while self.chance.random() < 0.3:  # a slow client; the store goes on
            self.now_us += AGE_US
            self.sweep()
        return blob, row

    def put(self) -> None:
        blob, row = self.new_blob()
        order = self.made(
            commands.PutObject,
            bucket="b",
            key=self.chance.choice(NAMES),
            blob=blob,
            row=row,
            etag=MD5,
            attributes=Attributes(),
        )
        self.commit(order)

    def part(self) -> None:
        """An upload from its beginning to its end, in one transaction or several."""
        key, upload = self.chance.choice(NAMES), f"u{self.number}"
        named = {"bucket": "b", "key": key, "upload": upload}
        blob, row = self.new_blob()
        orders = [
            self.made(commands.CreateUpload, attributes=Attributes(), **named),
            self.made(commands.PutPart, number=1, blob=blob, row=row, etag=MD5, **named),
            self.made(commands.CompleteUpload, parts=(NamedPart(1, MD5),), **named),
        ]
        cut = self.chance.randrange(3)
        self.commit(*orders[:cut])
        self.commit(*orders[cut:])

    def delete(self) -> None:
        doomed = (DeletedKey(self.chance.choice(NAMES)),)
        self.commit(self.made(commands.DeleteObjects, bucket="b", keys=doomed))

    def move(self) -> None:
        """A shard of some blob to another node, or back to one where it was."""
        rows = list(self.view.blobs())
        if not rows:
            return
        blob, row = self.chance.choice(rows)
        shard = self.chance.randrange(2)
        free = [node for node in NODES if node not in [place[0] for place in row.shards]]
        node, generation = self.chance.choice(free), row.next_generation
        if self.shards.get((node, blob, shard), -1) <= generation:
            self.shards[node, blob, shard] = generation
        placed = list(row.shards)
        placed[shard] = (node, generation)
        self.commit(self.made(commands.Relocate, blob=blob, expected=row.shards, shards=tuple(placed)))

    def repeat(self) -> None:
        """Commands that were sent before come again, perhaps in another order."""
        if self.sent:
            self.commit(*self.chance.sample(self.sent, self.chance.randint(1, len(self.sent))))

    def sweep(self) -> None:
        """Shards of condemned rows that are due are deleted; each delete may come late, and twice."""
        if self.flaw is Flaw.DELETE_BY_AGE:
            named = {blob for blob, _ in self.view.blobs()}
            for node, blob, shard in list(self.shards):
                if blob not in named and self.now_us - self.begun[blob] > AGE_US:
                    del self.shards[node, blob, shard]
            return
        items = []
        for at, row in self.view.condemned(self.now_us):
            for node, shard, generation in row.places:
                self.deletes.append((node, row.blob, shard, generation))
                self.deliver(self.deletes[-1])
            items.append(commands.SweptItem(at))
        self.deletes = self.deletes[-HANDED_ON_MAX:]
        if items:
            self.commit(self.made(commands.Swept, items=tuple(items)))

    def late_delete(self) -> None:
        if self.deletes:
            self.deliver(self.chance.choice(self.deletes))

    def deliver(self, delete: tuple[int, bytes, int, int]) -> None:
        """What a shard server does: that generation and those before it."""
        *place, generation = delete
        at = (place[0], place[1], place[2])
        if self.shards.get(at, generation + 1) <= generation or self.flaw is Flaw.GENERATION_IGNORED:
            self.shards.pop(at, None)

    def check(self) -> None:
        """What was answered is there, and every shard that a row names."""
        view = self.view
        for write_id, outcome in self.answered.items():
            row = view.row(OutcomeRow, tables.OUTCOMES, write_id)
            if row is None or decode_outcome(row.outcome) != outcome:
                raise Broken("what was answered is not remembered")
        for blob, blob_row in view.blobs():
            for node, shard, generation in places_of(blob_row.shards):
                if self.shards.get((node, blob, shard), -1) < generation:
                    raise Broken(f"shard {shard} of {blob.hex()} is gone from node {node}")

    def replayed(self) -> None:
        """The same commands in the same order make the same state, byte for byte."""
        again = MemoryTables()
        for command in self.order:
            apply(again, commands.decode_command(commands.encode_command(command)))
        if dump(again) != dump(self.synced):
            raise Broken("the same commands made another state")


def copied(source: MemoryTables) -> MemoryTables:
    """The tables with rows of their own."""
    made = MemoryTables()
    for table in tables.TABLES:
        made._values[table] = dict(source._values[table])
        made._keys[table] = list(source._keys[table])
    return made


def live_through(seed: int, flaw: Flaw, *, steps: int) -> World:
    """A world of that seed, to its end. Raises Broken where an invariant did not hold."""
    world = World(Random(seed), flaw)
    world.order.append(world.made(commands.CreateBucket, bucket="b", account=ACCOUNT))
    apply(world.synced, world.order[0])
    for _ in range(steps):
        world.step()
    world.replayed()
    return world
