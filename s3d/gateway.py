"""Owns the process of a gateway: wiring, signals, the end. `python -m s3d.gateway -config FILE -node N [-worker W]`."""

import asyncio
import logging
import os
import secrets
import socket
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import uvloop

from s3d.access.accounts import Accounts
from s3d.access.administrator import keys_of
from s3d.access.audit import Audit
from s3d.admin.counters import COUNTERS_VARIABLE, Counters
from s3d.admin.pages import Pages
from s3d.app import App
from s3d.blobs.lease import Lease, holder_of
from s3d.blobs.membership import Membership
from s3d.blobs.resources import coding_threads
from s3d.blobs.snapshots import JOB, SnapshotKeeper
from s3d.blobs.store import Blobs
from s3d.blobs.suspects import Suspects
from s3d.blobs.upkeep import Upkeep
from s3d.certificate import Certificate
from s3d.listener import Listener
from s3d.metadata import damage
from s3d.metadata.commands import ConfiguredBucket, ImportBuckets, ImportNodes, NodeAddress, RegisterNode
from s3d.metadata.log import LocalLog
from s3d.metadata.snapshot_files import FOLDER, refuse_older
from s3d.metadata.state import State, StateDamagedError, refuse_damaged, refuse_gone
from s3d.operations.call import Store
from s3d.placement.ring import Ring
from s3d.shards.client import ShardClient
from s3d.shards.fleet import Fleet
from s3d.shards.health import FleetLimits
from shardd.contract import flags
from shardd.contract.cluster import Cluster, NodeConfig
from shardd.contract.errors import ConfigurationError, QuoinError
from shardd.contract.hello import PeerName, Role
from shardd.contract.identity_files import file_stem
from shardd.transport import collector, readiness
from shardd.transport.tls import PeerIdentity

STOP_GRACE_S: Final = 5.0
AUDIT_FOLDER: Final = "audit"
TICK_S: Final = 1.0

log = logging.getLogger("s3d")


def main() -> int:
    """Runs until SIGTERM or SIGINT; 0 after a clean end, 2 where the configuration is wrong, 1 for the rest."""
    parser = flags.parser("s3d.gateway", "One HTTP worker of one node.")
    parser.add_argument("-worker", "--worker", metavar="W", type=int, default=0)
    arguments = parser.parse_args()
    cluster = flags.load_or_exit(arguments.config)
    node = flags.node_or_exit(cluster, arguments.node, arguments.config)
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format=f"s3d {node.id}: %(levelname)s %(message)s"
    )
    try:
        uvloop.run(_serve(cluster, node, arguments.worker))
    except (QuoinError, OSError) as error:
        log.error("%s", error)
        if isinstance(error, StateDamagedError):
            return flags.EXIT_DAMAGED
        return flags.EXIT_CONFIGURATION if isinstance(error, ConfigurationError) else 1
    return 0


@dataclass(frozen=True, slots=True)
class Gateway:
    """The parts of one gateway, wired; nothing of it runs yet."""

    membership: Membership
    state: State
    store: Store
    counters: Counters
    app: App
    listener: Listener
    certificate: Certificate | None
    upkeep: Upkeep
    snapshots: SnapshotKeeper

    @classmethod
    def assemble(cls, cluster: Cluster, node: NodeConfig, worker: int) -> "Gateway":
        """The one place that knows which part stands on which. Raises ConfigurationError, StateError."""
        certificate = Certificate.from_config(cluster.gateway)
        identity = PeerIdentity.load(cluster.secrets_path, file_stem(PeerName(Role.GATEWAY, node.id)))
        accounts = Accounts.from_config(keys_of(cluster), os.environ)
        ring, suspects = Ring(()), Suspects()
        fleet = Fleet((), limits=FleetLimits(near_full=cluster.storage.compact_above_full))
        snapshot_folders = [entry.path / FOLDER for entry in cluster.nodes]
        refuse_gone(cluster.metadata.path, snapshot_folders)
        state = State.open(cluster.metadata.path, cluster.metadata.map_size_bytes)
        refuse_older(state, snapshot_folders)
        (node.path / FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)  # the trace of the state
        blobs = Blobs(
            fleet,
            ring,
            rs=cluster.rs,
            buffer_bytes=cluster.gateway.buffer_bytes,
            coding=coding_threads(),
            suspect=suspects.add,
        )
        membership = Membership(
            fleet,
            ring,
            states=state,
            connect=partial(ShardClient, identity=identity, quic=cluster.quic),
        )
        audit = Audit(_audit_file(node, worker))
        store = Store(cluster, LocalLog(state, identity.cluster), state, blobs, accounts, _clock_us, audit)
        counters = Counters(_counters_folder(), worker)
        app = App(
            store, Pages(store, counters, node=node.id), counters, host_id=f"quoin-node-{node.id}-{worker}"
        )
        listener = Listener(
            app.answer,
            app.refuse,
            connections_max=cluster.gateway.connections_max,
            connections_per_ip_max=cluster.gateway.connections_per_ip_max,
        )
        holder = holder_of(os.getpid(), secrets.token_bytes(12))
        upkeep = Upkeep(
            blobs.resources,
            membership,
            states=state,
            log=store.log,
            holder=holder,
            config=cluster.gateway,
            suspects=suspects,
            now_us=_clock_us,
        )
        snapshots = SnapshotKeeper(
            snapshot_folders,
            states=state,
            config=cluster.metadata,
            lease=Lease(JOB, holder=holder, states=state, log=store.log, now_us=_clock_us),
            log=store.log,
            booted_us=_clock_us() - time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000,
            damaged=partial(damage.mark, state.path),
            now_us=_clock_us,
        )
        return cls(membership, state, store, counters, app, listener, certificate, upkeep, snapshots)

    async def close(self) -> None:
        """Let go of everything, once nothing of it runs."""
        self.counters.save()
        await _write_audit(self.store.audit)
        await self.store.log.close()
        await self.membership.close()
        self.state.close()


