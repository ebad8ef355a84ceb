"""Owns the reading of one blob in order, some spans ahead of its consumer; never how a span is put together."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from s3d.blobs.errors import BlobReadError, NotEnoughShardsError
from s3d.blobs.gathering import gather
from s3d.blobs.resources import Resources
from s3d.metadata.rows import BlobRow
from s3d.placement.stripes import Layout
from shardd.contract.blobs import EXTENT_UNITS_MAX, BlobId

AHEAD_MAX = 2  # spans that are read while one is given out
FIRST_STRIPES = 4  # of a read of several windows, so that its first byte comes early
PATIENCE_S = 0.1  # how long a read waits for room for a whole window, before it goes on stripe by stripe


@dataclass(slots=True)
class _Ahead:
    """A span that is being read, `start` and `length` in bytes, and how much of the budget it holds."""

    start: int
    length: int
    held: int
    task: asyncio.Task[list[bytes]]


class BlobReader:
    """Reads ranges of one blob; any number of reads at a time."""

    def __init__(self, resources: Resources, blob: BlobId, row: BlobRow) -> None:
        self._resources = resources
        self._budget = resources.downloads
        self._blob = blob
        self._row = row
        self._layout = Layout(row.size, row.k)

    async def chunks(self, start: int, stop: int) -> AsyncGenerator[list[bytes], None]:
        """The verified bytes from `start` up to `stop`, 0 <= start <= stop <= size, in lists of a few MiB at most.

        Raises NotEnoughShardsError before the first list, BlobReadError after it. Close it (contextlib.aclosing)
        where it may not be read to its end.
        """
        if start == stop:
            return
        span = self._layout.span(start, stop)
        if span.length == stop - start and self._budget.try_acquire(span.length):
            try:
                yield await gather(self._resources, self._blob, self._row, span)
            finally:
                self._budget.release(span.length)
            return
        ahead: deque[_Ahead] = deque()
        place = start
        try:
            while place < stop or ahead:
                while place < stop and len(ahead) <= AHEAD_MAX:
                    room = await self._room(place, stop, begun=place > start, ahead=bool(ahead))
                    if room is None:
                        break
                    ahead.append(room)
                    place += room.length
                pieces = await self._given(ahead[0], begun=ahead[0].start > start)
                yield pieces
                del pieces
                self._budget.release(ahead.popleft().held)
        finally:
            await self._stop(ahead)

    async def _room(self, place: int, stop: int, *, begun: bool, ahead: bool) -> _Ahead | None:
        """Begin to read the next span, as far as the budget allows; None where it is not needed yet.

        What is read ahead takes only what is free. What is waited for takes a stripe at a time, over the budget,
        where other readers keep all of it for long: slow ones must not stop the rest.
        """
        several = stop - place > self._layout.stripe_size * EXTENT_UNITS_MAX
        span = self._layout.span(
            place, stop, stripes=EXTENT_UNITS_MAX if begun or not several else FIRST_STRIPES
        )
        held = span.length
        if not self._budget.try_acquire(held):
            if ahead:
                return None
            try:
                async with asyncio.timeout(PATIENCE_S):
                    held = await self._budget.acquire(held)
            except TimeoutError:
                span, held = self._layout.span(place, stop, stripes=1), 0
        work = gather(self._resources, self._blob, self._row, span)
        return _Ahead(place, span.length, held, asyncio.get_running_loop().create_task(work))

    async def _given(self, ahead: _Ahead, *, begun: bool) -> list[bytes]:
        try:
            return await ahead.task
        except NotEnoughShardsError as error:
            if not begun:
                raise
            raise BlobReadError(str(error)) from error

    async def _stop(self, ahead: deque[_Ahead]) -> None:
        for one in ahead:
            one.task.cancel()
        await asyncio.gather(*(one.task for one in ahead), return_exceptions=True)
        for one in ahead:
            self._budget.release(one.held)
