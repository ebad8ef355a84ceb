"""Acknowledgements travel with requests and replies: a small request costs hardly more than two datagrams."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from s3d.shards.client import ShardClient
from shardd.contract.blobs import EXTENT_SIZE_MAX, EXTENT_UNITS_MAX, NodeId
from shardd.contract.cluster import NodeConfig, QuicConfig
from shardd.contract.messages import Done, GetUnits, PutExtent, Units
from shardd.transport.authority import issue, make_cluster_authority
from shardd.transport.channel import ACK_WAIT_S
from shardd.transport.datagrams import DatagramSocket
from shardd.transport.endpoint import ServerEndpoint, load_engine
from shardd.transport.engine import EngineSettings
from shardd.transport.native import Address
from shardd.transport.qh3_engine import ACK_DELAY_MS
from shardd.transport.session import Request
from shardd.transport.tls import PeerIdentity

NODE = NodeId(1)
QUIC = QuicConfig()
REQUESTS = 60
DEADLINE_S = 10.0
SMALL, LARGE = b"u" * 1_400, b"e" * EXTENT_SIZE_MAX


def answer(request: Request) -> None:
    """At once, out of memory: small where one unit is asked for, else a whole extent."""
    body = request.frame.body
    if isinstance(body, GetUnits):
        data = SMALL if body.count == 1 else LARGE
        request.reply(Units(len(data), bytes(4 * body.count)), [data])
    else:
        request.reply(Done())


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[ShardClient]:
    """Connected to a server in this same process."""
    make_cluster_authority(tmp_path)
    for role in ("gateway", "shard server"):
        issue(tmp_path, role=role, node=NODE)
    settings = EngineSettings(PeerIdentity.load(tmp_path, "node-1-shard"), QUIC.max_datagram_size, NODE)
    endpoint = ServerEndpoint(load_engine(QUIC.engine), settings, members=frozenset((NODE,)), handler=answer)
    port = endpoint.listen("127.0.0.1", 0)[1]
    identity = PeerIdentity.load(tmp_path, "node-1-gateway")
    made = ShardClient(NodeConfig(NODE, "127.0.0.1", port, tmp_path), identity=identity, quic=QUIC)
    await made.get(GetUnits(bytes(16), 0, 0, 0, 1), deadline_s=DEADLINE_S)
    yield made
    await made.close()
    await endpoint.close()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all datagrams that leave from now on, both ways."""
    sizes, send = list[int](), DatagramSocket.send

    def counting(self: DatagramSocket, datagrams: list[bytes], address: Address) -> None:
        sizes.extend(map(len, datagrams))
        send(self, datagrams, address)

    monkeypatch.setattr(DatagramSocket, "send", counting)
    return sizes


async def test_a_small_read_costs_two_datagrams(client: ShardClient, sent: list[int]):
    for _ in range(REQUESTS):
        await client.get(GetUnits(bytes(16), 0, 0, 0, 1), deadline_s=DEADLINE_S)
    assert 2 * REQUESTS <= len(sent) <= 3 * REQUESTS


async def test_a_small_write_costs_two_datagrams(client: ShardClient, sent: list[int]):
    for _ in range(REQUESTS):
        message = PutExtent(bytes(16), 0, 0, 1, len(SMALL), bytes(4))
        await client.put(message, [SMALL], deadline_s=DEADLINE_S)
    assert 2 * REQUESTS <= len(sent) <= 3 * REQUESTS


async def test_a_transfer_does_not_wait_for_company(client: ShardClient, sent: list[int]):
    """Were its acknowledgements kept back, each window of a whole extent would stand still for ACK_WAIT_S."""
    for _ in range(3):
        await client.get(GetUnits(bytes(16), 0, 0, 0, EXTENT_UNITS_MAX), deadline_s=DEADLINE_S)
    from_client = [size for size in sent if size < 200]
    assert sum(sent) > 3 * EXTENT_SIZE_MAX and len(from_client) >= 12


def test_what_is_kept_back_is_less_than_what_peers_allow():
    assert ACK_WAIT_S * 1_000 < ACK_DELAY_MS / 2
