"""Owns what a drill does to a node: struck, then mended; never judges what came of it."""

import asyncio
import os
import random
import shutil
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from s3d.drill import disks
from s3d.drill.facts import FULL
from s3d.drill.healing import Damage
from s3d.drill.port import Store
from shardd.contract.blobs import NodeId

FLIPS: Final = 200
SUFFIX: Final = "*.segment"


@dataclass(frozen=True, slots=True)
class Fault:
    """`strike` breaks a node, `mend` gives back what was taken; healing is the store's own work.

    `damage` says what the node comes back with. `harmless`: it takes nothing from the node's disk, so that it may
    strike a store that holds what somebody wants.
    """

    strike: Callable[[Store, NodeId], Awaitable[None]]
    mend: Callable[[Store, NodeId], Awaitable[None]]
    damage: Damage = Damage.AWAY
    harmless: bool = True


async def _kill(store: Store, node: NodeId) -> None:
    await store.kill(node)


async def _stop(store: Store, node: NodeId) -> None:
    await store.stop(node)


async def _start(store: Store, node: NodeId) -> None:
    await store.start(node)


async def _pause(store: Store, node: NodeId) -> None:
    os.kill(store.shard_server_of(node), signal.SIGSTOP)


async def _resume(store: Store, node: NodeId) -> None:
    os.kill(store.shard_server_of(node), signal.SIGCONT)


async def _wipe(store: Store, node: NodeId) -> None:
    await store.kill(node)
    await asyncio.to_thread(_clear, store.folder_of(node))


async def _fill(store: Store, node: NodeId) -> None:
    await asyncio.to_thread(disks.fill, store.folder_of(node))


async def _empty(store: Store, node: NodeId) -> None:
    await asyncio.to_thread(disks.empty, store.folder_of(node))


async def _corrupt(store: Store, node: NodeId) -> None:
    await asyncio.to_thread(flip, store.folder_of(node), random.SystemRandom())


async def _nothing(store: Store, node: NodeId) -> None:
    """What was flipped stays flipped."""


def _clear(folder: Path) -> None:
    """The folder itself may be a mount."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def flip(folder: Path, chance: random.Random) -> int:
    """Turns `FLIPS` bytes of the segments under `folder` round, each of them anywhere; how many were turned."""
    turned = 0
    files = [path for path in sorted(folder.rglob(SUFFIX)) if path.stat().st_size]
    for _ in range(FLIPS if files else 0):
        path = chance.choice(files)
        with path.open("r+b", buffering=0) as file:
            at = chance.randrange(path.stat().st_size)
            file.seek(at)
            if byte := file.read(1):
                file.seek(at)
                turned += file.write(bytes((byte[0] ^ 0xFF,)))
    return turned


FAULTS: Final[Mapping[str, Fault]] = {
    "kill": Fault(_kill, _start),
    "stop": Fault(_stop, _start),
    "pause": Fault(_pause, _resume),
    "wipe": Fault(_wipe, _start, Damage.EMPTY, harmless=False),
    "corrupt": Fault(_corrupt, _nothing, Damage.ROTTEN, harmless=False),
    FULL: Fault(_fill, _empty, harmless=False),
}
