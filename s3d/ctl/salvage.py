"""Owns `s3ctl salvage`, and the salvage after a restore: shard servers started for it, and what it tells of them."""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final

from s3d.access import administrator
from s3d.blobs import salvage_walk
from s3d.blobs.salvaging import Doubt, Report, Salvage
from s3d.ctl.living import held_still
from s3d.metadata import journal, snapshot_files
from s3d.metadata.restoring import build, go_on_behind
from s3d.metadata.state import State
from s3d.shards.client import ShardClient
from shardd.contract.blobs import NodeId
from shardd.contract.cluster import Cluster, NodeConfig
from shardd.contract.errors import ShardError
from shardd.contract.hello import PeerName, Role
from shardd.contract.identity_files import file_stem
from shardd.transport.holds import HELD_VARIABLE, hold_port
from shardd.transport.tls import PeerIdentity

START_S: Final = 60.0  # for a shard server that reads its index anew
STATUS_S: Final = 1.0
STOP_S: Final = 10.0
IN_FLIGHT_US: Final = 3_600_000_000  # a body may have been under way for so long when the snapshot was made
REPORT: Final = "salvage-report.json"
SHOWN_MAX: Final = 20

Servers = Mapping[NodeId, "subprocess.Popen[bytes]"]
INCOMPLETE: Final = (
    "not all nodes were there, so no snapshot of this is kept. When the others are back, run the same command again, "
    "before the store is started if that can wait: from then on `restore --newest` goes on from this metadata, and "
    "looks for nothing that is older than it"
)
UNSAID: Final = (
    "deletes, copies, tags, ACLs, settings of buckets and ends of uploads since then are not known"
)


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The command."""
    made = commands.add_parser("salvage", help="the metadata of a stopped store from the shards alone")
    made.set_defaults(run=run_salvage)


def run_salvage(cluster: Cluster, arguments: argparse.Namespace) -> None:
    """A new state of what the shards say; one that there is stays beside it. Raises LivingStateError, StateError."""
    path, map_size = cluster.metadata.path, cluster.metadata.map_size_bytes
    add_found = salvager(cluster, arguments.config, lacking="there is the shards' word alone")

    def finish(state: State, made_us: int) -> None:
        go_on_behind(state, last_given(cluster))
        if add_found(state, made_us):
            keep_snapshot(cluster, state)

    with held_still(cluster):
        build(path, map_size=map_size, entries=(), finish=finish)


def last_given(cluster: Cluster) -> int:
    """A number that no command had which is in a snapshot on this machine, or in the journal."""
    stored = snapshot_files.stored(node.path / snapshot_files.FOLDER for node in cluster.nodes)
    return max((journal.beyond(cluster.metadata.path), *map(snapshot_files.index, stored)))


def keep_snapshot(cluster: Cluster, state: State, made_us: int = 0) -> None:
    """A snapshot of a state that was made anew: no journal goes on from those of the one before.

    `made_us`: since when shards may know more, where salvage is still to ask them; without it there is nothing to ask.
    """
    folders = [node.path / snapshot_files.FOLDER for node in cluster.nodes if node.path.is_dir()]
    if not folders:  # new disks; the first start makes one
        return
    now_us = made_us or time.time_ns() // 1_000
    try:
        with state.view() as view:
            snapshot_files.save(view, folders, now_us=now_us, rest=lambda: None)
    except OSError as error:  # all disks are full, which must not keep the metadata away
        print(f"no snapshot of this is kept, the store makes one when it has started: {error}")


def salvager(cluster: Cluster, config: Path, *, lacking: str) -> Callable[[State, int], bool]:
    """What adds to a state all that the shards know beyond it, and says so. `lacking`: why commands are not known.

    It takes what Finish does, and gives whether all nodes were asked. Where they were not, no snapshot of the state may
    be the newest: a second run from there would look for nothing that is older.
    """

    def finish(state: State, made_us: int) -> bool:
        now_us = time.time_ns() // 1_000
        accounts = {bucket.name: bucket.account_id or "000000000000" for bucket in cluster.buckets}
        owner = administrator.keys_of(cluster)[0].account_id
        salvage = Salvage(state, accounts=accounts, owner=owner, now_us=now_us)
        if lacking:
            salvage.report.doubts.append(Doubt(f"{UNSAID}: {lacking}"))
        with _shard_servers(cluster, config) as servers:
            since_us = max(0, min(made_us, now_us) - IN_FLIGHT_US)
            all_there = asyncio.run(_walk(cluster, servers, salvage, since_us=since_us))
        _tell(salvage.report, cluster.metadata.path.with_name(REPORT))
        if not all_there:
            print(INCOMPLETE)
        return all_there

    return finish


async def _walk(cluster: Cluster, servers: Servers, salvage: Salvage, *, since_us: int) -> bool:
    """Whether all nodes were there."""
    identity = PeerIdentity.load(cluster.secrets_path, file_stem(PeerName(Role.GATEWAY, cluster.nodes[0].id)))
    clients = {node.id: ShardClient(node, identity=identity, quic=cluster.quic) for node in cluster.nodes}
    try:
        asked = (_answers(client, servers.get(node)) for node, client in clients.items())
        up = dict(zip(clients, await asyncio.gather(*asked), strict=True))
        for node, answers in up.items():
            if not answers:
                salvage.report.doubts.append(
                    Doubt(f"node {node} is not there: what needs its shards is not found")
                )
        with salvage.state.view() as view:
            unlisted = {NodeId(row.node) for row in view.nodes() if row.member} - up.keys()
        for node in sorted(unlisted):
            salvage.report.doubts.append(
                Doubt(f"node {node} is a member and not in the file: what needs its shards is not found")
            )
        there = {NodeId(node): client for node, client in clients.items() if up[node]}
        all_there = all(up.values()) and not unlisted
        await salvage_walk.run(there, salvage, since_us=since_us, all_there=all_there)
        return all_there
    finally:
        for client in clients.values():
            await client.close()


async def _answers(client: ShardClient, server: "subprocess.Popen[bytes] | None") -> bool:
    """Whether a node's shard server can be asked; one that has no folder, or that ended, is not waited for."""
    until_s = time.monotonic() + START_S
    while server is not None and server.poll() is None and time.monotonic() < until_s:
        try:
            await client.status(deadline_s=STATUS_S)
        except ShardError:
            await asyncio.sleep(STATUS_S / 10)
        else:
            return True
    return False


