"""Owns the proof of what a shard store answers: puts, deletes, generations, reads, pages, on real files."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shardd.contract.blobs import EXTENT_SIZE_MAX, UNIT_SIZE, NodeId
from shardd.contract.errors import (
    BadRequestError,
    ShardNotFoundError,
    StorageFailedError,
    WrongClusterError,
)
from shardd.engine.store import Delete, Put, ShardStore
from tests.shardd.engine.shards import NOW_US, blob, commit, content, open_store, put, read_all, segment_files

STALE, CONFLICT = "StaleGenerationError", "ShardConflictError"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ShardStore]:
    made = open_store(tmp_path, segment_bytes=64 << 20)
    yield made
    made.close()


@pytest.mark.parametrize(
    "size", [0, 1, 7, 8, UNIT_SIZE - 1, UNIT_SIZE, UNIT_SIZE + 1, 300_001, EXTENT_SIZE_MAX]
)
@pytest.mark.parametrize("piece", [15_900, EXTENT_SIZE_MAX])
def test_what_was_put_is_read(store: ShardStore, size: int, piece: int) -> None:
    data = content(size, size)
    assert commit(store, put(1, data, piece=piece)) == ["ok"]
    assert read_all(store, 1) == data


def test_a_read_gives_the_units_asked_for_and_their_checksums(store: ShardStore) -> None:
    data = content(5 * UNIT_SIZE + 9, 1)
    made = put(1, data, extent=4)
    commit(store, made)
    for first, count in ((0, 1), (2, 3), (5, 1), (0, 6), (3, 0)):
        got = store.read(made.blob, 0, 4, first=first, count=count)
        assert got.units == data[first * UNIT_SIZE : (first + count) * UNIT_SIZE]
        assert got.crcs == made.crcs[4 * first : 4 * (first + count)]
        assert got.length == len(got.units)
    for first, count in ((0, 7), (6, 1), (-1, 1), (0, 17), (0, -1)):
        with pytest.raises(BadRequestError):
            store.read(made.blob, 0, 4, first=first, count=count)


def test_what_is_not_here_is_not_found(store: ShardStore) -> None:
    commit(store, put(1, shard=2, extent=3))
    for number, shard, extent in ((1, 2, 2), (1, 1, 3), (2, 2, 3)):
        with pytest.raises(ShardNotFoundError):
            store.read(blob(number), shard, extent, first=0, count=1)
    assert store.stat(blob(9), 0).extents == []


def test_the_same_put_again_is_a_success_and_another_a_conflict(store: ShardStore) -> None:
    assert commit(store, put(1, b"same"), put(1, b"same"), put(1, b"else")) == ["ok", "ok", CONFLICT]
    assert commit(store, put(1, b"same"), put(1, b"else"), put(1, b"longer")) == ["ok", CONFLICT, CONFLICT]
    assert read_all(store, 1) == b"same"
    assert store.status(NOW_US).shards == 1


def test_a_higher_generation_supersedes_and_a_lower_is_stale(store: ShardStore) -> None:
    assert commit(store, put(1, b"two", generation=2)) == ["ok"]
    assert commit(store, put(1, b"one", generation=1)) == [STALE]
    assert commit(store, put(1, b"three", generation=3), put(1, b"two", generation=2)) == ["ok", STALE]
    assert read_all(store, 1) == b"three"
    assert store.stat(blob(1), 0).extents == [(0, 3, 5)]


def test_a_delete_takes_generations_up_to_its_own(store: ShardStore) -> None:
    commit(store, put(1, b"a", extent=0, generation=1), put(1, b"b", extent=1, generation=3))
    assert commit(store, Delete(blob(1), 0, 2)) == ["ok"]
    assert store.stat(blob(1), 0).extents == [(1, 3, 1)]
    assert commit(store, put(1, b"a", generation=2), put(1, b"a", generation=3)) == [STALE, "ok"]
    assert commit(store, Delete(blob(1), 0, 3), Delete(blob(1), 0, 3), Delete(blob(1), 0, 1)) == ["ok"] * 3
    assert store.stat(blob(1), 0).extents == []
    assert store.status(NOW_US).shards == 0


def test_a_delete_comes_before_a_late_put(store: ShardStore) -> None:
    assert commit(store, Delete(blob(1), 0, 1), put(1), put(1, generation=2)) == ["ok", STALE, "ok"]
    assert commit(store, put(1)) == [STALE]


def test_order_within_one_group_counts(store: ShardStore) -> None:
    batch = (
        put(1),
        Delete(blob(1), 0, 1),
        put(1, b"new", generation=2),
        Delete(blob(2), 0, 9),
        put(2, generation=9),
    )
    assert commit(store, *batch) == ["ok", "ok", "ok", "ok", STALE]
    assert read_all(store, 1) == b"new"
    assert commit(store, Delete(blob(1), 0, 1), put(1, b"else", generation=2)) == ["ok", CONFLICT]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"payload": [b"dat"]}, "BadRequestError"),
        ({"length": 5}, "BadRequestError"),
        ({"crcs": b""}, "BadRequestError"),
        ({"crcs": b"1234"}, "ShardCorruptError"),
        ({"payload": [b"dato"]}, "ShardCorruptError"),
        ({"shard": 1}, "ShardCorruptError"),
        ({"extent": 1}, "ShardCorruptError"),
        ({"blob": b"short"}, "BadRequestError"),
        ({"shard": 256}, "BadRequestError"),
        ({"generation": 1 << 32}, "BadRequestError"),
        ({"extent": -1}, "BadRequestError"),
        ({"identity": bytes(1 << 16)}, "BadRequestError"),
    ],
)
def test_a_bad_put_is_refused_and_leaves_nothing(
    store: ShardStore, change: dict[str, object], error: str
) -> None:
    right = put(1)
    facts = {name: getattr(right, name) for name in Put.__struct_fields__}
    assert commit(store, Put(**(facts | change)), put(2)) == [error, "ok"]
    assert store.status(NOW_US).shards == 1


def test_stat_gives_the_identity_of_the_last_extent(store: ShardStore) -> None:
    commit(store, put(1, b"a" * 9, last=False), put(1, b"b", extent=1, identity=b"who", last=True))
    stat = store.stat(blob(1), 0)
    assert (stat.extents, stat.last, stat.identity) == ([(0, 1, 9), (1, 1, 1)], True, b"who")


def test_pages_go_through_all_shards_in_order(store: ShardStore) -> None:
    commit(store, *(put(number, b"x" * number, shard=shard) for number in range(1, 8) for shard in (1, 0)))
    commit(store, put(3, b"y", extent=2), put(4, b"z", extent=1), Delete(blob(5), 0, 1))
    seen, after = [], b""
    while True:
        page = store.list(after, 3)
        seen += page.shards
        after = page.after
        if not after:
            break
        assert len(page.shards) == 3
    expected = [(blob(n), shard) for n in range(1, 8) for shard in (0, 1) if (n, shard) != (5, 0)]
    assert [shard[:2] for shard in seen] == expected
    facts = {shard[:2]: shard[2:] for shard in seen}
    assert facts[blob(2), 0] == (1, 1, 2, True)
    assert facts[blob(3), 0] == (1, 2, 4, False), "extent 1 is missing"
    assert facts[blob(4), 0] == (1, 2, 5, True)
    for after, limit in ((b"short", 1), (b"", 0), (b"", 1_001)):
        with pytest.raises(BadRequestError):
            store.list(after, limit)


def test_a_store_comes_back_as_it_was(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    commit(store, put(1, b"one"), put(2, b"two"), Delete(blob(2), 0, 1))
    incarnation = store.incarnation
    store.close()
    store = open_store(tmp_path)
    assert store.incarnation == incarnation
    assert read_all(store, 1) == b"one"
    assert commit(store, put(2, b"two")) == [STALE]
    assert len(segment_files(tmp_path)) == 1, "a start that writes nothing makes no segment"
    store.close()


def test_a_folder_has_one_process_and_one_owner(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with pytest.raises(StorageFailedError):
        open_store(tmp_path)
    store.close()
    with pytest.raises(WrongClusterError):
        open_store(tmp_path, cluster=b"another-cluster!")
    with pytest.raises(WrongClusterError):
        open_store(tmp_path, node=NodeId(4))
    open_store(tmp_path).close()


def test_a_new_folder_is_a_new_incarnation(tmp_path: Path) -> None:
    first, second = open_store(tmp_path / "a"), open_store(tmp_path / "b")
    assert len(first.incarnation) == 16
    assert first.incarnation != second.incarnation
    first.close()
    second.close()
