"""Owns how a span of a blob is put together: which shards are asked, when parity is, what is rebuilt."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from itertools import chain

from s3d.blobs.coding import cut, verify
from s3d.blobs.errors import NotEnoughShardsError
from s3d.blobs.hedging import HEDGE_AFTER_S
from s3d.blobs.resources import Resources
from s3d.metadata.rows import BlobRow
from s3d.placement.durability import NOWHERE
from s3d.placement.erasure import codec
from s3d.placement.stripes import Span
from shardd.contract.blobs import EXTENT_UNITS_MAX, BlobId, NodeId
from shardd.contract.errors import ShardCorruptError, ShardError, ShardNotFoundError
from shardd.contract.messages import GetUnits

STALL_S = 1.0  # shards that say nothing for so long are done without, hedged or not
WATCH_S = 0.1  # how often what is late is looked at
DEADLINE_S = 4.5  # for one span
SLOW_EXTRA_S = 15.0  # longer, where enough of the nodes that are asked are up and answer others, but slowly
INLINE_STRIPES_MAX = 4  # more are rebuilt in a coding thread

Units = list[bytes | None]
Needs = Mapping[int, tuple[int, int]]  # shard -> first unit within the extent, count


async def gather(resources: Resources, blob: BlobId, row: BlobRow, span: Span) -> list[bytes]:
    """The verified bytes of a span, in order. Raises NotEnoughShardsError, soon where nodes are down.

    Asks the data shards alone, for the units that the span needs. Where one fails, or is on a node that is down or
    slow, any k shards, for whole stripes; also where one is late, as far as the budget of hedges goes.
    """
    needs = {shard: need for shard, need in enumerate(span.needs) if need[1]}
    began_s = time.monotonic()
    columns = await _columns(resources, blob, row, span=span, needs=needs)
    resources.foreground.add(time.monotonic() - began_s)
    return _in_order(span, columns)


async def gather_shards(
    resources: Resources, blob: BlobId, row: BlobRow, *, span: Span, shards: Sequence[int]
) -> dict[int, list[bytes]]:
    """The verified units of whole `shards`, in a span that has whole stripes: copied, or else rebuilt from others.

    Raises NotEnoughShardsError, soon where nodes are down.
    """
    needs = dict.fromkeys(shards, (span.first, span.stop - span.first))
    return await _columns(resources, blob, row, span=span, needs=needs)


async def _columns(
    resources: Resources, blob: BlobId, row: BlobRow, *, span: Span, needs: Needs
) -> dict[int, list[bytes]]:
    gathering = _Gathering(resources, blob, row, span=span, needs=needs)
    try:
        return await gathering.healthy() or await gathering.degraded()
    finally:
        await gathering.stop()


def _in_order(span: Span, columns: Mapping[int, list[bytes]]) -> list[bytes]:
    """The units of the data shards as one run of bytes, its ends cut to what is wanted."""
    if len(set(span.needs)) == 1:
        pieces = list(
            chain.from_iterable(zip(*(columns[shard] for shard in range(len(span.needs))), strict=True))
        )
    else:
        units = {shard: iter(column) for shard, column in columns.items()}
        pieces = [
            next(units[shard])
            for index in range(span.first, span.stop)
            for shard, (first, count) in enumerate(span.needs)
            if first <= index < first + count
        ]
    excess = sum(map(len, pieces)) - span.head - span.length
    assert excess >= 0
    if excess:
        pieces[-1] = pieces[-1][:-excess]
    if span.head:
        pieces[0] = pieces[0][span.head :]
    return pieces


class _Gathering:
    """One try to get what `needs` says. Owns the tasks that read shards, until `stop`."""

    def __init__(self, resources: Resources, blob: BlobId, row: BlobRow, *, span: Span, needs: Needs) -> None:
        self._resources = resources
        self._blob = blob
        self._row = row
        self._span = span
        self._needs = needs
        self._rows = span.stop - span.first
        self._columns: dict[int, Units] = {}  # of whole stripes; empty where a shard gave nothing
        self._asked: dict[asyncio.Task[Units], int] = {}
        # Shards that are done without, if they can be; they may come all the same.
        self._late: set[int] = set()
        self._hedged = False
        self._began_s = asyncio.get_running_loop().time()

    async def healthy(self) -> dict[int, list[bytes]]:
        """What is needed, from just the shards that are needed; nothing where they do not give all of it, soon."""
        fleet = self._resources.fleet
        prompt, soon_s = fleet.prompt(), HEDGE_AFTER_S
        for shard in self._needs:
            node = self._node(shard)
            if node not in prompt:
                return {}
            soon_s = max(soon_s, fleet.read_p95_s(node))
        self._resources.hedges.asked += len(self._needs)
        for shard, (first, count) in self._needs.items():
            self._ask(shard, first, count)
        done, pending = await asyncio.wait(
            self._asked, timeout=min(soon_s, STALL_S), return_when=asyncio.FIRST_EXCEPTION
        )
        if pending and not any(map(_failed, done)):
            await self._hedge_or_wait(len(done))
        return self._taken()

    async def _hedge_or_wait(self, done: int) -> None:
        """Something is late. Where the budget allows no hedge, wait on, as long as its node may be thought well of."""
        fleet, loop = self._resources.fleet, asyncio.get_running_loop()
        late = {self._node(shard) for task, shard in self._asked.items() if not task.done()}
        if done:
            for node in late:
                fleet.late(node, self._began_s)
        whole = sum(task.done() and self._is_whole(shard) for task, shard in self._asked.items())
        self._hedged = self._resources.hedges.take(self._row.k - whole)
        pending = not self._hedged
        while pending and late <= fleet.prompt() and loop.time() < self._began_s + STALL_S:
            done_now, left = await asyncio.wait(
                self._asked, timeout=WATCH_S, return_when=asyncio.FIRST_EXCEPTION
            )
            pending = bool(left) and not any(map(_failed, done_now))

    def _taken(self) -> dict[int, list[bytes]]:
        """What is needed, where all of it is there and intact; what is not goes to `degraded`."""
        columns: dict[int, list[bytes]] = {}
        for task, shard in list(self._asked.items()):
            if task.done():
                del self._asked[task]
                units = _units(task)
                intact = [unit for unit in units if unit is not None]
                if units and len(intact) == len(units):
                    columns[shard] = intact
                if self._is_whole(shard):
                    self._columns[shard] = units
            else:
                self._late.add(shard)
                if not self._is_whole(shard):
                    # The stripes will be asked for again, whole.
                    task.cancel()
        return columns if len(columns) == len(self._needs) else {}

    async def degraded(self) -> dict[int, list[bytes]]:
        """What is needed, from any k shards."""
        loop = asyncio.get_running_loop()
        passed_s = seen_s = loop.time() - self._began_s
        still_s, order = 0.0, self._order()
        while short := self._short():
            self._ask_more(order, short - len(set(self._asked.values()) - self._late))
            if not self._asked or passed_s > DEADLINE_S + (SLOW_EXTRA_S if self._may_come(short) else 0.0):
                raise NotEnoughShardsError(f"blob {self._blob.hex()} lacks {short} shards")
            done, _ = await asyncio.wait(self._asked, timeout=WATCH_S, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                shard = self._asked.pop(task)
                if not task.cancelled():
                    self._columns[shard] = _units(task)
            # Time in which this process did not run says nothing about the nodes.
            step_s = min(loop.time() - self._began_s - seen_s, 2 * WATCH_S)
            seen_s, passed_s = loop.time() - self._began_s, passed_s + step_s
            still_s = 0.0 if done else still_s + step_s
            prompt = self._resources.fleet.prompt()
            self._late |= {
                shard
                for shard in self._asked.values()
                if still_s > STALL_S / 2 or self._node(shard) not in prompt
            }
        self._resources.hedges.won += self._hedged and bool(self._asked)
        if self._rows <= INLINE_STRIPES_MAX:
            return self._rebuilt()
        return await loop.run_in_executor(self._resources.coding, self._rebuilt)

    async def stop(self) -> None:
        """End the reads that nobody waits for any more."""
        if self._asked:
            for task in self._asked:
                task.cancel()
            await asyncio.gather(*self._asked, return_exceptions=True)

    def _node(self, shard: int) -> NodeId:
        return NodeId(self._row.shards[shard][0])

    def _is_whole(self, shard: int) -> bool:
        """Is all of the shard's part of the span asked for?"""
        return self._needs[shard][1] == self._rows

    def _order(self) -> list[int]:
        """The shards that are stored: data before parity, then what is late or on slow nodes, then what seems down."""
        up, prompt = self._resources.fleet.up(), self._resources.fleet.prompt()
        stored = [shard for shard, (node, _) in enumerate(self._row.shards) if node != NOWHERE]
        return sorted(
            stored,
            key=lambda shard: (
                self._node(shard) not in up,
                shard in self._late or self._node(shard) not in prompt,
            ),
        )

    def _may_come(self, short: int) -> bool:
        """Are enough of the shards that were asked on nodes that are up, and answered others since?"""
        fleet = self._resources.fleet
        nodes = [self._node(shard) for shard in self._asked.values()]
        return sum(node in fleet.up() and fleet.moved(node, self._began_s) for node in nodes) >= short

    def _ask_more(self, order: Sequence[int], count: int) -> None:
        asked = set(self._asked.values()) | self._columns.keys()
        fresh = [shard for shard in order if shard not in asked]
        for shard in fresh[: max(0, count)]:
            self._ask(shard, self._span.first, self._rows)

    def _ask(self, shard: int, first: int, count: int) -> None:
        task = asyncio.get_running_loop().create_task(self._read(shard, first, count))
        self._asked[task] = shard

    async def _read(self, shard: int, first: int, count: int) -> Units:
        """Units of one shard, None in place of each that is damaged. Raises ShardError where none came."""
        extent = self._span.extent
        request = GetUnits(self._blob, shard, extent, first, count)
        try:
            reply, chunks = await self._resources.fleet.get(
                self._node(shard), request, deadline_s=DEADLINE_S + SLOW_EXTRA_S
            )
        except (ShardNotFoundError, ShardCorruptError):
            self._resources.suspect(self._blob, shard)
            raise
        number = extent * EXTENT_UNITS_MAX + first
        units = verify(cut(chunks, reply.length), reply.crcs, blob=self._blob, shard=shard, first_unit=number)
        if len(units) != count:
            units = []
        if not units or None in units:
            self._resources.suspect(self._blob, shard)
        return units

    def _short(self) -> int:
        """How many more shards the worst stripe needs."""
        columns = [column for column in self._columns.values() if column]
        intact = [sum(unit is not None for unit in stripe) for stripe in zip(*columns, strict=True)]
        return max(0, self._row.k - min(intact, default=0))

    def _rebuilt(self) -> dict[int, list[bytes]]:
        """What is needed, each stripe from k units, whichever they are."""
        coder = codec(self._row.codec, self._row.k, self._row.m)
        made: dict[int, list[bytes]] = {shard: [] for shard in self._needs}
        for index in range(self._rows):
            have = {
                shard: unit for shard, column in self._columns.items() if column and (unit := column[index])
            }
            place = self._span.first + index
            wanted = [
                shard for shard, (first, count) in self._needs.items() if first <= place < first + count
            ]
            missing = [shard for shard in wanted if shard not in have]
            if missing:
                have.update(zip(missing, coder.reconstruct(have, missing), strict=True))
            for shard in wanted:
                made[shard].append(have[shard])
        return made


def _failed(task: asyncio.Task[Units]) -> bool:
    return task.cancelled() or task.exception() is not None


def _units(task: asyncio.Task[Units]) -> Units:
    """What a read gave; nothing where it failed."""
    if task.cancelled() or isinstance(task.exception(), ShardError):
        return []
    return task.result()
