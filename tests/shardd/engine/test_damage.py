"""Owns T-B1, T-B3 and T-B4 for the engine: flipped bytes, moved records, strange files; never a wrong byte."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from shardd.contract.blobs import NodeId, crc32c
from shardd.contract.errors import ShardCorruptError, ShardNotFoundError, StorageFailedError
from shardd.engine.record import BLOCK_SIZE, Origin, UnsupportedFormatError, decode_header
from shardd.engine.segment import Gap, Segment
from shardd.engine.store import Delete, ShardStore
from tests.shardd.engine.faulty import FaultyFilesystem
from tests.shardd.engine.shards import (
    CLUSTER,
    NODE,
    NOW_US,
    blob,
    commit,
    content,
    is_verified,
    open_store,
    put,
    read_all,
    scrub,
    segment_files,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ShardStore]:
    made = open_store(tmp_path, segment_bytes=16 << 20)
    yield made
    made.close()


def _records(path: Path) -> list[tuple[int, int]]:
    """(offset, size) of each record in a segment, by its magic."""
    data, at, found = path.read_bytes(), BLOCK_SIZE, []
    while (at := data.find(b"QREC", at)) >= 0:
        size = int.from_bytes(data[at + 8 : at + 12], "big")
        found.append((at, size))
        at += size
    return found


def _overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def _origin(store: ShardStore) -> Origin:
    return Origin(CLUSTER, NODE, store.incarnation)


def test_every_flipped_byte_of_a_record_is_found_and_no_wrong_byte_is_read(
    store: ShardStore, tmp_path: Path
) -> None:
    data = content(700, 5)
    right = put(1, data, identity=b"bucket/key", last=True)
    commit(store, right)
    (path,) = segment_files(tmp_path)
    segment = store._journal.segments[1]
    (_, size) = _records(path)[-1]
    quarantined = 0
    for at in range(size):
        offset, _ = _records(path)[-1]
        whole = path.read_bytes()[offset : offset + size]
        _overwrite(path, offset + at, bytes([whole[at] ^ 0x40]))
        assert isinstance(next(segment.scan(offset, offset + size)), Gap), f"byte {at} is not found by a scan"
        try:
            got = store.read(right.blob, 0, 0, first=0, count=1)
            assert got.units == data or not is_verified(right.blob, 0, 0, got.units, got.crcs), f"byte {at}"
        except ShardCorruptError:
            quarantined += 1
            assert store.stat(right.blob, 0).extents == [], "what is quarantined is not there"
            assert commit(store, right) == ["ok"], "repair puts it again"
        _overwrite(path, offset + at, whole[at : at + 1])
    assert read_all(store, 1) == data
    assert 80 <= quarantined < size
    print(f"T-B1: {size} bytes flipped, {quarantined} quarantined on read")


def test_scrub_quarantines_what_it_finds(store: ShardStore, tmp_path: Path) -> None:
    for number in range(6):
        commit(store, put(number, content(3_000, number)))
    (path,) = segment_files(tmp_path)
    for number in (1, 4):
        offset, _ = _records(path)[number]
        _overwrite(path, offset + 500, b"rot")
    assert scrub(store) == (2, 2)
    assert store.status(NOW_US).quarantined == 2
    for number in (1, 4):
        with pytest.raises(ShardCorruptError):
            store.read(blob(number), 0, 0, first=0, count=1)
    listed = {line[0]: line[3:] for line in store.list(b"", 10).shards}
    assert listed == {blob(n): (0, 0, False) if n in (1, 4) else (1, 3_000, True) for n in range(6)}
    commit(store, put(1, content(3_000, 1)), Delete(blob(4), 0, 1))
    assert store.status(NOW_US).quarantined == 0
    assert read_all(store, 1) == content(3_000, 1)


@pytest.mark.parametrize("keep_index", [True, False])
def test_rot_that_nobody_names_is_listed_and_counts_until_it_is_deleted(
    tmp_path: Path, keep_index: bool
) -> None:
    _filled(tmp_path)
    (path,) = segment_files(tmp_path)
    offset, _ = _records(path)[2]
    _overwrite(path, offset + 500, b"rot")
    if not keep_index:
        (tmp_path / "index" / "data.mdb").unlink()
    store = open_store(tmp_path)
    assert scrub(store) == (1, int(keep_index)), "a start that reads all of it has found it before"
    assert store.status(NOW_US).quarantined == 1
    name, shard, generation, *rest = store.list(b"", 10).shards[2]
    assert (name, rest) == (blob(2), [0, 0, False])
    commit(store, Delete(blob(2), shard, generation))
    assert store.status(NOW_US).quarantined == 0
    assert blob(2) not in {line[0] for line in store.list(b"", 10).shards}
    store.close()
    (tmp_path / "index" / "data.mdb").unlink()
    store = open_store(tmp_path)
    assert store.status(NOW_US).quarantined == 0, "what is deleted is not to be mended"
    store.close()


def test_two_swapped_records_are_found(store: ShardStore, tmp_path: Path) -> None:
    for number in range(3):
        commit(store, put(number, content(900, number)))
    (path,) = segment_files(tmp_path)
    (first, size), (second, _) = _records(path)[:2]
    data = path.read_bytes()
    _overwrite(path, first, data[second : second + size])
    _overwrite(path, second, data[first : first + size])
    for number in (0, 1):
        with pytest.raises(ShardCorruptError):
            store.read(blob(number), 0, 0, first=0, count=1)
    assert read_all(store, 2) == content(900, 2)


def test_an_old_record_in_the_place_of_a_new_one_is_found(store: ShardStore, tmp_path: Path) -> None:
    commit(store, put(1, b"old", generation=1))
    commit(store, put(1, b"new", generation=2))
    (path,) = segment_files(tmp_path)
    (old, size), (new, _) = _records(path)
    _overwrite(path, new, path.read_bytes()[old : old + size])
    with pytest.raises(ShardCorruptError):
        store.read(blob(1), 0, 0, first=0, count=1)


def test_a_record_of_another_node_in_the_same_place_is_found(store: ShardStore, tmp_path: Path) -> None:
    other = open_store(tmp_path / "other", node=NodeId(4))
    for one, data in ((store, b"mine"), (other, b"that")):
        commit(one, put(1, data))
    (mine,), (that,) = segment_files(tmp_path), segment_files(tmp_path / "other")
    offset, size = _records(mine)[0]
    assert _records(that)[0] == (offset, size)
    _overwrite(mine, offset, that.read_bytes()[offset : offset + size])
    with pytest.raises(ShardCorruptError):
        store.read(blob(1), 0, 0, first=0, count=1)
    other.close()


def _filled(folder: Path) -> None:
    store = open_store(folder)
    for number in range(6):
        assert commit(store, put(number, content(3_000, number))) == ["ok"]
    store.close()


@pytest.mark.parametrize("keep_index", [True, False])
def test_bit_rot_below_what_was_synced_is_kept_and_counted(tmp_path: Path, keep_index: bool) -> None:
    _filled(tmp_path)
    (path,) = segment_files(tmp_path)
    offset, _ = _records(path)[2]
    _overwrite(path, offset + 10, b"\xff")
    if not keep_index:
        (tmp_path / "index" / "data.mdb").unlink()
    before = path.stat().st_size
    store = open_store(tmp_path)
    for number in (0, 1, 3, 4, 5):
        assert read_all(store, number) == content(3_000, number)
    with pytest.raises((ShardCorruptError, ShardNotFoundError)):
        store.read(blob(2), 0, 0, first=0, count=1)
    status = store.status(NOW_US)
    assert status.losses and status.quarantined == keep_index, "without an index nobody knows whose it is"
    assert path.stat().st_size == before, "nothing is truncated"
    store.close()


def test_a_torn_tail_is_cut_and_not_counted(tmp_path: Path) -> None:
    _filled(tmp_path)
    (path,) = segment_files(tmp_path)
    offset, _ = _records(path)[-1]
    _overwrite(path, offset + 200, b"torn")
    (tmp_path / "index" / "data.mdb").unlink()
    store = open_store(tmp_path)
    assert store.status(NOW_US).quarantined == 0
    assert path.stat().st_size == offset
    assert commit(store, put(5, b"again")) == ["ok"]
    assert len(segment_files(tmp_path)) == 2, "nothing is appended to a segment that was found"
    store.close()


def test_strange_files_hurt_nobody_and_foreign_segments_are_refused(tmp_path: Path) -> None:
    _filled(tmp_path / "own")
    foreign = open_store(tmp_path / "foreign", node=NodeId(4))
    commit(foreign, put(77, b"not ours"))
    foreign.close()
    strange = {
        "00000000000000a0.segment": b"",
        "00000000000000a1.segment": b"short",
        "00000000000000a2.segment": bytes(8_192),
        "00000000000000a3.segment": segment_files(tmp_path / "foreign")[0].read_bytes(),
        "00000000000000a4.segment": segment_files(tmp_path / "own")[0].read_bytes(),
        "not-a-number.segment": b"what is this",
        "README": b"hello",
    }
    for name, data in strange.items():
        (tmp_path / "own" / name).write_bytes(data)
    (tmp_path / "own" / "00000000000000a5.new").write_bytes(b"unfinished")
    for index in ("kept", "gone"):
        if index == "gone":
            (tmp_path / "own" / "index" / "data.mdb").unlink()
        store = open_store(tmp_path / "own")
        for number in range(6):
            assert read_all(store, number) == content(3_000, number)
        assert store.stat(blob(77), 0).extents == []
        store.close()
    for name, data in strange.items():
        assert (tmp_path / "own" / name).read_bytes() == data or name.startswith("00000000000000a2"), name
    assert not (tmp_path / "own" / "00000000000000a5.new").exists()
    store = open_store(tmp_path / "own")
    commit(store, put(9))
    assert segment_files(tmp_path / "own")[-2].name == "00000000000000a5.segment", (
        "numbers of strangers are left"
    )
    store.close()


@pytest.mark.parametrize("keep_index", [True, False])
def test_a_truncated_segment_keeps_what_is_left(tmp_path: Path, keep_index: bool) -> None:
    _filled(tmp_path)
    (path,) = segment_files(tmp_path)
    offset, _ = _records(path)[3]
    with path.open("r+b") as file:
        file.truncate(offset + 100)
    if not keep_index:
        (tmp_path / "index" / "data.mdb").unlink()
    store = open_store(tmp_path)
    assert [read_all(store, number) for number in range(3)] == [content(3_000, number) for number in range(3)]
    assert len(store.list(b"", 10).shards) == 3, "what is gone is not listed"
    assert store.status(NOW_US).shards == 3
    store.close()


@pytest.mark.parametrize("at", [0, 5, 20, BLOCK_SIZE - 1])
def test_a_damaged_segment_header_costs_no_record(tmp_path: Path, at: int) -> None:
    _filled(tmp_path)
    (path,) = segment_files(tmp_path)
    _overwrite(path, at, b"\xfe")
    (tmp_path / "index" / "data.mdb").unlink()
    store = open_store(tmp_path)
    assert read_all(store, 5) == content(3_000, 5)
    store.close()


def test_a_segment_of_a_later_version_stops_the_start(tmp_path: Path) -> None:
    _filled(tmp_path)
    (path,) = segment_files(tmp_path)
    header = bytearray(path.read_bytes()[:BLOCK_SIZE])
    header[5] = 2
    header[-4:] = crc32c(bytes(header[:-4])).to_bytes(4, "big")
    _overwrite(path, 0, bytes(header))
    before = path.read_bytes()
    with pytest.raises(UnsupportedFormatError):
        open_store(tmp_path)
    assert path.read_bytes() == before


def test_a_lost_identity_is_taken_from_the_segments(tmp_path: Path) -> None:
    _filled(tmp_path)
    store = open_store(tmp_path)
    incarnation = store.incarnation
    store.close()
    for damage in (b"", b"rot" * 2_000):
        (tmp_path / "identity").write_bytes(damage)
        store = open_store(tmp_path)
        assert store.incarnation == incarnation
        assert read_all(store, 1) == content(3_000, 1)
        store.close()


def test_bytes_of_a_client_that_look_like_a_record_are_no_record(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    commit(store, put(1, b"first"))
    (path,) = segment_files(tmp_path)
    offset, size = _records(path)[0]
    forged = path.read_bytes()[offset : offset + size]
    commit(store, put(2, bytes(64) + forged + bytes(64)))
    second, _ = _records(path)[1]
    _overwrite(path, second, b"rot!")
    segment = Segment(store._journal.segments[1].file, 1, _origin(store))
    found = [item for item in segment.scan(BLOCK_SIZE, path.stat().st_size) if not isinstance(item, Gap)]
    assert [item.record.blob for item in found] == [blob(1)]
    assert decode_header(forged, seed=_origin(store).seed).offset == offset
    store.close()


def test_a_start_without_an_index_goes_on_past_a_block_that_the_disk_does_not_give_back(
    tmp_path: Path,
) -> None:
    store = open_store(tmp_path)
    for number in range(20):
        commit(store, put(number, content(40_000, number)))
    store.close()
    *older, newest = segment_files(tmp_path)
    disk = FaultyFilesystem()
    disk.bad_block = range(50 * BLOCK_SIZE, 51 * BLOCK_SIZE)
    assert newest.stat().st_size < disk.bad_block.start < min(path.stat().st_size for path in older)
    shutil.rmtree(tmp_path / "index")
    store = open_store(tmp_path, filesystem=disk)
    status = store.status(NOW_US)
    assert (status.quarantined, status.shards) == (len(older), 20)
    whole = [line for line in store.list(b"", 20).shards if line[5]]
    assert len(whole) == 20 - len(older), "the rest is there"
    store.close()
    disk.bad_block = range(2 * BLOCK_SIZE, 3 * BLOCK_SIZE)
    shutil.rmtree(tmp_path / "index")
    with pytest.raises(
        StorageFailedError, match="bad block"
    ):  # in the newest it could be taken for a torn tail
        open_store(tmp_path, filesystem=disk)
