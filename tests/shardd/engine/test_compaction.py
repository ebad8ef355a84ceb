"""Owns the proof that compaction frees what is dead and nothing else, and keeps the deletions that still matter."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from shardd.contract.errors import ShardError
from shardd.engine.compaction import REST_US, choose_victim, live_part
from shardd.engine.record import ALIGNMENT, BLOCK_SIZE
from shardd.engine.rows import SegmentRow, extent_suffix, shard_key
from shardd.engine.store import Delete, ShardStore
from tests.shardd.engine.faulty import Fault, FaultyFilesystem
from tests.shardd.engine.shards import (
    NOW_US,
    blob,
    commit,
    compact,
    content,
    open_store,
    put,
    read_all,
    segment_files,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ShardStore]:
    made = open_store(tmp_path)
    yield made
    made.close()


def _used(folder: Path) -> int:
    return sum(path.stat().st_size for path in segment_files(folder))


def _fill(store: ShardStore, numbers: range, size: int = 30_000) -> None:
    for number in numbers:
        assert commit(store, put(number, content(size, number))) == ["ok"]


def test_dead_shards_leave_the_disk_and_living_ones_stay(store: ShardStore, tmp_path: Path) -> None:
    _fill(store, range(60))
    before = _used(tmp_path)
    commit(store, *(Delete(blob(number), 0, 1) for number in range(60) if number % 6))
    assert compact(store) > 0
    assert _used(tmp_path) < before / 2
    for number in range(0, 60, 6):
        assert read_all(store, number) == content(30_000, number)
    assert store.status(NOW_US).shards == 10
    assert compact(store) == 0, "what was compacted is not compacted again"


def test_a_late_delete_takes_nothing_of_a_later_generation_wherever_compaction_laid_it(
    store: ShardStore, tmp_path: Path
) -> None:
    _fill(store, range(20))
    commit(store, *(Delete(blob(number), 0, 1) for number in range(20)))
    for number in range(20, 40):
        assert commit(store, put(number, content(30_000, number), generation=2)) == ["ok"]
    assert commit(store, put(0, b"back", generation=2)) == ["ok"], "moved away, and back"
    commit(store, *(Delete(blob(number), 0, 2) for number in range(20, 40) if number % 5))
    before = segment_files(tmp_path)
    assert compact(store) > 0
    assert not set(before) <= set(segment_files(tmp_path))
    commit(store, *(Delete(blob(number), 0, 1) for number in range(40)))
    for again in (False, True):
        if again:  # what a start finds without its index
            store.close()
            shutil.rmtree(tmp_path / "index")
            store = open_store(tmp_path)
        assert read_all(store, 0) == b"back"
        for number in range(20, 40, 5):
            assert read_all(store, number) == content(30_000, number)
    store.close()


def test_live_segments_are_left_alone(store: ShardStore, tmp_path: Path) -> None:
    _fill(store, range(40))
    names = segment_files(tmp_path)
    assert compact(store) == 0
    assert segment_files(tmp_path) == names


def test_deletions_outlive_compaction_while_a_segment_holds_their_dead(
    store: ShardStore, tmp_path: Path
) -> None:
    _fill(store, range(8))  # one segment of dead and living ones, which stays
    commit(store, Delete(blob(0), 0, 1))
    _fill(store, range(10, 40))
    commit(store, *(Delete(blob(number), 0, 1) for number in range(10, 40)))
    _fill(store, range(50, 60))
    assert compact(store) > 0
    assert segment_files(tmp_path)[0].name.startswith("0000000000000001"), "the first one is 7/8 alive"
    store.close()
    shutil.rmtree(tmp_path / "index")
    store = open_store(tmp_path)
    for number in (0, *range(10, 40)):
        assert store.stat(blob(number), 0).extents == [], f"{number} came back"
    assert commit(store, put(0)) == ["StaleGenerationError"]
    store.close()


def test_deletions_that_nothing_needs_go_too(store: ShardStore) -> None:
    for turn in range(30):
        _fill(store, range(turn * 10, turn * 10 + 10), size=10_000)
        commit(store, *(Delete(blob(number), 0, 1) for number in range(turn * 10, turn * 10 + 10)))
        compact(store)
    _fill(store, range(1_000, 1_020))
    compact(store)
    store.flush_index()
    left = dict(store._index.walk_tombstones())
    assert len(left) < 60, f"{len(left)} of 300 deletions are kept"


def test_a_deletion_is_forgotten_only_when_its_segment_is_gone(tmp_path: Path) -> None:
    disk = FaultyFilesystem()
    store = open_store(tmp_path, filesystem=disk)
    commit(store, put(1, content(200_000, 1)), Delete(blob(1), 0, 5))
    _fill(store, range(10, 20))
    disk.faults.append(Fault("unlink", times=1))
    compact(store)
    assert disk.faults[0].times == 0, "the segment was about to go"
    assert commit(store, put(1)) == ["StaleGenerationError"], (
        "it would be lost when the tombstone is met again"
    )
    compact(store)
    assert commit(store, put(1)) == ["ok"]
    store.close()
    shutil.rmtree(tmp_path / "index")
    store = open_store(tmp_path)
    assert read_all(store, 1) == b"data"
    store.close()


def test_many_small_segments_are_joined(tmp_path: Path) -> None:
    for number in range(40):
        store = open_store(tmp_path)
        commit(store, put(number, content(1_000, number)))
        store.close()
    store = open_store(tmp_path)
    assert len(segment_files(tmp_path)) == 40
    compact(store)
    assert len(segment_files(tmp_path)) <= 20
    for number in range(40):
        assert read_all(store, number) == content(1_000, number)
    store.close()


def test_a_quarantined_record_keeps_its_segment_until_it_is_repaired(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    _fill(store, range(20))
    path = segment_files(tmp_path)[0]
    with path.open("r+b") as file:
        file.seek(BLOCK_SIZE + 5_000)
        file.write(b"rot")  # in the units of blob 0
    commit(store, *(Delete(blob(number), 0, 1) for number in range(1, 20)))
    compact(store)
    assert path.exists(), "the walk could not copy the record that the index names"
    assert store.status(NOW_US).quarantined == 1
    assert commit(store, put(0, content(30_000, 0))) == ["ok"]
    compact(store)
    assert not path.exists()
    assert read_all(store, 0) == content(30_000, 0)
    store.close()


def test_a_read_that_fails_damns_nothing_and_is_tried_again_later(tmp_path: Path) -> None:
    disk = FaultyFilesystem()
    store = open_store(tmp_path, filesystem=disk)
    _fill(store, range(40))
    commit(store, *(Delete(blob(number), 0, 1) for number in range(40) if number % 5))
    store.flush_index()
    disk.faults.append(Fault("read", times=1))
    assert not store.compact_step(NOW_US) and disk.faults[0].times == 0
    [victim] = store._compactor._set_aside
    path = store._journal.path(victim)
    compact(store)
    assert store.status(NOW_US).quarantined == 0 and path.exists(), "others first"
    assert store.compact_step(NOW_US + REST_US)
    compact(store)
    assert not path.exists()
    for number in range(0, 40, 5):
        assert read_all(store, number) == content(30_000, number)
    store.close()


def test_a_damaged_row_damns_no_record_of_the_victim(store: ShardStore) -> None:
    _fill(store, range(20))
    commit(store, *(Delete(blob(number), 0, 1) for number in range(1, 5)))
    store.flush_index()
    with store._index._environment.begin(write=True) as rows:
        rows.put(shard_key(blob(6), 0) + extent_suffix(0), b"no row", db=store._index._extents)
    assert not store.compact_step(NOW_US)
    for _ in range(10):
        store.compact_step(NOW_US)
    assert store.status(NOW_US).quarantined == 0
    for number in (0, 5, 7, 19):
        assert read_all(store, number) == content(30_000, number)


def test_what_no_gap_explains_is_not_quarantined(store: ShardStore, tmp_path: Path) -> None:
    _fill(store, range(20))
    commit(store, *(Delete(blob(number), 0, 1) for number in range(1, 20)))
    row = store._index.extent(shard_key(blob(0), 0), 0)
    assert row is not None
    wrong = msgspec.structs.replace(row, offset=row.offset + ALIGNMENT)
    store._index.set_extent(shard_key(blob(0), 0), 0, wrong)
    path = segment_files(tmp_path)[0]
    compact(store)
    assert path.exists() and store.status(NOW_US).quarantined == 0


def test_readers_go_on_while_segments_are_rewritten(store: ShardStore) -> None:
    _fill(store, range(40))
    kept = range(0, 40, 5)
    faults: list[BaseException] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            for number in kept:
                try:
                    assert read_all(store, number) == content(30_000, number)
                except (ShardError, AssertionError) as fault:
                    faults.append(fault)
                    return

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for turn in range(1, 6):
        commit(store, *(Delete(blob(number), 0, turn) for number in range(40) if number % 5))
        compact(store)
        for number in range(40):
            if number % 5:
                commit(store, put(number, content(30_000, number), generation=turn + 1))
    stop.set()
    for reader in readers:
        reader.join()
    assert faults == []


def test_the_emptiest_segment_is_the_victim() -> None:
    rows = {
        1: SegmentRow(scanned_to=BLOCK_SIZE + 1_000, live_bytes=650),
        2: SegmentRow(scanned_to=BLOCK_SIZE + 1_000, live_bytes=100),
        3: SegmentRow(scanned_to=BLOCK_SIZE + 1_000, live_bytes=50, quarantined_bytes=50),
        4: SegmentRow(scanned_to=BLOCK_SIZE + 1_000, live_bytes=700),
    }

    def victim(sealed: list[int]) -> int | None:
        return choose_victim(rows, sealed=sealed, below_live=0.7, segment_bytes=1_000)

    assert victim([1, 2, 3, 4]) == 2
    assert victim([1, 4]) == 1
    assert victim([3, 4]) is None
    assert victim([]) is None


def test_tombstones_count_as_alive_only_while_they_guard() -> None:
    row = SegmentRow(scanned_to=BLOCK_SIZE + 1_000, tombstone_bytes=900, guards={1, 5})
    assert live_part(5, row, {5: row}) == 0.0
    assert live_part(5, row, {1: SegmentRow(), 5: row}) == 0.9
    assert live_part(5, SegmentRow(), {}) == 0.0
