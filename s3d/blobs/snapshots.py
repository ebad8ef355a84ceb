"""Owns when the state's snapshots are made and that requests go on meanwhile; never their bytes, never their files."""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from s3d.blobs.lease import Lease
from s3d.blobs.states import States
from s3d.metadata import snapshot_files
from s3d.metadata.disks import Disks
from s3d.metadata.log import Log
from s3d.metadata.rows import RowError
from shardd.contract.cluster import MetadataConfig
from shardd.contract.errors import QuoinError

JOB: Final = "snapshot"
LOOK_S: Final = 10.0  # how often it is looked whether one is due
SOONEST_S: Final = 60.0  # after the last one, whatever the journal is like
RENEW_S: Final = 1.0
REST_AFTER_S: Final = 0.002
REST_TURNS: Final = 4  # times as long as a piece took is left to requests before the next

T = TypeVar("T")
logger = logging.getLogger(__name__)


class _StoppedError(Exception):
    """The process ends before the work does."""


async def aside(
    work: Callable[[Callable[[], None]], T], *, meanwhile: Callable[[], Awaitable[object]] | None = None
) -> T:
    """What `work` gives, done in a thread that rests often: it calls what it is given between two pieces of work.

    Cancelled, it waits until the work has let go of all it holds. `meanwhile` is awaited each second, if given.
    """
    stop, began_s = threading.Event(), time.monotonic()

    def rest() -> None:
        nonlocal began_s
        spent_s = time.monotonic() - began_s
        if spent_s > REST_AFTER_S:
            if stop.wait(spent_s * REST_TURNS):
                raise _StoppedError
            began_s = time.monotonic()

    task = asyncio.get_running_loop().run_in_executor(None, work, rest)
    try:
        while not (await asyncio.wait([task], timeout=RENEW_S))[0]:
            if meanwhile is not None:
                await meanwhile()
        return task.result()
    finally:
        stop.set()
        await asyncio.wait([task])


class SnapshotKeeper:
    """Runs in every gateway; the one that holds the lease makes them. `damaged` is told of damage that they meet.

    `folders`: where each node keeps its own, on disks that fail or hang apart from each other. `booted_us`: when the
    machine began; the journal, which is not synced, may lack commands from before, so what goes on from there needs a
    snapshot.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        *,
        states: States,
        config: MetadataConfig,
        lease: Lease,
        log: Log,
        booted_us: int,
        damaged: Callable[[RowError], None],
        now_us: Callable[[], int],
    ) -> None:
        self.made = 0
        self._folders = folders
        self._disks = Disks()
        self._states = states
        self._config = config
        self._lease = lease
        self._log = log
        self._booted_us = booted_us
        self._damaged = damaged
        self._now_us = now_us

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.round()
            except RowError as error:
                self._damaged(error)
            except (QuoinError, OSError) as error:
                logger.warning("there is no new snapshot of the metadata: %s", error)
            await asyncio.sleep(min(LOOK_S, self._config.snapshot_interval_s))

    async def round(self) -> None:
        """A snapshot in every node's folder, where one is due and this process is the one to make it.

        Raises RowError where the state is damaged, QuoinError, OSError where none can be made.
        """
        if not self._is_due(self._newest()) or not await self._lease.hold():
            return
        try:
            newest = self._newest()
            if not self._is_due(newest):
                return  # who held the lease until now made it
            await aside(partial(self._save, self._now_us()), meanwhile=self._lease.hold)
            self.made += 1
            if newest is not None:  # from which a restore goes on where the one made now cannot be read
                await self._log.trim(snapshot_files.index(newest))
        finally:
            await self._lease.give_up()

    def _newest(self) -> Path | None:
        # The loop would hang with a disk that does; what it has, the others have as well.
        return next(iter(snapshot_files.stored(self._disks.free(self._folders))), None)

    def _is_due(self, newest: Path | None) -> bool:
        if newest is None:
            return True
        made_us = snapshot_files.made_us(newest)
        age_us = self._now_us() - made_us
        if made_us < self._booted_us or not 0 <= age_us < self._config.snapshot_interval_s * 1e6:
            return True
        if age_us < SOONEST_S * 1e6:
            return False
        behind_bytes = self._log.behind(snapshot_files.index(newest))
        return behind_bytes is None or behind_bytes >= self._config.snapshot_journal_bytes

    def _save(self, now_us: int, rest: Callable[[], None]) -> None:
        prune = partial(
            snapshot_files.prune,
            self._folders,
            keep=self._config.snapshots_keep,
            rest=rest,
            disks=self._disks,
        )
        prune()  # before it, too: whoever was killed left room taken
        with self._states.view() as view:
            snapshot_files.save(view, self._folders, now_us=now_us, rest=rest, disks=self._disks)
        prune()
