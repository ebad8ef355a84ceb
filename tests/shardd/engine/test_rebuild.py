"""Owns T-C5: the index deleted, cut short, older, foreign or full of rubbish; the store is the same afterwards."""

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import lmdb
import pytest

from shardd.contract.errors import ShardCorruptError, ShardNotFoundError, StorageFailedError
from shardd.contract.messages import Page, Stat
from shardd.engine.index import Index
from shardd.engine.soundness import UNPROVEN
from shardd.engine.store import Delete, ShardStore
from tests.shardd.engine.shards import NOW_US, blob, commit, compact, content, open_store, put, read_all

SHARDS = 40


def _fill(folder: Path) -> None:
    """Several segments, compacted ones, superseded and deleted shards; part of it flushed early."""
    store = open_store(folder)
    for number in range(SHARDS):
        commit(
            store, put(number, content(20_000 + number, number), last=False), put(number, b"end", extent=1)
        )
        if number == SHARDS // 2:
            store.flush_index()
            shutil.copytree(folder / "index", folder / "earlier")
    commit(store, *(Delete(blob(number), 0, 1) for number in range(0, SHARDS, 3)))
    commit(store, *(put(number, b"second", generation=2) for number in range(0, SHARDS, 4)))
    assert compact(store) > 0
    store.close()


def _contents(
    store: ShardStore,
) -> tuple[Page, dict[int, Stat], dict[tuple[int, int], bytes], tuple[int, ...]]:
    stats = {number: store.stat(blob(number), 0) for number in range(SHARDS)}
    data = {
        (number, extent): read_all(store, number, extent=extent)
        for number, stat in stats.items()
        for extent, _, _ in stat.extents
    }
    status = store.status(NOW_US)
    return store.list(b"", 1_000), stats, data, (status.shards, status.shard_bytes, status.quarantined)


def test_who_lost_the_index_tells_of_losses_once(tmp_path: Path) -> None:
    """What went with it, nobody knows: gateways hold all that is left against their rows."""
    told = []
    for start in range(4):
        store = open_store(tmp_path)
        commit(store, put(start, b"shard"))
        told.append(store.status(NOW_US).losses)
        store.close()
        if start == 1:
            shutil.rmtree(tmp_path / "index")
    assert told[0] == told[1] == 0 < told[2] == told[3]


def _live(store: ShardStore) -> dict[int, int]:
    return {number: row.live_bytes for number, row in store._index.segments.items()}


def _delete(index: Path) -> None:
    shutil.rmtree(index)


def _empty(index: Path) -> None:
    (index / "data.mdb").write_bytes(b"")


def _earlier(index: Path) -> None:
    shutil.rmtree(index)
    shutil.copytree(index.parent / "earlier", index)


def _cut(part: float) -> Callable[[Path], None]:
    def cut(index: Path) -> None:
        data = (index / "data.mdb").read_bytes()
        (index / "data.mdb").write_bytes(data[: int(len(data) * part)])

    return cut


def _rubbish(seed: int) -> Callable[[Path], None]:
    """As a power cut without syncs leaves it: some pages are rubbish, or old."""

    def scramble(index: Path) -> None:
        chance = Random(seed)
        data = bytearray((index / "data.mdb").read_bytes())
        for page in range(0 if seed % 2 else 8_192, len(data), 4_096):
            if chance.random() < 0.4:
                data[page : page + 4_096] = chance.choice((chance.randbytes(4_096), bytes(4_096)))
        (index / "data.mdb").write_bytes(data)

    return scramble


