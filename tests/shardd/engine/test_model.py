"""Owns T-M1: the store against a dict, with starts, lost indices, kills, compaction, scrub and rot in between.

QUOIN_TM1_STEPS: steps in all (20,000; the number to hold is 100,000).
"""

import os
import shutil
import tempfile
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shardd.contract.blobs import units_in
from shardd.contract.errors import ShardCorruptError, ShardNotFoundError
from shardd.engine.store import Delete, Put, ShardStore
from tests.shardd.engine.shards import (
    NOW_US,
    blob,
    commit,
    compact,
    content,
    open_store,
    put,
    read_all,
    scrub,
)
from tests.simulation.simfs import SimFilesystem

STEPS = int(os.environ.get("QUOIN_TM1_STEPS", "20000"))
STEPS_A_RUN = 100
SIZES = (0, 1, 1_400, 4_097, 65_536, 70_001)
STALE, CONFLICT, OK = "StaleGenerationError", "ShardConflictError", "ok"

numbers = st.integers(0, 4)
shards = st.integers(0, 1)
extents = st.integers(0, 2)
generations = st.integers(0, 5)
puts = st.builds(
    lambda number, shard, extent, generation, size, version: put(
        number,
        content(SIZES[size], version),
        shard=shard,
        extent=extent,
        generation=generation,
        last=extent == 2,
        identity=b"who" if extent == 2 else b"",
    ),
    numbers,
    shards,
    extents,
    generations,
    st.integers(0, len(SIZES) - 1),
    st.integers(0, 1),
)
deletes = st.builds(
    lambda number, shard, generation: Delete(blob(number), shard, generation), numbers, shards, generations
)

steps_done = 0


