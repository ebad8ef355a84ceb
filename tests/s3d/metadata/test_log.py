"""Owns the proof of LocalLog: the contract of logs, many processes on one state, and kills in the middle of commits."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from s3d.metadata import keys, tables
from s3d.metadata.commands import Command, PutObject
from s3d.metadata.log import LocalLog, LogClosedError, LogFailedError, LogMismatchError
from s3d.metadata.machine import apply
from s3d.metadata.outcomes import Outcome
from s3d.metadata.restoring import Replayed, replay
from s3d.metadata.rows import RowChecksumError
from s3d.metadata.state import State, StateFullError
from tests.contract_suites.log import LogContract, create, put
from tests.s3d.metadata.machine.story import check, dump
from tests.s3d.metadata.memory_log import MemoryLog, MemoryState
from tests.s3d.metadata.writer import LOG

RACES = int(os.environ.get("QUOIN_RACES", "20"))
KILLS = int(os.environ.get("QUOIN_WRITER_KILLS", "12"))
WRITERS = 16
WRITER = Path(__file__).with_name("writer.py")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    state = State.open(tmp_path / "state", 1 << 28)
    yield state
    state.close()


@pytest.fixture
async def log(state: State) -> AsyncIterator[LocalLog]:
    log = LocalLog(state, b"u" * 16)
    yield log
    await log.close()


class TestLocalLog(LogContract):
    """The contract, on the log of one machine."""


class TestMemoryLog(LogContract):
    """The contract, on the log of tests."""

    @pytest.fixture
    def state(self) -> MemoryState:
        return MemoryState()

    @pytest.fixture
    def log(self, state: MemoryState) -> MemoryLog:
        return MemoryLog(state)


async def test_a_state_follows_one_log_only(state: State) -> None:
    await LocalLog(state, b"u" * 16).close()
    await LocalLog(state).close()
    with pytest.raises(LogMismatchError):
        LocalLog(state, b"v" * 16)
    with state.view() as view:
        assert view.applied().log == b"u" * 16


async def test_a_damaged_row_fails_its_own_command_and_no_other(log: LocalLog, state: State) -> None:
    [made] = await log.append([create()])
    await log.append([put(b"damaged"), put(b"whole")])
    at = keys.current_key(made.incarnation, b"damaged")
    with state.write() as writes:
        raw = bytearray(writes.get(tables.CURRENT, at) or b"")
        raw[7] ^= 1
        writes.put(tables.CURRENT, at, bytes(raw))
    answers = await asyncio.gather(
        *(log.append([put(key)]) for key in (b"whole", b"damaged", b"new")), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [list, RowChecksumError, list]


def poisoned(writes: tables.Tables, command: Command) -> Outcome:
    """Apply, with a fault of its own for one key."""
    outcome = apply(writes, command)
    if isinstance(command, PutObject) and command.key == b"poison":
        raise KeyError(command.key)
    return outcome


async def test_what_a_fault_undid_is_not_acknowledged_and_the_log_goes_on(
    log: LocalLog, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    [made] = await log.append([create()])
    monkeypatch.setattr("s3d.metadata.log.apply", poisoned)
    with state.write():  # all of them wait for the turn, so they are one batch
        told = [asyncio.ensure_future(log.append([put(key)])) for key in (b"before", b"poison", b"after")]
        await asyncio.sleep(0)
    answers = await asyncio.gather(*told, return_exceptions=True)
    assert [type(answer) for answer in answers] == [list, LogFailedError, list]
    [outcome] = await log.append([put(b"later")])
    assert outcome.error == "" and not log.closed
    with state.view() as view:
        assert stored_keys(view.reads) == {b"before", b"after", b"later"}
        assert all(view.current(made.incarnation, key) for key in stored_keys(view.reads))
        check(view.reads)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_log_whose_writer_ended_says_so_and_leaves_nobody_waiting(
    log: LocalLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    await log.append([create()])

    def end(writes: tables.Tables, command: Command) -> Outcome:
        raise KeyboardInterrupt

    monkeypatch.setattr("s3d.metadata.log.apply", end)
    answers = await asyncio.gather(
        *(log.append([put(b"k%d" % n)]) for n in range(50)), return_exceptions=True
    )
    assert {type(answer) for answer in answers} <= {LogFailedError, LogClosedError}
    async with asyncio.timeout(60):
        while not log.closed:  # it may answer a moment before it ends
            await asyncio.sleep(0)
    with pytest.raises(LogClosedError):
        await log.append([put(b"late")])


async def test_a_full_state_says_so_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    state = State.open(tmp_path / "small", 1 << 19)
    log = LocalLog(state)
    await log.append([create()])
    with pytest.raises(StateFullError):
        for n in range(10_000):
            await log.append([put(b"k%d" % n)])
    await log.close()
    state.close()
    state = State.open(tmp_path / "small", 1 << 22)
    log = LocalLog(state)
    [outcome] = await log.append([put(b"room")])
    assert outcome.error == ""
    with state.view() as view:
        check(view.reads)
    await log.close()
    state.close()


def run_writer(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, str(WRITER), str(folder), *arguments],
        cwd=Path(__file__).parents[3],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


async def test_of_sixteen_processes_that_race_exactly_one_wins_each_round(tmp_path: Path) -> None:
    print(f"{RACES} races of {WRITERS} processes, QUOIN_RACES for more")
    state = State.open(tmp_path / "state", 1 << 28)
    log = LocalLog(state)
    await log.append([create()])
    await log.close()
    state.close()
    writers = [run_writer(tmp_path / "state", "race", str(RACES)) for _ in range(WRITERS)]
    try:
        for writer in writers:
            assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
        won = [json.loads(writer.communicate(timeout=300)[0]) for writer in writers]
    finally:
        end(writers)
    assert [sum(column) for column in zip(*won, strict=True)] == [1] * RACES


def test_processes_that_make_the_same_new_state_at_once_agree(tmp_path: Path) -> None:
    writers = [run_writer(tmp_path / "new", "race", "0") for _ in range(WRITERS // 2)]
    try:
        for writer in writers:
            out, _ = writer.communicate("go\n", timeout=180)
            assert (writer.returncode, out.split()) == (0, ["ready", "[]"])
    finally:
        end(writers)


def test_writers_killed_at_any_instant_lose_nothing_that_they_were_told(tmp_path: Path) -> None:
    """A writer prints each key once it is acknowledged; whatever was printed is there, and the state is whole.

    So is the journal: what was in it and never committed is told from what was.
    """
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"{KILLS} kills, QUOIN_WRITER_KILLS for more, seed {seed}")
    chance = random.Random(seed)
    folder = tmp_path / "state"
    state = State.open(folder, 1 << 28)
    asyncio.run(make_bucket(state))
    acknowledged: set[bytes] = set()
    writers = [run_writer(folder, "write", f"{n}") for n in range(2)]
    try:
        for kill in range(KILLS):
            victim = writers.pop(0)
            acknowledged |= read_until(victim, chance.randint(1, 300))
            victim.send_signal(signal.SIGKILL)
            acknowledged |= read_until(victim, None)
            victim.communicate()
            writers.append(run_writer(folder, "write", f"{kill + 2}"))
            with state.view() as view:
                assert acknowledged <= stored_keys(view.reads)
        end(writers)
        asyncio.run(put_one(state))
        state.forget_dead_readers()
        again = State.open(tmp_path / "again", 1 << 28)
        asyncio.run(follow(again, LOG))
        replayed = replay(again, folder)
        with state.view() as view, again.view() as other:
            check(view.reads)
            assert replayed == Replayed(view.applied().index)
            assert dump(other.reads) == dump(view.reads)
        again.close()
    finally:
        end(writers)
        state.close()
    print(f"{len(acknowledged)} keys acknowledged")


async def make_bucket(state: State) -> None:
    log = LocalLog(state)
    await log.append([create()])
    await log.close()


async def put_one(state: State) -> None:
    """So that it is settled whether the last of those that were killed had committed."""
    log = LocalLog(state)
    await log.append([put(b"last")])
    await log.close()


async def follow(state: State, uuid: bytes) -> None:
    await LocalLog(state, uuid).close()


def read_until(writer: "subprocess.Popen[str]", count: int | None) -> set[bytes]:
    """The next `count` keys that the writer says were acknowledged; None: all until it ends."""
    assert writer.stdout is not None
    met: set[bytes] = set()
    while count is None or len(met) < count:
        line = writer.stdout.readline()
        if not line.endswith("\n"):  # the end, or the half of a line that the kill left
            assert count is None, "the writer ended by itself"
            break
        met.add(line.strip().encode())
    return met


def stored_keys(reads: tables.Reads) -> set[bytes]:
    return {at[8:] for at, _ in reads.scan(tables.CURRENT, b"", b"")}


def end(writers: list["subprocess.Popen[str]"]) -> None:
    for writer in writers:
        if writer.poll() is None:
            writer.kill()
            writer.communicate()
