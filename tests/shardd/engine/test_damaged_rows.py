"""Proves that a row of the index that fails its checksum costs one shard, which is taken anew, and no start."""

import shutil
from pathlib import Path

import lmdb
import pytest

from shardd.contract.errors import ShardCorruptError
from shardd.engine.rows import extent_suffix, shard_key
from shardd.engine.store import Delete, ShardStore
from tests.shardd.engine.shards import NOW_US, blob, commit, open_store, put, read_all, scrub


def damage(environment: "lmdb.Environment[bytes]", number: int, extent: int = 0) -> None:
    """Flip a bit of the row of an extent."""
    place = shard_key(blob(number), 0) + extent_suffix(extent)
    table = environment.open_db(b"extents")
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