class StoreMachine(RuleBasedStateMachine):
    """`here`: (blob, shard) -> extent -> put. `graves`: (blob, shard) -> generation."""

    def __init__(self) -> None:
        super().__init__()
        shared = Path("/dev/shm")
        self.folder = Path(
            tempfile.mkdtemp(prefix="quoin-", dir=shared if os.access(shared, os.W_OK) else None)
        )
        self.filesystem = SimFilesystem()
        self.store = self._open()
        self.here: dict[tuple[bytes, int], dict[int, Put]] = {}
        self.graves: dict[tuple[bytes, int], int] = {}
        self.forgettable: set[tuple[bytes, int]] = set()
        self.rotten: set[tuple[bytes, int, int]] = set()

    def _open(self) -> ShardStore:
        return open_store(self.folder, filesystem=self.filesystem, segment_bytes=256 << 10)

    @rule(batch=st.lists(st.one_of(puts, puts, puts, deletes), min_size=1, max_size=6))
    def commit(self, batch: list[Put | Delete]) -> None:
        for item, outcome in zip(batch, commit(self.store, *batch), strict=True):
            allowed = self._allowed(item)
            assert outcome in allowed, (outcome, allowed, item.blob[-1], item.shard, item.generation)
            if outcome == OK:
                self._take(item)

    def _allowed(self, item: Put | Delete) -> set[str]:
        name = (item.blob, item.shard)
        if isinstance(item, Delete):
            return {OK}
        allowed = set()
        if item.generation <= self.graves.get(name, -1):
            allowed.add(STALE)
            if name not in self.forgettable:
                return allowed
        there = self.here.get(name, {}).get(item.extent)
        if there is None or item.generation > there.generation:
            return allowed | {OK}
        if item.generation < there.generation:
            return allowed | {STALE}
        same = (there.length, there.crcs) == (item.length, item.crcs)
        return allowed | {OK if same or (*name, item.extent) in self.rotten else CONFLICT}

    def _take(self, item: Put | Delete) -> None:
        name = (item.blob, item.shard)
        there = self.here.setdefault(name, {})
        if isinstance(item, Delete):
            for extent in [extent for extent, made in there.items() if made.generation <= item.generation]:
                del there[extent]
                self.rotten.discard((*name, extent))
            if item.generation > self.graves.get(name, -1):
                self.graves[name] = item.generation
                self.forgettable.discard(name)
            return
        if item.generation <= self.graves.get(name, -1):
            # That deletion was forgotten; one of a lower generation may have come since.
            self.graves[name] = item.generation - 1
        there[item.extent] = item
        self.rotten.discard((*name, item.extent))

    @rule()
    def flush(self) -> None:
        self.store.flush_index()

    @rule()
    def compact(self) -> None:
        compact(self.store)
        self.forgettable = set(self.graves)

    @rule()
    def compact_a_little(self) -> None:
        self.store.compact_step(NOW_US)
        self.forgettable = set(self.graves)

    @rule()
    def start_again(self) -> None:
        self.store.close()
        self.store = self._open()

    @rule(lose_index=st.booleans())
    def die(self, lose_index: bool) -> None:
        """Killed: nothing is flushed or sealed; what was acknowledged is there."""
        self.store._index.close()
        self.filesystem = SimFilesystem(self.filesystem.disk.after_kill())
        if lose_index and not self.rotten:  # of rot in a header a rebuild does not know whose it is
            shutil.rmtree(self.folder / "index")
        self.store = self._open()

    @rule(seed=st.integers(0, 1 << 16))
    def lose_power(self, seed: int) -> None:
        self.store._index.close()
        self.filesystem = SimFilesystem(self.filesystem.disk.after_power_cut(Random(seed)))
        self.store = self._open()

    @rule()
    def scrub(self) -> None:
        _, quarantined = scrub(self.store)
        assert quarantined == 0, "rot is quarantined when it is made"

    @precondition(lambda self: not self.rotten)
    @rule(seed=st.integers(0, 1 << 16))
    def rot(self, seed: int) -> None:
        """Flip a byte of one record and scrub: that one is quarantined, nothing else."""
        there = [(*name, extent) for name, found in self.here.items() for extent in found]
        if not there:
            return
        chance = Random(seed)
        name, shard, extent = chance.choice(there)
        row = self.store._index.extents(name + bytes((shard,)))[extent]
        file = self.filesystem.disk.now[str(self.store._journal.path(row.segment))]
        at = row.offset + chance.randrange(row.size)
        file.now[at] ^= 0x20
        file.durable[at] ^= 0x20
        assert scrub(self.store)[1] == 1
        self.store.flush_index()
        self.rotten.add((name, shard, extent))

    @rule(number=numbers, shard=shards, extent=extents)
    def read(self, number: int, shard: int, extent: int) -> None:
        name = blob(number)
        made = self.here.get((name, shard), {}).get(extent)
        if (name, shard, extent) in self.rotten:
            with pytest.raises(ShardCorruptError):
                self.store.read(name, shard, extent, first=0, count=1)
        elif made is None:
            with pytest.raises(ShardNotFoundError):
                self.store.read(name, shard, extent, first=0, count=1)
        else:
            assert read_all(self.store, number, shard=shard, extent=extent) == b"".join(made.payload)

    @rule(limit=st.integers(1, 4))
    def page_through(self, limit: int) -> None:
        found, after = [], b""
        while True:
            page = self.store.list(after, limit)
            found += page.shards
            after = page.after
            if not after:
                break
        assert [line[:2] + line[3:5] for line in found] == [
            (*name, len(left), sum(made.length for made in left))
            for name in sorted(self.here)
            if self.here[name]
            for left in (self._healthy(name),)
        ]

    def _healthy(self, name: tuple[bytes, int]) -> list[Put]:
        found = sorted(self.here.get(name, {}).items())
        return [made for extent, made in found if (*name, extent) not in self.rotten]

    @invariant()
    def the_counts_are_right(self) -> None:
        global steps_done
        steps_done += 1
        status = self.store.status(NOW_US)
        assert status.shards == sum(0 in found for found in self.here.values())
        assert status.shard_bytes == sum(
            made.length for found in self.here.values() for made in found.values()
        )
        assert status.quarantined == len(self.rotten)

    @invariant()
    def stat_agrees(self) -> None:
        for name, found in self.here.items():
            stat = self.store.stat(*name)
            expected = [
                (extent, made.generation, units_in(made.length))
                for extent, made in sorted(found.items())
                if (*name, extent) not in self.rotten
            ]
            assert [(extent, made, units_in(length)) for extent, made, length in stat.extents] == expected

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)


def test_the_store_is_a_dict() -> None:
    run_state_machine_as_test(
        StoreMachine,
        settings=settings(
            max_examples=max(1, STEPS // STEPS_A_RUN),
            stateful_step_count=STEPS_A_RUN,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        ),
    )
    print(f"T-M1: {steps_done} steps")
