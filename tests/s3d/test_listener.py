"""What a listener does beside its connections: the sweep before there is a port, the date of replies."""

import asyncio
from contextlib import suppress
from itertools import pairwise

import pytest

from s3d.connection import FIRST_BYTE_S, Waiting
from s3d.listener import SWEPT_AT_ONCE, Listener
from s3d.operations.reply import Reply
from tests.s3d.talking import echo, talking, until


async def test_the_sweep_may_begin_long_before_there_is_a_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway waits for its nodes before it listens; on a busy machine that takes longer than a sweep's second."""
    monkeypatch.setattr("s3d.listener.SWEEP_S", 0.0)
    listener = Listener(echo, lambda error: Reply(400), connections_max=1)
    sweeping = asyncio.create_task(listener.sweep())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not sweeping.done()
    sweeping.cancel()
    with suppress(asyncio.CancelledError):
        await sweeping


async def test_many_that_end_at_once_leave_turns_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3d.listener.SWEEP_S", 0.0)
    async with talking(echo, connections_max=64) as talk:
        clients = [await talk.client() for _ in range(60)]
        await until(lambda: talk.listener.connections == 60)
        for connection in talk.listener.serving:
            connection.wait(Waiting.HEAD, -FIRST_BYTE_S)
        sweeping = asyncio.create_task(talk.listener.sweep())
        left = [60]
        async with asyncio.timeout(10):
            while left[-1]:
                await asyncio.sleep(0)
                left.append(talk.listener.connections)
        sweeping.cancel()
        for _, writer in clients:
            writer.close()
    ended = [before - after for before, after in pairwise(left)]
    assert max(ended) <= 2 * SWEPT_AT_ONCE < 60 / 2, ended


async def test_the_date_is_never_before_what_it_dates() -> None:
    """A Last-Modified of this second must not be later than the Date beside it (RFC 9110, 8.8.2.1)."""
    now = [1_000_000_000.9]
    listener = Listener(echo, lambda error: Reply(400), connections_max=1, clock_s=lambda: now[0])
    assert b"Date: Sun, 09 Sep 2001 01:46:40 GMT\r\n" in listener.common_head()
    now[0] += 0.2
    assert b"Date: Sun, 09 Sep 2001 01:46:41 GMT\r\n" in listener.common_head()
    now[0] += 0.5
    assert listener.common_head() is listener.common_head()
