"""What a daemon drops is freed, in cycles although allocations hardly ever start the collector, and given back."""

import asyncio
import gc
import os
import subprocess
import sys
import weakref

import pytest

from s3d.daemon import ALLOCATOR
from shardd.transport import collector

BUSY = """
import asyncio
from pathlib import Path
from shardd.transport import collector

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4_096

async def main():
    buffers = [b"x" * (1 << 20) for _ in range(32)]
    last = b"x" * (1 << 20)
    busy = resident()
    del buffers
    kept = resident()
    collector.COLLECT_EVERY_S = 0.0
    collecting = asyncio.create_task(collector.collect())
    while resident() > kept - (16 << 20):
        await asyncio.sleep(0)
    collecting.cancel()
    print(busy - kept, len(last))

asyncio.run(asyncio.wait_for(main(), 60))
"""


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


def test_what_a_busy_moment_took_goes_back_to_the_kernel() -> None:
    """Under the allocator's settings, with which free() itself gives none of it back."""
    done = subprocess.run(
        [sys.executable, "-c", BUSY], env=os.environ | ALLOCATOR, capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) < 1 << 20, "free() gave it back"
