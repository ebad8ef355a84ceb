"""Owns all nodes together: who is up and who is slow, and extents put to many; never what the bytes mean."""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

from s3d.placement.durability import assign, survives
from s3d.shards.health import FleetLimits, Health
from s3d.shards.port import NodeClient
from s3d.shards.standstill import Wait, late, others_moved, patience_s
from shardd.contract.blobs import NodeId
from shardd.contract.cluster import ErasureConfig
from shardd.contract.errors import DeadlineError, ShardError, UnreachableError
from shardd.contract.messages import BUSY, GetUnits, Page, PutExtent, Stat, Status, Units

HURRY_S = 0.1  # a node that is late is asked how it is at once, but not more often than this
BUSY_TIMES = 2  # in a row, to be believed: by then the others have been asked as well

log = logging.getLogger(__name__)


class _Clients(dict[NodeId, NodeClient]):
    """The clients by node; one of no member fails as one that cannot be reached does."""

    def __missing__(self, node: NodeId) -> NodeClient:
        raise UnreachableError(f"node {node} is not a member")


def _nothing_is_spare(numbers: Collection[int]) -> bool:
    return False


class Extent(NamedTuple):
    """One extent on its way to one node; `payload` is its units in chunks."""

    node: NodeId
    message: PutExtent
    payload: Sequence[bytes]


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
        self._clients = _Clients((client.node, client) for client in clients)
        # Rows, and requests in flight, may name nodes that are members no more: nothing is known of those.
        self._health = defaultdict(Health, {node: Health() for node in self._clients})
        self._leaving = frozenset[NodeId]()
        self._group: asyncio.TaskGroup | None = None
        self._watches: dict[NodeId, asyncio.Task[None]] = {}
        self._clock = clock
        self._unasked = set(self._clients)
        self._up = self._prompt = frozenset[NodeId]()
        self._all_asked = asyncio.Event()
        self._refresh()

    @property
    def nodes(self) -> tuple[NodeId, ...]:
        """Every node, up or down."""
        return tuple(self._clients)

    def up(self) -> frozenset[NodeId]:
        """The nodes that answer."""
        return self._up

    def prompt(self) -> frozenset[NodeId]:
        """The nodes that answer soon, as far as is known."""
        return self._prompt

    def writable(self) -> frozenset[NodeId]:
        """The nodes that answer soon and take new shards."""
        return self._choices[0]

    def choices(self) -> Sequence[frozenset[NodeId]]:
        """The nodes that take new shards, best first: the prompt ones, then, if there are slow ones, those too."""
        return self._choices

    def full(self) -> frozenset[NodeId]:
        """The nodes that answer and have no room for new shards."""
        return self._full

    def near_full(self) -> frozenset[NodeId]:
        """The nodes that answer and have less room than a prudent operator leaves, or none."""
        return self._near_full

    def moved(self, node: NodeId, since_s: float) -> bool:
        """Has the node answered a get since then, by the fleet's clock?"""
        return self._health[node].read_s > since_s

    def read_p95_s(self, node: NodeId) -> float:
        """The time in which nearly all gets of a node are answered."""
        return self._health[node].verdict.reads.p95_s

    def late(self, node: NodeId, since_s: float) -> None:
        """A get that was sent then, by the fleet's clock, is not answered, while those of others are."""
        health = self._health[node]
        health.verdict.reads.add(self._clock() - since_s)
        if health.heard_s < since_s:
            for one in self._health.values():  # all of them: what is quiet shows beside the others
                one.hurry.set()

    def statuses(self) -> dict[NodeId, Status | None]:
        """The last status of each node; None where it is down."""
        return {node: self._health[node].status if node in self._up else None for node in self._clients}

    def can_write(self, rs: ErasureConfig) -> bool:
        """Would a PUT be acknowledged now?"""
        places = assign(self.nodes, self._choices[-1], rs.data + rs.parity)
        return survives(places, rs.data, rs.spare)

    async def run(self) -> None:
        """Heartbeats to every node until cancelled; owns one task a node."""
        async with asyncio.TaskGroup() as self._group:
            for node in self._clients:
                self._begin(node)
            await asyncio.get_running_loop().create_future()  # nodes may come and go until then

    def admit(self, client: NodeClient) -> None:
        """Take a node in, down until it answers; or another client of a node, in place of the one it had."""
        self.dismiss(client.node)
        self._clients[client.node] = client
        self._health[client.node] = Health()
        if self._group is not None:
            self._begin(client.node)
        else:
            self._unasked.add(client.node)

    def dismiss(self, node: NodeId) -> None:
        """Forget a node: whoever asks it for something is told that it is not reachable. The client stays open."""
        if node not in self._clients:
            return
        if node in self._watches:
            self._watches.pop(node).cancel()
        del self._clients[node], self._health[node]
        self._asked(node)
        self._refresh()

    def retire(self, nodes: Iterable[NodeId]) -> None:
        """These nodes, and no others, leave: what they hold is read, and they take nothing new."""
        self._leaving = frozenset(nodes)
        self._refresh()

    async def first_round(self) -> None:
        """Until every node has answered once since `run` began, or failed to: from here on `up` tells the truth."""
        await self._all_asked.wait()

    async def get(self, node: NodeId, message: GetUnits, *, deadline_s: float) -> tuple[Units, list[bytes]]:
        """NodeClient.get of a node, and what it tells about the node."""
        sent_s = self._clock()
        try:
            reply = await self._clients[node].get(message, deadline_s=deadline_s)
        except ShardError as error:
            self._failed(node, error)
            raise
        health = self._health[node]
        health.heard_s = health.read_s = now_s = self._clock()
        health.verdict.reads.add(now_s - sent_s)
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
        for `standstill_s`, or for `slow_s` where the node says that its disk is busy. What is given up may be
        durable all the same.
        """
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._put(extent)) for extent in extents]
            waits = {number: Wait(extent.node, self._clock()) for number, extent in enumerate(extents)}
            given_up: set[int] = set()
            while waits:
                began_s = self._clock()
                await asyncio.wait([tasks[number] for number in waits], timeout=self.limits.watch_s)
                waits = {number: wait for number, wait in waits.items() if not tasks[number].done()}
                now_s = self._clock()
                doomed = late(waits, self._health, self.limits, now_s=now_s, passed_s=now_s - began_s)
                if doomed and not spare(given_up | doomed):
                    doomed = {number for number in doomed if self._is_over(waits[number])}
                for number in doomed:
                    tasks[number].cancel()
                    self._stood_still(waits.pop(number))
                given_up |= doomed
        return [_outcome(task, extent) for task, extent in zip(tasks, extents, strict=True)]

    async def _put(self, extent: Extent) -> ShardError | None:
        sent_s = self._clock()
        try:
            await self._clients[extent.node].put(
                extent.message, extent.payload, deadline_s=self.limits.put_deadline_s
            )
        except ShardError as error:
            self._failed(extent.node, error)
            return error
        health = self._health[extent.node]
        health.heard_s = health.put_s = now_s = self._clock()
        health.verdict.writes.add(now_s - sent_s)
        return None

    def _is_over(self, wait: Wait) -> bool:
        """Is a put that cannot be done without given up all the same?"""
        return wait.still_s > patience_s(self._health[wait.node], self.limits)

    def _stood_still(self, wait: Wait) -> None:
        health = self._health[wait.node]
        if health.up and others_moved(wait, self._health):
            health.verdict.stood_still(self._clock())
            self._refresh()

    def _begin(self, node: NodeId) -> None:
        assert self._group is not None
        watch = self._group.create_task(self._watch(node), name=f"heartbeat of node {node}")
        self._watches[node] = watch

    async def _watch(self, node: NodeId) -> None:
        health = self._health[node]
        while True:
            started_s = self._clock()
            if not self._is_busy(node, started_s):
                await self._ask(node, started_s)
                self._asked(node)
            self._judge(node)
            health.hurry.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._left_s(started_s)):
                    await health.hurry.wait()
                    await asyncio.sleep(started_s + HURRY_S - self._clock())

    def _left_s(self, started_s: float) -> float:
        """Until the next heartbeat."""
        return max(0.0, started_s + self.limits.heartbeat_s - self._clock())

    def _judge(self, node: NodeId) -> None:
        """Beside the others: a machine that is busy makes all its nodes slow."""
        health = self._health[node]
        was_slow = health.verdict.slow
        others = [other for other in self._health.values() if other.up and other is not health]
        if health.busy >= BUSY_TIMES and 2 * sum(other.busy > 0 for other in others) < len(others):
            health.verdict.stood_still(self._clock())
        health.verdict.judge([other.verdict for other in others], self._clock())
        if health.verdict.slow != was_slow:
            self._refresh()

    def _is_busy(self, node: NodeId, now_s: float) -> bool:
        """Do other requests say that the node is up? Then its heartbeat, a twentieth of their cost, is saved."""
        health, limits = self._health[node], self.limits
        heard = health.heard_s > now_s - limits.heartbeat_s
        told = health.status_s > now_s - limits.status_life_s
        return health.up and heard and told and not health.quiet and not health.hurry.is_set()

    async def _ask(self, node: NodeId, started_s: float) -> None:
        health = self._health[node]
        quiet = asyncio.get_running_loop().call_later(self.limits.quiet_s, self._quiet, node, started_s)
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
            health.quiet = False
            health.busy = health.busy + 1 if health.status.state == BUSY else 0
            self._set_up(node, up=True)
        finally:
            quiet.cancel()

    def _quiet(self, node: NodeId, started_s: float) -> None:
        """Its status is late: its own fault only where most of the others were heard meanwhile."""
        health = self._health[node]
        punctual = self._clock() < started_s + self.limits.quiet_s + self.limits.lateness_s
        others = [
            other.heard_s >= started_s for other in self._health.values() if other.up and other is not health
        ]
        if punctual and health.heard_s < started_s and 2 * sum(others) > len(others):
            health.quiet = True
            self._refresh()

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
        prompt = frozenset(node for node, health in up.items() if health.prompt)
        for node in (prompt ^ self._prompt) & self._up & up.keys():
            log.warning("node %d %s", node, "is prompt again" if node in prompt else "is slow")
        self._up, self._prompt = frozenset(up), prompt
        taking = frozenset(node for node, health in up.items() if health.has_state("ok", BUSY))
        taking -= self._leaving
        self._full = frozenset(node for node, health in up.items() if health.has_state("full"))
        self._near_full = frozenset(
            node for node, health in up.items() if health.used > self.limits.near_full or node in self._full
        )
        self._choices = (taking,) if taking <= self._prompt else (taking & self._prompt, taking)

    async def list(self, node: NodeId, after: bytes, limit: int, *, deadline_s: float) -> Page:
        """NodeClient.list of a node."""
        return await self._clients[node].list(after, limit, deadline_s=deadline_s)


def _outcome(task: asyncio.Task[ShardError | None], extent: Extent) -> ShardError | None:
    return DeadlineError(f"node {extent.node} stands still") if task.cancelled() else task.result()
