"""What a listener does beside its connections: the sweep before there is a port, the date of replies."""

import asyncio
from contextlib import suppress

import pytest

from s3d.listener import Listener
from s3d.operations.reply import Reply
from tests.s3d.talking import echo


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


async def test_the_date_is_never_before_what_it_dates() -> None:
    """A Last-Modified of this second must not be later than the Date beside it (RFC 9110, 8.8.2.1)."""
    now = [1_000_000_000.9]
    listener = Listener(echo, lambda error: Reply(400), connections_max=1, clock_s=lambda: now[0])
    assert b"Date: Sun, 09 Sep 2001 01:46:40 GMT\r\n" in listener.common_head()
    now[0] += 0.2
    assert b"Date: Sun, 09 Sep 2001 01:46:41 GMT\r\n" in listener.common_head()
    now[0] += 0.5
    assert listener.common_head() is listener.common_head()
