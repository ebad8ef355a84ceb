"""Owns the proof of state.py: views that stay as they are, commits that last, damage that is found."""

import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from s3d.metadata import keys, tables
from s3d.metadata.listing import Query, list_objects
from s3d.metadata.rows import RowChecksumError, RowError
from s3d.metadata.state import SPARE_VIEWS_MAX, State, StateError, StateFullError
from tests.s3d.metadata.machine.story import Story, check, dump

MAP_SIZE = 1 << 26
LONG = b"k" * 1_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def state(folder: Path) -> Iterator[State]:
    state = State.open(folder, MAP_SIZE)
    yield state
    state.close()


def test_a_view_stays_as_it_was_and_a_new_one_sees_what_was_committed(state: State) -> None:
    with state.view() as before:
        with state.write() as writes:
            story = Story(writes)
            story.bucket()
            story.put(LONG)
            with state.view() as during:
                assert during.bucket("b") is None
        assert before.bucket("b") is None
    with state.view() as after:
        bucket = after.bucket("b")
        assert bucket is not None and after.current(bucket.incarnation, LONG) is not None
        check(after.reads)


def test_views_are_used_again_and_again_and_at_once(state: State) -> None:
    with state.write() as writes:
        Story(writes).bucket()
    for _ in range(3):
        views = [state.view() for _ in range(SPARE_VIEWS_MAX * 2)]
        opened = [view.__enter__() for view in views]
        assert all(view.bucket("b") is not None for view in opened)
        for view in views:
            view.__exit__(None, None, None)


def test_views_in_many_threads_beside_a_writer(state: State) -> None:
    """Each view is whole: a key that is listed has its version and its blob."""
    with state.write() as writes:
        incarnation = Story(writes).bucket().incarnation
    met: list[int] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            with state.view() as view:
                page = list_objects(view, Query(incarnation))
                for entry in page.entries:
                    version = view.version(incarnation, entry.key, entry.row.sequence)
                    assert version is not None and view.blob(version.slices[0].blob) is not None
                met.append(len(page.entries))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    story = Story()
    story.bucket()
    for n in range(100):
        with state.write() as writes:
            story.tables = writes
            story.put(b"k%d" % (n % 20))
    stop.set()
    for thread in threads:
        thread.join()
    assert met and max(met) <= 20


def test_an_exception_undoes_the_whole_write(state: State) -> None:
    with state.view() as view:
        before = dump(view.reads)
    with pytest.raises(ZeroDivisionError), state.write() as writes:
        Story(writes).bucket()
        _ = 1 // 0
    with state.view() as view:
        assert dump(view.reads) == before


def test_what_was_committed_is_there_when_it_is_opened_again(folder: Path) -> None:
    state = State.open(folder, MAP_SIZE)
    with state.write() as writes:
        story = Story(writes)
        story.bucket()
        story.put(LONG)
        written = dump(writes)
    state.close()
    state = State.open(folder, MAP_SIZE)
    with state.view() as view:
        assert dump(view.reads) == written
    state.close()


def test_a_page_of_a_list_that_is_not_in_memory_takes_few_reads(folder: Path) -> None:
    state = State.open(folder, MAP_SIZE)
    with state.write() as writes:
        story = Story(writes)
        bucket = story.bucket()
        for number in range(2_000):
            story.put(b"key-%08d" % number)
    state.close()
    with (folder / "data.mdb").open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    state = State.open(folder, MAP_SIZE)
    with state.view() as view:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
        page = list_objects(view, Query(bucket.incarnation), after=b"key-%08d" % 500)
        reads = resource.getrusage(resource.RUSAGE_SELF).ru_majflt - before
    state.close()
    print(f"{reads} reads for {len(page.entries)} keys")
    assert len(page.entries) == 1_000 and reads <= 15


def test_a_state_that_is_full_says_so_and_stays_whole(folder: Path) -> None:
    state = State.open(folder, 1 << 19)
    with pytest.raises(StateFullError), state.write() as writes:
        for n in range(1 << 20):
            writes.put(tables.BLOBS, b"%d" % n, b"v" * 1_000)
    with state.view() as view:
        assert view.reads.count(tables.BLOBS) == 0
    state.close()


