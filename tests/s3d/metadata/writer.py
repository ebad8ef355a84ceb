"""Owns a process that writes to a state beside others: it races for keys, or writes until it is killed."""

import asyncio
import json
import sys
from pathlib import Path

from s3d.metadata.commands import Conditions
from s3d.metadata.log import LocalLog
from s3d.metadata.state import State
from tests.contract_suites.log import put

TOGETHER = 8
LOG = b"l" * 16


async def race(log: LocalLog, rounds: int) -> None:
    """Tells at the end which rounds were won, as 1 and 0."""
    print("ready", flush=True)
    sys.stdin.readline()
    won = []
    for turn in range(rounds):
        key = b"round %d" % turn
        [outcome] = await log.append([put(key, conditions=Conditions(if_none_match="*"))])
        assert outcome.error in ("", "PreconditionFailed")
        won.append(0 if outcome.error else 1)
    print(json.dumps(won))


async def write(log: LocalLog, name: str) -> None:
    """Tells each key when it is acknowledged, for ever; some writes replace, so blobs are condemned too."""

    async def stream(which: int) -> None:
        for n in range(1 << 30):
            key = f"{name}-{which}-{n // 2}"
            [outcome] = await log.append([put(key.encode())])
            assert outcome.error == ""
            print(key, flush=True)

    async with asyncio.TaskGroup() as group:
        for which in range(TOGETHER):
            group.create_task(stream(which))


async def main() -> None:
    state = State.open(Path(sys.argv[1]), 1 << 28)
    log = LocalLog(state, LOG)
    if sys.argv[2] == "race":
        await race(log, int(sys.argv[3]))
    else:
        await write(log, sys.argv[3])
    await log.close()
    state.close()


if __name__ == "__main__":
    asyncio.run(main())
