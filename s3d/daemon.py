"""Owns a launcher: the nodes of a cluster.toml on this machine, started, watched and stopped; never serves itself."""

import os
import resource
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from s3d import bootstrap
from s3d.admin.counters import COUNTERS_VARIABLE, SUFFIX
from s3d.children import Children, Program
from shardd.contract import flags
from shardd.contract.cluster import Cluster, NodeConfig
from shardd.contract.errors import ConfigurationError
from shardd.transport import holds, readiness

HOLD_WITHIN_S: Final = 3.0  # how long the processes of a launcher that was killed may take to end
SERVERS_FIRST_S: Final = 3.0  # how long gateways wait for shard servers that recover
GATEWAY_GRACE_S: Final = 6.0  # a gateway itself gives its requests 5 s
SERVER_GRACE_S: Final = 5.0
POLL_S: Final = 0.05

# Large buffers (extents, windows of an upload) are kept and used again, not given back to the kernel and faulted in
# anew: 8,000 page faults in place of 112,000 for six PUTs of 64 MiB, for 100 MB more that stay resident in all.
# Two arenas are enough for a loop and its executor.
ALLOCATOR: Final = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
}
BIN = Path(__file__).parents[1] / "bin"


class Launcher:
    """The shard servers and gateways of `nodes`. One thread, no event loop: it waits for children and signals."""

    def __init__(self, cluster: Cluster, nodes: tuple[NodeConfig, ...], config: Path) -> None:
        self._cluster, self._nodes, self._config = cluster, nodes, config
        self._servers, self._gateways = Children(), Children()
        self._announcements = readiness.Announcements()
        self._stopping = False
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._announcements, selectors.EVENT_READ)
        self._signals = _signal_pipe(self._stop_soon)
        self._selector.register(self._signals, selectors.EVENT_READ)

    def run(self) -> int:
        """Holds, starts, says `ready`, watches; the exit status once asked to stop."""
        held = {node.id: _held_within(node, HOLD_WITHIN_S) for node in self._nodes}
        _prepare(self._cluster, self._config)
        for node in self._nodes:
            _clear(_counters(node))
        try:
            for node in self._nodes:
                self._servers.start(self._server(node, held[node.id][:2]), time.monotonic())
            self._watch(lambda: self._servers.all_ready(), within_s=SERVERS_FIRST_S)
            for node in self._nodes if not self._stopping else ():
                for worker in range(node.workers):
                    program = self._gateway(node, worker, held[node.id][2:])
                    self._gateways.start(program, time.monotonic())
            self._watch(lambda: self._servers.all_ready() and self._gateways.all_ready())
            if not self._stopping:
                self._say_ready()
            self._watch(lambda: False)
        finally:
            killed = self._gateways.stop(grace_s=GATEWAY_GRACE_S) + self._servers.stop(grace_s=SERVER_GRACE_S)
            _log(f"{name} did not end in time and was killed" for name in killed)
        return 0

    def _watch(self, done: Callable[[], bool], within_s: float | None = None) -> None:
        """Tends the children until `done`, a signal to stop, or `within_s` is over."""
        until_s = None if within_s is None else time.monotonic() + within_s
        while not self._stopping and not done():
            now_s = time.monotonic()
            if until_s is not None and now_s >= until_s:
                return
            _log(self._servers.tend(now_s) + self._gateways.tend(now_s))
            due_s = [at for at in (until_s, self._servers.next_due_s(), self._gateways.next_due_s()) if at]
            for key, _ in self._selector.select(max(0.0, min(due_s) - now_s) if due_s else None):
                if key.fileobj is self._announcements:
                    for process in self._announcements.take():
                        self._servers.heard(process)
                        self._gateways.heard(process)
                else:
                    os.read(self._signals, 4_096)

    def _stop_soon(self) -> None:
        self._stopping = True

    def _say_ready(self) -> None:
        for line in greeting(self._cluster, self._nodes, self._config):
            print(line, flush=True)  # noqa: T201 - for the person, or the program, that started it
        readiness.announce()

    def _server(self, node: NodeConfig, held: list[int]) -> Program:
        arguments = ("-m", "shardd.daemon", "-config", str(self._config), "-node", str(node.id))
        return Program(
            f"node {node.id}: shard server",
            arguments,
            child_environment(node, self._announcements.address),
            tuple(held),
        )

    def _gateway(self, node: NodeConfig, worker: int, held: list[int]) -> Program:
        arguments = (
            "-m",
            "s3d.gateway",
            "-config",
            str(self._config),
            "-node",
            str(node.id),
            "-worker",
            str(worker),
        )
        return Program(
            f"node {node.id}: gateway {worker}",
            arguments,
            child_environment(node, self._announcements.address),
            tuple(held),
        )


