"""The timer of a connection fires when it is due: not before its time, over and over, as timers of uvloop may."""

import asyncio
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import uvloop

from shardd.transport.channel import TIMER_GRAIN_S, Channel

TIMERS = 50


def channel_of(
    loop: asyncio.AbstractEventLoop, within_s: float
) -> tuple[Channel, asyncio.Future[None], Mock]:
    """A channel whose engine wants its timer so soon, once; what is done when it fired; the link that counts fires."""
    due_s: float | None = loop.time() + within_s
    fired: asyncio.Future[None] = loop.create_future()

    def expire(now_s: float) -> None:
        nonlocal due_s
        due_s = None
        fired.set_result(None)

    connection: Any = SimpleNamespace(
        timer_s=lambda: due_s, expire=expire, outgoing=lambda now_s: [], deliver=lambda sink: None
    )
    link = Mock()
    return Channel(connection, sink=Mock(), link=link), fired, link


async def fires(within_s: float) -> int:
    """How often the timers of TIMERS channels, one after the other, fired."""
    count = 0
    for _ in range(TIMERS):
        channel, fired, link = channel_of(asyncio.get_running_loop(), within_s)
        channel.flush()
        await fired
        channel.stop()
        count += link.drain.call_count
    return count


@pytest.mark.parametrize("within_s", [0.3 * TIMER_GRAIN_S, 2.3 * TIMER_GRAIN_S])
def test_a_timer_fires_once_though_it_is_due_between_two_grains(within_s: float) -> None:
    """Each time that it fires it reads the socket: rounded down, it does so hundreds of times within a millisecond."""
    assert uvloop.run(fires(within_s)) <= 2 * TIMERS
