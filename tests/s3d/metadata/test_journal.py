"""The journal: the golden file, every byte flipped and every cut found, and what it gives back of a state."""

import random
import resource
from pathlib import Path

import pytest

from s3d.metadata import commands, journal
from s3d.metadata.journal import (
    Group,
    Journal,
    JournalChecksumError,
    JournalError,
    JournalForeignError,
    JournalTruncatedError,
    JournalVersionError,
    read_journal,
)
from s3d.metadata.log import LocalLog
from s3d.metadata.restoring import Replayed, replay
from s3d.metadata.state import State, StateError
from tests.contract_suites.log import create, put
from tests.integration.tally import seed
from tests.s3d.metadata.machine.story import dump

GOLDEN = Path(__file__).parents[2] / "golden/journal-1.txt"
GROUPS = (Group(1, 2, (b"one", b"")), Group(3, 3, (b"\x00" * 40,)))
HEAD_SIZE = 13
SIZE = 1 << 26


def file_of(folder: Path) -> Path:
    [path] = sorted((folder / "journal").glob("*"))
    return path


def written(folder: Path, *groups: Group) -> Path:
    folder.mkdir(exist_ok=True)
    made = Journal(folder)
    for group in groups:
        made.append(group)
    made.close()
    return file_of(folder)


def test_a_journal_is_the_golden_one_and_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, *GROUPS)
    assert path.name == "0" * 16 + ".journal"
    assert path.read_bytes().hex() == GOLDEN.read_text().splitlines()[-1]
    assert tuple(read_journal(tmp_path, 0)) == GROUPS
    assert tuple(read_journal(tmp_path, 2)) == GROUPS[1:]


def test_every_flipped_byte_is_found_under_its_name_or_leaves_its_frame_out(tmp_path: Path) -> None:
    path = written(tmp_path, *GROUPS)
    raw = path.read_bytes()
    second = raw.index(b"QJf1", HEAD_SIZE + 1)
    expected: dict[int, type[JournalError]] = dict.fromkeys(range(8), JournalForeignError)
    expected[8] = JournalVersionError
    for at in range(len(raw)):
        for bit in range(8):
            path.write_bytes(raw[:at] + bytes((raw[at] ^ 1 << bit,)) + raw[at + 1 :])
            if at < HEAD_SIZE:
                with pytest.raises(expected.get(at, JournalChecksumError)):
                    tuple(read_journal(tmp_path, 0))
            else:
                assert tuple(read_journal(tmp_path, 0)) == (GROUPS[1:] if at < second else GROUPS[:1])


def test_every_cut_leaves_what_is_whole(tmp_path: Path) -> None:
    path = written(tmp_path, *GROUPS)
    raw = path.read_bytes()
    second = raw.index(b"QJf1", HEAD_SIZE + 1)
    for size in range(len(raw)):
        path.write_bytes(raw[:size])
        if 0 < size < HEAD_SIZE:
            with pytest.raises(JournalTruncatedError):
                tuple(read_journal(tmp_path, 0))
        else:
            assert tuple(read_journal(tmp_path, 0)) == (GROUPS[:1] if size >= second else ())


def test_a_torn_frame_and_one_that_was_not_committed_are_passed_over(tmp_path: Path) -> None:
    path = written(tmp_path, GROUPS[0], Group(3, 4, (b"undone", b"too")))
    path.write_bytes(path.read_bytes() + journal.encode_group(Group(3, 9, (b"torn",)))[:-1])
    written(tmp_path, GROUPS[1])
    assert tuple(read_journal(tmp_path, 0)) == GROUPS


async def lived(folder: Path, count: int) -> State:
    """A state with a life of `count` commands behind it, of two processes' logs."""
    state = State.open(folder, SIZE)
    logs = [LocalLog(state), LocalLog(state)]
    chance = random.Random(seed())
    await logs[0].append([create()])
    for _ in range(count // 3):
        keys = [b"k%d" % chance.randrange(9) for _ in range(3)]
        orders: list[commands.Command] = [put(key) for key in keys[:2]]
        orders.append(
            commands.DeleteObjects(
                chance.randbytes(16), 1, bucket="races", keys=(commands.DeletedKey(keys[2]),)
            )
        )
        await chance.choice(logs).append(orders)
    for one in logs:
        await one.close()
    return state


async def test_it_makes_the_same_state_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "COMMANDS_PER_FILE", 7)
    monkeypatch.setattr("s3d.metadata.restoring.GROUPS_AT_ONCE", 2)
    state = await lived(tmp_path / "state", 60)
    again = State.open(tmp_path / "again", SIZE)
    with state.view() as view:
        index = view.applied().index
        assert replay(again, tmp_path / "state") == Replayed(index)
        with again.view() as other:
            assert dump(other.reads) == dump(view.reads)
    assert replay(again, tmp_path / "state") == Replayed(index)
    for one in (state, again):
        one.close()


