"""Owns whether this process does a job: a lease in the metadata, renewed while it is held; never the job."""

import struct
from collections.abc import Callable

from s3d.blobs.states import States
from s3d.metadata.commands import TakeLease
from s3d.metadata.log import Log
from shardd.contract.blobs import new_blob_id

LIFE_US = 4_000_000  # a holder that is killed or stopped is followed by another after so long
_HOLDER = struct.Struct(">I12s")


def holder_of(process: int, chance: bytes) -> bytes:
    """The name of a process that takes leases: its id, so that it is found, and 12 B of `chance`, as ids come again."""
    return _HOLDER.pack(process, chance)


def process_of(holder: bytes) -> int:
    """The id that `holder_of` was given."""
    process: int = _HOLDER.unpack(holder)[0]
    return process


class Lease:
    """The lease of one job. `holder`: 16 bytes that name this process, for as long as it lives.

    `beside`: a lease that must be held too, so that one process does both jobs.

    Two processes never hold it at once by the clock of the machine; one that was stopped in mid-work may still finish
    a step, so every step of a job must be short, and one that another can do too.
    """

    def __init__(
        self,
        job: str,
        *,
        holder: bytes,
        states: States,
        log: Log,
        now_us: Callable[[], int],
        beside: "Lease | None" = None,
    ) -> None:
        self.job = job
        self.holder = holder
        self._states = states
        self._log = log
        self._now_us = now_us
        self._beside = beside
        self._until_us = 0

    async def hold(self) -> bool:
        """Does this process have the job for the next seconds, or get it now? QuoinError where nobody can say."""
        if self._beside is not None and not await self._beside.hold():
            return False
        now_us = self._now_us()
        if now_us + LIFE_US // 2 < self._until_us <= now_us + LIFE_US:
            return True
        with self._states.view() as view:
            row = view.lease(self.job)
        self._until_us = 0
        if row is not None and row.holder != self.holder and row.holds(now_us):
            return False
        until_us = now_us + LIFE_US
        outcomes = await self._log.append([self._take(now_us, until_us)])
        if outcomes[0].error:
            return False
        self._until_us = until_us
        return True

    async def give_up(self) -> None:
        """Let another have it at once. QuoinError where that cannot be said: the lease then ends by itself."""
        if self._until_us:
            self._until_us = 0
            await self._log.append([self._take(self._now_us(), 0)])

    def _take(self, now_us: int, until_us: int) -> TakeLease:
        return TakeLease(
            new_blob_id(now_us // 1_000), now_us, job=self.job, holder=self.holder, until_us=until_us
        )
