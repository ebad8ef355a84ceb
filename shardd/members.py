"""Owns which nodes' proofs a shard server takes: those of cluster.toml, looked at again whenever the file changes."""

import asyncio
import logging
from pathlib import Path

from shardd.contract.blobs import NodeId
from shardd.contract.cluster import Cluster
from shardd.contract.cluster_file import load
from shardd.contract.errors import ConfigurationError
from shardd.transport.endpoint import ServerEndpoint

LOOK_EVERY_S = 0.5

log = logging.getLogger(__name__)


def members_of(cluster: Cluster) -> frozenset[NodeId]:
    """The nodes that the file names: who is none of them is refused, whatever it proves."""
    return frozenset(entry.id for entry in cluster.nodes)


async def follow(endpoint: ServerEndpoint, path: Path) -> None:
    """Keep `endpoint.members` as the file at `path` says, until cancelled. A file with a fault changes nothing."""
    seen = None
    while True:
        stamp = _stamp(path)
        if stamp != seen:
            seen = stamp
            try:
                endpoint.members = members_of(load(path))
            except ConfigurationError as error:
                log.warning("the members stay as they are: %s", error)
        await asyncio.sleep(LOOK_EVERY_S)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
