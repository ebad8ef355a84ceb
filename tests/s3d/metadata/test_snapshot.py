"""Snapshots: the golden file, every byte flipped and every cut found, binary keys back as they were (T-D6)."""

import io
import os
import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from s3d.metadata import keys, snapshot, snapshot_files, tables
from s3d.metadata.commands import RegisterNode
from s3d.metadata.machine import apply
from s3d.metadata.restoring import NUMBERS_LEFT_OUT, forget_lives, go_on_behind, restore
from s3d.metadata.rows import ObjectRow, RowChecksumError, RowMissingError, encode_row
from s3d.metadata.snapshot import (
    SnapshotChecksumError,
    SnapshotError,
    SnapshotForeignError,
    SnapshotTruncatedError,
    SnapshotVersionError,
    read_snapshot,
    write_snapshot,
)
from s3d.metadata.state import State, StateDamagedError, refuse_gone
from s3d.metadata.tables import TABLES, MemoryTables, Table
from s3d.metadata.view import View
from tests.integration.tally import Tally, seed
from tests.s3d.metadata.machine.story import Story
from tests.s3d.metadata.samples import ROWS

GOLDEN = Path(__file__).parents[2] / "golden"
PAGE, PAGE_HEAD, PAGE_FLAGS_AT, LEAF = 4_096, 16, 10, 2  # of LMDB's pages
MADE_US = 1_790_000_000_123_456
KEYS = int(os.environ.get("QUOIN_TD6_KEYS", "20000"))


def told() -> Story:
    """A state with a row in most tables."""
    story = Story()
    story.bucket()
    story.put(b"key")
    story.put(b"\x00\xff" * 400)
    story.upload()
    story.part("u", 1)
    story.delete(b"key")
    return story


def written(view: View) -> bytes:
    out = io.BytesIO()
    write_snapshot(view, out.write, now_us=MADE_US)
    return out.getvalue()


def read_back(raw: bytes) -> list[tuple[Table, bytes, bytes]]:
    return list(read_snapshot(io.BytesIO(raw).read)[1])


def all_of(reads: tables.Reads) -> list[tuple[Table, bytes, bytes]]:
    return [(table, key, value) for table in TABLES for key, value in reads.scan(table, b"", b"")]


def golden_tables() -> MemoryTables:
    made = MemoryTables()
    for table, key, name in (
        (tables.CURRENT, b"\x00" * 8 + b"key", "object"),
        (tables.BLOBS, bytes(16), "blob"),
        (tables.APPLIED, keys.APPLIED, "applied"),
    ):
        made.put(table, key, encode_row(key, ROWS[name]))
    return made


def test_a_snapshot_is_the_golden_one_and_is_read() -> None:
    line = (GOLDEN / "snapshot-1.txt").read_text().splitlines()[-1]
    golden = bytes.fromhex(line)
    made = golden_tables()
    assert written(View(made)) == golden
    head, entries = read_snapshot(io.BytesIO(golden).read)
    assert (head.index, head.made_us) == (View(made).applied().index, MADE_US)
    assert list(entries) == all_of(made)


def test_every_flipped_byte_is_found_under_its_name() -> None:
    raw = written(View(golden_tables()))
    expected: dict[int, type[SnapshotError]] = dict.fromkeys(range(8), SnapshotForeignError)
    expected[8] = SnapshotVersionError
    for at in range(len(raw)):
        for bit in range(8):
            changed = bytearray(raw)
            changed[at] ^= 1 << bit
            with pytest.raises(SnapshotError) as raised:
                read_back(bytes(changed))
            assert raised.type is expected.get(at, SnapshotChecksumError), (at, bit)


def test_every_cut_is_found() -> None:
    raw = written(View(golden_tables()))
    for size in range(len(raw)):
        with pytest.raises(SnapshotTruncatedError):
            read_back(raw[:size])
    with pytest.raises(SnapshotChecksumError):
        read_back(raw + b"\0")


def test_a_frame_that_is_missing_twice_or_elsewhere_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "FRAME_BYTES", 1)
    frames: list[bytes] = []
    pieces: list[bytes] = []
    write_snapshot(told().view, pieces.append, now_us=MADE_US)
    head, rest = b"".join(pieces[:2]), pieces[2:]
    frames = [b"".join(rest[at : at + 4]) for at in range(0, len(rest), 4)]
    assert len(frames) > 10 and len(read_back(head + b"".join(frames))) == len(frames) - 1
    for at in range(len(frames) - 1):
        for changed in (
            frames[:at] + frames[at + 1 :],
            [*frames[: at + 1], *frames[at:]],
            [*frames[:at], frames[at + 1], frames[at], *frames[at + 2 :]],
        ):
            with pytest.raises(SnapshotError):
                read_back(head + b"".join(changed))
        with pytest.raises(SnapshotTruncatedError):
            read_back(head + b"".join(frames[: at + 1]))