@pytest.mark.parametrize(
    "damage",
    [
        _delete,
        _empty,
        _earlier,
        *(_cut(part) for part in (0.1, 0.5, 0.9)),
        *(_rubbish(seed) for seed in range(12)),
    ],
)
def test_whatever_befalls_the_index_the_store_is_the_same(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    _fill(tmp_path)
    store = open_store(tmp_path)
    before, live = _contents(store), _live(store)
    store.close()
    damage(tmp_path / "index")
    store = open_store(tmp_path)
    assert _contents(store) == before
    assert _live(store) == live
    for number in range(0, SHARDS, 3):
        if number % 4:
            assert commit(store, put(number)) == ["StaleGenerationError"], "deletions outlive a rebuild"
    store.close()


def test_a_start_vouches_for_an_index_that_is_too_big_to_walk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shardd.engine.soundness.VERIFY_SIZE_MAX", 0)
    for number in range(3):
        store = open_store(tmp_path)
        commit(store, put(number, b"data"))
        assert [read_all(store, earlier) for earlier in range(number + 1)] == [b"data"] * (number + 1)
        assert not (tmp_path / "index" / UNPROVEN).exists()
        store.close()


def test_a_start_that_was_cut_short_between_records_finds_no_damage_in_the_padding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path, segment_bytes=16 << 20)
    for number in range(30):
        commit(store, put(number, content(700, number)))
    store.close()
    shutil.rmtree(tmp_path / "index")
    monkeypatch.setattr("shardd.engine.recovery.PENDING_ROWS_MAX", 0)
    flush, flushed = Index.flush, []

    def end_at_the_tenth(index: Index) -> None:
        flush(index)
        flushed.append(index)
        if len(flushed) == 10:
            index.close()
            raise OSError("the power goes")

    with monkeypatch.context() as patch, pytest.raises(StorageFailedError):
        patch.setattr(Index, "flush", end_at_the_tenth)
        open_store(tmp_path, segment_bytes=16 << 20)
    store = open_store(tmp_path, segment_bytes=16 << 20)
    assert store.status(NOW_US).quarantined == 0
    assert [read_all(store, number) for number in range(30)] == [content(700, n) for n in range(30)]
    store.close()


def test_an_index_of_another_store_is_replaced(tmp_path: Path) -> None:
    _fill(tmp_path / "a")
    store = open_store(tmp_path / "b")
    commit(store, put(1, b"of b"))
    store.close()
    shutil.rmtree(tmp_path / "b" / "index")
    shutil.copytree(tmp_path / "a" / "index", tmp_path / "b" / "index")
    store = open_store(tmp_path / "b")
    assert [shard[0] for shard in store.list(b"", 100).shards] == [blob(1)]
    assert read_all(store, 1) == b"of b"
    store.close()


def test_a_damaged_row_is_noticed_and_the_next_start_rebuilds(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    commit(store, put(1, b"one"), put(2, b"two"))
    store.close()
    with lmdb.open(str(tmp_path / "index"), max_dbs=4) as environment:
        table = environment.open_db(b"extents")
        with environment.begin(write=True, db=table) as transaction:
            key = blob(1) + bytes(5)
            value = bytearray(transaction.get(key))
            value[6] ^= 1
            transaction.put(key, bytes(value))
    store = open_store(tmp_path)
    with pytest.raises(ShardCorruptError):
        store.read(blob(1), 0, 0, first=0, count=1)
    assert read_all(store, 2) == b"two"
    store.close()
    store = open_store(tmp_path)
    assert read_all(store, 1) == b"one"
    store.close()


def test_what_was_not_flushed_is_replayed(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    commit(store, put(1, b"flushed"))
    store.flush_index()
    shutil.copytree(tmp_path / "index", tmp_path / "kept")
    commit(store, put(2, b"not flushed"), Delete(blob(1), 0, 1))
    store.close()
    shutil.rmtree(tmp_path / "index")
    (tmp_path / "kept").rename(tmp_path / "index")
    store = open_store(tmp_path)
    assert read_all(store, 2) == b"not flushed"
    assert store.stat(blob(1), 0).extents == []
    store.close()


def test_a_deletion_outlives_an_index_older_than_the_compaction_that_moved_it(tmp_path: Path) -> None:
    index = tmp_path / "index"
    store = open_store(tmp_path)
    commit(
        store, put(1, content(20_000, 1)), put(2, content(220_000, 2))
    )  # the first segment stays for the second
    commit(store, put(3, content(100_000, 3)))
    commit(store, Delete(blob(1), 0, 1), Delete(blob(3), 0, 1))
    store.flush_index()
    shutil.copytree(index, tmp_path / "earlier")
    commit(store, put(4, content(200_000, 4)))
    assert compact(store) > 0
    store.close()
    _earlier(index)
    store = open_store(tmp_path)
    commit(store, Delete(blob(4), 0, 1))
    commit(store, put(5, content(200_000, 5)))
    assert compact(store) > 0
    store.close()
    shutil.rmtree(index)
    store = open_store(tmp_path)
    with pytest.raises(ShardNotFoundError):
        store.read(blob(1), 0, 0, first=0, count=1)
    assert read_all(store, 2) == content(220_000, 2)
    store.close()
