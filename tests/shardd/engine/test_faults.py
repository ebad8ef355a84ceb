"""Owns T-C6 and T-R1 for the engine: a disk that refuses, writes short, is interrupted or full; no false answer."""

import errno
from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest

from shardd.engine.filesystem import Room
from shardd.engine.index import Index
from shardd.engine.store import Delete, ShardStore
from tests.shardd.engine.faulty import FOREVER, Fault, FaultyFilesystem
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
from tests.simulation.simfs import SimFilesystem

FULL, FAILED = "StorageFullError", "StorageFailedError"


@pytest.fixture
def disk() -> FaultyFilesystem:
    return FaultyFilesystem()


@pytest.fixture
def store(tmp_path: Path, disk: FaultyFilesystem) -> Iterator[ShardStore]:
    made = open_store(tmp_path, filesystem=disk)
    assert commit(made, put(1, b"before")) == ["ok"]
    yield made
    disk.faults.clear()
    made.close()


def _reopened(store: ShardStore, folder: Path, disk: FaultyFilesystem) -> ShardStore:
    disk.faults.clear()
    store.close()
    return open_store(folder)


@pytest.mark.parametrize("call", ["create", "rename", "sync_folder"])
@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_process_that_can_open_no_file_has_no_broken_disk(
    call: str, code: int, store: ShardStore, disk: FaultyFilesystem, tmp_path: Path
) -> None:
    """Nothing was written yet: it is refused as what may be tried again, and goes on as soon as there are some."""
    store._journal.seal()
    disk.faults.append(Fault(call, code, times=3))
    for _ in range(3):
        assert commit(store, put(2, b"during"), Delete(blob(1), 0, 0)) == ["OverloadedError"] * 2
        assert store.status(NOW_US).state == "ok"
    assert commit(store, put(2, b"after")) == ["ok"]
    store = _reopened(store, tmp_path, disk)
    assert (read_all(store, 1), read_all(store, 2)) == (b"before", b"after")
    store.close()


@pytest.mark.parametrize("call", ["datasync", "write"])
def test_one_failure_is_met_by_a_new_segment(
    call: str, store: ShardStore, disk: FaultyFilesystem, tmp_path: Path
) -> None:
    disk.faults.append(Fault(call))
    assert commit(store, put(2, b"during"), Delete(blob(3), 0, 1)) == ["ok", "ok"]
    assert len(segment_files(tmp_path)) == 2, "the file that refused is sealed"
    assert read_all(store, 2) == b"during"
    assert store.status(NOW_US).state == "ok"
    store = _reopened(store, tmp_path, disk)
    assert (read_all(store, 1), read_all(store, 2)) == (b"before", b"during")
    assert commit(store, put(3)) == ["StaleGenerationError"]
    store.close()


@pytest.mark.parametrize("call", ["datasync", "write", "rename", "sync_folder", "create"])
def test_a_disk_that_keeps_refusing_fences_the_store(
    call: str, store: ShardStore, disk: FaultyFilesystem, tmp_path: Path
) -> None:
    if call not in ("datasync", "write"):
        disk.faults.append(Fault("datasync"))
    disk.faults.append(Fault(call, times=FOREVER))
    assert commit(store, put(2), put(3)) == [FAILED, FAILED]
    assert store.status(NOW_US).state == "failed"
    disk.faults.clear()
    assert commit(store, put(4), Delete(blob(1), 0, 1)) == [FAILED, FAILED], (
        "fenced until it is started again"
    )
    assert not store.compact_step(NOW_US)
    assert read_all(store, 1) == b"before", "reads go on"
    store.close()
    again = open_store(tmp_path)
    assert read_all(again, 1) == b"before"
    assert commit(again, put(4)) == ["ok"]
    again.close()


@pytest.mark.parametrize("part", [4_096, 8_192, 100, 0])
def test_a_short_write_is_continued_or_met_by_a_new_segment(
    part: int, store: ShardStore, disk: FaultyFilesystem, tmp_path: Path
) -> None:
    disk.faults.append(Fault("write", code=0, part=part))
    data = content(100_000, 1)
    assert commit(store, put(2, data)) == ["ok"]
    store = _reopened(store, tmp_path, disk)
    assert read_all(store, 2) == data
    assert len(segment_files(tmp_path)) == (1 if part in (4_096, 8_192) else 2)
    store.close()


def test_an_interrupted_write_is_done_again(
    store: ShardStore, disk: FaultyFilesystem, tmp_path: Path
) -> None:
    disk.faults.append(Fault("write", code=errno.EINTR, times=3))
    assert commit(store, put(2, b"during")) == ["ok"]
    assert (read_all(store, 2), len(segment_files(tmp_path))) == (b"during", 1)


def test_an_unreadable_sector_is_corruption_of_that_record_only(
    store: ShardStore, disk: FaultyFilesystem
) -> None:
    commit(store, put(2, b"two"))
    disk.faults.append(Fault("read"))
    with pytest.raises(Exception, match="quarantined"):
        store.read(blob(1), 0, 0, first=0, count=1)
    assert read_all(store, 2) == b"two"
    assert store.status(NOW_US).quarantined == 1
    assert commit(store, put(1, b"before")) == ["ok"], "repair may put it again"
    assert read_all(store, 1) == b"before"
    assert store.status(NOW_US).quarantined == 0


def test_above_the_watermark_only_deletes_are_taken(store: ShardStore, disk: FaultyFilesystem) -> None:
    disk.forced_room = Room(0, 1_000)
    later_us = NOW_US + 10**6
    outcomes = store.commit([put(2), Delete(blob(1), 0, 1)], now_us=later_us)
    assert [type(outcome).__name__ for outcome in outcomes] == ["NoneType", "NoneType"], (
        "the mark is 1.0 here"
    )
    store.close()


