"""Owns live clusters for tests: written, started by bin/s3d, killed, started again, asked; all is reaped at the end."""

import contextlib
import http.client
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import boto3
from botocore.config import Config

from s3d.drill.processes import command_line, descendants
from tests.integration.ports import free_ports
from tests.integration.processes import group_lives

ROOT = Path(__file__).parents[2]
AWS = Path(sys.executable).with_name("aws")
ALL = 0  # stands for the one launcher of all nodes
READY_WITHIN_S = 300.0
STOPPED_WITHIN_S = 120.0
POLL_S, POLL_S_MAX = 0.02, 0.2
ANSWER_WITHIN_S = 60.0
ATTEMPTS_MAX, PAUSE_S = 60, 0.5
# What a developer has set up for himself must not reach the store or its clients.
LEFT_OUT = ("CONFIG", "NODE", "PYTHONPATH", "PYTHONSAFEPATH", "NOTIFY_SOCKET")


def wait_until(condition: Callable[[], Any], *, within_s: float, what: str) -> Any:
    """The first true value of `condition`; AssertionError with `what` where there is none in time.

    It is asked less and less often: who asks all the time takes the processor from what he waits for.
    """
    deadline_s, pause_s = time.monotonic() + within_s, POLL_S
    while not (value := condition()):
        assert time.monotonic() < deadline_s, f"not within {within_s:g} s: {what}"
        time.sleep(pause_s)
        pause_s = min(1.2 * pause_s, POLL_S_MAX)
    return value


