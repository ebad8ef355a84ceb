"""Proves that background work keeps its rate, and gives way to clients that wait for it."""

import asyncio

import pytest

from s3d.blobs.foreground import Foreground
from s3d.blobs.pace import SHARE_MIN, Pace, next_rate

START_S = 1_000.0


def test_the_rate_is_halved_while_clients_wait_and_given_back_little_by_little() -> None:
    rate = 100.0
    for expected in (50.0, 25.0, 12.5, 100 * SHARE_MIN, 100 * SHARE_MIN):
        rate = next_rate(rate, 100.0, waits=True)
        assert rate == expected
    for _ in range(20):
        rate = next_rate(rate, 100.0, waits=False)
    assert rate == 100.0


async def ten_seconds_worth(
    monkeypatch: pytest.MonkeyPatch, foreground: Foreground, *, late_s: float = 0.0, before: int = 0
) -> float:
    """How long 10 MB take at 1 MB/s, while clients wait for `late_s`; `before` of them did before it began."""
    now_s = START_S
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now_s)
    pace = Pace(1e6, foreground)
    now_s = max(now_s, pace.due_s(1))  # what clients are used to is known from before the work
    for _ in range(before):
        foreground.add(3.0)
    for _ in range(100):
        for _ in range(20 if late_s else 0):
            foreground.add(late_s)
        now_s = max(now_s, pace.due_s(100_000))
    return now_s - START_S


@pytest.mark.parametrize(("late_s", "waits"), [(0.015, False), (0.5, True)])
async def test_work_gives_way_to_clients_that_are_served_late(
    late_s: float, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreground = Foreground()
    for _ in range(200):
        foreground.add(0.01)
    took_s = await ten_seconds_worth(monkeypatch, foreground, late_s=late_s)
    assert took_s > 30.0 if waits else 8.0 < took_s < 12.0


async def test_late_clients_that_are_gone_slow_nothing_down(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 8.0 < await ten_seconds_worth(monkeypatch, Foreground(), before=50) < 13.0
