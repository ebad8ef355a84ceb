"""Owns the work behind the requests: blobs mended, shards swept, old uploads ended, by one process at a time."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from itertools import islice

import msgspec

from s3d.blobs.bout import Bout
from s3d.blobs.expiry import Expiry
from s3d.blobs.lease import Lease
from s3d.blobs.mending import Mending, Room, mend, plan
from s3d.blobs.pace import Pace
from s3d.blobs.resources import Resources
from s3d.blobs.states import States
from s3d.blobs.suspects import Suspects
from s3d.blobs.sweeping import sweep
from s3d.metadata.commands import MarkDegraded, Relocate, SaveJob, Swept
from s3d.metadata.fields import Placement
from s3d.metadata.log import Log
from s3d.metadata.rows import RowError
from s3d.placement.ring import Ring
from shardd.contract.blobs import BlobId, NodeId, new_blob_id
from shardd.contract.cluster import GatewayConfig
from shardd.contract.errors import QuoinError

PAGE_ROWS = 64  # rows of the state that are looked at between two awaits: some ms
REQUESTS_TURN = 4  # times as long as such a look is left to others before the next
MENDED_AT_ONCE_MAX = 32
SWEPT_AT_ONCE_MAX = 500
SWEEP_RETRY_US = 60_000_000  # after which nodes that were down are asked again, at the soonest
SWEEP_ROW_US = 2_000  # later by so much for each condemned row: to keep one for that costs a write
SCAN_SHARE_MAX = 0.05  # of one processor, for looks at degraded rows that must wait for a node
DAMAGED_MAX = 1_000  # rows that are spoken of
WALK_S = 10.0  # of mending, after which the walk begins again with those that have fewest survivors by now
FRUITLESS_SHARE_MAX = 0.2  # as long, of the mending, as looks may take that find nothing to mend
FAILED_REST_S = 3.0  # after a round in which some blob could not be mended, though its nodes seemed there

Turn = Callable[[], Coroutine[None, None, None]]

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Counters:
    """What was done since the process began."""

    suspect_shards: int = 0
    mended_blobs: int = 0
    mended_shards: int = 0
    failed_blobs: int = 0
    swept_shards: int = 0


@dataclass(slots=True)
class Walk:
    """For how long one walk over the degraded rows has mended, and has found nothing that it could mend."""

    fruitful_s: float = 0.0
    fruitless_s: float = 0.0

    def add(self, took_s: float, *, mended: bool) -> None:
        """One page took so long."""
        if mended:
            self.fruitful_s += took_s
        else:
            self.fruitless_s += took_s

    @property
    def is_over(self) -> bool:
        """May it begin again? Not where the way to what can be mended is long: what is at the end has its turn too."""
        return self.fruitful_s > max(WALK_S, self.fruitless_s / FRUITLESS_SHARE_MAX)


@dataclass(slots=True)
class _Scan:
    """When degraded rows are looked at next, and which nodes took writes at the last look."""

    due_s: float = 0.0
    writable: frozenset[NodeId] = field(default_factory=frozenset)


class Repairer:
    """Runs in every gateway; the one that holds the lease does the work, all of them file what their reads complain of.

    `ring` orders the nodes for shards that need a place: a blob's key is not known here, so its id takes its place.
    `leads`: whether this one did the work at the last look.
    """

    def __init__(
        self,
        resources: Resources,
        ring: Ring,
        *,
        states: States,
        log: Log,
        config: GatewayConfig,
        lease: Lease,
        pace: Pace,
        suspects: Suspects,
        now_us: Callable[[], int],
    ) -> None:
        self.counters, self.leads = Counters(), False
        self._resources = resources
        self._ring = ring
        self._states = states
        self._log = log
        self._config = config
        self._lease = lease
        self._suspects = suspects
        self._now_us = now_us
        self._pace = pace
        self._bout = Bout()
        self._scan = _Scan()
        self._damaged: set[bytes] = set()
        self._turns: tuple[Turn, ...] = (self._complain, self._mend, self._clear_away)
        self._expiry = Expiry(states, log, config=config, now_us=now_us, damaged=self._pass_over)

    async def run(self) -> None:
        """Until cancelled: each turn every `repair_interval_s`, beside the others, for any of them may take hours.

        To fill a node again does; meanwhile disks get full of what is not swept. And one that hangs holds up sweeping.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for turn in self._turns:
                    group.create_task(self._again_and_again(turn), name=turn.__name__)
        finally:
            self.leads = False
            await self._attempt(self._lease.give_up())

    async def round(self) -> None:
        """File complaints; where this process leads, mend what can be mended now, end old uploads, sweep what is due.

        None of them is kept from being done by a fault in another: a full state must still be swept.
        """
        for turn in self._turns:
            await turn()

    async def _again_and_again(self, turn: Turn) -> None:
        while True:
            await turn()
            await asyncio.sleep(self._config.repair_interval_s)

    async def _complain(self) -> None:
        await self._attempt(self._file_suspects())

    async def _mend(self) -> None:
        await self._do(self._mend_all)

    async def _clear_away(self) -> None:
        await self._do(self._expiry.round)
        await self._do(self._sweep_all)

    async def _do(self, work: Turn) -> None:
        """Where this process leads."""
        await self._attempt(self._lead())
        if self.leads:
            await self._attempt(work())

    async def _lead(self) -> None:
        self.leads = False  # where nobody can say
        self.leads = await self._lease.hold()

    async def _attempt(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except* (QuoinError, OSError) as faults:
            log.warning("repair: %s", faults.exceptions)

    async def _file_suspects(self) -> None:
        taken = self._suspects.take()
        async with asyncio.TaskGroup() as group:
            filings = [group.create_task(self._file(*complaint)) for complaint in taken.items()]
        failed = [fault for filing in filings if (fault := filing.result()) is not None]
        if failed:
            log.warning("complaints about %d blobs are not filed: %s", len(failed), failed[0])

    async def _file(self, blob: BlobId, shards: tuple[int, ...]) -> QuoinError | None:
        """File the complaints about one blob, which the log joins with others': what kept it from that.

        They are kept for the next round, but not where the blob's own rows are damaged: they would be for ever.
        """
        mark = MarkDegraded(self._write_id(), self._now_us(), blob=blob, suspects=shards)
        try:
            await self._log.append([mark])
        except RowError as fault:
            return fault
        except QuoinError as fault:
            self._suspects.give_back(blob, shards)
            return fault
        self.counters.suspect_shards += len(shards)
        return None

    async def _mend_all(self) -> None:
        """Look at all degraded rows, fewest survivors first, and mend those whose nodes are there.

        Rows that wait for a node are not looked at again until other nodes take writes, or some time has passed.
        """
        loop = asyncio.get_running_loop()
        writable = self._resources.fleet.writable()
        if writable == self._scan.writable and loop.time() < self._scan.due_s:
            return
        looked_s, after, failed, planned = 0.0, b"", self.counters.failed_blobs, 0
        walk = Walk()
        while writable == self._resources.fleet.writable() and await self._lease.hold():
            started_s, mended = loop.time(), self.counters.mended_blobs
            page, after = self._plans(after)
            page_s = loop.time() - started_s
            looked_s += page_s
            planned += len(page)
            self._bout.work(self._now_us())
            await self._mend_page(iter(page), workers=min(len(page), MENDED_AT_ONCE_MAX))
            await self._tell(waits=not after and not planned)
            if not after:
                rest_s = FAILED_REST_S if self.counters.failed_blobs > failed else 0.0
                self._scan = _Scan(loop.time() + max(rest_s, looked_s / SCAN_SHARE_MAX), writable)
                return
            # Requests are served by the same loop, and a look at very many rows takes seconds.
            await asyncio.sleep(0 if page else page_s * REQUESTS_TURN)
            walk.add(loop.time() - started_s, mended=self.counters.mended_blobs > mended)
            if walk.is_over:
                walk, after = Walk(), b""

    def _plans(self, after: bytes) -> tuple[list[Mending], bytes]:
        """What can be done for a page of degraded blobs, and the key to go on after; empty at the end."""
        room = Room(self._resources.fleet.writable(), self._resources.fleet.full())
        page = []
        with self._states.view() as view:
            rows = list(islice(view.degraded(after, damaged=self._pass_over), PAGE_ROWS))
            for _, blob, degraded in rows:
                try:
                    row = view.blob(blob)
                except RowError as fault:
                    self._pass_over(blob, fault)
                    continue
                if row is None:
                    continue
                suspects = degraded.suspects
                mending = plan(BlobId(blob), row, suspects=suspects, ring=self._ring, room=room)
                if mending is not None:
                    page.append(mending)
        return page, rows[-1][0] if len(rows) == PAGE_ROWS else b""

    def _pass_over(self, key: bytes, fault: RowError) -> None:
        """A damaged row is passed over, so that the others have their turn; said once, for it is met every round."""
        if key not in self._damaged and len(self._damaged) < DAMAGED_MAX:
            self._damaged.add(key)
            log.error("a row of the state, %s, is damaged and passed over: %s", key.hex(), fault)

    async def _mend_page(self, page: Iterator[Mending], *, workers: int) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._work_off(page))

    async def _work_off(self, page: Iterator[Mending]) -> None:
        for mending in page:
            if not await self._lease.hold():
                return
            await self._mend_one(mending)

    async def _mend_one(self, mending: Mending) -> None:
        try:
            placement = await mend(self._resources, mending, pace=self._pace, lease=self._lease)
            outcomes = await self._log.append([self._relocate(mending, placement)])
        except* (QuoinError, OSError) as faults:
            self.counters.failed_blobs += 1
            log.info("blob %s is not mended yet: %s", mending.blob.hex(), faults.exceptions)
        else:
            if not outcomes[0].error:
                self.counters.mended_blobs += 1
                self.counters.mended_shards += len(mending.moves)
                self._bout.mended(mending.moved_bytes)

    async def _tell(self, *, waits: bool) -> None:
        """Keep how far it has come, for whoever asks any gateway; `waits`: nothing can be done of what is left."""
        now_us, lease = self._now_us(), self._lease
        with self._states.view() as view:
            row = self._bout.news(view.degraded_count(), now_us, waits=waits)
            kept = view.job(lease.job)
        if waits and row is None and kept is not None and not kept.finished and not kept.stands:
            row = msgspec.structs.replace(kept, started_us=kept.updated_us)  # of a process that is no more
        if row is not None:
            await self._log.append(
                [SaveJob(self._write_id(), now_us, job=lease.job, holder=lease.holder, row=row)]
            )

    def _relocate(self, mending: Mending, placement: Placement) -> Relocate:
        return Relocate(
            self._write_id(),
            self._now_us(),
            blob=mending.blob,
            expected=mending.row.shards,
            shards=placement,
            degraded=not mending.complete,
            grace_us=int(self._config.condemned_grace_s * 1e6),
        )

    async def _sweep_all(self) -> None:
        while await self._lease.hold():
            now_us = self._now_us()
            with self._states.view() as view:
                condemned = list(islice(view.condemned(now_us, damaged=self._pass_over), SWEPT_AT_ONCE_MAX))
                rest_us = max(SWEEP_RETRY_US, SWEEP_ROW_US * view.condemned_count())
            if not condemned:
                return
            items, deleted = await sweep(self._resources.fleet, condemned, retry_us=now_us + rest_us)
            await self._log.append([Swept(self._write_id(), now_us, items=tuple(items))])
            self.counters.swept_shards += deleted

    def _write_id(self) -> bytes:
        return new_blob_id(self._now_us() // 1_000)