@contextmanager
def _shard_servers(cluster: Cluster, config: Path) -> Iterator[Servers]:
    """One for each node whose folder is on this machine; ended at the end. ConfigurationError where a port is taken."""
    nodes = [node for node in cluster.nodes if node.path.is_dir()]
    servers: dict[NodeId, subprocess.Popen[bytes]] = {}
    with ExitStack() as held:
        for node in nodes:
            descriptor = hold_port("udp", node.host, node.port)
            held.callback(os.close, descriptor)
            os.set_inheritable(descriptor, True)
        try:
            for node in nodes:
                servers[node.id] = _start(node, config)
            yield servers
        finally:
            _end(servers)


def _end(servers: Servers) -> None:
    for process in servers.values():
        process.terminate()
    for process in servers.values():
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _start(node: NodeConfig, config: Path) -> "subprocess.Popen[bytes]":
    words = (sys.executable, "-m", "shardd.daemon", "-config", str(config), "-node", str(node.id))
    return subprocess.Popen(  # noqa: S603
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=os.environ | {HELD_VARIABLE: "1"},
        close_fds=False,  # the holds of the folders, which outlive this process with it
    )


def _tell(report: Report, path: Path) -> None:
    path.write_text(json.dumps(asdict(report), indent=2) + "\n")
    print(
        f"salvaged: {report.objects} objects, {report.parts} parts; {report.relocated} blobs followed to other nodes, "
        f"{report.dropped} versions dropped that no node has"
    )
    for doubt in report.doubts[:SHOWN_MAX]:
        name = f"s3://{doubt.bucket}/{doubt.key}" if doubt.bucket else ""
        print(f"in doubt: {' '.join(filter(None, (name, doubt.blob)))}: {doubt.what}")
    if len(report.doubts) > SHOWN_MAX:
        print(f"in doubt: {len(report.doubts) - SHOWN_MAX} more")
    print(f"all of it: {path}")
