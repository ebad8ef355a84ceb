"""Owns the proof of a gateway's client against a real shard server process: what it gets, and how deaths look."""

import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from s3d.shards import client as client_module
from s3d.shards.client import ShardClient
from shardd.contract.blobs import UNIT_SIZE, BlobId, NodeId, unit_crc
from shardd.contract.cluster import NodeConfig, QuicConfig
from shardd.contract.errors import (
    DeadlineError,
    ForbiddenError,
    ShardError,
    ShardNotFoundError,
    UnreachableError,
)
from shardd.contract.messages import GetUnits, PutExtent
from shardd.transport.authority import issue, make_cluster_authority
from shardd.transport.readiness import SOCKET_VARIABLE, Announcements
from shardd.transport.tls import PeerIdentity

BLOB = BlobId(os.urandom(16))
START_S = 60.0
ROUNDS = int(os.environ.get("QUOIN_PARALLEL_ROUNDS", "3"))


class ShardProcess:
    """`python -m shardd.daemon` of node 1 in a folder of its own."""

    def __init__(self, folder: Path, *, engine: str = "qh3") -> None:
        self.secrets = folder / "data" / "cluster"
        self.config = folder / "cluster.toml"
        self.engine = engine
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            self.node = NodeConfig(NodeId(1), "127.0.0.1", probe.getsockname()[1], folder / "data" / "node-1")
        make_cluster_authority(self.secrets)
        self.issue(self.secrets)
        self.config.write_text(
            f'version = "1.0"\n[rs]\ndata = 1\nparity = 0\n[quic]\nengine = "{engine}"\n'
            f'[[nodes]]\nid = 1\nhost = "127.0.0.1"\nport = {self.node.port}\npath = "data/node-1"\n'
        )
        self.process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def issue(secrets: Path) -> None:
        for role, node in (("shard server", 1), ("gateway", 1), ("administrator", 0)):
            issue(secrets, role=role, node=node)

    def start(self) -> None:
        said = Announcements()
        arguments = [sys.executable, "-m", "shardd.daemon", "-config", str(self.config), "-node", "1"]
        self.process = subprocess.Popen(arguments, env={**os.environ, SOCKET_VARIABLE: said.address})
        heard, _, _ = select.select([said], [], [], START_S)
        said.close()
        assert heard, "the shard server did not start in time"

    def signal(self, number: int) -> None:
        assert self.process
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def client(self, name: str = "node-1-gateway") -> ShardClient:
        identity = PeerIdentity.load(self.secrets, name)
        return ShardClient(self.node, identity=identity, quic=QuicConfig(engine=self.engine))  # type: ignore[arg-type]


