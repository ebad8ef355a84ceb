"""Owns what every implementation of the Log port must do; never knows which one it tests.

A test module subclasses LogContract and gives it two fixtures: `log`, and `state`, which the log applies to.
"""

import asyncio
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import pytest

from s3d.metadata import commands, tables
from s3d.metadata.commands import Command, CommandError, Conditions
from s3d.metadata.log import Log, LogClosedError
from s3d.metadata.state import State
from s3d.metadata.view import View
from shardd.contract.blobs import new_blob_id
from tests.s3d.metadata.machine.story import ACCOUNT, ATTRIBUTES, MD5, blob_row, check

BUCKET = "races"


def create(name: str = BUCKET) -> Command:
    return commands.CreateBucket(new_blob_id(1), 1, bucket=name, account=ACCOUNT)


def put(key: bytes, *, conditions: Conditions = commands.ANY, bucket: str = BUCKET) -> commands.PutObject:
    return commands.PutObject(
        new_blob_id(1),
        1,
        bucket=bucket,
        key=key,
        blob=new_blob_id(1),
        row=blob_row(),
        etag=MD5,
        attributes=ATTRIBUTES,
        conditions=conditions,
        grace_us=60,
    )


class Views(Protocol):
    """Where a log's commands are seen: State, or a fake of it."""

    def view(self) -> AbstractContextManager[View]:
        """What is committed now."""


class LogContract:
    """The contract of s3d.metadata.log.Log."""

    async def test_what_is_acknowledged_is_seen_by_every_later_view(self, log: Log, state: Views) -> None:
        [made] = await log.append([create()])
        for n in range(20):
            [outcome] = await log.append([put(b"k%d" % n)])
            await log.barrier()
            with state.view() as view:
                row = view.current(made.incarnation, b"k%d" % n)
                assert row is not None and row.sequence == outcome.index
                check(view.reads)

    async def test_commands_of_one_append_are_applied_in_order(self, log: Log, state: Views) -> None:
        first, second, third = await log.append([create(), put(b"k"), put(b"k")])
        assert (first.error, second.error, third.error) == ("", "", "")
        assert first.index < second.index < third.index
        with state.view() as view:
            row = view.current(first.incarnation, b"k")
            assert row is not None and row.sequence == third.index

    async def test_outcomes_find_their_own_callers(self, log: Log, state: Views) -> None:
        await log.append([create()])
        told = [put(b"%d" % n, bucket=BUCKET if n % 3 else "none") for n in range(300)]
        outcomes = await asyncio.gather(*(log.append([command]) for command in told))
        assert [outcome.error for [outcome] in outcomes] == [
            "" if n % 3 else "NoSuchBucket" for n in range(300)
        ]
        assert len({outcome.index for [outcome] in outcomes}) == 300

    async def test_of_many_that_race_exactly_one_wins(self, log: Log, state: Views) -> None:
        await log.append([create()])
        for turn in range(10):
            key = b"round %d" % turn
            racing = [log.append([put(key, conditions=Conditions(if_none_match="*"))]) for _ in range(16)]
            errors = [outcome.error for [outcome] in await asyncio.gather(*racing)]
            assert sorted(errors) == [""] + ["PreconditionFailed"] * 15

    async def test_a_command_told_twice_is_applied_once(self, log: Log, state: Views) -> None:
        await log.append([create()])
        command = put(b"k")
        [first] = await log.append([command])
        await log.append([put(b"k")])
        assert await log.append([command]) == [first]
        with state.view() as view:
            check(view.reads)

    async def test_a_broken_command_harms_none_beside_it(self, log: Log, state: Views) -> None:
        await log.append([create()])
        beside = [asyncio.ensure_future(log.append([put(b"k%d" % n)])) for n in range(10)]
        with pytest.raises(CommandError):
            await log.append([put(b"x" * 1_025)])
        with pytest.raises(CommandError):
            await log.append([put(b"fine"), put(b"")])
        outcomes = await asyncio.gather(*beside)
        assert all(outcome.error == "" for [outcome] in outcomes)
        with state.view() as view:
            assert len(list(view.blobs())) == 10

    async def test_a_caller_that_is_cancelled_stops_no_other(self, log: Log, state: Views) -> None:
        await log.append([create()])
        tasks = [asyncio.ensure_future(log.append([put(b"k%d" % n)])) for n in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, list) for result in results[1::2])
        [outcome] = await log.append([put(b"after")])
        assert outcome.error == ""

    async def test_a_snapshot_opens_as_the_state_that_it_was(
        self, log: Log, state: Views, tmp_path: Path
    ) -> None:
        await log.append([create()])
        [last] = (await asyncio.gather(*(log.append([put(b"k%d" % n)]) for n in range(50))))[-1]
        index = await log.snapshot(tmp_path / "snapshot")
        await log.append([put(b"later")])
        assert index >= last.index
        copy = State.open(tmp_path / "snapshot", 1 << 26)
        with copy.view() as view:
            check(view.reads)
            assert view.applied().index == index and bucket_keys(view) == sorted(
                b"k%d" % n for n in range(50)
            )
        copy.close()
        await log.trim(index)

    async def test_a_closed_log_takes_nothing_but_has_finished_what_it_took(
        self, log: Log, state: Views
    ) -> None:
        await log.append([create()])
        tasks = [asyncio.ensure_future(log.append([put(b"k%d" % n)])) for n in range(50)]
        await asyncio.sleep(0)
        assert not log.closed
        await log.close()
        assert log.closed and log.waits_s() == 0.0
        assert all(outcome.error == "" for [outcome] in await asyncio.gather(*tasks))
        with pytest.raises(LogClosedError):
            await log.append([put(b"late")])
        await log.close()


def bucket_keys(view: View) -> list[bytes]:
    return sorted(at[8:] for at, _ in view.reads.scan(tables.CURRENT, b"", b""))
