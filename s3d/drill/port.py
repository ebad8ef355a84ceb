"""Owns what a drill needs of a store: its gateways and key, and hands on its nodes; never a process itself."""

from pathlib import Path
from typing import Protocol

from s3d.access import administrator
from s3d.protocol.sigv4 import Key
from shardd.contract.blobs import NodeId
from shardd.contract.cluster import Cluster
from shardd.contract.errors import ConfigurationError, QuoinError


class NoProcessError(QuoinError):
    """The node has no process on this machine that could be signalled."""


class StartError(QuoinError):
    """A node does not start, or not in time; the message has the end of its log."""


class Store(Protocol):
    """A store whose nodes can be struck. All are for one caller at a time."""

    title: str
    cluster: Cluster
    outlives: bool  # it is there when the drill is over, and is left as it was found

    @property
    def nodes(self) -> tuple[NodeId, ...]:
        """All of them, whether they run or not."""

    def folder_of(self, node: NodeId) -> Path:
        """Where a node keeps its shards."""

    def shard_server_of(self, node: NodeId) -> int:
        """The process id of a node's shard server. Raises NoProcessError."""

    async def kill(self, node: NodeId) -> None:
        """kill -9 of all processes of a node at once. Raises NoProcessError."""

    async def stop(self, node: NodeId) -> None:
        """SIGTERM, and the node's end in order. Raises NoProcessError."""

    async def start(self, *nodes: NodeId) -> None:
        """These nodes run again when it returns, or will soon. Raises StartError."""


def key_of(cluster: Cluster, access: str | None = None) -> Key:
    """The key with this id, or the cluster's first. Raises ConfigurationError."""
    for found in administrator.keys_of(cluster):
        if access in (None, found.access_key_id):
            return Key(found.access_key_id, found.secret_access_key, cluster.region)
    raise ConfigurationError(f"auth: no key {access}")
