"""Owns the proof of the index by itself: what readers see while it is flushed, and a trial for what nobody walked."""

import errno
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lmdb
import pytest

from shardd.engine import soundness
from shardd.engine.index import Index, _Pending
from shardd.engine.record import Origin
from shardd.engine.rows import ExtentRow, shard_key
from tests.shardd.engine.shards import CLUSTER, NODE, blob

ORIGIN = Origin(CLUSTER, NODE, bytes(16))


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    made = Index(tmp_path / "index", ORIGIN)
    yield made
    made.close()


def row(number: int) -> ExtentRow:
    return ExtentRow(1, 1, number, 0, 0)


class Trap(dict[bytes, dict[int, ExtentRow | None]]):
    """Rows of a layer; `spring` runs once somebody looked into them."""

    def __init__(self, spring: Callable[[], object]) -> None:
        self._spring = spring

    def get(self, key: bytes, default: Any = None) -> Any:
        self._spring()
        return default


def test_a_flush_that_begins_between_two_looks_of_a_reader_hides_no_row(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = shard_key(blob(1), 0)
    index.set_extent(key, 0, row(1))
    begun, read = threading.Event(), threading.Event()
    commit = Index._commit

    def wait(self: Index, rows: _Pending) -> None:
        begun.set()
        read.wait(10)
        commit(self, rows)

    monkeypatch.setattr(Index, "_commit", wait)
    flusher = threading.Thread(target=index.flush)

    def flush() -> None:
        flusher.start()
        begun.wait(10)

    index._layers[1].extents = Trap(flush)
    seen = index.extents(key)
    read.set()
    flusher.join()
    assert begun.is_set() and seen == {0: row(1)} == index.extents(key)


def test_a_flush_that_fails_between_two_looks_of_a_reader_hides_no_row(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = shard_key(blob(1), 0)
    index.set_extent(key, 0, row(1))
    looking, failed = threading.Event(), threading.Event()
    seen: list[ExtentRow | None] = []
    reader = threading.Thread(target=lambda: seen.append(index.extent(key, 0)))

    def look() -> None:
        looking.set()
        failed.wait(10)

    def refuse(self: Index, rows: _Pending) -> None:
        self._layers[0].extents = Trap(look)
        reader.start()
        looking.wait(10)
        raise lmdb.DiskError("full")

    monkeypatch.setattr(Index, "_commit", refuse)
    with pytest.raises(OSError) as refused:
        index.flush()
    failed.set()
    reader.join()
    assert seen == [row(1)] and index.pending == 1 and refused.value.errno == errno.ENOSPC


def test_the_newest_layer_wins(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    key = shard_key(blob(1), 0)
    seen = []
    commit = Index._commit

    def look(self: Index, rows: _Pending) -> None:
        self.set_extent(key, 0, row(2))
        seen.append(self.extents(key)[0])
        commit(self, rows)

    index.set_extent(key, 0, row(1))
    monkeypatch.setattr(Index, "_commit", look)
    index.flush()
    assert seen == [row(2)] and index.extents(key) == {0: row(2)}


@pytest.mark.parametrize("finished", [True, False])
def test_an_index_that_nobody_walked_is_used_again_only_after_a_whole_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: bool
) -> None:
    first = Index(tmp_path, ORIGIN)
    first.segment(5).scanned_to = 4_096
    first.flush()
    first.close()
    monkeypatch.setattr(soundness, "VERIFY_SIZE_MAX", 0)
    second = Index(tmp_path, ORIGIN)
    assert second.segments.keys() == {5} and (tmp_path / soundness.UNPROVEN).exists()
    if finished:
        second.vouch()
    second.close()
    third = Index(tmp_path, ORIGIN)
    assert third.segments.keys() == ({5} if finished else set())
    third.close()
