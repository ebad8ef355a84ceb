"""Owns all nodes together: who is up, and one batch of extents put to many; never what the bytes mean."""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from s3d.placement.durability import assign, survives
from shardd.contract.blobs import NodeId
from shardd.contract.cluster import ErasureConfig
from shardd.contract.errors import DeadlineError, ShardError, UnreachableError
from shardd.contract.messages import GetUnits, Page, PutExtent, Stat, Status, Units


def _nothing_is_spare(numbers: Collection[int]) -> bool:
    return False


class NodeClient(Protocol):
    """One shard server, seen from a gateway. Every method raises errors of the ShardError tree only.

    UnreachableError: no connection, or it broke; DeadlineError: no answer in time. Payloads are lists of chunks.
    """

    node: NodeId

    async def put(self, message: PutExtent, payload: Sequence[bytes], *, deadline_s: float) -> None:
        """Returns once the extent is durable on the node."""

    async def get(self, message: GetUnits, *, deadline_s: float) -> tuple[Units, list[bytes]]:
        """The units' stored checksums, and their bytes in chunks of any length. Nothing is verified."""

    async def delete(self, shards: list[tuple[bytes, int, int]], *, deadline_s: float) -> None:
        """Deletes (blob, shard, generation): that generation and those before it. Deleting nothing succeeds."""

    async def stat(self, blob: bytes, shard: int, *, deadline_s: float) -> Stat:
        """The extents that are there of a shard."""

    async def list(self, after: bytes, limit: int, *, deadline_s: float) -> Page:
        """A page of the shards that are there."""

    async def status(self, *, deadline_s: float) -> Status:
        """How the node is."""


@dataclass(frozen=True, slots=True)
class FleetLimits:
    """The times by which the fleet judges its nodes, in seconds."""

    heartbeat_s: float = 0.5
    status_life_s: float = 2.0  # a node that answers other requests is asked how it is no oftener
    silence_s: float = 1.0  # no answer to anything for so long: down
    lateness_s: float = 0.2  # a heartbeat that ends so much later than it should tells nothing of the node
    stall_s: float = 1.0  # puts of a node stand still for so long while another's move: given up
    standstill_s: float = 4.0  # nobody's puts move, or none can be spared, for so long: given up too
    slow_s: float = 15.0  # the same for nodes that are up, whose disk may be busy, where none can be spared
    watch_s: float = 0.1  # how often a batch of puts looks for such nodes
    put_deadline_s: float = 30.0


class Extent(NamedTuple):
    """One extent on its way to one node; `payload` is its units in chunks."""

    node: NodeId
    message: PutExtent
    payload: Sequence[bytes]


@dataclass(slots=True)
class _Health:
    up: bool = False
    status: Status | None = None
    heard_s: float = 0.0
    status_s: float = 0.0  # when the status came; 0.0 where it is worth nothing any more
    put_s: float = 0.0  # when a put of ours was last answered


@dataclass(slots=True)
class _Wait:
    """A put that is waited for: since when its node's puts stand still, and how much of that time we saw."""

    since_s: float
    still_s: float = 0.0


