"""Proves that scrub reads every record once a period, goes on where it stopped, and finds what is damaged."""

from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from shardd.contract.cluster import MIB, StorageConfig
from shardd.engine.index import Index
from shardd.engine.record import BLOCK_SIZE
from shardd.engine.store import ShardStore
from shardd.scrubbing import DAY_S, Progress, Scrubbing
from tests.shardd.engine.faulty import FaultyFilesystem
from tests.shardd.engine.shards import NOW_US, commit, content, open_store, put, segment_files

LIMITS = StorageConfig(segment_bytes=4 * MIB, scrub_days=30.0)
RECORDS = 40
RECORD_SIZE = 300_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ShardStore]:
    opened = open_store(tmp_path / "store", segment_bytes=LIMITS.segment_bytes)
    for number in range(RECORDS):
        commit(opened, put(number, content(RECORD_SIZE, number)))
    yield opened
    opened.close()


def scrubbing(store: ShardStore, tmp_path: Path) -> Scrubbing:
    return Scrubbing(store, tmp_path / "scrub.json", limits=LIMITS, clock=lambda: 5.0)


def test_a_pass_reads_every_record_and_is_spread_over_the_period(store: ShardStore, tmp_path: Path) -> None:
    scrub = scrubbing(store, tmp_path)
    seconds, records = 0.0, 0
    while not scrub.progress.passes:
        records = max(records, scrub.progress.records)
        seconds += scrub.step(NOW_US)
    assert records == RECORDS
    assert len(store.segments()) > 2
    assert 0.5 < seconds / (LIMITS.scrub_days * DAY_S) < 1.0
    assert scrub.progress == Progress(store.incarnation, passes=1)


def test_it_says_how_many_bytes_of_the_segments_are_verified(store: ShardStore, tmp_path: Path) -> None:
    scrub, total = scrubbing(store, tmp_path), sum(store.segments().values())
    assert total > RECORDS * RECORD_SIZE
    told = [scrub.progress]
    while not scrub.progress.passes:
        scrub.save()
        scrub = scrubbing(store, tmp_path)
        scrub.step(NOW_US)
        told.append(scrub.progress)
    done = [progress.done_bytes for progress in told]
    steps = done[:-1]
    assert steps == sorted(set(steps)) and (steps[0], steps[-1], done[-1]) == (0, total, 0)
    assert {progress.total_bytes for progress in told[1:-1]} == {total}


def test_what_is_stored_meanwhile_is_to_be_verified_too(store: ShardStore, tmp_path: Path) -> None:
    scrub = scrubbing(store, tmp_path)
    for number in range(5):
        scrub.step(NOW_US)
        commit(store, put(RECORDS + number, content(RECORD_SIZE, number)))
    while scrub.progress.done_bytes < scrub.progress.total_bytes:
        scrub.step(NOW_US)
    assert scrub.progress.records == RECORDS + 5
    assert scrub.progress.total_bytes == sum(store.segments().values())


def test_a_pass_goes_on_after_a_restart(store: ShardStore, tmp_path: Path) -> None:
    scrub = scrubbing(store, tmp_path)
    for _ in range(3):
        scrub.step(NOW_US)
    there = scrub.progress.records
    assert 0 < there < RECORDS
    scrub.save()
    again = scrubbing(store, tmp_path)
    assert again.progress == scrub.progress
    while not again.progress.passes:
        there = max(there, again.progress.records)
        again.step(NOW_US)
    assert there == RECORDS


@pytest.mark.parametrize("kept", [b"", b"{", b'{"incarnation":"AAAA","segment":99,"passes":7}'])
def test_progress_that_is_damaged_or_of_another_life_begins_anew(
    store: ShardStore, tmp_path: Path, kept: bytes
) -> None:
    (tmp_path / "scrub.json").write_bytes(kept)
    assert scrubbing(store, tmp_path).progress == Progress(store.incarnation)


def test_damage_is_quarantined_and_counted_without_a_walk_over_the_index(
    store: ShardStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All writes would wait for one over millions of rows, at each damaged record, in each pass."""

    def walk(index: Index, after: bytes = b"") -> NoReturn:
        raise AssertionError("the headers say which records these are")

    monkeypatch.setattr(Index, "walk", walk)
    for path in segment_files(tmp_path / "store")[:2]:
        with path.open("r+b") as file:
            file.seek(100_000)
            file.write(b"rot")
    scrub = scrubbing(store, tmp_path)
    damaged = 0
    while not scrub.progress.passes:
        damaged = max(damaged, scrub.progress.damaged)
        scrub.step(NOW_US)
    now = store.status(NOW_US)
    assert (damaged, now.quarantined, now.losses) == (2, 2, 2)
    commit(store, put(0, content(RECORD_SIZE, 0)))
    now = store.status(NOW_US)
    assert (now.quarantined, now.losses) == (1, 2), "what is mended was lost all the same"


def test_an_empty_store_looks_soon_whether_there_is_something_to_verify(tmp_path: Path) -> None:
    empty = open_store(tmp_path / "empty")
    try:
        scrub = Scrubbing(empty, tmp_path / "scrub.json", limits=StorageConfig(), clock=lambda: 5.0)
        assert 60.0 < scrub.step(NOW_US) < DAY_S
        assert scrub.progress.passes == 0
    finally:
        empty.close()


def test_a_block_that_the_disk_does_not_give_back_is_damage_and_stops_nothing(tmp_path: Path) -> None:
    disk = FaultyFilesystem()
    store = open_store(tmp_path / "store", filesystem=disk, segment_bytes=LIMITS.segment_bytes)
    for number in range(RECORDS):
        commit(store, put(number, content(RECORD_SIZE, number)))
    disk.bad_block = range(25 * BLOCK_SIZE, 26 * BLOCK_SIZE)
    scrub = scrubbing(store, tmp_path)
    records = damaged = 0
    while not scrub.progress.passes:
        records, damaged = max(records, scrub.progress.records), max(damaged, scrub.progress.damaged)
        scrub.step(NOW_US)
    segments = len(store.segments())
    assert (damaged, records) == (segments, RECORDS - segments), "one record in each file"
    assert store.status(NOW_US).quarantined == segments
    store.close()
