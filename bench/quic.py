"""Owns the floor of QUIC alone: our transport between two processes, extents out of memory, no disk and no HTTP."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import uvloop

from bench.floors import Floor
from bench.processes import cpu_s
from s3d.shards.client import ShardClient
from shardd.contract.blobs import EXTENT_SIZE_MAX, EXTENT_UNITS_MAX, NodeId
from shardd.contract.cluster import NodeConfig, QuicConfig
from shardd.contract.hello import PeerName, Role
from shardd.contract.identity_files import file_stem
from shardd.contract.messages import Done, GetUnits, PutExtent, Units
from shardd.transport.authority import issue, make_cluster_authority
from shardd.transport.endpoint import ServerEndpoint, load_engine
from shardd.transport.engine import EngineSettings
from shardd.transport.session import Request
from shardd.transport.tls import PeerIdentity

MB = 1e6
EXTENTS = 400
AT_ONCE = 6
DEADLINE_S = 30.0
NODE = NodeId(1)
GATEWAY, SERVER = PeerName(Role.GATEWAY, NODE), PeerName(Role.SHARD_SERVER, NODE)
QUIC = QuicConfig()
EXTENT = os.urandom(EXTENT_SIZE_MAX)


def floors() -> Iterator[Floor]:
    """GET and PUT of whole extents between one client and one server, CPU of both."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_cluster_authority(folder)
        for peer in (GATEWAY, SERVER):
            issue(folder, role=peer.role, node=peer.node)
        command = [sys.executable, "-m", "bench.quic", name]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            try:
                port = int(server.stdout.readline())
                yield from uvloop.run(_measure(folder, port, server.pid))
            finally:
                server.kill()


async def _measure(folder: Path, port: int, server: int) -> list[Floor]:
    identity = PeerIdentity.load(folder, file_stem(GATEWAY))
    client = ShardClient(NodeConfig(NODE, "127.0.0.1", port, folder), identity=identity, quic=QUIC)
    try:
        await _get(client)  # connects
        found = []
        for name, ask in (("QUIC alone, GET", _get), ("QUIC alone, PUT", _put)):
            start_s, before_s = time.perf_counter(), cpu_s([server, os.getpid()])
            turns = iter(range(EXTENTS))
            async with asyncio.TaskGroup() as group:
                for number in range(AT_ONCE):
                    group.create_task(_repeat(ask, client, turns), name=f"{name} {number}")
            took_s, spent_s = time.perf_counter() - start_s, cpu_s([server, os.getpid()]) - before_s
            amount_mb = EXTENTS * EXTENT_SIZE_MAX / MB
            found.append(Floor(name, spent_s / amount_mb * 1e3, amount_mb / took_s, "MB/s"))
        return found
    finally:
        await client.close()


async def _repeat(
    ask: Callable[[ShardClient], Awaitable[None]], client: ShardClient, turns: Iterator[int]
) -> None:
    for _ in turns:
        await ask(client)


async def _get(client: ShardClient) -> None:
    await client.get(GetUnits(bytes(16), 0, 0, 0, EXTENT_UNITS_MAX), deadline_s=DEADLINE_S)


async def _put(client: ShardClient) -> None:
    message = PutExtent(bytes(16), 0, 0, 1, EXTENT_SIZE_MAX, bytes(4 * EXTENT_UNITS_MAX))
    await client.put(message, [EXTENT], deadline_s=DEADLINE_S)


def _answer(request: Request) -> None:
    if isinstance(request.frame.body, GetUnits):
        request.reply(Units(EXTENT_SIZE_MAX, bytes(4 * EXTENT_UNITS_MAX)), [EXTENT])
    else:
        request.reply(Done())


async def _serve(folder: Path) -> None:
    settings = EngineSettings(PeerIdentity.load(folder, file_stem(SERVER)), QUIC.max_datagram_size, NODE)
    endpoint = ServerEndpoint(load_engine(QUIC.engine), settings, members=frozenset((NODE,)), handler=_answer)
    print(endpoint.listen("127.0.0.1", 0)[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(Path(sys.argv[1])))