class Fleet:
    """Every node of the cluster. `run` must be running for nodes to be seen to come up."""

    def __init__(
        self,
        clients: Iterable[NodeClient],
        *,
        limits: FleetLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits or FleetLimits()
        self._clients = {client.node: client for client in clients}
        self._health = {node: _Health() for node in self._clients}
        self._clock = clock
        self._unasked = set(self._clients)
        self._all_asked = asyncio.Event()
        self._refresh()

    @property
    def nodes(self) -> tuple[NodeId, ...]:
        """Every node, up or down."""
        return tuple(self._clients)

    def up(self) -> frozenset[NodeId]:
        """The nodes that answer."""
        return self._up

    def writable(self) -> frozenset[NodeId]:
        """The nodes that answer and take new shards."""
        return self._writable

    def statuses(self) -> dict[NodeId, Status | None]:
        """The last status of each node; None where it is down."""
        return {node: health.status if health.up else None for node, health in self._health.items()}

    def can_write(self, rs: ErasureConfig) -> bool:
        """Would a PUT be acknowledged now?"""
        places = assign(self.nodes, self._writable, rs.data + rs.parity)
        return survives(places, rs.data, rs.spare)

    async def run(self) -> None:
        """Heartbeats to every node until cancelled; owns one task a node."""
        async with asyncio.TaskGroup() as group:
            for node in self._clients:
                group.create_task(self._watch(node), name=f"heartbeat of node {node}")

    async def first_round(self) -> None:
        """Until every node has answered once since `run` began, or failed to: from here on `up` tells the truth."""
        await self._all_asked.wait()

    async def get(self, node: NodeId, message: GetUnits, *, deadline_s: float) -> tuple[Units, list[bytes]]:
        """NodeClient.get of a node, and what it tells about the node."""
        try:
            reply = await self._clients[node].get(message, deadline_s=deadline_s)
        except ShardError as error:
            self._failed(node, error)
            raise
        self._health[node].heard_s = self._clock()
        return reply

    async def delete(self, node: NodeId, shards: list[tuple[bytes, int, int]], *, deadline_s: float) -> None:
        """NodeClient.delete of a node."""
        await self._clients[node].delete(shards, deadline_s=deadline_s)

    async def stat(self, node: NodeId, blob: bytes, shard: int, *, deadline_s: float) -> Stat:
        """NodeClient.stat of a node."""
        return await self._clients[node].stat(blob, shard, deadline_s=deadline_s)

    async def put_all(
        self, extents: Sequence[Extent], *, spare: Callable[[Collection[int]], bool] = _nothing_is_spare
    ) -> list[ShardError | None]:
        """Put extents to their nodes at once: the outcome of each, in order, None where it is durable.

        A node that goes down, or whose puts stand still while those of others move, is given up with DeadlineError:
        at once where `spare` says that the extents of these numbers can be done without, else when nothing moved
        for `standstill_s`, or for `slow_s` where the node is up. What is given up may be durable all the same.
        """
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._put(extent)) for extent in extents]
            waits = {number: _Wait(self._clock()) for number in range(len(tasks))}
            given_up: set[int] = set()
            while waits:
                began_s = self._clock()
                await asyncio.wait([tasks[number] for number in waits], timeout=self.limits.watch_s)
                waits = {number: wait for number, wait in waits.items() if not tasks[number].done()}
                late = self._late(extents, waits, began_s)
                if late and not spare(given_up | late):
                    late = {
                        number for number in late if waits[number].still_s > self._patience_s(extents[number])
                    }
                for number in late:
                    tasks[number].cancel()
                    del waits[number]
                given_up |= late
        return [_outcome(task, extent) for task, extent in zip(tasks, extents, strict=True)]

    async def _put(self, extent: Extent) -> ShardError | None:
        try:
            await self._clients[extent.node].put(
                extent.message, extent.payload, deadline_s=self.limits.put_deadline_s
            )
        except ShardError as error:
            self._failed(extent.node, error)
            return error
        health = self._health[extent.node]
        health.heard_s = health.put_s = self._clock()
        return None

    def _patience_s(self, extent: Extent) -> float:
        """How long to wait for a put that cannot be done without."""
        return self.limits.slow_s if self._health[extent.node].up else self.limits.standstill_s

    def _late(self, extents: Sequence[Extent], waits: dict[int, _Wait], began_s: float) -> set[int]:
        """Which of the puts that are waited for, lately since `began_s`, should be done without, if they can be."""
        late = set()
        now_s = self._clock()
        # Time in which this process did not run says nothing about the nodes.
        passed_s = min(now_s - began_s, 2 * self.limits.watch_s)
        for number, wait in waits.items():
            health = self._health[extents[number].node]
            if health.put_s > wait.since_s:
                wait.since_s, wait.still_s = now_s, 0.0
            wait.still_s += passed_s
            others_move = any(other.put_s > wait.since_s for other in self._health.values())
            limit_s = self.limits.stall_s if others_move else self.limits.standstill_s
            if wait.still_s > limit_s or not health.up:
                late.add(number)
        return late

    async def _watch(self, node: NodeId) -> None:
        while True:
            started_s = self._clock()
            if not self._is_busy(node, started_s):
                await self._ask(node, started_s)
                self._asked(node)
            await asyncio.sleep(max(0.0, started_s + self.limits.heartbeat_s - self._clock()))

    def _is_busy(self, node: NodeId, now_s: float) -> bool:
        """Do other requests say that the node is up? Then its heartbeat, a twentieth of their cost, is saved."""
        health, limits = self._health[node], self.limits
        heard = health.heard_s > now_s - limits.heartbeat_s
        return health.up and heard and health.status_s > now_s - limits.status_life_s

    async def _ask(self, node: NodeId, started_s: float) -> None:
        health = self._health[node]
        try:
            health.status = await self._clients[node].status(deadline_s=self.limits.silence_s)
        except DeadlineError:
            # A reply may wait in the socket where it was this process that had no time.
            punctual = self._clock() < started_s + self.limits.silence_s + self.limits.lateness_s
            if punctual and health.heard_s < started_s:
                self._set_up(node, up=False)
        except ShardError:
            self._set_up(node, up=False)
        else:
            health.heard_s = health.status_s = self._clock()
            self._set_up(node, up=True)

    def _asked(self, node: NodeId) -> None:
        self._unasked.discard(node)
        if not self._unasked:
            self._all_asked.set()

    def _failed(self, node: NodeId, error: ShardError) -> None:
        """A request failed: a node that cannot be reached is down at once, until its next good status."""
        if isinstance(error, UnreachableError):
            self._set_up(node, up=False)
        elif not isinstance(error, DeadlineError):
            self._health[node].heard_s = self._clock()
            self._health[node].status_s = 0.0  # a refusal may mean that its disk is full or failed: ask

    def _set_up(self, node: NodeId, *, up: bool) -> None:
        self._health[node].up = up
        self._refresh()

    def _refresh(self) -> None:
        up = {node: health for node, health in self._health.items() if health.up}
        self._up = frozenset(up)
        self._writable = frozenset(
            node for node, health in up.items() if health.status and health.status.state == "ok"
        )

    async def list(self, node: NodeId, after: bytes, limit: int, *, deadline_s: float) -> Page:
        """NodeClient.list of a node."""
        return await self._clients[node].list(after, limit, deadline_s=deadline_s)


def _outcome(task: asyncio.Task[ShardError | None], extent: Extent) -> ShardError | None:
    return DeadlineError(f"node {extent.node} stands still") if task.cancelled() else task.result()