@pytest.fixture(params=["qh3", "aioquic"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ShardProcess]:
    made = ShardProcess(tmp_path)
    made.start()
    yield made
    made.kill()


@pytest.fixture
async def client(server: ShardProcess) -> AsyncIterator[ShardClient]:
    made = server.client()
    yield made
    await made.close()


def extent(number: int, units: list[bytes], *, shard: int = 0) -> PutExtent:
    crcs = [unit_crc(BLOB, shard, 16 * number + at, unit) for at, unit in enumerate(units)]
    return PutExtent(
        BLOB, shard, number, 1, sum(map(len, units)), b"".join(crc.to_bytes(4, "big") for crc in crcs), True
    )


async def test_what_is_put_comes_back_on_either_engine(tmp_path: Path, engine: str) -> None:
    server = ShardProcess(tmp_path, engine=engine)
    server.start()
    try:
        client, units = server.client(), [os.urandom(UNIT_SIZE) for _ in range(16)]
        message = extent(0, units)
        await client.put(message, units, deadline_s=5)
        found, payload = await client.get(GetUnits(BLOB, 0, 0, 3, 2), deadline_s=5)
        assert (found.length, found.crcs) == (2 * UNIT_SIZE, message.crcs[12:20])
        assert b"".join(payload) == units[3] + units[4]
        assert (await client.stat(BLOB, 0, deadline_s=5)).extents == [(0, 1, 1 << 20)]
        assert len((await client.list(b"", 10, deadline_s=5)).shards) == 1
        await client.delete([(BLOB, 0, 1)], deadline_s=5)
        with pytest.raises(ShardNotFoundError):
            await client.get(GetUnits(BLOB, 0, 0, 0, 1), deadline_s=5)
        assert (await client.status(deadline_s=5)).node == 1 and client.connected
        await client.close()
        server.signal(signal.SIGTERM)
        assert server.process and server.process.wait(START_S) == 0
    finally:
        server.kill()


async def test_a_killed_server_fails_what_is_in_flight_at_once(
    server: ShardProcess, client: ShardClient
) -> None:
    await client.status(deadline_s=5)
    server.signal(signal.SIGSTOP)
    asked = [asyncio.ensure_future(client.status(deadline_s=30)) for _ in range(20)]
    await asyncio.sleep(0)
    began_s = time.monotonic()
    server.kill()
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    took_s = time.monotonic() - began_s
    assert {type(outcome) for outcome in outcomes} == {UnreachableError}
    assert took_s < 10.0 and not client.connected  # of the 30 that they would have waited


async def test_the_client_comes_back_with_the_server(server: ShardProcess, client: ShardClient) -> None:
    unit = os.urandom(100)
    await client.put(extent(0, [unit]), [unit], deadline_s=5)
    server.kill()
    for _ in range(5):
        with pytest.raises((UnreachableError, DeadlineError)):
            await client.status(deadline_s=0.3)
    server.start()
    for _ in range(100):
        try:
            await client.status(deadline_s=1)
            break
        except (UnreachableError, DeadlineError):
            await asyncio.sleep(client_module.BACK_OFF_MAX_S / 20)
    _, payload = await client.get(GetUnits(BLOB, 0, 0, 0, 1), deadline_s=5)
    assert b"".join(payload) == unit


async def test_a_restart_between_two_requests_costs_one_deadline(
    server: ShardProcess, client: ShardClient
) -> None:
    """The new process knows nothing of the connection and nobody refuses a packet: silence is what there is."""
    await client.status(deadline_s=5)
    server.kill()
    server.start()
    with pytest.raises((DeadlineError, UnreachableError)):
        await client.status(deadline_s=0.5)
    assert (await client.status(deadline_s=5)).state == "ok"


async def test_a_silent_server_is_a_deadline_and_nothing_is_left_behind(
    server: ShardProcess, client: ShardClient
) -> None:
    await client.status(deadline_s=5)
    server.signal(signal.SIGSTOP)
    began_s = time.monotonic()
    with pytest.raises(DeadlineError):
        await client.status(deadline_s=0.3)
    assert 0.25 < time.monotonic() - began_s < 10.0
    server.signal(signal.SIGCONT)
    assert (await client.status(deadline_s=5)).state == "ok"


async def test_nobody_there_is_unreachable_at_once_and_then_rests(tmp_path: Path) -> None:
    client = ShardProcess(tmp_path).client()
    began_s = time.monotonic()
    for _ in range(1_000):
        with pytest.raises(UnreachableError):
            await client.status(deadline_s=5)
    assert time.monotonic() - began_s < 60.0  # of the 5,000 s that so many would wait
    await client.close()
    with pytest.raises(UnreachableError, match="closed"):
        await client.status(deadline_s=5)


async def test_a_cancelled_request_leaves_room_for_others(server: ShardProcess, client: ShardClient) -> None:
    units = [os.urandom(UNIT_SIZE)] * 16
    for number in range(300):
        task = asyncio.ensure_future(client.put(extent(number, units), units, deadline_s=5))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await client.put(extent(0, units), units, deadline_s=5)
    assert (await client.status(deadline_s=5)).state == "ok"


async def test_an_administrator_may_look_only(server: ShardProcess) -> None:
    client = server.client("admin")
    assert (await client.status(deadline_s=5)).state == "ok"
    with pytest.raises(ForbiddenError):
        await client.delete([(BLOB, 0, 1)], deadline_s=5)
    await client.close()


async def test_many_large_puts_and_gets_at_once_neither_hang_nor_mix(server: ShardProcess) -> None:
    """T-P5's class: four gateways, each with many mebibytes under way in both directions at once."""
    print(f"T-P5: {ROUNDS} rounds of 4 clients with 40 extents each")
    clients = [server.client() for _ in range(4)]

    async def there_and_back(client: ShardClient, number: int, shard: int) -> None:
        unit = bytes([shard, number]) * (UNIT_SIZE // 2)
        units = [unit] * 16
        await client.put(extent(number, units, shard=shard), units, deadline_s=60)
        _, payload = await client.get(GetUnits(BLOB, shard, number, 0, 16), deadline_s=60)
        assert b"".join(payload) == unit * 16

    for turn in range(ROUNDS):
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for shard, client in enumerate(clients):
                for number in range(40):
                    group.create_task(there_and_back(client, number, 4 * turn + shard))
        await clients[0].delete([(BLOB, 4 * turn + shard, 1) for shard in range(4)], deadline_s=5)
    for client in clients:
        await client.close()


async def test_only_errors_of_the_tree_come_out(server: ShardProcess) -> None:
    """Requests while the server is stopped, killed and started at any moment."""
    client = server.client()
    for pause in range(6):
        asked = [asyncio.ensure_future(client.status(deadline_s=0.2)) for _ in range(10)]
        await asyncio.sleep(pause * 0.002)
        server.kill()
        for outcome in await asyncio.gather(*asked, return_exceptions=True):
            assert not isinstance(outcome, BaseException) or isinstance(outcome, ShardError)
        server.start()
    await client.close()
