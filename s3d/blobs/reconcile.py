"""Owns the reconciling of nodes with the metadata: when a pass over a node is due, and the walk over all its shards.

What a node lacks is filed for repair, what no row names is condemned. Nothing is copied or deleted here.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import msgspec

from s3d.blobs.comparing import END, Place, UnderWay, compare, is_whole, stretch
from s3d.blobs.lease import Lease
from s3d.blobs.rebalance import JOB as REBALANCE
from s3d.blobs.states import States
from s3d.metadata.commands import Command, CondemnUnnamed, MarkDegraded, SaveJob
from s3d.metadata.fields import Places
from s3d.metadata.log import Log
from s3d.metadata.rows import BlobRow, JobRow, NodeRow, RowError
from s3d.placement.stripes import Layout
from s3d.shards.fleet import Fleet
from shardd.contract.blobs import NodeId, new_blob_id
from shardd.contract.cluster import GatewayConfig
from shardd.contract.errors import QuoinError, ShardCorruptError
from shardd.contract.messages import Status

JOB: Final = "reconcile/{}"
INTERVAL_S: Final = 1.0  # between looks at which node is due
DAY_US: Final = 86_400_000_000
# Of a list, which has at least two blobs, and of the state: some ms between two awaits.
PAGE_ROWS: Final = 512
REST_TURNS: Final = 4  # times as long as a look at rows is left to requests before the next
COMMANDS_MAX: Final = 200  # in one transaction
STATS_AT_ONCE: Final = 32
SAVE_PAGES: Final = 16  # pages that are walked again at most after a crash
DEADLINE_S: Final = 10.0

log = logging.getLogger(__name__)


@dataclass(slots=True)
class ReconcileCounters:
    """What was found since the process began."""

    missing_shards: int = 0
    unnamed_shards: int = 0
    passes: int = 0


def due(job: JobRow | None, status: Status, now_us: int, *, period_us: int) -> JobRow | None:
    """The pass that a node needs now, a new one or one to go on with; None where it needs none.

    A new life of its folder, records that were found damaged or gone since the last pass began, or a whole period
    since: a new pass. `job` is the last one; its subject is the life of the folder and, in 8 bytes, how many such
    records there were.
    """
    subject = status.incarnation + status.losses.to_bytes(8, "big")
    fresh = JobRow(subject, now_us, now_us, total=status.shards)
    if job is None or job.subject[:-8] != status.incarnation:
        return fresh
    if not job.finished:
        return job
    is_recent = 0 <= now_us - job.started_us < period_us  # no pass begins in the future but by a wrong clock
    return None if job.subject == subject and is_recent else fresh


def is_settled(life: NodeRow | None, status: Status, now_us: int, *, upload_life_us: int) -> bool:
    """Whether the state has known this life of a node's folder for as long as uploads live.

    A state that was restored from a snapshot has not, nor one that is new because the old one was lost: what their rows
    do not name may be what a later restore, or salvage, brings back.
    """
    if life is None or life.incarnation != status.incarnation:
        return False
    return now_us - life.since_us >= upload_life_us


class Reconciler:
    """Runs in every gateway; each node is done by the one that holds its lease. `lease_for` makes it, by its name."""

    def __init__(
        self,
        fleet: Fleet,
        *,
        states: States,
        log: Log,
        lease_for: Callable[[str], Lease],
        config: GatewayConfig,
        now_us: Callable[[], int],
    ) -> None:
        self.counters = ReconcileCounters()
        self._fleet = fleet
        self._states = states
        self._log = log
        self._lease_for = lease_for
        self._upload_life_us = int(config.upload_life_s * 1e6)
        self._period_us = int(config.reconcile_days * DAY_US)
        self._grace_us = int(config.condemned_grace_s * 1e6)
        self._now_us = now_us
        self._seen: dict[NodeId, JobRow | None] = {}  # as the last look found the jobs

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.round()
            await asyncio.sleep(INTERVAL_S)

    async def round(self) -> None:
        """Every node that is up and due; a pass that fails in the middle is gone on with in the next round."""
        for node, status in self._fleet.statuses().items():
            if status is None:
                continue
            try:
                await self._reconcile(node, status)
            except* (QuoinError, OSError) as faults:
                log.warning("node %d is not reconciled yet: %s", node, faults.exceptions)

    async def _reconcile(self, node: NodeId, status: Status) -> None:
        if due(self._seen.get(node), status, self._now_us(), period_us=self._period_us) is None:
            return  # only the node or the calendar makes another pass due: the state need not be asked each second
        lease = self._lease_for(JOB.format(node))
        if self._look(node, status, lease) is None or not await lease.hold():
            return
        try:
            if (job := self._look(node, status, lease)) is not None:  # who held the lease may have done it
                settled = self._is_settled(node, status)
                await self._walk(node, job.resumed(self._now_us()), lease, settled=settled)
        finally:
            await lease.give_up()

    def _look(self, node: NodeId, status: Status, lease: Lease) -> JobRow | None:
        """The pass that is due as the state is now."""
        with self._states.view() as view:
            self._seen[node] = seen = view.job(lease.job)
        return due(seen, status, self._now_us(), period_us=self._period_us)

    def _is_settled(self, node: NodeId, status: Status) -> bool:
        with self._states.view() as view:
            life = view.node(node)
        return is_settled(life, status, self._now_us(), upload_life_us=self._upload_life_us)

    async def _walk(self, node: NodeId, job: JobRow, lease: Lease, *, settled: bool) -> None:
        """One pass, from the job's cursor on: the blob behind which it goes on. Gives up nothing unless `settled`."""
        loop = asyncio.get_running_loop()
        pages = 0
        while not job.finished and await lease.hold():
            after = job.cursor + b"\xff" if job.cursor else b""
            listed = (await self._fleet.list(node, after, PAGE_ROWS, deadline_s=DEADLINE_S)).shards
            started_s = loop.time()
            rows, damaged, moves = self._rows(job.cursor)
            stop = stretch(listed, list(rows), lines_max=PAGE_ROWS, rows_max=PAGE_ROWS)
            under_way = UnderWay((self._now_us() - self._upload_life_us) // 1_000, moves)
            known = [line for line in listed if line[0] not in damaged]
            findings = compare(node, known, rows, stop=stop, under_way=under_way)
            looked_s = loop.time() - started_s
            missing = await self._confirm(node, findings.missing, rows)
            await self._file(missing, findings.unnamed if settled else {})
            done = job.done + sum(line[0] <= stop for line in listed)
            job = msgspec.structs.replace(
                job,
                cursor=stop,
                done=done,
                total=done if stop == END else max(done, job.total),
                found=job.found + len(missing),
                updated_us=self._now_us(),
                finished=stop == END,
            )
            pages += 1
            if job.finished or pages % SAVE_PAGES == 0:
                save = SaveJob(*self._stamp(), job=lease.job, holder=lease.holder, row=job)
                await self._log.append([save])
            # Requests are served by the same loop.
            await asyncio.sleep(looked_s * REST_TURNS)
        self.counters.passes += job.finished

    def _rows(self, after: bytes) -> tuple[dict[bytes, BlobRow], set[bytes], bool]:
        """A page of blobs, those on the way whose rows are damaged, and whether somebody moves shards.

        Nobody knows what damaged rows name, so it stays.
        """
        damaged: set[bytes] = set()

        def pass_over(blob: bytes, fault: RowError) -> None:
            damaged.add(blob)
            log.warning("what nodes have of blob %s is left as it is: %s", blob.hex(), fault)

        with self._states.view() as view:
            rows, lease = dict(islice(view.blobs(after, damaged=pass_over), PAGE_ROWS)), view.lease(REBALANCE)
        return rows, damaged, lease is not None and lease.holds(self._now_us())

    async def _confirm(
        self, node: NodeId, missing: Sequence[Place], rows: Mapping[bytes, BlobRow]
    ) -> list[Place]:
        """Which of the missing shards the node has not, asked for each: a list may be older than a row."""
        confirmed: list[Place] = []
        places = iter(missing)

        async def ask() -> None:
            for blob, shard in places:
                row = rows[blob]
                try:
                    stat = await self._fleet.stat(node, blob, shard, deadline_s=DEADLINE_S)
                except ShardCorruptError:
                    confirmed.append((blob, shard))
                    continue
                extents = Layout(row.size, row.k).extents
                if not is_whole(stat, extents=extents, generation=row.shards[shard][1]):
                    confirmed.append((blob, shard))

        async with asyncio.TaskGroup() as group:
            for _ in range(min(STATS_AT_ONCE, len(missing))):
                group.create_task(ask())
        return confirmed

    async def _file(self, missing: Sequence[Place], unnamed: Mapping[bytes, Places]) -> None:
        orders: list[Command] = [
            MarkDegraded(*self._stamp(), blob=blob, suspects=(shard,)) for blob, shard in missing
        ]
        orders += [
            CondemnUnnamed(*self._stamp(), blob=blob, places=places, grace_us=self._grace_us)
            for blob, places in unnamed.items()
        ]
        for at in range(0, len(orders), COMMANDS_MAX):
            await self._log.append(orders[at : at + COMMANDS_MAX])
        self.counters.missing_shards += len(missing)
        self.counters.unnamed_shards += sum(map(len, unnamed.values()))

    def _stamp(self) -> tuple[bytes, int]:
        """A new write id, and the time."""
        now_us = self._now_us()
        return new_blob_id(now_us // 1_000), now_us
