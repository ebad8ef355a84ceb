"""Owns how a span of a blob is put together: which shards are asked, when parity is, what is rebuilt."""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import chain

from s3d.blobs.coding import cut, verify
from s3d.blobs.errors import NotEnoughShardsError
from s3d.blobs.resources import Resources
from s3d.metadata.rows import BlobRow
from s3d.placement.durability import NOWHERE
from s3d.placement.erasure import codec
from s3d.placement.stripes import Span
from shardd.contract.blobs import EXTENT_UNITS_MAX, BlobId, NodeId
from shardd.contract.errors import ShardCorruptError, ShardError, ShardNotFoundError
from shardd.contract.messages import GetUnits

STALL_S = 1.0  # shards that say nothing for so long are done without
DEADLINE_S = 4.5  # for one span, where too few of the nodes that are asked seem up
SLOW_EXTRA_S = 15.0  # longer, where enough of them are up, but slow
INLINE_STRIPES_MAX = 4  # more are rebuilt in a coding thread

Units = list[bytes | None]
Needs = Mapping[int, tuple[int, int]]  # shard -> first unit within the extent, count


async def gather(resources: Resources, blob: BlobId, row: BlobRow, span: Span) -> list[bytes]:
    """The verified bytes of a span, in order. Raises NotEnoughShardsError, soon where nodes are down.

    Asks the data shards alone, for the units that the span needs. Where one fails, is late or is on a node that is
    down, any k shards, for whole stripes.
    """
    needs = {shard: need for shard, need in enumerate(span.needs) if need[1]}
    return _in_order(span, await _columns(resources, blob, row, span=span, needs=needs))


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

    async def healthy(self) -> dict[int, list[bytes]]:
        """What is needed, from just the shards that are needed; nothing where they do not give all of it."""
        up = self._resources.fleet.up()
        if not all(self._row.shards[shard][0] in up for shard in self._needs):
            return {}
        for shard, (first, count) in self._needs.items():
            self._ask(shard, first, count)
        await asyncio.wait(self._asked, timeout=STALL_S)
        columns: dict[int, list[bytes]] = {}
        for task, shard in list(self._asked.items()):
            whole = self._needs[shard][1] == self._rows
            if task.done():
                del self._asked[task]
                units = task.result()
                intact = [unit for unit in units if unit is not None]
                if units and len(intact) == len(units):
                    columns[shard] = intact
                if whole:
                    self._columns[shard] = units
            elif not whole:
                # The stripes will be asked for again, whole.
                task.cancel()
        return columns if len(columns) == len(self._needs) else {}

    async def degraded(self) -> dict[int, list[bytes]]:
        """What is needed, from any k shards."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + DEADLINE_S
        late = set(self._asked)
        order = self._order()
        while short := self._short():
            self._ask_more(order, short - len(self._asked.keys() - late))
            now_s = loop.time()
            if not self._asked or now_s > deadline_s + (SLOW_EXTRA_S if self._may_come(short) else 0.0):
                raise NotEnoughShardsError(f"blob {self._blob.hex()} lacks {short} shards")
            done, pending = await asyncio.wait(
                self._asked, timeout=STALL_S / 2, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                shard = self._asked.pop(task)
                if not task.cancelled():
                    self._columns[shard] = task.result()
            if not done:
                late |= pending
        if self._rows <= INLINE_STRIPES_MAX:
            return self._rebuilt()
        return await loop.run_in_executor(self._resources.coding, self._rebuilt)

    async def stop(self) -> None:
        """End the reads that nobody waits for any more."""
        if self._asked:
            for task in self._asked:
                task.cancel()
            await asyncio.gather(*self._asked, return_exceptions=True)

    def _order(self) -> list[int]:
        """The shards that are stored: data before parity, and nodes that seem down last."""
        up = self._resources.fleet.up()
        stored = [shard for shard, (node, _) in enumerate(self._row.shards) if node != NOWHERE]
        return sorted(stored, key=lambda shard: self._row.shards[shard][0] not in up)

    def _may_come(self, short: int) -> bool:
        """Are enough of the shards that were asked on nodes that are up?"""
        up = self._resources.fleet.up()
        return sum(self._row.shards[shard][0] in up for shard in self._asked.values()) >= short

    def _ask_more(self, order: Sequence[int], count: int) -> None:
        asked = set(self._asked.values()) | self._columns.keys()
        fresh = [shard for shard in order if shard not in asked]
        for shard in fresh[: max(0, count)]:
            self._ask(shard, self._span.first, self._rows)

    def _ask(self, shard: int, first: int, count: int) -> None:
        task = asyncio.get_running_loop().create_task(self._read(shard, first, count))
        self._asked[task] = shard

    async def _read(self, shard: int, first: int, count: int) -> Units:
        """Units of one shard, None in place of each that is damaged; nothing where the shard does not answer."""
        node, _ = self._row.shards[shard]
        extent = self._span.extent
        request = GetUnits(self._blob, shard, extent, first, count)
        try:
            reply, chunks = await self._resources.fleet.get(
                NodeId(node), request, deadline_s=DEADLINE_S + SLOW_EXTRA_S
            )
        except (ShardNotFoundError, ShardCorruptError):
            self._resources.suspect(self._blob, shard)
            return []
        except ShardError:
            return []
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