def test_a_folder_that_holds_no_state_is_an_error_that_names_it(folder: Path) -> None:
    folder.mkdir()
    (folder / "data.mdb").write_bytes(b"no state" * 4_096)
    with pytest.raises(StateError, match=str(folder)):
        State.open(folder, MAP_SIZE)


def test_a_state_that_was_closed_is_an_error_of_states(folder: Path) -> None:
    state = State.open(folder, MAP_SIZE)
    with pytest.raises(StateError), state.view() as view:
        state.close()
        view.bucket("b")
    with pytest.raises(StateError), state.view():
        pass
    with pytest.raises(StateError), state.write():
        pass


def test_files_are_for_their_owner_alone(state: State, folder: Path) -> None:
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_every_flipped_byte_of_a_stored_row_is_found(folder: Path) -> None:
    """Flips in the file itself, below LMDB, which checks nothing."""
    state = State.open(folder, MAP_SIZE)
    with state.write() as writes:
        story = Story(writes)
        incarnation = story.bucket().incarnation
        story.put(b"the-key-that-is-looked-for")
        at = keys.current_key(incarnation, b"the-key-that-is-looked-for")
        row = writes.get(tables.CURRENT, at)
    state.close()
    assert row is not None
    raw = (folder / "data.mdb").read_bytes()
    places = list(find_all(raw, at + row))
    assert places
    for offset in range(len(at), len(at + row)):
        damaged = bytearray(raw)
        for place in places:
            damaged[place + offset] ^= 1 << offset % 8
        (folder / "data.mdb").write_bytes(damaged)
        state = State.open(folder, MAP_SIZE)
        with state.view() as view, pytest.raises(RowError):
            list_objects(view, Query(incarnation))
        state.close()


def find_all(raw: bytes, wanted: bytes) -> Iterator[int]:
    at = raw.find(wanted)
    while at >= 0:
        yield at
        at = raw.find(wanted, at + 1)


def test_a_damaged_signpost_is_found_by_lists(state: State) -> None:
    with state.write() as writes:
        story = Story(writes)
        incarnation = story.bucket().incarnation
        story.put(LONG)
        [(post, region), *_] = keys.signposts(keys.current_key(incarnation, LONG))
        writes._txn.put(post, bytes(20), db=state.databases[tables.CURRENT])
    with state.view() as view, pytest.raises(RowChecksumError):
        list_objects(view, Query(incarnation))
    with state.write() as writes:
        writes._txn.delete(post, db=state.databases[tables.CURRENT])
        writes._txn.put(b"\x01" + post[1:], region, db=state.databases[tables.CURRENT])
    with state.view() as view, pytest.raises(RowChecksumError):
        list(view.reads.scan(tables.CURRENT, b"", b""))


READER = """
import os, signal, sys
from pathlib import Path
from s3d.metadata.state import State
state = State.open(Path(sys.argv[1]), 1 << 26)
with state.view():
    print("reading", flush=True)
    sys.stdin.read()
"""


def test_views_of_a_process_that_was_killed_are_forgotten(state: State, folder: Path) -> None:
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, str(folder)],
        cwd=Path(__file__).parents[3],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert reader.stdout is not None and reader.stdout.readline() == b"reading\n"
        assert state.forget_dead_readers() == 0
    finally:
        reader.kill()
        reader.communicate()
    assert state.forget_dead_readers() == 1


def test_many_views_leave_no_reader_behind_though_they_are_held(state: State) -> None:
    held = []
    for _ in range(5_000):
        with state.view() as view:
            view.applied()
        held.append(view)
    assert state.environment.info()["num_readers"] <= SPARE_VIEWS_MAX


def test_every_commit_is_synced_data_and_meta(state: State) -> None:
    flags = state.environment.flags()
    assert (flags["sync"], flags["metasync"], flags["map_async"], flags["writemap"]) == (
        True,
        True,
        False,
        False,
    )


def test_a_new_folder_is_named_durably_by_those_above_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, fsync = [], os.fsync

    def noted(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    folder = tmp_path / "a" / "b" / "state"
    State.open(folder, MAP_SIZE).close()
    assert set(synced) == {folder, tmp_path / "a" / "b", tmp_path / "a", tmp_path}
    synced.clear()
    State.open(folder, MAP_SIZE).close()
    assert set(synced) == {folder, folder.parent}
