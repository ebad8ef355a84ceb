"""Owns the nodes of a store that runs already on this machine: its processes are found, signalled, never started.

Its launcher starts again what dies; so nothing here takes anything that a restart would not bring back.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from s3d.drill.port import NoProcessError
from s3d.drill.processes import command_line
from shardd.contract.blobs import NodeId
from shardd.contract.cluster import Cluster

SHARD_SERVER: Final = "shardd.daemon"
GATEWAY: Final = "s3d.gateway"


class RunningStore:
    """The cluster of `config`, whose launchers run on this machine, where it is to be struck."""

    outlives = True

    def __init__(self, cluster: Cluster, config: Path) -> None:
        self.title = f"the store of {config}"
        self.cluster = cluster
        self._config = config.resolve()

    @property
    def nodes(self) -> tuple[NodeId, ...]:
        """Of the file."""
        return tuple(entry.id for entry in self.cluster.nodes)

    def folder_of(self, node: NodeId) -> Path:
        """Where a node keeps its shards."""
        return self.cluster.node(node).path

    def shard_server_of(self, node: NodeId) -> int:
        """The process id of a node's shard server. Raises NoProcessError."""
        return next(self._processes(node, SHARD_SERVER), None) or _refuse(node)

    async def kill(self, node: NodeId) -> None:
        """kill -9 of the node's shard server and gateways; its launcher lives. Raises NoProcessError."""
        self._signal(node, signal.SIGKILL)

    async def stop(self, node: NodeId) -> None:
        """SIGTERM to the node's shard server and gateways. Raises NoProcessError."""
        self._signal(node, signal.SIGTERM)

    async def start(self, *nodes: NodeId) -> None:
        """Their launcher does it."""

    def _signal(self, node: NodeId, number: signal.Signals) -> None:
        found = [*self._processes(node, SHARD_SERVER), *self._processes(node, GATEWAY)] or [_refuse(node)]
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _processes(self, node: NodeId, program: str) -> Iterator[int]:
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                words = command_line(int(entry.name))
                if program in words and _flag(words, "-node") == str(node) and self._is_ours(entry, words):
                    yield int(entry.name)

    def _is_ours(self, entry: Path, words: list[str]) -> bool:
        """Whether it was started with our file, named from its folder."""
        try:
            return (entry / "cwd").readlink().joinpath(_flag(words, "-config")).resolve() == self._config
        except OSError:
            return False


def _flag(words: list[str], name: str) -> str:
    return words[words.index(name) + 1] if name in words[:-1] else ""


def _refuse(node: NodeId) -> int:
    raise NoProcessError(f"node {node} has no process here that may be signalled")