def test_the_watermark_refuses_puts_and_compaction_goes_on(tmp_path: Path, disk: FaultyFilesystem) -> None:
    store = open_store(tmp_path, filesystem=disk, refuse_above_full=0.95, compact_above_full=0.85)
    for number in range(8):
        commit(store, put(number, content(60_000, number)))
    disk.forced_room = Room(49, 1_000)
    later_us = NOW_US + 10**6
    outcomes = store.commit([put(20), *(Delete(blob(number), 0, 1) for number in range(7))], now_us=later_us)
    assert [type(outcome).__name__ for outcome in outcomes] == [FULL] + ["NoneType"] * 7
    assert store.status(later_us).state == "full"
    before = sum(path.stat().st_size for path in segment_files(tmp_path))
    assert compact(store) > 0
    assert sum(path.stat().st_size for path in segment_files(tmp_path)) < before / 2
    disk.forced_room = Room(500, 1_000)
    assert store.commit([put(20)], now_us=later_us + 10**6) == [None]
    assert read_all(store, 7) == content(60_000, 7)
    store.close()


def test_a_full_disk_takes_deletes_and_comes_back_by_compaction(tmp_path: Path) -> None:
    disk = SimFilesystem(capacity_bytes=2 << 20)
    store = open_store(tmp_path, filesystem=disk)
    number, stored = 0, []
    while True:
        outcome = commit(store, put(number, content(50_000, number)))
        if outcome != ["ok"]:
            break
        stored.append(number)
        number += 1
    assert outcome == [FULL]
    assert len(stored) > 20
    for gone in stored[: len(stored) * 3 // 4]:
        assert commit(store, Delete(blob(gone), 0, 1)) == ["ok"], "deletes always have room"
    assert compact(store) > 0
    for kept in stored[len(stored) * 3 // 4 :]:
        assert read_all(store, kept) == content(50_000, kept)
    store.flush_index()
    assert commit(store, put(number, b"room again")) == ["ok"]
    assert store.status(NOW_US).state == "ok"
    store.close()
    again = open_store(tmp_path, filesystem=SimFilesystem(disk.disk))
    assert read_all(again, stored[-1]) == content(50_000, stored[-1])
    assert again.stat(blob(stored[0]), 0).extents == []
    again.close()


def test_an_index_without_room_takes_the_spare(
    store: ShardStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    refusals = [lmdb.DiskError("no room"), None]
    write = Index._commit

    def refuse_once(index: Index, rows: object) -> None:
        if (refusal := refusals.pop(0)) is not None:
            raise refusal
        write(index, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(Index, "_commit", refuse_once)
    assert (tmp_path / "spare").exists()
    store.list(b"", 10)
    assert refusals == []
    assert not (tmp_path / "spare").exists()
    monkeypatch.undo()
    assert read_all(store, 1) == b"before"


def test_an_index_that_cannot_be_written_loses_nothing(
    store: ShardStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(index: Index, rows: object) -> None:
        raise lmdb.Error("broken")

    monkeypatch.setattr(Index, "_commit", refuse)
    store.flush_index()
    assert commit(store, put(2, b"two")) == ["ok"]
    store.flush_index()
    assert (read_all(store, 1), read_all(store, 2)) == (b"before", b"two")
    monkeypatch.undo()
    store.flush_index()
    assert [shard[0] for shard in store.list(b"", 10).shards] == [blob(1), blob(2)]


def test_an_index_that_lmdb_gives_up_fences_the_store_until_the_next_start(
    store: ShardStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, disk: FaultyFilesystem
) -> None:
    def panic(index: Index, rows: object) -> None:
        raise lmdb.PanicError("Update of meta page failed")

    monkeypatch.setattr(Index, "_commit", panic)
    assert commit(store, put(2, b"two")) == ["ok"]
    assert not store.needs_restart
    store.flush_index()
    assert store.needs_restart and store.status(NOW_US).state == "failed"
    assert commit(store, put(3)) == [FAILED]
    monkeypatch.undo()
    store = _reopened(store, tmp_path, disk)
    assert (read_all(store, 1), read_all(store, 2)) == (b"before", b"two")
    assert commit(store, put(3)) == ["ok"] and not store.needs_restart
    store.close()


def test_a_mixed_group_on_a_full_disk_keeps_its_deletes(store: ShardStore, disk: FaultyFilesystem) -> None:
    disk.faults.append(Fault("allocate", code=errno.ENOSPC, times=FOREVER))
    disk.faults.append(Fault("create", code=errno.ENOSPC, times=FOREVER))
    big = [put(number, content(100_000, number)) for number in range(10, 13)]
    assert commit(store, *big, Delete(blob(1), 0, 1)) == [FULL, FULL, FULL, "ok"]
    assert store.stat(blob(1), 0).extents == []
    assert store.status(NOW_US).state == "full", "the spare room is in use"
    disk.faults.clear()
    store.flush_index()
    assert commit(store, *big) == ["ok"] * 3


def test_a_disk_without_room_for_the_spare_is_asked_quietly(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    open_store(tmp_path).close()
    disk = FaultyFilesystem(forced_room=Room(0, 1 << 30))
    disk.faults.append(Fault("allocate", code=errno.ENOSPC, times=FOREVER))
    store = open_store(tmp_path, filesystem=disk)
    tried = disk.calls["create"]
    for _ in range(5):
        store.flush_index()
    assert disk.calls["create"] == tried
    assert sum("no spare room" in record.message for record in caplog.records) == 1
    disk.faults.clear()
    disk.forced_room = None
    store.flush_index()
    assert (tmp_path / "spare").exists()
    store.close()
