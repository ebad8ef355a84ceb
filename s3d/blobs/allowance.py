"""Owns how much of the budgets of a process one upload holds for the window that it fills; never the bytes."""

import asyncio
from collections.abc import Callable
from typing import Final

from s3d.blobs.budget import Budget
from s3d.blobs.errors import NoBufferError
from shardd.contract.blobs import EXTENT_SIZE_MAX, UNIT_SIZE

WINDOW_S: Final = 1.0  # how long a window that fills keeps room for all of it, where others wait for room
ROOM_S: Final = 50.0  # so long an upload waits for room; clients wait for a minute until a socket takes bytes


class Allowance:
    """What one upload may hold for the window that it fills.

    A window begins with the bytes that have come: they count in `slow`, so who sends nothing holds nothing. From
    its second stripe on it has room in `whole` for all of it, parity counted. A client that has not filled it within
    WINDOW_S while others wait for `whole` is a slow one: what came of it counts in `slow` again, the rest is given
    back, and its next windows stay in `slow`, until one fills in time. Where `slow` is full, and before a window is
    sent, `whole` is asked for.

    No deadlock: who holds of `whole` needs no more room, and waits for its client and for shards alone; who waits for
    `whole` holds of `slow` at most, and not for longer than ROOM_S. So fast uploads wait for fast ones, as long as
    `slow` has room for the slow.
    """

    def __init__(self, whole: Budget, slow: Budget, *, k: int, m: int, size: int | None) -> None:
        """For a body of `size` bytes, if known, in stripes of `k` units with `m` of parity."""
        self._whole = whole
        self._slow = slow
        self._k = k
        self._m = m
        self._left = size
        self._is_slow = False
        self._begin()

    def _begin(self) -> None:
        window, left = self._k * EXTENT_SIZE_MAX, self._left
        self._window = window if left is None else min(left, window)
        self._came = 0
        self._held_whole = self._held_slow = 0
        self._timer: asyncio.TimerHandle | None = None
        self._since_s = asyncio.get_running_loop().time() if self._is_slow else 0.0

    async def take(self, size: int) -> None:
        """Room for the next `size` bytes of the window. Raises NoBufferError where there is none for ROOM_S."""
        self._came += size
        if self._held_whole:
            return
        small = self._came == size >= self._window  # all of it is here: nobody has to be waited for
        if small and self._whole.try_acquire(cost := self._cost(size)):
            self._held_whole = cost
        elif (self._came <= self._k * UNIT_SIZE or self._is_slow) and self._slow.try_acquire(size):
            self._held_slow += size
        else:
            await self._reserve()

    async def settle(self) -> None:
        """Room for the window as it is sent: with its parity, and once more in the transport. Raises NoBufferError."""
        if not self._held_whole and self._came > self._k * UNIT_SIZE:
            await self._reserve()

    def next_window(self) -> Callable[[object], None]:
        """The window is settled, and another begins: call what comes back when its shards have answered."""
        whole, slow = self._held_whole, self._held_slow
        self._stop_timer()
        if self._is_slow:
            self._is_slow = asyncio.get_running_loop().time() - self._since_s > WINDOW_S
        if self._left is not None:
            self._left = max(self._left - self._came, 0) or None
        self._begin()

        def release(_: object) -> None:
            self._whole.release(whole)
            self._slow.release(slow)

        return release

    def let_go(self) -> None:
        """Give back what the window holds; it is over."""
        self._stop_timer()
        whole, slow = self._held_whole, self._held_slow
        self._held_whole = self._held_slow = 0
        self._whole.release(whole)
        self._slow.release(slow)

    def _cost(self, size: int) -> int:
        return size * (self._k + self._m) // self._k

    async def _reserve(self) -> None:
        """Room for all of the window, in `whole`."""
        cost = min(self._cost(max(self._window, self._came)), self._whole.limit)
        if not self._whole.try_acquire(cost):
            try:
                async with asyncio.timeout(ROOM_S):
                    await self._whole.acquire(cost)
            except TimeoutError:
                raise NoBufferError(f"no room for {cost} bytes within {ROOM_S:g} s") from None
        self._held_whole = cost
        held, self._held_slow = self._held_slow, 0
        self._slow.release(held)
        self._watch()

    def _watch(self) -> None:
        if self._came != self._left:
            self._timer = asyncio.get_running_loop().call_later(WINDOW_S, self._look)

    def _look(self) -> None:
        """The next window has not begun. Where others wait, this one's room is for them, if `slow` has some."""
        if not self._whole.awaited or not self._slow.try_acquire(self._came):
            self._watch()
            return
        self._is_slow = True
        held, self._held_whole = self._held_whole, 0
        self._held_slow = self._came
        self._since_s = 0.0
        self._whole.release(held)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
