"""Owns how fast background work may go: bytes a second; never the work."""

import asyncio


class Pace:
    """Lets `bytes_per_s` pass, evenly; after a rest at most one second's worth at once."""

    def __init__(self, bytes_per_s: float) -> None:
        self._bytes_per_s = bytes_per_s
        self._paid_until_s = 0.0

    async def take(self, size: int) -> None:
        """Wait until `size` more bytes may pass."""
        now_s = asyncio.get_running_loop().time()
        start_s = max(self._paid_until_s, now_s - 1.0)
        self._paid_until_s = start_s + size / self._bytes_per_s
        if self._paid_until_s > now_s:
            await asyncio.sleep(self._paid_until_s - now_s)
