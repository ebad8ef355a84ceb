"""Owns how many bytes the buffers of a process may hold; never the buffers."""

import asyncio
from collections import deque


class Budget:
    """At most `limit` bytes are out at once; who asks first is served first, so nobody starves.

    No deadlock, where every holder gives back what it holds without asking for more.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._free = limit
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()

    @property
    def used(self) -> int:
        """Bytes that are out."""
        return self.limit - self._free

    @property
    def awaited(self) -> bool:
        """Does anybody wait for some of it?"""
        return bool(self._waiting)

    async def acquire(self, size: int) -> int:
        """Take `size` bytes, or the whole budget where it is smaller; gives how many, for `release`."""
        size = min(size, self.limit)
        if self.try_acquire(size):
            return size
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((turn, size))
        try:
            await turn
        except asyncio.CancelledError:
            # Served and cancelled at once, or gone from the head of those who wait: the next may go on.
            self.release(size if turn.done() and not turn.cancelled() else 0)
            raise
        return size

    def try_acquire(self, size: int) -> bool:
        """Take `size` bytes if they are free and nobody waits."""
        if self._waiting or size > self._free:
            return False
        self._free -= size
        return True

    def release(self, size: int) -> None:
        """Give back what `acquire` gave."""
        self._free += size
        assert self._free <= self.limit
        while self._waiting and (self._waiting[0][0].cancelled() or self._waiting[0][1] <= self._free):
            turn, wanted = self._waiting.popleft()
            if not turn.cancelled():
                self._free -= wanted
                turn.set_result(None)
