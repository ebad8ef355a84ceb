"""Proves that uploads share memory fairly: the silent hold nothing, the slow stop nobody, nobody waits for ever."""

import asyncio
import os
import selectors
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from s3d.blobs.allowance import ROOM_S, WINDOW_S, Allowance
from s3d.blobs.budget import Budget
from s3d.blobs.errors import NoBufferError
from shardd.contract.blobs import EXTENT_SIZE_MAX, UNIT_SIZE
from shardd.contract.cluster import MIB

CASES = int(os.environ.get("QUOIN_UPLOAD_MIXES", "60"))
K, M = 3, 2
WINDOW = K * EXTENT_SIZE_MAX
COST = (K + M) * EXTENT_SIZE_MAX
SILENCE_S = 20.0
SHARDS_S = 0.05
PIECE = 250_000


class _Jump(selectors.SelectSelector):
    """Waits for nothing: what would have been waited is added to the time."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "nobody will ever go on"
        self.now_s += max(timeout, 0.0)
        return super().select(0)


class _VirtualLoop(asyncio.SelectorEventLoop):
    """Time is a number."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now_s


def virtually(work: Coroutine[Any, Any, None]) -> None:
    """Runs `work` in no time at all."""
    with asyncio.Runner(loop_factory=_VirtualLoop) as runner:
        runner.run(work)


@dataclass(frozen=True, slots=True)
class Client:
    """A body of `size` bytes that comes at `rate` bytes a second from `start_s` on, and `sends` only so much of it."""

    size: int
    rate: float
    sends: int
    start_s: float = 0.0
    announced: bool = True


@dataclass(slots=True)
class Gateway:
    """Two budgets, and what became of each client: seconds from its start to its end."""

    whole: Budget
    slow: Budget
    done_s: dict[int, float] = field(default_factory=dict)
    refused: set[int] = field(default_factory=set)
    waited_s: float = 0.0

    async def serve(self, *clients: Client) -> None:
        """All of them at once."""
        async with asyncio.TaskGroup() as group:
            for number, client in enumerate(clients):
                group.create_task(self._serve(number, client))
        await asyncio.sleep(1)
        assert self.whole.used == self.slow.used == 0

    async def _serve(self, number: int, client: Client) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(client.start_s)
        began_s = loop.time()
        allowance = self.allowance(client.size if client.announced else None)
        try:
            await self._send(client, allowance)
            await asyncio.sleep(SHARDS_S)
        except NoBufferError:
            self.refused.add(number)
        finally:
            allowance.let_go()
        self.done_s[number] = loop.time() - began_s

    def allowance(self, size: int | None) -> Allowance:
        return Allowance(self.whole, self.slow, k=K, m=M, size=size)

    async def _send(self, client: Client, allowance: Allowance) -> None:
        loop, left, filled = asyncio.get_running_loop(), client.sends, 0
        while left:
            piece = min(PIECE, left)
            await asyncio.sleep(piece / client.rate)
            left -= piece
            while piece:
                if filled == WINDOW:
                    await self._timed(allowance.settle())
                    loop.call_later(SHARDS_S, allowance.next_window(), None)
                    filled = 0
                taken = min(piece, UNIT_SIZE * K - filled % (UNIT_SIZE * K))
                await self._timed(allowance.take(taken))
                piece, filled = piece - taken, filled + taken
                assert self.whole.used <= self.whole.limit and self.slow.used <= self.slow.limit
        if client.sends < client.size:
            await asyncio.sleep(SILENCE_S)
        else:
            await self._timed(allowance.settle())

    async def _timed(self, asking: Coroutine[Any, Any, None]) -> None:
        loop = asyncio.get_running_loop()
        asked_s = loop.time()
        await asking
        self.waited_s = max(self.waited_s, loop.time() - asked_s)


def gateway(*, whole: int = 9 * COST, slow: int = 640 * MIB) -> Gateway:
    return Gateway(Budget(whole), Budget(slow))


FAST = Client(size=100 * MIB, rate=100e6, sends=100 * MIB)
PHONE = Client(size=10 * MIB, rate=100e3, sends=10 * MIB)
HALF = Client(size=1_000_000, rate=1e6, sends=4)
SMALL = Client(size=1_000, rate=1e6, sends=1_000)


def test_a_thousand_half_bodies_hold_next_to_nothing_and_are_not_waited_for() -> None:
    made = gateway()
    used: list[int] = []

    async def look() -> None:
        await asyncio.sleep(5)
        used.append(made.whole.used + made.slow.used)

    async def both() -> None:
        await asyncio.gather(made.serve(*[HALF] * 1_000), look())

    virtually(both())
    assert used == [4_000] and max(made.done_s.values()) < SILENCE_S + 1 and not made.waited_s


def test_a_slow_upload_holds_what_came_of_it_where_others_wait() -> None:
    made = gateway(whole=COST)

    async def work() -> None:
        slow = made.allowance(100 * MIB)
        await slow.take(UNIT_SIZE * K)
        assert (made.whole.used, made.slow.used) == (0, UNIT_SIZE * K)
        await slow.take(1)
        assert (made.whole.used, made.slow.used) == (COST, 0)
        await asyncio.sleep(5 * WINDOW_S)
        assert made.whole.used == COST, "nobody waits for it"
        other = made.allowance(100 * MIB)
        await other.take(UNIT_SIZE * K)
        await other.take(1)
        assert (made.whole.used, made.slow.used) == (COST, UNIT_SIZE * K + 1)
        other.let_go()
        await slow.take(7)
        assert (made.whole.used, made.slow.used) == (0, UNIT_SIZE * K + 8)
        slow.let_go()
        slow.let_go()
        assert made.whole.used == made.slow.used == 0

    virtually(work())


