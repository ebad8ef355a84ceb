"""Owns when Python's cyclic collector runs in a daemon; never what is garbage."""

import asyncio
import gc
from typing import Final

COLLECT_AFTER: Final = (50_000, 50, 100)  # allocations; a hot path makes garbage that counting frees
COLLECT_EVERY_S: Final = 5.0


def quieten() -> None:
    """What was made so far stays and is not looked at again; from here on allocations rarely start a collection."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


async def collect() -> None:
    """Collects every few seconds, a few milliseconds each; runs until cancelled.

    A connection is a cycle that holds tens of KiB of the QUIC core: counted in allocations it is little, so a gateway
    that tries to reach dead nodes all night would grow by half a MiB a second.
    """
    while True:
        await asyncio.sleep(COLLECT_EVERY_S)
        gc.collect()