def environment() -> dict[str, str]:
    """The environment of the tests without what is somebody's own: AWS settings, flags of the store."""
    kept = {name: value for name, value in os.environ.items() if name not in LEFT_OUT and name[:4] != "AWS_"}
    return kept | {"AWS_CONFIG_FILE": os.devnull, "AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "*"}


class Cluster:
    """Nodes on this machine: one launcher and process group for each, or one for all of them (`together`).

    `settings` is TOML that is added to the file: tables such as [gateway], [[auth]], [[buckets]]. `apart`: each node
    has an address of its own, 127.0.0.2 the first.
    """

    def __init__(
        self,
        folder: Path,
        *,
        nodes: int = 5,
        data: int = 3,
        parity: int = 2,
        together: bool = False,
        workers: int = 1,
        settings: str = "",
        apart: bool = False,
    ) -> None:
        self.folder, self.together = folder, together
        self.program = ROOT / "bin/s3d"
        self.apart = apart
        self.nodes = tuple(range(1, nodes + 1))
        self.ports = dict(zip(self.nodes, free_ports(socket.SOCK_DGRAM, nodes), strict=True))
        self.s3_ports = dict(zip(self.nodes, free_ports(socket.SOCK_STREAM, nodes), strict=True))
        self.config = folder / "cluster.toml"
        self.log = folder / "log"
        self._launchers: dict[int, subprocess.Popen[bytes]] = {}
        self._clients: list[Any] = []
        text = f'version = "1.0"\n[rs]\ndata = {data}\nparity = {parity}\n'
        self._workers = workers
        self._head, self._settings = text, settings
        self._write()

    def extend(self) -> int:
        """Adds an entry for one more node to the file; its id. It runs once it is started."""
        node = len(self.nodes) + 1
        self.nodes = (*self.nodes, node)
        [self.ports[node]] = free_ports(socket.SOCK_DGRAM, 1)
        [self.s3_ports[node]] = free_ports(socket.SOCK_STREAM, 1)
        self._write()
        return node

    def set(self, settings: str) -> None:
        """Other settings, for processes that are started from now on."""
        self._settings = settings
        self._write()

    def host(self, node: int) -> str:
        """Where a node listens: an address of its own where the nodes are `apart`."""
        return f"127.0.0.{node + 1}" if self.apart else "127.0.0.1"

    def _write(self) -> None:
        text = self._head
        for node in self.nodes:
            text += (
                f'[[nodes]]\nid = {node}\nhost = "{self.host(node)}"\nport = {self.ports[node]}\n'
                f's3_port = {self.s3_ports[node]}\npath = "node-{node}"\nworkers = {self._workers}\n'
            )
        self.config.write_text(text + self._settings)

    @classmethod
    def create(cls, folder: Path, **options: Any) -> Self:
        """A cluster that has not been started yet."""
        return cls(folder, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start_all(self) -> None:
        """Starts every node that does not run, at the same moment; waits until each gateway reaches all that run."""
        self.start(*self.nodes)
        self.wait_reached(deadline_s=READY_WITHIN_S)

    def start(self, *nodes: int) -> None:
        """Starts these nodes, where they do not run, and waits until each launcher says `ready`."""
        wanted = [ALL] if self.together else nodes
        started = [node for node in wanted if node not in self._launchers]
        for node in started:
            self._launchers[node] = self._launch(node)
        for node in started:
            self._wait_ready(self._launchers[node])

    def kill(self, *nodes: int) -> None:
        """kill -9 at once of all that the launchers of these nodes started and of themselves; waits for the end."""
        _kill([self._launchers.pop(node) for node in ([ALL] if self.together else nodes)])

    def kill_launcher(self, node: int) -> int:
        """kill -9 of the launcher alone; its process group's number, of which nothing may live on."""
        launcher = self._launchers.pop(ALL if self.together else node)
        launcher.kill()
        launcher.wait(STOPPED_WITHIN_S)
        _close_output(launcher)
        return launcher.pid

    def stop(self) -> list[int]:
        """SIGTERM to each launcher; their exit statuses. What they leave behind is an AssertionError."""
        launchers, self._launchers = list(self._launchers.values()), {}
        for launcher in launchers:
            launcher.terminate()
        try:
            statuses = [launcher.wait(STOPPED_WITHIN_S) for launcher in launchers]
            assert not any(group_lives(launcher.pid) for launcher in launchers), (
                "a child outlived its launcher"
            )
        finally:
            _kill(launchers)
        return statuses

    def close(self) -> None:
        """Leaves no process and no open connection behind, whatever happened."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        launchers, self._launchers = list(self._launchers.values()), {}
        _kill(launchers)

    @property
    def up(self) -> list[int]:
        """The nodes that were started and not killed since."""
        return list(self.nodes if ALL in self._launchers else sorted(self._launchers))

    @property
    def endpoints(self) -> list[str]:
        """The URLs of the gateways of the nodes that are up."""
        return [self.endpoint(node) for node in self.up]

    def endpoint(self, node: int = 1) -> str:
        """The URL of a node's gateway."""
        return f"http://{self.host(node)}:{self.s3_ports[node]}"

    def gateway_pids(self, node: int) -> list[int]:
        """The gateway processes of a node."""
        return self.pids("s3d.gateway", node)

    def shard_server_pid(self, node: int) -> int:
        """The shard server process of a node."""
        (found,) = self.pids("shardd.daemon", node)
        return found

    def pids(self, program: str = "", node: int | None = None) -> list[int]:
        """Processes of the cluster, of one `node`, whose command line has `program` in it (as "shardd.daemon")."""
        found = []
        for launcher in self._launchers.values():
            for pid in [launcher.pid, *descendants(launcher.pid)]:
                words = command_line(pid)
                at = words.index("-node") + 1 if "-node" in words else 0
                if program in " ".join(words) and (node is None or (at and words[at] == str(node))):
                    found.append(pid)
        return found

    @property
    def access_key(self) -> str:
        """The administrator's access key, made by the first start."""
        return self._key("aws_access_key_id")

    @property
    def secret_key(self) -> str:
        """The administrator's secret key."""
        return self._key("aws_secret_access_key")

    def client(self, node: int = 1, *, keys: tuple[str, str] | None = None, **settings: Any) -> Any:
        """A boto3 client of one gateway, closed at the end. It asks again where the store says 503, and only there."""
        access, secret = keys or (self.access_key, self.secret_key)
        settings = {
            "retries": {"total_max_attempts": 1},
            "read_timeout": ANSWER_WITHIN_S,
            "proxies": {},
        } | settings
        made = boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint(node),
            aws_access_key_id=access,
            aws_secret_access_key=secret,
            region_name="us-east-1",
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, **settings),
        )
        made.meta.events.register("needs-retry.s3", _asked_again)
        self._clients.append(made)
        return made

    def aws(self, *arguments: str, node: int = 1, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Runs the AWS command line against one gateway; its status is the caller's to judge."""
        own = {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        command = [str(AWS), "--endpoint-url", self.endpoint(node), *arguments]
        return subprocess.run(command, env=environment() | own, input=stdin, capture_output=True, timeout=120)

    def get(self, path: str, node: int = 1) -> tuple[int, str]:
        """Status and body of an unsigned GET, as of /-/health. OSError where no whole answer came."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(self.endpoint(node) + path, timeout=ANSWER_WITHIN_S) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except http.client.HTTPException as error:
            raise ConnectionError(f"node {node} was cut: {error!r}") from error

    def metric(self, name: str, node: int = 1) -> float:
        """The sum of a metric's samples on /-/metrics of one node; AssertionError where there is none."""
        return self.metrics(name, node=node)[0]

    def metrics(self, *names: str, node: int = 1) -> list[float]:
        """The same for several at the same moment."""
        _, text = self.get("/-/metrics", node)
        found = {
            name: re.findall(rf"^{re.escape(name)}(?:{{.*}})? (\S+)$", text, re.MULTILINE) for name in names
        }
        assert all(found.values()), f"not all metrics on node {node}: {found}"
        return [sum(map(float, samples)) for samples in found.values()]

    def wait_reached(self, *, deadline_s: float) -> None:
        """Until each gateway that is up reaches every node that is; AssertionError after `deadline_s`."""
        self._wait_for({"quoin_nodes_up": len(self.up)}, deadline_s, what="each gateway reaches all nodes")

    def wait_healed(self, *, deadline_s: float) -> None:
        """The same, and until no gateway finds a node slow, and no blob is degraded: only then may any two die."""
        whole = {"quoin_nodes_up": len(self.up), "quoin_nodes_slow": 0, "quoin_degraded_blobs": 0}
        self._wait_for(whole, deadline_s, what="all nodes are in use, and no blob is degraded")

    def _wait_for(self, wanted: dict[str, int], deadline_s: float, *, what: str) -> None:
        def told() -> bool:
            with contextlib.suppress(OSError):  # a gateway that its launcher starts again
                return all(self.metrics(*wanted, node=node) == [*wanted.values()] for node in self.up)
            return False

        wait_until(told, within_s=deadline_s, what=what)

    def _key(self, name: str) -> str:
        words = (self.folder / "data/cluster/admin-credentials").read_text().split()
        return words[words.index(name) + 2]

    def _launch(self, node: int) -> subprocess.Popen[bytes]:
        command = [str(self.program), "-config", str(self.config)] + (["-node", str(node)] if node else [])
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command, env=environment(), stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )

    def _wait_ready(self, launcher: subprocess.Popen[bytes]) -> None:
        assert launcher.stdout is not None
        said, deadline_s = b"", time.monotonic() + READY_WITHIN_S
        with selectors.DefaultSelector() as selector:
            selector.register(launcher.stdout, selectors.EVENT_READ)
            while not said.endswith(b"ready\n"):
                left_s = deadline_s - time.monotonic()
                assert left_s > 0, f"not ready within {READY_WITHIN_S:g} s:\n{self._tail()}"
                if selector.select(left_s):
                    piece = os.read(launcher.stdout.fileno(), 4_096)
                    assert piece, f"the launcher ended with {launcher.wait()}:\n{self._tail()}"
                    said += piece

    def _tail(self) -> str:
        return self.log.read_text(errors="replace")[-4_000:]


def _asked_again(response: Any, attempts: int, **_: Any) -> float | None:
    """After how many seconds, if at all; as SDKs do, for a machine that does so much else that nodes seem down."""
    refused = response is not None and response[0].status_code == 503
    return PAUSE_S if refused and attempts < ATTEMPTS_MAX else None


def _kill(launchers: list[subprocess.Popen[bytes]]) -> None:
    """kill -9 of all their process groups at once; waits until nothing of them is left."""
    for launcher in launchers:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(launcher.pid, signal.SIGKILL)
    for launcher in launchers:
        launcher.wait(STOPPED_WITHIN_S)
        _close_output(launcher)
        _wait_gone(launcher.pid)


def _wait_gone(group: int) -> None:
    wait_until(
        lambda: not group_lives(group), within_s=STOPPED_WITHIN_S, what=f"nothing of group {group} lives"
    )


def _close_output(launcher: subprocess.Popen[bytes]) -> None:
    if launcher.stdout is not None:
        launcher.stdout.close()