async def _serve(cluster: Cluster, node: NodeConfig, worker: int) -> None:
    stopping = asyncio.Event()
    for number in flags.stop_signals():
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    gateway = Gateway.assemble(cluster, node, worker)
    fleet, listener = gateway.store.blobs.fleet, gateway.listener
    await _import_file(gateway.store)
    await gateway.membership.follow()
    async with asyncio.TaskGroup() as group:
        behind = [
            group.create_task(work, name=name)
            for name, work in (
                ("fleet", fleet.run()),
                ("upkeep", gateway.upkeep.run()),
                ("sweep", listener.sweep()),
                ("tick", _tick(gateway, stopping)),
                ("snapshots", gateway.snapshots.run()),
                ("collector", collector.collect()),
            )
        ]
        collector.quieten()
        await fleet.first_round()  # or the first requests would meet a fleet that nobody has asked yet
        await listener.listen(_bound(node), gateway.certificate)
        readiness.announce()
        await stopping.wait()
        await listener.close(STOP_GRACE_S)
        for task in behind:
            task.cancel()
    await gateway.close()
    refuse_damaged(cluster.metadata.path)


def _clock_us() -> int:
    return time.time_ns() // 1_000


def _bound(node: NodeConfig) -> socket.socket:
    """The node's HTTP port, which all its gateways share: the kernel deals out the connections."""
    family, _, _, _, address = socket.getaddrinfo(node.host, node.s3_port, type=socket.SOCK_STREAM)[0]
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(address)
    return sock


def _audit_file(node: NodeConfig, worker: int) -> Path:
    """Where a gateway keeps what it decided, beside the shards of its node; each worker has a file of its own."""
    folder = node.path / AUDIT_FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / f"gateway-{worker}.jsonl"


def _counters_folder() -> Path | None:
    folder = os.environ.get(COUNTERS_VARIABLE)
    return Path(folder) if folder else None


async def _import_file(store: Store) -> None:
    """Make the buckets of cluster.toml exist, and its nodes the first members; done again, it changes nothing."""
    now_us = store.clock_us()
    buckets = tuple(
        ConfiguredBucket(
            bucket.name,
            bucket.account_id or "000000000000",
            bucket.region or store.cluster.region,
            bucket.public,
            bucket.type,
            bucket.encryption,
        )
        for bucket in store.cluster.buckets
    )
    nodes = tuple(
        NodeAddress(node.id, node.host, node.port, node.s3_port, node.zone) for node in store.cluster.nodes
    )
    await store.log.append(
        [
            ImportBuckets(store.write_id(now_us), now_us, buckets=buckets),
            ImportNodes(store.write_id(now_us), now_us, nodes=nodes),
        ]
    )


async def _tick(gateway: Gateway, stopping: asyncio.Event) -> None:
    """Once a second: follow who is a member, tell of new lives of nodes, keep the counters, look for a certificate.

    Runs until cancelled; a state that any process found damaged stops this one.
    """
    store = gateway.store
    known: dict[int, bytes] = {}
    while not damage.cause(gateway.state.path):
        try:
            await gateway.membership.follow()
        except QuoinError as error:
            log.warning("the members are not known: %s", error)
        for node, status in store.blobs.fleet.statuses().items():
            if status is None or known.get(node) == status.incarnation:
                continue
            now_us = store.clock_us()
            life = RegisterNode(store.write_id(now_us), now_us, node=node, incarnation=status.incarnation)
            try:
                await store.log.append([life])
            except QuoinError as error:  # a full disk; it is tried again
                log.warning("node %d is not registered: %s", node, error)
            else:
                known[node] = status.incarnation
        gateway.counters.worked(
            **gateway.upkeep.counts(),
            **store.blobs.resources.hedges.counts(),
            limited_requests=gateway.app.limits.refused if gateway.app.limits is not None else 0,
            snapshots_made=gateway.snapshots.made,
        )
        gateway.counters.save()
        await _write_audit(store.audit)
        if gateway.certificate is not None:
            await asyncio.to_thread(gateway.certificate.refresh)
        await asyncio.sleep(TICK_S)
    stopping.set()


async def _write_audit(audit: Audit) -> None:
    if not audit.waiting:
        return  # nobody asks anything: no thread is woken for that
    try:
        await asyncio.to_thread(audit.flush)
    except OSError as error:  # a full disk, most likely; the next line of the audit says how much is missing
        log.warning("decisions could not be written: %s", error)


if __name__ == "__main__":
    sys.exit(main())
