"""Runs the contract of the NodeClient port on the fake, and on a real client of a real shard server over QUIC."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from socket import AF_INET, SOCK_DGRAM, socket

import pytest

from s3d.shards.client import ShardClient
from s3d.shards.port import NodeClient
from shardd.contract.blobs import NodeId
from shardd.contract.cluster import NodeConfig, QuicConfig, StorageConfig
from shardd.contract.errors import UnreachableError
from shardd.contract.hello import PeerName, Role
from shardd.contract.identity_files import file_stem
from shardd.engine.filesystem import DiskFilesystem
from shardd.engine.store import ShardStore
from shardd.scrubbing import Scrubbing
from shardd.service import ShardService
from shardd.transport import authority
from shardd.transport.endpoint import ServerEndpoint, load_engine
from shardd.transport.engine import EngineSettings
from shardd.transport.tls import PeerIdentity
from tests.contract_suites.shard_client import ShardClientContract
from tests.s3d.blobs.fake_node import FakeNode

NODE = NodeId(3)


class TestFakeNode(ShardClientContract):
    @pytest.fixture
    def client(self) -> NodeClient:
        return FakeNode(NODE)


class TestShardClient(ShardClientContract):
    @pytest.fixture
    async def client(self, tmp_path: Path) -> AsyncIterator[NodeClient]:
        authority.make_cluster_authority(tmp_path)
        for role in (Role.SHARD_SERVER, Role.GATEWAY):
            authority.issue(tmp_path, role=role, node=NODE)
        server = PeerIdentity.load(tmp_path, file_stem(PeerName(Role.SHARD_SERVER, NODE)))
        gateway = PeerIdentity.load(tmp_path, file_stem(PeerName(Role.GATEWAY, NODE)))
        store = ShardStore.open(
            tmp_path / "shards",
            cluster=server.cluster,
            node=NODE,
            filesystem=DiskFilesystem(),
            limits=StorageConfig(segment_bytes=32 << 20),
        )
        scrubbing = Scrubbing(store, tmp_path / "scrub.json", limits=StorageConfig())
        service = ShardService(store, scrubbing, cluster=server.cluster, give_up=lambda: None)
        quic = QuicConfig()
        endpoint = ServerEndpoint(
            load_engine(quic.engine),
            EngineSettings(server, quic.max_datagram_size, NODE),
            members=frozenset({NODE}),
            handler=service.handle,
        )
        port = _free_port()
        endpoint.listen("127.0.0.1", port)
        client = ShardClient(NodeConfig(NODE, "127.0.0.1", port, tmp_path), identity=gateway, quic=quic)
        try:
            yield client
        finally:
            await client.close()
            await endpoint.close(grace_s=1.0)
            await service.stop()
            store.close()

    async def test_a_node_that_is_not_there_is_unreachable(self, tmp_path: Path) -> None:
        authority.make_cluster_authority(tmp_path)
        authority.issue(tmp_path, role=Role.GATEWAY, node=NODE)
        gateway = PeerIdentity.load(tmp_path, file_stem(PeerName(Role.GATEWAY, NODE)))
        config = NodeConfig(NODE, "127.0.0.1", _free_port(), tmp_path)
        client = ShardClient(config, identity=gateway, quic=QuicConfig())
        async with asyncio.timeout(1.0):
            with pytest.raises(UnreachableError):
                await client.status(deadline_s=5.0)
        await client.close()


def _free_port() -> int:
    with socket(AF_INET, SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
