"""Owns the moving of shards after a change of the members: when a pass over all blobs is due, and the pass.

Copy, swap the placement in the row, and the row's command condemns what was left behind: a reader that began before
finds it until the grace is over.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import Final

import msgspec

from s3d.blobs.comparing import begun_ms
from s3d.blobs.lease import Lease
from s3d.blobs.membership import Member, Membership, member_of
from s3d.blobs.mending import Mending, mend
from s3d.blobs.moving import moves
from s3d.blobs.pace import Pace
from s3d.blobs.resources import Resources
from s3d.blobs.states import States
from s3d.metadata.commands import Relocate, SaveJob
from s3d.metadata.log import Log
from s3d.metadata.rows import REMOVED, BlobRow, JobRow, RowError
from s3d.metadata.view import View
from s3d.placement.durability import settled
from shardd.contract.blobs import BlobId, NodeId, new_blob_id
from shardd.contract.cluster import GatewayConfig
from shardd.contract.errors import QuoinError

JOB: Final = "rebalance"
DAY_US: Final = 86_400_000_000
INTERVAL_S: Final = 1.0  # between looks at whether a pass is due
PAGE_ROWS: Final = 128  # of the state: some ms between two awaits
REST_TURNS: Final = 4  # times as long as a look at rows is left to requests before the next
MOVED_AT_ONCE: Final = 8
SAVED_EVERY_US: Final = 2_000_000  # so much is gone over again at most after a crash
AGAIN_US: Final = 3_000_000  # after a pass that left something, for nodes that were down, at the soonest
AGAIN_ROW_US: Final = 50  # of rest for each blob, between passes; to look at its row takes some 8 us
DRAINED_AGAIN_US: Final = 20_000_000  # uploads that began before a node was drained may yet end on it
# A gateway that follows the members late commits uploads that a node took before it left: within a put's deadline,
# the 45 s in which a writer replaces what other nodes failed, and the log's time.
LATE_AGAIN_US: Final = 120_000_000
LATE: Final = b"late"  # ends the subject of the pass that looks for these

log = logging.getLogger(__name__)


@dataclass(slots=True)
class RebalanceCounters:
    """What was done since the process began."""

    moved_shards: int = 0
    moved_bytes: int = 0
    failed_moves: int = 0


def due(
    job: JobRow | None, members: Sequence[Member], now_us: int, *, period_us: int, left: bool = False
) -> JobRow | None:
    """The pass that these members need now, a new one or one to go on with; None where they need none.

    `left`: some node was a member and is none any more.

    A pass for each change of the members, until one has left nothing; again while nodes are drained, and once more
    when the last uploads that knew the members from before have ended. Then once a period, for what a process commits
    that was stopped for longer: rows that name a node which is gone are met by nothing else.
    """
    subject = _subject(members)
    fresh = JobRow(subject, now_us, now_us)
    if job is None:
        changed = left or any(member.joined_us or not member.active for member in members)
        return fresh if changed else None
    if job.stopped:
        return None
    if not job.subject.startswith(subject):
        return fresh
    if not job.finished:
        return None if not job.cursor and _is_within(AGAIN_US, job, now_us) else job
    if any(not member.active for member in members):
        return None if _is_within(DRAINED_AGAIN_US, job, now_us) else fresh
    if _is_within(LATE_AGAIN_US if job.subject == subject else period_us, job, now_us):
        return None
    return msgspec.structs.replace(fresh, subject=subject + LATE)


def _is_within(pause_us: int, job: JobRow, now_us: int) -> bool:
    """Was the pass at work so short a time ago? Not one of the future: the clock that it had was wrong."""
    return 0 <= now_us - job.updated_us < max(pause_us, AGAIN_ROW_US * job.total)


def _subject(members: Sequence[Member]) -> bytes:
    """What a pass is about: who is a member, and how."""
    facts = [(member.node, member.zone, member.state, member.joined_us) for member in members]
    return sha256(msgspec.msgpack.encode(facts)).digest()[:16]


def _pass_over(blob: bytes, fault: RowError) -> None:
    """Nobody knows what a damaged row names: its shards stay where they are, and all others move."""
    log.warning("the row of blob %s is damaged, and passed over: %s", blob.hex(), fault)


class Rebalancer:
    """Runs in every gateway; the one that holds `lease` moves shards."""

    def __init__(
        self,
        resources: Resources,
        membership: Membership,
        *,
        states: States,
        log: Log,
        config: GatewayConfig,
        lease: Lease,
        pace: Pace,
        now_us: Callable[[], int],
    ) -> None:
        self.counters = RebalanceCounters()
        self._resources = resources
        self._membership = membership
        self._states = states
        self._log = log
        self._lease = lease
        self._grace_us = int(config.condemned_grace_s * 1e6)
        self._period_us = int(config.reconcile_days * DAY_US)
        self._pace = pace
        self._now_us = now_us

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.round()
            except* (QuoinError, OSError) as faults:
                log.info("rebalance: %s", faults.exceptions)
            await asyncio.sleep(INTERVAL_S)

    async def round(self) -> None:
        """A pass, where one is due and this process gets to do it. What stops it in the middle is met again."""
        if self._due() is None or not await self._lease.hold():
            return
        try:
            if (job := self._due()) is not None:  # who held the lease until now may have done it
                await self._walk(job)
        finally:
            await self._lease.give_up()

    def _due(self) -> JobRow | None:
        with self._states.view() as view:
            rows, kept = list(view.nodes()), view.job(JOB)
        members = tuple(member_of(row) for row in rows if row.member)
        if members != self._membership.members:
            return None  # this process does not follow them yet
        now_us = self._now_us()
        left = any(row.state == REMOVED for row in rows)
        job = due(kept, members, now_us, period_us=self._period_us, left=left)
        return job and job.resumed(now_us)

    async def _walk(self, job: JobRow) -> None:
        """One pass, from the job's cursor on: the blob behind which it goes on."""
        loop = asyncio.get_running_loop()
        saved_us = 0
        left = int(bool(job.cursor))  # what whoever came so far has left, nobody knows: another pass looks
        while not job.finished:
            started_s = loop.time()
            with self._states.view() as view:
                if self._is_over(view, job):
                    return
                rows = list(islice(view.blobs(job.cursor, damaged=_pass_over), PAGE_ROWS))
                blobs = view.blobs_count()
            plans, waiting = self._plans(rows)
            looked_s = loop.time() - started_s
            before = self.counters.moved_shards, self.counters.moved_bytes
            failed = await self._move_all(plans)
            if failed is None:
                return
            left += waiting + failed
            ended, done = len(rows) < PAGE_ROWS, job.done + len(rows)
            job = msgspec.structs.replace(
                job,
                cursor=b"" if ended else rows[-1][0],
                done=done,
                total=done if ended else max(done, blobs),
                found=job.found + self.counters.moved_shards - before[0],
                moved_bytes=job.moved_bytes + self.counters.moved_bytes - before[1],
                updated_us=self._now_us(),
                finished=ended and not left,
            )
            if ended or job.updated_us - saved_us >= SAVED_EVERY_US:
                saved_us = job.updated_us
                again = msgspec.structs.replace(job, done=0, moved_bytes=0, started_us=job.updated_us)
                await self._save(again if ended and left else job)
            if ended:
                return
            await asyncio.sleep(looked_s * REST_TURNS)

    def _is_over(self, view: View, job: JobRow) -> bool:
        """Was the pass stopped, or have the members changed?"""
        kept = view.job(JOB)
        return (kept is not None and kept.stopped) or not job.subject.startswith(
            _subject(self._membership.members)
        )

    def _plans(self, rows: Sequence[tuple[bytes, BlobRow]]) -> tuple[list[Mending], int]:
        """What can be moved now of these blobs; and how many others wait for nodes, or to be repaired first."""
        members, ring = self._membership.members, self._membership.ring
        active = {member.node for member in members if member.active}
        writable = self._resources.fleet.writable()
        plans, waiting = [], 0
        for blob, row in rows:
            made_us = begun_ms(blob) * 1_000
            newcomers = {member.node for member in members if member.joined_us > made_us}
            if not newcomers and all(node in active for node, _ in row.shards):
                continue
            wanted = moves(BlobId(blob), row, ring=ring, newcomers=newcomers)
            now = {} if row.filed else {shard: node for shard, node in wanted.items() if node in writable}
            # Shards that find no place at all wait for a node that joins.
            stuck = any(
                node and node not in active and shard not in now for shard, (node, _) in enumerate(row.shards)
            )
            waiting += stuck or len(now) < len(wanted)
            if now:
                plans.append(Mending(BlobId(blob), row, now, frozenset(), complete=True))
        return plans, waiting

    async def _move_all(self, plans: Sequence[Mending]) -> int | None:
        """Move them, some at a time: how many could not be; None where this process is not to go on."""
        work, failed = iter(plans), self.counters.failed_moves
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._work_off(work)) for _ in range(min(len(plans), MOVED_AT_ONCE))]
        return self.counters.failed_moves - failed if all(task.result() for task in tasks) else None

    async def _work_off(self, plans: Iterator[Mending]) -> bool:
        for mending in plans:
            with self._states.view() as view:
                kept = view.job(JOB)
            if (kept is not None and kept.stopped) or not await self._lease.hold():
                return False
            await self._move(mending)
        return True

    async def _move(self, mending: Mending) -> None:
        try:
            placement = await mend(self._resources, mending, pace=self._pace, lease=self._lease)
            now_us = self._now_us()
            swap = Relocate(
                self._write_id(),
                now_us,
                blob=mending.blob,
                expected=mending.row.shards,
                shards=placement,
                degraded=not settled([NodeId(node) for node, _ in placement]),
                grace_us=self._grace_us,
            )
            outcomes = await self._log.append([swap])
        except* (QuoinError, OSError) as faults:
            self.counters.failed_moves += 1
            log.info("blob %s is not moved yet: %s", mending.blob.hex(), faults.exceptions)
        else:
            if outcomes[0].error:  # its shards were moved or complained of meanwhile
                self.counters.failed_moves += 1
                return
            self.counters.moved_shards += len(mending.moves)
            self.counters.moved_bytes += mending.moved_bytes

    async def _save(self, job: JobRow) -> None:
        save = SaveJob(self._write_id(), self._now_us(), job=JOB, holder=self._lease.holder, row=job)
        await self._log.append([save])

    def _write_id(self) -> bytes:
        return new_blob_id(self._now_us() // 1_000)
