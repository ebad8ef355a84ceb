"""Owns the process of a shard server: wiring, signals, the end. `python -m shardd.daemon -config FILE -node N`."""

import asyncio
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop

from shardd.contract import flags
from shardd.contract.cluster import Cluster, NodeConfig
from shardd.contract.errors import ConfigurationError, QuoinError, StorageFailedError, WrongClusterError
from shardd.contract.hello import PeerName, Role
from shardd.contract.identity_files import file_stem
from shardd.engine.filesystem import DiskFilesystem
from shardd.engine.store import ShardStore
from shardd.members import follow, members_of
from shardd.scrubbing import Scrubbing
from shardd.service import ShardService
from shardd.transport import collector, holds, readiness
from shardd.transport.endpoint import ServerEndpoint, load_engine
from shardd.transport.engine import EngineSettings
from shardd.transport.tls import PeerIdentity

STOP_GRACE_S = 4.0
SCRUB_FILE = "scrub.json"

log = logging.getLogger("shardd")


def main() -> int:
    """Runs until SIGTERM or SIGINT; 0 after a clean end, 2 where the configuration is wrong, 1 for the rest."""
    arguments = flags.parser("shardd", "The shard server of one node.").parse_args()
    cluster = flags.load_or_exit(arguments.config)
    node = flags.node_or_exit(cluster, arguments.node, arguments.config)
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format=f"shardd {node.id}: %(levelname)s %(message)s"
    )
    try:
        with _held(node):
            uvloop.run(_serve(cluster, node, arguments.config))
    except (QuoinError, OSError) as error:
        log.error("%s", error)
        return flags.EXIT_CONFIGURATION if isinstance(error, ConfigurationError) else 1
    return 0


@contextmanager
def _held(node: NodeConfig) -> Iterator[None]:
    """Keeps folder and port, unless whoever started this process keeps them for it."""
    mine: list[int] = []
    if not os.environ.get(holds.HELD_VARIABLE):
        mine = [holds.hold_folder(node.path), holds.hold_port("udp", node.host, node.port)]
    try:
        yield
    finally:
        for descriptor in mine:
            os.close(descriptor)


async def _serve(cluster: Cluster, node: NodeConfig, config: Path) -> None:
    stopping = asyncio.Event()
    for number in flags.stop_signals():
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    name = PeerName(Role.SHARD_SERVER, node.id)
    identity = PeerIdentity.load(cluster.secrets_path, file_stem(name))
    store = _open(cluster, node, config, identity)
    try:
        scrubbing = Scrubbing(store, node.path / SCRUB_FILE, limits=cluster.storage)
        service = ShardService(store, scrubbing, cluster=identity.cluster, give_up=stopping.set)
        endpoint = ServerEndpoint(
            load_engine(cluster.quic.engine),
            EngineSettings(identity, cluster.quic.max_datagram_size, node.id),
            members=members_of(cluster),
            handler=service.handle,
        )
        endpoint.listen(node.host, node.port)
        collector.quieten()
        readiness.announce()
        log.info("serving on %s:%d", node.host, node.port)
        behind = [
            asyncio.create_task(collector.collect(), name="collector"),
            asyncio.create_task(follow(endpoint, config), name="members"),
        ]
        await stopping.wait()
        for task in behind:
            task.cancel()
        await endpoint.close(grace_s=STOP_GRACE_S)
        await service.stop()
        if store.needs_restart:
            raise StorageFailedError("the index cannot be used any longer: the next start makes it anew")
    finally:
        store.close()


def _open(cluster: Cluster, node: NodeConfig, config: Path, identity: PeerIdentity) -> ShardStore:
    """The node's store; ConfigurationError where its folder is another's: no later start would find another one."""
    try:
        return ShardStore.open(
            node.path / "shards",
            cluster=identity.cluster,
            node=node.id,
            filesystem=DiskFilesystem(),
            limits=cluster.storage,
        )
    except WrongClusterError as error:
        raise ConfigurationError(f"{config}: nodes[{cluster.nodes.index(node)}].path: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