def child_environment(node: NodeConfig, listener: str) -> dict[str, str]:
    """What a process of `node` finds in its environment; `listener` is where it says that it is ready."""
    own = {
        readiness.SOCKET_VARIABLE: listener,
        holds.HELD_VARIABLE: "1",
        COUNTERS_VARIABLE: str(_counters(node)),
    }
    return ALLOCATOR | dict(os.environ) | own


def greeting(cluster: Cluster, nodes: Iterable[NodeConfig], config: Path) -> list[str]:
    """What a person needs first, then the line `ready`."""
    endpoints = [cluster.endpoint(node) for node in nodes]
    ctl = _shown(BIN / "s3ctl") + ("" if config == Path("cluster.toml") else f" -config {_shown(config)}")
    rs = cluster.rs
    return [
        f"Quoin: {len(endpoints)} of {len(cluster.nodes)} nodes here, RS({rs.data},{rs.parity})",
        f"S3 endpoints:  {' '.join(endpoints)}",
        f'Keys:          eval "$({ctl} env)"',
        'Then:          aws --endpoint-url "$AWS_ENDPOINT_URL" s3 mb s3://first',
        "ready",
    ]


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _held_within(node: NodeConfig, within_s: float) -> list[int]:
    """Descriptors that hold the node's folder, QUIC port and HTTP port; whoever is just dying gets `within_s`."""
    deadline_s = time.monotonic() + within_s
    held: list[int] = []
    while True:
        try:
            held.append(holds.hold_folder(node.path))
            held.append(holds.hold_port("udp", node.host, node.port))
            held.append(holds.hold_port("tcp", node.host, node.s3_port))
            return held
        except ConfigurationError as error:
            for descriptor in held:
                os.close(descriptor)
            held.clear()
            if time.monotonic() > deadline_s:
                flags.refuse(f"node {node.id}: {error}")
            time.sleep(POLL_S)


def _counters(node: NodeConfig) -> Path:
    """Where the gateways of a node keep their counters, so that any of them can add up all."""
    return node.path / "metrics"


def _clear(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for path in folder.glob(f"*{SUFFIX}"):
        path.unlink()


def _prepare(cluster: Cluster, config: Path) -> None:
    if bootstrap.is_due(cluster, time.time()):
        made = subprocess.run([sys.executable, "-m", "s3d.bootstrap", "-config", str(config)], check=False)  # noqa: S603
        if made.returncode:
            raise SystemExit(made.returncode)


def _signal_pipe(stop: Callable[[], None]) -> int:
    """Calls `stop` on SIGTERM, Ctrl-C and a terminal's end; the descriptor is readable after each and a child's end."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stop())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return reading


def _allow_files() -> None:
    """As many open files as the system lets us have: each client and each segment is one. Children inherit it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _log(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stderr.write(f"s3d: {line}\n")


def main() -> None:
    """`s3d -config FILE [-node N]`: node N, or every node of the file, on this machine."""
    found = flags.parser("s3d", "Starts the nodes of a cluster on this machine.").parse_args()
    cluster = flags.load_or_exit(found.config)
    nodes = cluster.nodes if found.node is None else (flags.node_or_exit(cluster, found.node, found.config),)
    _allow_files()
    raise SystemExit(Launcher(cluster, nodes, found.config).run())


if __name__ == "__main__":
    main()