async def test_where_it_lacks_commands_it_stops_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "COMMANDS_PER_FILE", 6)
    state = await lived(tmp_path / "state", 30)
    files = sorted((tmp_path / "state/journal").glob("*"))
    files[2].write_bytes(b"QuoinJnx" + files[2].read_bytes()[8:])
    again = State.open(tmp_path / "again", SIZE)
    replayed = replay(again, tmp_path / "state")
    assert "is no journal" in replayed.lacking and 0 < replayed.index < 12
    files[2].unlink()
    assert "lacks the commands 1" in replay(again, tmp_path / "state").lacking
    for one in (state, again):
        one.close()


def test_commands_that_become_others_than_they_were_are_not_applied(tmp_path: Path) -> None:
    raw = commands.encode_command(create())
    written(tmp_path / "other", Group(1, 1, (raw,)), Group(2, 3, (raw,)))
    state = State.open(tmp_path / "state", SIZE)
    replayed = replay(state, tmp_path / "other")
    assert replayed == Replayed(1, "the journal does not go on from there")
    with state.view() as view:
        assert view.applied().index == 1
    state.close()


async def test_what_a_snapshot_holds_is_forgotten_file_by_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "COMMANDS_PER_FILE", 6)
    state = await lived(tmp_path / "state", 30)
    log = LocalLog(state)
    whole = list(read_journal(tmp_path / "state", 0))
    await log.trim(17)
    assert len(list((tmp_path / "state/journal").glob("*"))) == 3
    assert list(read_journal(tmp_path / "state", 17)) == [group for group in whole if group.last > 17]
    await log.append([put(b"goes on")])
    await log.close()
    assert len(list(read_journal(tmp_path / "state", 17))) > 0
    state.close()


def test_how_much_is_behind_a_command_is_told_by_the_share_of_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "COMMANDS_PER_FILE", 10)
    made = Journal(tmp_path)
    for number in range(1, 96):
        made.append(Group(number, number, (bytes(100),)))
    each = len(journal.encode_group(Group(1, 1, (bytes(100),))))
    for index in (0, 9, 10, 33, 89, 90, 94, 95):
        behind = made.behind(index, 95)
        assert behind is not None
        assert (95 - index) * each <= behind <= (95 - index) * (each + 5), index
    made.close()


def test_a_head_that_was_torn_is_written_again(tmp_path: Path) -> None:
    path = written(tmp_path, *GROUPS)
    for size in range(HEAD_SIZE):
        path.write_bytes(path.read_bytes()[:size])
        written(tmp_path, *GROUPS)
        assert tuple(read_journal(tmp_path, 0)) == GROUPS


def test_what_a_disk_refuses_is_told_once_and_lacks_until_a_snapshot_has_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "journal").touch()  # no folder can be made
    made = Journal(tmp_path)
    assert made.behind(0, 0) == 0
    for number in (1, 2):
        made.append(Group(number, number, (b"",)))
    (tmp_path / "journal").unlink()
    made.append(Group(3, 3, (b"",)))
    assert [made.behind(index, 3) is None for index in range(4)] == [True, True, False, False]
    assert len(caplog.messages) == 1
    (tmp_path / "journal/a copy.journal").touch()
    assert list(read_journal(tmp_path, 0)) == [Group(3, 3, (b"",))]
    assert Journal(tmp_path, 3).behind(1, 3) is None  # so says one that comes later, too
    made.close()


async def test_what_a_full_disk_keeps_from_being_committed_is_not_done_by_a_restore(tmp_path: Path) -> None:
    state = State.open(tmp_path / "state", SIZE)
    log = LocalLog(state)
    await log.append([create()])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "state/data.mdb").stat().st_size, hard))
        with pytest.raises(StateError):
            for number in range(1_000):
                await log.append([put(b"k%d" % number)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await log.close()
    again = State.open(tmp_path / "again", SIZE)
    with state.view() as view:
        assert replay(again, tmp_path / "state") == Replayed(view.applied().index)
        with again.view() as other:
            assert dump(other.reads) == dump(view.reads)
    for one in (state, again):
        one.close()
