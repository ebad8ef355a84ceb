"""Proves that background work keeps its rate, and gives way to clients that wait for it."""

import asyncio

import pytest

from s3d.blobs.foreground import Foreground
from s3d.blobs.pace import SHARE_MIN, Pace, next_rate


def test_the_rate_is_halved_while_clients_wait_and_given_back_little_by_little() -> None:
    rate = 100.0
    for expected in (50.0, 25.0, 12.5, 100 * SHARE_MIN, 100 * SHARE_MIN):
        rate = next_rate(rate, 100.0, waits=True)
        assert rate == expected
    for _ in range(20):
        rate = next_rate(rate, 100.0, waits=False)
    assert rate == 100.0


@pytest.mark.parametrize(("late_s", "waits"), [(0.015, False), (0.5, True)])
async def test_work_gives_way_to_clients_that_are_served_late(
    late_s: float, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept, now_s = 0.0, 1_000.0
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "time", lambda: now_s)

    async def sleep(seconds: float) -> None:
        nonlocal slept, now_s
        slept += seconds
        now_s += seconds

    monkeypatch.setattr("s3d.blobs.pace.asyncio.sleep", sleep)
    foreground = Foreground()
    for _ in range(200):
        foreground.add(0.01)
    pace = Pace(1e6, foreground)
    await pace.take(1)  # what clients are used to is known from before the work
    for _ in range(100):  # ten seconds' worth
        for _ in range(20):
            foreground.add(late_s)
        await pace.take(100_000)
    assert slept > 30.0 if waits else 8.0 < slept < 12.0


async def test_late_clients_that_are_gone_slow_nothing_down(monkeypatch: pytest.MonkeyPatch) -> None:
    slept, now_s = 0.0, 1_000.0
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now_s)

    async def sleep(seconds: float) -> None:
        nonlocal slept, now_s
        slept += seconds
        now_s += seconds

    monkeypatch.setattr("s3d.blobs.pace.asyncio.sleep", sleep)
    foreground = Foreground()
    pace = Pace(1e6, foreground)
    await pace.take(1)
    for _ in range(50):
        foreground.add(3.0)
    for _ in range(100):
        await pace.take(100_000)
    assert 8.0 < slept < 13.0
