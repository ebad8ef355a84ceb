"""Owns what the rows of a live cluster and its shard servers say of each other; changes neither."""

import asyncio
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from s3d.blobs.comparing import is_whole
from s3d.metadata.references import audit
from s3d.metadata.rows import BlobRow
from s3d.metadata.state import State
from s3d.metadata.view import View
from s3d.placement.stripes import Layout
from s3d.shards.client import ShardClient
from shardd.contract.blobs import NodeId
from shardd.contract.cluster import NodeConfig, QuicConfig
from shardd.contract.errors import ShardError
from shardd.contract.hello import PeerName, Role
from shardd.contract.identity_files import file_stem
from shardd.transport.tls import PeerIdentity
from tests.integration.cluster import ROOT, Cluster

MAP_SIZE = 64 << 30
ASKED_AT_ONCE = 32
DEADLINE_S = 10.0


def s3ctl(store: Cluster, *words: str) -> subprocess.CompletedProcess[str]:
    """A command of s3ctl on the store; its status is the caller's to judge."""
    command = [str(ROOT / "bin/s3ctl"), "-config", str(store.config), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=180)


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


async def _missing(store: Cluster, rows: dict[bytes, BlobRow], nodes: Sequence[int]) -> list[str]:
    identity = PeerIdentity.load(store.folder / "data/cluster", file_stem(PeerName(Role.GATEWAY, NodeId(1))))
    clients = {
        node: ShardClient(
            NodeConfig(NodeId(node), store.host(node), store.ports[node], store.folder),
            identity=identity,
            quic=QuicConfig(),
        )
        for node in nodes
    }
    places = iter([(blob, shard) for blob, row in rows.items() for shard in range(len(row.shards))])
    faults: list[str] = []

    async def ask() -> None:
        for blob, shard in places:
            row = rows[blob]
            node, generation = row.shards[shard]
            try:
                stat = await clients[node].stat(blob, shard, deadline_s=DEADLINE_S)
            except (KeyError, ShardError) as fault:
                faults.append(f"{blob.hex()} shard {shard} on node {node}: {fault!r}")
                continue
            if not is_whole(stat, extents=Layout(row.size, row.k).extents, generation=generation):
                faults.append(f"{blob.hex()} shard {shard} on node {node} is not whole: {stat}")

    async with asyncio.TaskGroup() as group:
        for _ in range(ASKED_AT_ONCE):
            group.create_task(ask())
    for client in clients.values():
        await client.close()
    return faults
