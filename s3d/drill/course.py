"""Owns the course of a drill: clients at work, one node after the other struck, mended, healed; the judgement.

The store is asked how it is by one watcher; nothing here knows what a promise is (verdict.py).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from s3d.drill.bucket import claim, clear
from s3d.drill.client import Client, LostError, RefusedError
from s3d.drill.facts import Record, Sample, Strike
from s3d.drill.faults import FAULTS, Fault
from s3d.drill.healing import ailing, before, is_healed, states
from s3d.drill.judgement import judge
from s3d.drill.load import Traffic, Worker
from s3d.drill.model import Bodies, Model
from s3d.drill.port import NoProcessError, StartError, Store, key_of
from shardd.contract.blobs import NodeId
from shardd.contract.errors import QuoinError

SAMPLE_S: Final = 0.5
NEXT_S: Final = 0.05  # before another gateway is asked, where all refuse at once
HEAL_S_MAX: Final = 300.0
STATUS: Final = "/-/admin/status"


class AbsentError(QuoinError):
    """A node of the file is no member of the store, or down, before the drill took any."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do: `faults` in turn over all nodes, `rounds` times; each lasts `hold_s`, after a quiet `quiet_s`.

    A node that is not well `heal_s_max` after its fault was mended breaks a promise, and ends the drill. `key`: the
    access key to ask with, the cluster's first without it.
    """

    faults: tuple[str, ...]
    rounds: int = 1
    clients: int = 16
    hold_s: float = 5.0
    quiet_s: float = 5.0
    heal_s_max: float = HEAL_S_MAX
    seed: int = 0
    key: str | None = None


class Course:
    """One drill of a store that runs. `record` grows while it runs, for whoever shows it."""

    def __init__(self, store: Store, plan: Plan) -> None:
        self._strikes = strikes_of(plan.faults, store.nodes, rounds=plan.rounds)
        self.record = Record(store.title, plan.seed, plan.clients, planned=len(self._strikes))
        self._store, self._plan = store, plan
        self._origin_s = time.monotonic()
        self._status: Mapping[str, Any] | None = None  # what a gateway said last
        self._sampled = asyncio.Event()
        self._endpoints = [store.cluster.endpoint(entry) for entry in store.cluster.nodes]

    async def run(self) -> None:
        """The whole course, or what there was of it where the task is cancelled: the record says so.

        In a store that outlives the drill, nothing of it is left. Raises LostError, RefusedError where the store does
        not even make a bucket, InUseError where an earlier drill left it, AbsentError.
        """
        cluster, bucket = self._store.cluster, f"quoin-drill-{self._plan.seed}"
        async with Client(key_of(cluster, self._plan.key), authority=cluster.gateway.tls_authority) as client:
            await self._expect_all(client)
            await claim(client, self._endpoints, bucket)
            traffic = Traffic(
                client,
                self._endpoints,
                bucket,
                Model(Bodies(self._plan.seed)),
                self.record,
                origin_s=self._origin_s,
            )
            try:
                await self._drill(traffic)
            except asyncio.CancelledError:
                self.record.interrupted = True
            finally:
                self.record.took_s = self._now_s()
                if self._store.outlives and (left := await clear(client, self._endpoints, bucket)):
                    self.record.remarks.append(left)

    async def _expect_all(self, client: Client) -> None:
        """Clients ask every gateway: of one that is not there they would say that the store lost what they wrote."""
        for endpoint in self._endpoints:
            with suppress(LostError, RefusedError):
                said = states(await client.page(endpoint, STATUS))
                absent = [str(node) for node in self._store.nodes if said.get(node, "down") == "down"]
                if absent and self._store.outlives:
                    raise AbsentError(
                        f"no member, or down: node {', '.join(absent)} of cluster.toml; a drill begins with all of them"
                    )
                return

    async def _drill(self, traffic: Traffic) -> None:
        async with self._watched(traffic.client):
            async with self._loaded(traffic):
                await asyncio.sleep(self._plan.quiet_s)
                for fault, node in self._strikes:
                    if not await self._strike(fault, node):
                        break
            await judge(traffic)

    async def _strike(self, name: str, node: NodeId) -> bool:
        """One fault of one node, until all is healed; whether that came in time."""
        fault, strike = FAULTS[name], Strike(name, node, self._now_s())
        self.record.strikes.append(strike)
        since = before(self._status, node, time.time_ns() // 1_000)
        try:
            await fault.strike(self._store, node)
            await self._hold(fault, node)
            strike.mended_s = self._now_s()
            async with asyncio.timeout(self._plan.heal_s_max):
                while not is_healed(await self._next_status(), node, fault.damage, since):
                    pass
        except TimeoutError:
            seen = ailing(self._status) if self._status else "no gateway says how the store is"
            strike.ailing = seen or f"node {node} was not looked over"
            return False
        except (StartError, NoProcessError) as error:
            strike.ailing = str(error)
            return False
        strike.healed_s = self._now_s()
        return True

    async def _hold(self, fault: Fault, node: NodeId) -> None:
        """Mends it after its time; at once where the drill is interrupted and the store is not gone with it."""
        try:
            await asyncio.sleep(self._plan.hold_s)
        except asyncio.CancelledError:
            if self._store.outlives:
                await fault.mend(self._store, node)
            raise
        await fault.mend(self._store, node)

    @asynccontextmanager
    async def _watched(self, client: Client) -> AsyncIterator[None]:
        """The store is asked how it is, all the time."""
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._watch(client), name="watch")
            yield
            watching.cancel()

    async def _watch(self, client: Client) -> None:
        """A sample from the first gateway that answers, every SAMPLE_S."""
        turn = 0
        while True:
            endpoint = self._endpoints[turn % len(self._endpoints)]
            try:
                async with asyncio.timeout(2 * SAMPLE_S):
                    status = await client.page(endpoint, STATUS)
            except (LostError, RefusedError, TimeoutError):
                turn += 1
                await asyncio.sleep(NEXT_S)
                continue
            self._status = status
            self._sampled.set()
            self._sampled.clear()
            self.record.samples.append(Sample(self._now_s(), status["degraded_blobs"], states(status)))
            await asyncio.sleep(SAMPLE_S)

    @asynccontextmanager
    async def _loaded(self, traffic: Traffic) -> AsyncIterator[None]:
        """All clients are at work; each ends its last operation."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._plan.clients):
                group.create_task(Worker(traffic, number).run(), name=f"client {number}")
            try:
                yield
            finally:
                traffic.stop.set()

    async def _next_status(self) -> Mapping[str, Any]:
        """What the next gateway says that is asked from now on, or was just being asked."""
        await self._sampled.wait()
        assert self._status is not None
        return self._status

    def _now_s(self) -> float:
        return time.monotonic() - self._origin_s


def strikes_of(faults: Sequence[str], nodes: Sequence[NodeId], *, rounds: int) -> list[tuple[str, NodeId]]:
    """Which fault strikes which node.

    In each round each fault strikes and each node is struck; the next one begins with the next fault, so that each node
    meets each.
    """
    strikes = max(len(faults), len(nodes)) if faults else 0
    return [
        (faults[(turn + at) % len(faults)], nodes[at % len(nodes)])
        for turn in range(rounds)
        for at in range(strikes)
    ]
