"""Owns T-C1: the power is cut after every call of a long trace, and nothing acknowledged may be missing or come back.

QUOIN_TC1_STATES: states tried after each call (4; the number to hold is 100). QUOIN_TC1_SEED: of trace and cuts (1).
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from shardd.contract.errors import ShardNotFoundError
from shardd.engine.store import Delete, Put, ShardStore
from tests.shardd.engine.shards import blob, commit, compact, content, open_store, put, read_all
from tests.simulation.simfs import SimFilesystem

STATES = int(os.environ.get("QUOIN_TC1_STATES", "4"))
SEED = int(os.environ.get("QUOIN_TC1_SEED", "1"))
TRACE_OPERATIONS = 200
SEGMENT_BYTES = 128 << 10
BLOBS = 12
KILLED_PART = 0.2  # of the states: only the process died, what was not synced is there for now
AGAIN_PART = 0.3  # of the states: the power goes a second time

Key = tuple[int, int]  # blob number, extent
Value = tuple[int, bytes] | None  # generation and bytes, None where there is nothing
State = dict[Key, Value]


@dataclass
class Trace:
    """What the store was told so far, and what it may hold when the power goes now."""

    filesystem: SimFilesystem
    folder: Path
    acked: State = field(default_factory=dict)
    under_way: dict[Key, set[Value]] = field(default_factory=dict)  # any of these, once a commit has begun
    indices: list[bytes] = field(default_factory=list)  # data.mdb as it was after each operation
    states: int = 0

    def note_index(self) -> None:
        data = (self.folder / "index" / "data.mdb").read_bytes()
        if not self.indices or self.indices[-1] != data:
            self.indices.append(data)


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where the machine has such a folder: the index is synced thousands of times."""
    shared = Path("/dev/shm")
    made = Path(tempfile.mkdtemp(prefix="quoin-", dir=shared if os.access(shared, os.W_OK) else None))
    yield made
    shutil.rmtree(made)


def _carry_out(trace: Trace, store: ShardStore, batch: list[Put | Delete]) -> None:
    left = dict(trace.acked)
    under_way: dict[Key, set[Value]] = {}
    for item in batch:
        number = int.from_bytes(item.blob, "big")
        if isinstance(item, Put):
            changed: State = {(number, item.extent): (item.generation, b"".join(item.payload))}
        else:
            changed = {key: None for key in left if key[0] == number}
        for key, value in changed.items():
            left[key] = value
            under_way.setdefault(key, set()).add(value)
    trace.under_way = under_way
    assert set(commit(store, *batch)) == {"ok"}
    trace.acked, trace.under_way = left, {}


def _batch(chance: Random, generations: dict[int, int]) -> list[Put | Delete]:
    """Puts and deletes that are all right: generations only rise."""
    batch: list[Put | Delete] = []
    for _ in range(chance.choice((1, 1, 2, 5))):
        number = chance.randrange(BLOBS)
        generations[number] = generations.get(number, 0) + 1
        if chance.random() < 0.3:
            batch.append(Delete(blob(number), 0, generations[number]))
        else:
            size = chance.choice((0, 1, 1_400, 4_096, 20_000, 70_000))
            data = content(size, chance.randrange(1 << 30))
            batch.append(
                put(number, data, extent=chance.randrange(2), generation=generations[number], last=False)
            )
    return batch


def _held(store: ShardStore) -> State:
    found: State = {}
    for number in range(BLOBS):
        for extent, generation, _ in store.stat(blob(number), 0).extents:
            found[number, extent] = (generation, read_all(store, number, extent=extent))
    return found


def _lay_index(trace: Trace, chance: Random) -> str:
    """The index as of any earlier moment, cut short, or none."""
    index = trace.folder / "index"
    shutil.rmtree(index, ignore_errors=True)
    way = chance.random()
    if way < 0.2 or not trace.indices:
        return "absent"
    index.mkdir()
    number = len(trace.indices) - 1 if way < 0.5 else chance.randrange(len(trace.indices))
    data = trace.indices[number]
    if way > 0.95:
        data = data[: chance.randrange(len(data))]
    (index / "data.mdb").write_bytes(data)
    return f"{number} of {len(trace.indices)}"


def _cut_power(trace: Trace) -> None:
    """Recover from STATES of the states that a power cut may leave now, while the store's own index is set aside."""
    index, aside = trace.folder / "index", trace.folder / "aside"
    if index.exists():
        index.rename(aside)
    for number in range(STATES):
        chance = Random(f"{SEED} {trace.filesystem.calls} {number}")
        where = (
            f"seed {SEED}, call {trace.filesystem.calls}, state {number}, index {_lay_index(trace, chance)}"
        )
        disk = trace.filesystem.disk
        left = disk.after_kill() if chance.random() < KILLED_PART else disk.after_power_cut(chance)
        _recover(trace, SimFilesystem(left), chance, where)
        trace.states += 1
    shutil.rmtree(index, ignore_errors=True)
    if aside.exists():
        aside.rename(index)


def _recover(trace: Trace, filesystem: SimFilesystem, chance: Random, where: str) -> None:
    store = open_store(trace.folder, filesystem=filesystem, segment_bytes=SEGMENT_BYTES)
    held = _held(store)
    for key in trace.acked.keys() | trace.under_way.keys() | held.keys():
        allowed = {trace.acked.get(key), *trace.under_way.get(key, ())}
        assert held.get(key) in allowed, f"{where}: {key} is {held.get(key)!r:.60}, not of {allowed!r:.200}"
    assert store.status(0).quarantined == 0, f"{where}: a torn tail was taken for bit rot"
    if chance.random() < AGAIN_PART:
        # What was answered once stays, through a second cut, whether the store went on working or not.
        working = chance.random() < 0.5
        if working:
            assert commit(store, put(BLOBS, b"later")) == ["ok"], where
            compact(store)
        filesystem = SimFilesystem(filesystem.disk.after_power_cut(chance))
        store.close()
        shutil.rmtree(trace.folder / "index")
        store = open_store(trace.folder, filesystem=filesystem, segment_bytes=SEGMENT_BYTES)
        assert _held(store) == held, f"{where}, second cut"
        assert not working or read_all(store, BLOBS) == b"later", where
    store.close()


def test_nothing_acknowledged_is_lost_and_nothing_deleted_comes_back(folder: Path) -> None:
    chance = Random(SEED)
    filesystem = SimFilesystem()
    trace = Trace(filesystem, folder)
    filesystem.after_call = lambda name: _cut_power(trace)
    generations: dict[int, int] = {}
    store = open_store(folder, filesystem=filesystem, segment_bytes=SEGMENT_BYTES)
    for _ in range(TRACE_OPERATIONS):
        trace.note_index()
        way = chance.random()
        if way < 0.75:
            _carry_out(trace, store, _batch(chance, generations))
        elif way < 0.85:
            store.flush_index()
        elif way < 0.97:
            compact(store)
        else:
            store.close()
            store = open_store(folder, filesystem=filesystem, segment_bytes=SEGMENT_BYTES)
    store.close()
    removed = filesystem.counted["unlink"]
    assert removed > TRACE_OPERATIONS // 10, "the trace is to compact, and to drop what it compacted"
    print(f"T-C1: seed {SEED}, {filesystem.calls} calls ({removed} unlinks), {trace.states} states recovered")


def test_a_deleted_shard_is_not_found(folder: Path) -> None:
    store = open_store(folder, filesystem=SimFilesystem())
    commit(store, put(1), Delete(blob(1), 0, 1))
    with pytest.raises(ShardNotFoundError):
        store.read(blob(1), 0, 0, first=0, count=1)
    store.close()
