"""Owns the store that a drill starts for itself in a folder: a launcher for each node, killed and started again."""

import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from random import SystemRandom
from typing import Final, Self

from s3d.drill import disks
from s3d.drill.port import NoProcessError, StartError
from s3d.drill.processes import command_line, descendants
from s3d.drill.running import SHARD_SERVER
from shardd.contract.blobs import NodeId
from shardd.contract.cluster import Cluster
from shardd.contract.cluster_file import load
from shardd.transport import ties

NODES: Final = 5
READY_S: Final = 120.0
STOPPED_S: Final = 20.0
SCRUB_PERIOD_S: Final = 20.0  # a drill does not wait 30 days for what only scrub can find

_HOST: Final = "127.0.0.1"
_PORTS: Final = range(10_000, 32_768)  # below those that Linux gives to whoever asks for any
_LEFT_OUT: Final = ("CONFIG", "NODE", "NOTIFY_SOCKET")  # flags of another store
_SCRUBBED_OFTEN: Final = (
    f"[storage]\nsegment_bytes = {16 << 20}\nscrub_days = {SCRUB_PERIOD_S / 86_400:.7f}\n"
)


class OwnStore:
    """Five nodes in `folder`, RS(3,2). Leaves no process and no mount behind when it is left, nor when it is killed.

    `own_disks`: each node has a small file system of its own. `scrubbed_often`: a pass of scrub every SCRUB_PERIOD_S,
    which takes up to a fifth of each shard server.
    """

    title = "a store of its own"
    outlives = False

    def __init__(self, folder: Path, *, own_disks: bool = False, scrubbed_often: bool = False) -> None:
        self._folder, self._own_disks = folder, own_disks
        self._mounted: list[Path] = []
        self._log = folder / "log"
        self._config = folder / "cluster.toml"
        self._config.write_text(_file_text() + (_SCRUBBED_OFTEN if scrubbed_often else ""))
        self._launchers: dict[NodeId, asyncio.subprocess.Process] = {}
        self.cluster: Cluster = load(self._config)

    async def __aenter__(self) -> Self:
        try:
            for node in self.nodes if self._own_disks else ():
                await disks.mount(self._folder / f"disk-{node}", self.folder_of(node))
                self._mounted.append(self.folder_of(node))
            await self.start(*self.nodes)
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    @property
    def nodes(self) -> tuple[NodeId, ...]:
        """All of them, whether they run or not."""
        return tuple(entry.id for entry in self.cluster.nodes)

    def folder_of(self, node: NodeId) -> Path:
        """Where a node keeps its shards."""
        return self.cluster.node(node).path

    def shard_server_of(self, node: NodeId) -> int:
        """The process id of a node's shard server. Raises NoProcessError."""
        launcher = self._launchers.get(node)
        for pid in descendants(launcher.pid) if launcher else ():
            if SHARD_SERVER in command_line(pid):
                return pid
        raise NoProcessError(f"node {node} has no shard server")

    async def start(self, *nodes: NodeId) -> None:
        """Starts these nodes and waits until each says `ready`. Raises StartError."""
        for node in nodes:
            self._launchers[node] = await self._launch(node)
        for node in nodes:
            try:
                async with asyncio.timeout(READY_S):
                    await self._until_ready(node)
            except TimeoutError as error:
                raise StartError(f"node {node} is not ready after {READY_S:g} s:\n{self._tail()}") from error

    async def kill(self, node: NodeId) -> None:
        """kill -9 of all processes of a node at once."""
        await _kill(self._launchers.pop(node))

    async def stop(self, node: NodeId) -> None:
        """SIGTERM, and its end in order."""
        launcher = self._launchers.pop(node)
        launcher.terminate()
        try:
            async with asyncio.timeout(STOPPED_S):
                await launcher.wait()
        finally:
            await _kill(launcher)

    async def _launch(self, node: NodeId) -> asyncio.subprocess.Process:
        environment = {name: value for name, value in os.environ.items() if name not in _LEFT_OUT}
        words = ("-m", "s3d.daemon", "-config", str(self._config), "-node", str(node))
        with self._log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                *words,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                preexec_fn=ties.to_this_process(),
            )

    async def _until_ready(self, node: NodeId) -> None:
        said = self._launchers[node].stdout
        assert said is not None
        async for line in said:
            if line == b"ready\n":
                return
        raise StartError(f"node {node} ended:\n{self._tail()}")

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-2_000:]

    async def _end(self) -> None:
        launchers, self._launchers = list(self._launchers.values()), {}
        for launcher in launchers:
            await _kill(launcher)
        while self._mounted:
            await disks.unmount(self._mounted.pop())


async def _kill(launcher: asyncio.subprocess.Process) -> None:
    """Of the launcher's whole group; a child dies with its launcher even so."""
    with suppress(ProcessLookupError):
        os.killpg(launcher.pid, signal.SIGKILL)
    await launcher.wait()


def _file_text() -> str:
    quic, http = _free_ports(socket.SOCK_DGRAM), _free_ports(socket.SOCK_STREAM)
    nodes = "".join(
        f'[[nodes]]\nid = {at + 1}\nhost = "{_HOST}"\nport = {quic[at]}\ns3_port = {http[at]}\n'
        f'path = "node-{at + 1}"\n'
        for at in range(NODES)
    )
    return f'version = "1.0"\n{nodes}'


def _free_ports(kind: socket.SocketKind) -> list[int]:
    """Ports that nobody has now, and that no connection is given while their nodes are down."""
    found: list[int] = []
    for port in SystemRandom().sample(_PORTS, len(_PORTS)):
        with socket.socket(socket.AF_INET, kind) as probe, suppress(OSError):
            probe.bind((_HOST, port))
            found.append(port)
        if len(found) == NODES:
            break
    return found
