"""`s3ctl drill` and `verify` as tests run them: they end with their test, and are judged by what the store broke."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from tests.integration.cluster import ROOT, environment

TOLD_S_MAX = 600.0
# What a machine that does other things as well breaks without the store, if it is some errors of a short drill.
MACHINES, ERRORS_SOME = {"longest stall", "errors"}, 3


async def s3ctl(*words: str) -> tuple[int, str]:
    """Exit status and output."""
    async with launched(*words) as started:
        said, told = await started.communicate()
    assert started.returncode is not None
    return started.returncode, said.decode() or told.decode()


@asynccontextmanager
async def launched(*words: str, **variables: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """s3ctl, still at work. Where it does not end in the block it is killed, and takes its store along."""
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "s3d.ctl",
        *words,
        env=environment() | {"PYTHONPATH": str(ROOT)} | variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        # Where the tests run in the background of a shell it is ignored, and who is started inherits that.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()


async def told(drill: asyncio.subprocess.Process, event: str) -> None:
    """Returns when a drill tells that this happened."""
    assert drill.stderr is not None
    async with asyncio.timeout(TOLD_S_MAX):
        async for line in drill.stderr:
            if event in line.decode():
                return
    raise AssertionError(f"the drill ended without {event!r}")


def broken_by_the_store(found: dict[str, Any], *, short: bool = True) -> list[str]:
    """The promises that broke, without those that a busy machine breaks in a `short` drill."""
    few = short and sum(found["errors"].values()) <= ERRORS_SOME
    forgiven = MACHINES if few else MACHINES - {"errors"}
    return [one["name"] for one in found["promises"] if not one["held"] and one["name"] not in forgiven]
