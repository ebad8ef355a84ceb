"""Owns when a daemon gives memory back: Python's cyclic collector, what malloc keeps; never what is garbage."""

import asyncio
import ctypes
import gc
from typing import Final

COLLECT_AFTER: Final = (50_000, 50, 100)  # allocations; a hot path makes garbage that counting frees
COLLECT_EVERY_S: Final = 5.0
COLLECTIONS_PER_TRIM: Final = 12

_trim = getattr(ctypes.CDLL(None), "malloc_trim", lambda _: 0)  # glibc's; musl keeps little by itself


def quieten() -> None:
    """What was made so far stays and is not looked at again; from here on allocations rarely start a collection."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


async def collect() -> None:
    """Collects every few seconds, a few milliseconds each, and trims once a minute; runs until cancelled.

    A connection is a cycle that holds tens of KiB of the QUIC core: counted in allocations it is little, so a gateway
    that tries to reach dead nodes all night would grow by half a MiB a second.

    The launcher has malloc keep large buffers, so a process would for ever be as big as its busiest moment was, and
    grow as long as such moments come. A gateway of 63 MB gave 15 MB back in 1.7 ms and took 11 MB of them again.
    """
    while True:
        for _ in range(COLLECTIONS_PER_TRIM):
            await asyncio.sleep(COLLECT_EVERY_S)
            gc.collect()
        _trim(0)