def test_fast_and_small_uploads_go_on_among_slow_ones() -> None:
    """100 phones of 100 kB/s hold more than all of the room for whole windows; others hardly notice."""
    made = gateway()
    others = [Client(size=9 * MIB, rate=100e6, sends=9 * MIB, start_s=20.0 + n) for n in range(10)]
    small = [Client(size=1_000, rate=1e6, sends=1_000, start_s=20.5 + n) for n in range(10)]
    virtually(made.serve(*[PHONE] * 100, *others, *small))
    assert not made.refused
    assert max(made.done_s[number] for number in range(100)) < 1.2 * PHONE.size / PHONE.rate
    assert max(made.done_s[number] for number in range(100, 110)) < 3 * WINDOW_S
    assert max(made.done_s[number] for number in range(110, 120)) < 1


def test_two_hundred_slow_uploads_that_fill_their_windows_at_the_same_pace_all_go_on() -> None:
    made = gateway()
    virtually(made.serve(*[PHONE] * 200))
    assert not made.refused and max(made.done_s.values()) < 1.5 * PHONE.size / PHONE.rate


def test_what_is_sent_is_held_twice_so_it_has_room_in_full() -> None:
    made = gateway(whole=COST)

    async def work() -> None:
        slow = made.allowance(100 * MIB)
        slow._is_slow = True
        await slow.take(7)
        await slow.take(WINDOW - 7)
        assert (made.whole.used, made.slow.used) == (0, WINDOW)
        await slow.settle()
        assert (made.whole.used, made.slow.used) == (COST, 0)
        landed = slow.next_window()
        await slow.take(7)
        assert (made.whole.used, made.slow.used) == (COST, 7)
        landed(None)
        slow.let_go()
        assert made.whole.used == made.slow.used == 0

    virtually(work())


def test_uploads_that_wait_for_each_other_are_served_in_turn() -> None:
    made = gateway()
    virtually(made.serve(*[FAST] * 200))
    assert not made.refused and min(made.done_s.values()) > 0.8 * max(made.done_s.values())


def test_where_all_memory_is_with_clients_that_do_not_go_on_others_are_told_to_slow_down_in_time() -> None:
    """What keeps dripping is not silent: it may stay; who waits is told, and what it held serves the others."""
    made = gateway(whole=COST, slow=WINDOW)
    drip = Client(size=10 * MIB, rate=2_000, sends=10 * MIB)
    begun = Client(size=10 * MIB, rate=1e6, sends=2 * MIB)

    async def work() -> None:
        made.slow.try_acquire(made.slow.limit)
        async with asyncio.TaskGroup() as group:
            group.create_task(made._serve(0, drip))
            await asyncio.sleep(SILENCE_S * 10)
            assert made.whole.used == COST
            group.create_task(made._serve(1, begun))
        made.slow.release(made.slow.limit)

    virtually(work())
    assert made.refused == {1} and ROOM_S <= made.done_s[1] < ROOM_S + 5
    assert made.whole.used == made.slow.used == 0


def _clients() -> st.SearchStrategy[Client]:
    def client(size: int, rate: float, part: float, start_s: float, announced: bool) -> Client:
        return Client(size, rate, max(int(size * part), 1), start_s, announced)

    return st.builds(
        client,
        st.sampled_from([1, 1_000, UNIT_SIZE * K, UNIT_SIZE * K + 1, MIB, WINDOW, WINDOW + 1, 20 * MIB]),
        st.sampled_from([20e3, 100e3, 1e6, 10e6, 1e9]),
        st.sampled_from([1.0, 1.0, 1.0, 0.3, 0.9, 0.0]),
        st.sampled_from([0.0, 0.0, 0.5, 1.0, 30.0]),
        st.booleans(),
    )


@pytest.mark.timeout(300)
@settings(max_examples=CASES, deadline=None)
@given(
    clients=st.lists(_clients(), min_size=1, max_size=60),
    whole=st.sampled_from([COST // 2, COST, 3 * COST, 9 * COST]),
    slow=st.sampled_from([WINDOW // 2, 3 * WINDOW, 128 * WINDOW]),
)
def test_any_mix_ends_within_its_limits(clients: list[Client], whole: int, slow: int) -> None:
    """No deadlock (time would stand still), nobody waits longer than ROOM_S, and all comes back."""
    made = gateway(whole=whole, slow=slow)
    virtually(made.serve(*clients))
    assert len(made.done_s) == len(clients) and made.waited_s <= ROOM_S + 0.01
    total = sum(client.sends for client in clients)
    assert not made.refused or total > min(slow, whole)


@pytest.mark.parametrize("take", [lambda a: a.take(UNIT_SIZE * K + 1), lambda a: a.take(1)])
def test_who_goes_away_while_waiting_leaves_nothing(
    take: Callable[[Allowance], Coroutine[Any, Any, None]],
) -> None:
    made = gateway(whole=COST, slow=0)

    async def work() -> None:
        assert made.whole.try_acquire(COST)
        gone = asyncio.create_task(take(made.allowance(None)))
        await asyncio.sleep(1)
        assert not gone.done() and made.whole.awaited
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        made.whole.release(COST)
        assert made.whole.used == made.slow.used == 0 and not made.whole.awaited

    virtually(work())