def test_rows_that_a_damaged_page_hides_are_missed(tmp_path: Path) -> None:
    """LMDB has no checksums of pages: one that says it has fewer rows gives fewer, and nobody else would know."""
    state = State.open(tmp_path, 1 << 24)
    with state.write() as writes:
        for number in range(200):
            at = keys.current_key(7, b"%04d" % number)
            writes.put(tables.CURRENT, at, encode_row(at, ObjectRow(number, number, "e", MADE_US)))
    with state.view() as view:
        whole = written(view)
    state.close()
    file = tmp_path / "data.mdb"
    raw = file.read_bytes()
    missed: set[object] = set()
    for page in range(2 * PAGE, len(raw), PAGE):  # the first two are LMDB's heads
        flags, lower = struct.unpack_from("<HH", raw, page + PAGE_FLAGS_AT)
        if flags != LEAF or lower <= PAGE_HEAD + 16:
            continue
        cut = raw[: page + PAGE_FLAGS_AT] + struct.pack("<HH", flags, PAGE_HEAD + 16)
        file.write_bytes(cut + raw[len(cut) :])
        try:
            state = State.open(tmp_path, 1 << 24)
        except StateDamagedError as error:
            missed.add("tables are out of reach" in str(error))
            continue
        with state.view() as view:
            try:
                assert written(view) == whole  # the page holds what was free
            except RowMissingError:
                missed.add("rows")
        state.close()
    assert missed == {True, "rows"}


def test_a_damaged_row_is_no_part_of_a_snapshot() -> None:
    story = told()
    key, value = next(story.tables.scan(tables.VERSIONS, b"", b""))
    story.tables.put(tables.VERSIONS, key, value[:-9] + bytes([value[-9] ^ 1]) + value[-8:])
    with pytest.raises(RowChecksumError):
        written(story.view)


