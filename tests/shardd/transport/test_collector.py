"""What a daemon drops in cycles is freed although allocations hardly ever start the collector."""

import asyncio
import gc
import weakref

import pytest

from shardd.transport import collector


class _Cycle:
    def __init__(self) -> None:
        self.me = self


@pytest.fixture(autouse=True)
def _as_before() -> object:
    threshold = gc.get_threshold()
    yield
    gc.set_threshold(*threshold)
    gc.unfreeze()


async def test_cycles_go_though_few_objects_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "COLLECT_EVERY_S", 0.0)
    collector.quieten()
    gone = asyncio.Event()
    cycle = _Cycle()
    weakref.finalize(cycle, gone.set)
    del cycle
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        collecting = group.create_task(collector.collect())
        await gone.wait()
        collecting.cancel()
