"""Owns the end of uploads that nobody ended: which have outlived `[gateway] upload_life_s`, and their abortion."""

import asyncio
from collections.abc import Callable
from itertools import islice

from s3d.blobs.states import States
from s3d.metadata.commands import AbortUpload
from s3d.metadata.log import Log
from s3d.metadata.rows import UploadRow
from s3d.metadata.view import Damaged
from shardd.contract.blobs import new_blob_id
from shardd.contract.cluster import GatewayConfig

PAGE_ROWS = 64  # uploads that are looked at between two awaits
LOOKS_A_LIFE = 100  # so that an upload outlives its time by one percent
LOOK_INTERVAL_US_MAX = 3_600_000_000


def expired(upload: UploadRow, now_us: int, *, life_us: int) -> bool:
    """Whether an upload began longer ago than uploads live."""
    return now_us - upload.initiated_us > life_us


class Expiry:
    """Aborts, as a client would, what has expired. `damaged` is told of rows that are not sound."""

    def __init__(
        self, states: States, log: Log, *, config: GatewayConfig, now_us: Callable[[], int], damaged: Damaged
    ) -> None:
        self._states = states
        self._log = log
        self._life_us = int(config.upload_life_s * 1e6)
        self._grace_us = int(config.condemned_grace_s * 1e6)
        self._now_us = now_us
        self._damaged = damaged
        self._due_us = 0

    async def round(self) -> None:
        """Look at all uploads, where the last look was long enough ago. An upload that just ended is no fault."""
        if self._now_us() < self._due_us:
            return
        after = b""
        while True:
            doomed, after = self._page(after)
            for command in doomed:  # one by one: each may have 10,000 parts
                await self._log.append([command])
            if not after:
                self._due_us = self._now_us() + min(LOOK_INTERVAL_US_MAX, self._life_us // LOOKS_A_LIFE)
                return
            await asyncio.sleep(0)

    def _page(self, after: bytes) -> tuple[list[AbortUpload], bytes]:
        """The commands for a page of uploads, and the key to go on after; empty at the end."""
        now_us = self._now_us()
        with self._states.view() as view:
            rows = list(islice(view.uploads(after, damaged=self._damaged), PAGE_ROWS))
            old = [named for named in rows if expired(named.row, now_us, life_us=self._life_us)]
            buckets = {row.incarnation: row.name for row in view.buckets()} if old else {}
        doomed = [
            AbortUpload(
                new_blob_id(now_us // 1_000),
                now_us,
                bucket=buckets[named.incarnation],
                key=named.key,
                upload=named.row.upload,
                incarnation=named.incarnation,
                grace_us=self._grace_us,
            )
            for named in old
            if named.incarnation in buckets
        ]
        return doomed, rows[-1].at if len(rows) == PAGE_ROWS else b""