def test_binary_keys_come_back_as_they_were(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    rounds = Tally("T-D6, binary keys", variable="QUOIN_TD6_KEYS", default=20_000, record=record_property)
    chance = random.Random(seed())
    state = State.open(tmp_path / "state", 1 << 33)
    for first in range(0, rounds.asked, 20_000):
        with state.write() as writes:
            for number in range(first, min(first + 20_000, rounds.asked)):
                name = number.to_bytes(4, "big") + chance.randbytes(int(1_020 ** chance.random()))
                at = keys.current_key(7, name[::-1])
                writes.put(tables.CURRENT, at, encode_row(at, ObjectRow(number, number, "e", MADE_US)))
    file = tmp_path / "file"
    with file.open("wb") as out, state.view() as view:
        write_snapshot(view, out.write, now_us=MADE_US)
    with file.open("rb") as source:
        restore(source.read, tmp_path / "again", map_size=1 << 33)
    again = State.open(tmp_path / "again", 1 << 33)
    with state.view() as one, again.view() as other:
        assert other.reads.count(tables.CURRENT) == one.reads.count(tables.CURRENT)
        for table in TABLES:
            pairs = zip(one.reads.scan(table, b"", b""), other.reads.scan(table, b"", b""), strict=True)
            for mine, restored in pairs:
                assert mine == restored
                if table == tables.CURRENT:
                    rounds.hold()
    again.close()
    state.close()
    rounds.close()
    assert rounds.held == rounds.asked


def test_a_state_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "state"
    story = told()
    raw = written(story.view)
    state = State.open(path, 1 << 24)
    state.close()
    for bad in (raw[:-1], raw[:-1] + bytes((raw[-1] ^ 1,)), raw[: len(raw) // 2], b"something else"):
        with pytest.raises(SnapshotError):
            restore(io.BytesIO(bad).read, path, map_size=1 << 24)
    state = State.open(path, 1 << 24)
    with state.view() as view:
        assert all_of(view.reads) == []
    state.close()
    restore(io.BytesIO(raw).read, path, map_size=1 << 24)
    restore(io.BytesIO(raw).read, path, map_size=1 << 24)
    state = State.open(path, 1 << 24)
    with state.view() as view:
        assert all_of(view.reads) == all_of(story.tables)
    state.close()
    assert sorted(found.name for found in tmp_path.iterdir()) == ["state", "state.before-1", "state.before-2"]


def test_lives_are_forgotten_so_that_nothing_is_given_up_for_a_while(tmp_path: Path) -> None:
    state = State.open(tmp_path / "state", 1 << 24)
    with state.write() as writes:
        for number in (1, 2):
            apply(writes, RegisterNode(bytes([number]) * 16, 5, node=number, incarnation=b"life"))
    forget_lives(state, now_us=1_000_000)
    with state.view() as view:
        assert [(row.node, row.incarnation) for row in view.nodes()] == [(1, b""), (2, b"")]
    state.close()


def test_a_state_older_than_its_snapshots_is_refused(tmp_path: Path) -> None:
    state = State.open(tmp_path / "state", 1 << 24)
    folder = tmp_path / "snapshots"
    with state.write() as writes:
        for number in range(3):
            apply(writes, RegisterNode(bytes([number]) * 16, 5, node=1, incarnation=b"life"))
            if number == 1:
                older = state.path.with_name("older")
                with state.view() as view:
                    snapshot_files.save(view, [folder], now_us=9, rest=lambda: None)  # of nothing yet
    snapshot_files.refuse_older(state, [folder])
    state.copy(older)
    with state.write() as writes:
        apply(writes, RegisterNode(bytes(15) + b"x", 5, node=2, incarnation=b"life"))
    with state.view() as view:
        snapshot_files.save(view, [folder], now_us=8, rest=lambda: None)  # by a clock that was set back
    snapshot_files.refuse_older(state, [folder])
    state.close()
    state = State.open(older, 1 << 24)
    with pytest.raises(StateDamagedError, match=r"stands at command 3, and .* at 4"):
        snapshot_files.refuse_older(state, [folder])
    state.close()


def test_a_state_that_was_made_anew_gives_no_number_twice(tmp_path: Path) -> None:
    state = State.open(tmp_path / "state", 1 << 24)
    with state.write() as writes:
        apply(writes, RegisterNode(bytes(16), 5, node=1, incarnation=b"life"))
    for index, expected in ((0, 1 + NUMBERS_LEFT_OUT), (5 << 30, (5 << 30) + NUMBERS_LEFT_OUT)):
        go_on_behind(state, index)
        with state.view() as view:
            assert view.applied().index == expected
    with state.write() as writes:
        assert apply(writes, RegisterNode(bytes(16), 5, node=1, incarnation=b"life")).index == 1  # remembered
        made = apply(writes, RegisterNode(bytes(15) + b"x", 5, node=1, incarnation=b"new"))
    assert made.index == expected + 1
    state.close()


def test_files_are_whole_or_not_there_and_the_newest_are_kept(tmp_path: Path) -> None:
    view = told().view
    folders = [tmp_path / name for name in ("one", "two", "absent/three")]
    for now_us in (5, 6, 7):
        made = snapshot_files.save(view, folders, now_us=now_us, rest=lambda: None)
        assert [path.parent for path in made] == folders[:2]  # one that fails is done without
    assert [path.name[:16] for path in snapshot_files.stored(folders)] == [
        f"{n:016d}" for n in (7, 7, 6, 6, 5, 5)
    ]
    (folders[0] / f"x{snapshot_files.SUFFIX}{snapshot_files.UNFINISHED}").touch()
    snapshot_files.prune(folders, keep=2)
    assert len(list(folders[0].iterdir())) == 2
    assert len(read_back(snapshot_files.stored(folders)[0].read_bytes())) == len(all_of(view.reads))
    with pytest.raises(OSError, match="absent"):
        snapshot_files.save(view, folders[2:], now_us=8, rest=lambda: None)


def test_a_full_disk_keeps_nothing_unfinished_and_spoils_no_other(tmp_path: Path) -> None:
    """Of one that is full the rest of the buffer is refused again when the file is closed."""
    view = told().view
    folders = [tmp_path / name for name in ("one", "full", "three")]
    unfinished = (
        folders[1] / f"{5:016d}-{view.applied().index}{snapshot_files.SUFFIX}{snapshot_files.UNFINISHED}"
    )
    folders[1].mkdir()
    unfinished.symlink_to("/dev/full")
    made = snapshot_files.save(view, folders, now_us=5, rest=lambda: None)
    assert [path.parent for path in made] == [folders[0], folders[2]]
    assert not list(folders[1].iterdir())


def test_what_stops_halfway_leaves_nothing(tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        snapshot_files.save(told().view, [tmp_path], now_us=5, rest=stop)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_cannot_be_read_hides_none_of_the_others(tmp_path: Path) -> None:
    view = told().view
    dead = tmp_path / ("x" * 300)  # a name that the file system refuses, as a dead disk refuses all
    folders = [dead, tmp_path / "one"]
    [made] = snapshot_files.save(view, folders, now_us=5, rest=lambda: None)
    assert snapshot_files.stored(folders) == [made]
    assert snapshot_files.newest_us(folders) == 5
    refuse_gone(tmp_path, [dead])
    with pytest.raises(StateDamagedError):
        refuse_gone(tmp_path, [dead, tmp_path / "one"])
