"""Owns what the rows of a live cluster and its shard servers say of each other, and deletes that come late."""

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

from s3d.blobs.comparing import is_whole
from s3d.metadata.commands import MarkDegraded
from s3d.metadata.log import LocalLog
from s3d.metadata.references import audit
from s3d.metadata.rows import BlobRow
from s3d.metadata.state import State
from s3d.metadata.view import View
from s3d.placement.stripes import Layout
from s3d.shards.client import ShardClient
from shardd.contract.blobs import NodeId, new_blob_id
from shardd.contract.cluster import NodeConfig, QuicConfig
from shardd.contract.errors import DeadlineError, ShardError, UnreachableError
from shardd.contract.hello import PeerName, Role
from shardd.contract.identity_files import file_stem
from shardd.transport.tls import PeerIdentity
from tests.integration.cluster import ROOT, Cluster

MAP_SIZE = 64 << 30
ASKED_AT_ONCE = 32
DELETES_MAX = 1_000
DEADLINE_S = 10.0
PATIENCE_S, PAUSE_S = 120.0, 0.5
T = TypeVar("T")


def s3ctl(store: Cluster, *words: str) -> subprocess.CompletedProcess[str]:
    """A command of s3ctl on the store; its status is the caller's to judge."""
    command = [str(ROOT / "bin/s3ctl"), "-config", str(store.config), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=180)


def jobs(store: Cluster) -> dict[str, Any]:
    """The jobs by name, as `s3ctl status` has them."""
    done = s3ctl(store, "status", "-json")
    return {job["name"]: job for job in json.loads(done.stdout)["jobs"]} if not done.returncode else {}


@contextmanager
def rows_of(store: Cluster) -> Iterator[View]:
    """The state as it is now."""
    state = State.open(store.folder / "data/metadata", MAP_SIZE)
    try:
        with state.view() as view:
            yield view
    finally:
        state.close()


def blobs_of(store: Cluster) -> dict[bytes, BlobRow]:
    """Every blob that has a row."""
    with rows_of(store) as view:
        return dict(view.blobs())


def shards_on(store: Cluster, node: int) -> int:
    """How many shards the rows name on a node."""
    return sum(place == node for row in blobs_of(store).values() for place, _ in row.shards)


def faults_of_shards(store: Cluster, nodes: Sequence[int]) -> list[str]:
    """Where a row names a shard that is not there, whole and of its generation; and what references get wrong.

    The store is at rest: nothing moves, and `nodes` are all that rows may name.
    """
    with rows_of(store) as view:
        faults, rows = [str(fault) for fault in audit(view)], dict(view.blobs())
    return faults + asyncio.run(_missing(store, rows, nodes))


def delete_late(store: Cluster, nodes: Sequence[int]) -> int:
    """Sends the DELETE that would be on its way from before each shard got to where it is; how many were sent."""
    rows = blobs_of(store)
    orders: dict[int, list[tuple[bytes, int, int]]] = {node: [] for node in nodes}
    for blob, row in rows.items():
        for shard, (node, generation) in enumerate(row.shards):
            if generation > 1:
                orders[node].append((blob, shard, generation - 1))

    async def send() -> None:
        async with _clients(store, nodes) as clients:
            for node, shards in orders.items():
                for at in range(0, len(shards), DELETES_MAX):
                    some = shards[at : at + DELETES_MAX]
                    await _answer(partial(clients[node].delete, some, deadline_s=DEADLINE_S))

    asyncio.run(send())
    return sum(map(len, orders.values()))


def complain(store: Cluster, blobs: Sequence[bytes], *, shard: int) -> None:
    """Files a shard of each blob for repair, as a gateway does that could not read it."""
    state = State.open(store.folder / "data/metadata", MAP_SIZE)

    async def file() -> None:
        now_us = time.time_ns() // 1_000
        log = LocalLog(state)
        try:
            await log.append(
                [
                    MarkDegraded(new_blob_id(now_us // 1_000), now_us, blob=blob, suspects=(shard,))
                    for blob in blobs
                ]
            )
        finally:
            await log.close()

    try:
        asyncio.run(file())
    finally:
        state.close()


@asynccontextmanager
async def _clients(store: Cluster, nodes: Sequence[int]) -> AsyncIterator[dict[int, ShardClient]]:
    identity = PeerIdentity.load(store.folder / "data/cluster", file_stem(PeerName(Role.GATEWAY, NodeId(1))))
    clients = {
        node: ShardClient(
            NodeConfig(NodeId(node), store.host(node), store.ports[node], store.folder),
            identity=identity,
            quic=QuicConfig(),
        )
        for node in nodes
    }
    try:
        yield clients
    finally:
        for client in clients.values():
            await client.close()


async def _answer(ask: Callable[[], Awaitable[T]]) -> T:
    """The first one: a node that is late, or is just being started again, has not said that it lacks anything."""
    late_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < late_s:
        with suppress(DeadlineError, UnreachableError):
            return await ask()
        await asyncio.sleep(PAUSE_S)
    return await ask()


async def _missing(store: Cluster, rows: dict[bytes, BlobRow], nodes: Sequence[int]) -> list[str]:
    places = iter([(blob, shard) for blob, row in rows.items() for shard in range(len(row.shards))])
    faults: list[str] = []

    async def ask(clients: dict[int, ShardClient]) -> None:
        for blob, shard in places:
            row = rows[blob]
            node, generation = row.shards[shard]
            try:
                stat = await _answer(partial(clients[node].stat, blob, shard, deadline_s=DEADLINE_S))
            except (KeyError, ShardError) as fault:
                faults.append(f"{blob.hex()} shard {shard} on node {node}: {fault!r}")
                continue
            if not is_whole(stat, extents=Layout(row.size, row.k).extents, generation=generation):
                faults.append(f"{blob.hex()} shard {shard} on node {node} is not whole: {stat}")

    async with _clients(store, nodes) as clients, asyncio.TaskGroup() as group:
        for _ in range(ASKED_AT_ONCE):
            group.create_task(ask(clients))
    return faults
