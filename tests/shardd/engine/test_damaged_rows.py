"""Proves that a row of the index that fails its checksum costs one shard, which is taken anew, and no start."""

import shutil
from pathlib import Path

import lmdb
import pytest

from shardd.contract.errors import ShardCorruptError
from shardd.engine.rows import extent_suffix, shard_key
from shardd.engine.soundness import CONDEMNED
from shardd.engine.store import Delete, ShardStore
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
    segment_files,
)


def damage(environment: "lmdb.Environment[bytes]", number: int, extent: int = 0) -> None:
    """Flip a bit of the row of an extent."""
    _flip(environment, b"extents", shard_key(blob(number), 0) + extent_suffix(extent))


def damage_deletion(store: ShardStore, number: int) -> None:
    """Flip a bit of the row of a deletion."""
    store.flush_index()
    _flip(store._index._environment, b"tombstones", shard_key(blob(number), 0))


def _flip(environment: "lmdb.Environment[bytes]", name: bytes, place: bytes) -> None:
    table = environment.open_db(name)
    with environment.begin(write=True, db=table) as transaction:
        row = bytearray(transaction.get(place) or b"")
        row[5] ^= 1
        transaction.put(place, bytes(row))


def listed(store: ShardStore) -> list[bytes]:
    return [line[0] for line in store.list(b"", 10).shards]


def test_a_shard_whose_row_is_damaged_is_listed_no_more_and_is_taken_anew(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    assert commit(store, *(put(number, b"old %d" % number) for number in (1, 2, 3))) == ["ok"] * 3
    store.flush_index()
    damage(store._index._environment, 2)
    assert listed(store) == [blob(1), blob(3)], "reconcile meets what it lacks, and all that is behind it"
    assert store.stat(blob(2), 0).extents == []
    with pytest.raises(ShardCorruptError):
        store.read(blob(2), 0, 0, first=0, count=1)
    assert commit(store, put(2, b"new 2", generation=2)) == ["ok"]
    assert read_all(store, 2) == b"new 2" and listed(store) == [blob(1), blob(2), blob(3)]
    assert scrub(store) == (0, 0)
    store.close()
    store = open_store(tmp_path)
    assert [read_all(store, number) for number in (1, 2, 3)] == [b"old 1", b"new 2", b"old 3"]
    store.close()


def test_a_shard_whose_row_is_damaged_can_be_deleted(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    assert commit(store, put(1, last=False), put(1, extent=1), put(2)) == ["ok"] * 3
    store.flush_index()
    damage(store._index._environment, 1, extent=1)
    assert commit(store, Delete(blob(1), 0, 1)) == ["ok"]
    assert listed(store) == [blob(2)] and commit(store, put(1)) == ["StaleGenerationError"]
    store.close()
    store = open_store(tmp_path)
    assert listed(store) == [blob(2)]
    store.close()


def test_a_start_that_meets_a_damaged_row_makes_the_index_anew(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    assert commit(store, put(1), put(2)) == ["ok", "ok"]
    store.flush_index()
    assert commit(store, put(1, b"more", generation=2)) == [
        "ok"
    ]  # behind the checkpoint, so that it is replayed
    killed = shutil.copytree(tmp_path / "store", tmp_path / "killed")
    store.close()
    with lmdb.open(str(killed / "index"), max_dbs=4) as environment:
        damage(environment, 1)
        damage(environment, 2)
    store = open_store(killed)
    assert (read_all(store, 1), read_all(store, 2)) == (b"more", b"data")
    assert store.status(NOW_US).losses, "so that reconcile looks at all of it"
    store.close()


def test_a_deletion_whose_row_is_damaged_keeps_no_shard_from_coming_anew_and_holds_again_later(
    tmp_path: Path,
) -> None:
    store = open_store(tmp_path)
    assert commit(store, *(put(n) for n in (1, 2)), *(Delete(blob(n), 0, 2) for n in (1, 2))) == ["ok"] * 4
    damage_deletion(store, 1)
    assert commit(store, put(1, b"new", generation=3), put(2)) == ["ok", "StaleGenerationError"]
    assert commit(store, Delete(blob(1), 0, 1)) == ["ok"] and read_all(store, 1) == b"new"
    assert store.status(NOW_US).losses == 1, "once"
    store.close()
    store = open_store(tmp_path)
    assert read_all(store, 1) == b"new" and listed(store) == [blob(1)]
    assert commit(store, put(1, generation=2)) == ["StaleGenerationError"]
    assert commit(store, Delete(blob(1), 0, 3)) == ["ok"] and listed(store) == []
    store.close()


@pytest.mark.parametrize("late", [None, 1])
def test_what_is_deleted_stays_so_where_compaction_carries_a_deletion_whose_row_is_damaged(
    tmp_path: Path, late: int | None
) -> None:
    """`late`: of an older generation comes another deletion, which is no reason to forget the first."""
    store = open_store(tmp_path)
    for number in range(8):
        assert commit(store, put(number, content(30_000, number), generation=2)) == ["ok"]
    kept, *_ = segment_files(tmp_path)
    for number in range(10, 14):
        assert commit(store, put(number, content(30_000, number))) == ["ok"]
    assert commit(store, Delete(blob(0), 0, 2)) == ["ok"]
    carried = segment_files(tmp_path)[-1]
    damage_deletion(store, 0)
    for number in range(14, 40):
        assert commit(store, put(number, content(30_000, number))) == ["ok"]
    if late is not None:
        assert commit(store, Delete(blob(0), 0, late)) == ["ok"]
    assert commit(store, *(Delete(blob(number), 0, 1) for number in range(10, 40))) == ["ok"] * 30
    compact(store)
    assert kept.exists() and not carried.exists()
    assert commit(store, put(0, generation=2)) == ["StaleGenerationError"], "it holds again"
    store.close()
    shutil.rmtree(tmp_path / "index")
    store = open_store(tmp_path)
    assert listed(store) == [blob(number) for number in range(1, 8)], "the first came back"
    store.close()


def test_a_start_that_meets_a_damaged_deletion_makes_the_index_anew(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    assert commit(store, put(1), Delete(blob(1), 0, 1)) == ["ok", "ok"]
    damage_deletion(store, 1)
    assert commit(store, put(2)) == ["ok"]
    late = Delete(blob(1), 0, 0)
    assert commit(store, late) == ["ok"]  # behind the checkpoint, so that it is replayed
    killed = shutil.copytree(tmp_path / "store", tmp_path / "killed")
    (killed / "index" / CONDEMNED).unlink()
    store.close()
    store = open_store(killed)
    assert commit(store, put(1)) == ["StaleGenerationError"] and listed(store) == [blob(2)]
    store.close()
