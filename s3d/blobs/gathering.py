"""Owns how one span of a blob is put together: which shards are asked, when parity is, what is rebuilt."""

import asyncio
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
DEADLINE_S = 4.5  # for one span, whatever fails
INLINE_STRIPES_MAX = 4  # more are rebuilt in a coding thread

Units = list[bytes | None]


async def gather(resources: Resources, blob: BlobId, row: BlobRow, span: Span) -> list[bytes]:
    """The verified bytes of a span, in order. Raises NotEnoughShardsError within DEADLINE_S.

    First the units that the span needs, of the data shards alone. Where one fails, is late or is on a node that is
    down, whole stripes, from any k shards.
    """
    gathering = _Gathering(resources, blob, row, span)
    try:
        return await gathering.healthy() or await gathering.degraded()
    finally:
        await gathering.stop()


class _Gathering:
    """Owns the tasks that read shards, until `stop`."""

    def __init__(self, resources: Resources, blob: BlobId, row: BlobRow, span: Span) -> None:
        self._resources = resources
        self._blob = blob
        self._row = row
        self._span = span
        self._rows = span.stop - span.first
        self._columns: dict[int, Units] = {}  # of whole stripes; empty where a shard gave nothing
        self._asked: dict[asyncio.Task[Units], int] = {}
        up = resources.fleet.up()
        nodes = [NodeId(node) for node, _ in row.shards]
        stored = [shard for shard, node in enumerate(nodes) if node != NOWHERE]
        # Data before parity; the nodes that seem down come last.
        self._order = sorted(stored, key=lambda shard: nodes[shard] not in up)
        self._likely = {shard for shard in stored if nodes[shard] in up}

    async def healthy(self) -> list[bytes]:
        """The span from its data shards; nothing where they do not give all of it."""
        needs = {shard: need for shard, need in enumerate(self._span.needs) if need[1]}
        if not needs.keys() <= self._likely:
            return []
        for shard, (first, count) in needs.items():
            self._ask(shard, first, count)
        await asyncio.wait(self._asked, timeout=STALL_S)
        columns: list[Units] = [[] for _ in self._span.needs]
        complete = True
        for task, shard in list(self._asked.items()):
            whole = needs[shard][1] == self._rows
            if task.done():
                columns[shard] = task.result()
                complete = complete and bool(columns[shard]) and None not in columns[shard]
                del self._asked[task]
                if whole:
                    self._columns[shard] = columns[shard]
            else:
                complete = False
                if not whole:
                    task.cancel()
                    del self._asked[task]
        return self._in_order(columns) if complete else []

    async def degraded(self) -> list[bytes]:
        """The span from any k shards."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + DEADLINE_S
        late: set[asyncio.Task[Units]] = set(self._asked)
        while short := self._short():
            for shard in self._order:
                if len(self._asked.keys() - late) >= short:
                    break
                if shard not in self._columns and shard not in self._asked.values():
                    self._ask(shard, self._span.first, self._rows)
            wait_s = min(STALL_S, deadline_s - loop.time())
            if not self._asked or wait_s <= 0:
                raise NotEnoughShardsError(f"{short} more shards of blob {self._blob.hex()} are needed")
            done, pending = await asyncio.wait(
                self._asked, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                self._columns[self._asked.pop(task)] = task.result()
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

    def _ask(self, shard: int, first: int, count: int) -> None:
        self._asked[asyncio.get_running_loop().create_task(self._read(shard, first, count))] = shard

    async def _read(self, shard: int, first: int, count: int) -> Units:
        """Units of one shard, None in place of each that is damaged; nothing where the shard does not answer."""
        node, _ = self._row.shards[shard]
        extent = self._span.extent
        try:
            reply, chunks = await self._resources.fleet.get(
                NodeId(node), GetUnits(self._blob, shard, extent, first, count), deadline_s=DEADLINE_S
            )
        except (ShardNotFoundError, ShardCorruptError):
            self._resources.suspect(self._blob, shard)
            return []
        except ShardError:
            return []
        units = verify(
            cut(chunks, reply.length),
            reply.crcs,
            blob=self._blob,
            shard=shard,
            first_unit=extent * EXTENT_UNITS_MAX + first,
        )
        if len(units) != count:
            units = []
        if not units or None in units:
            self._resources.suspect(self._blob, shard)
        return units

    def _short(self) -> int:
        """How many more shards the worst stripe needs."""
        columns = [column for column in self._columns.values() if column]
        if not columns or all(None not in column for column in columns):
            return self._row.k - len(columns)
        return max(
            self._row.k - sum(unit is not None for unit in stripe) for stripe in zip(*columns, strict=True)
        )

    def _rebuilt(self) -> list[bytes]:
        """The span, each stripe from k units, whichever they are."""
        coder = codec(self._row.codec, self._row.k, self._row.m)
        columns: list[Units] = [[] for _ in self._span.needs]
        for index in range(self._rows):
            have = {
                shard: unit for shard, column in self._columns.items() if column and (unit := column[index])
            }
            wanted = [shard for shard in range(self._row.k) if self._needed(shard, index)]
            missing = [shard for shard in wanted if shard not in have]
            if missing:
                have.update(zip(missing, coder.reconstruct(have, missing), strict=True))
            for shard in wanted:
                columns[shard].append(have[shard])
        return self._in_order(columns)

    def _needed(self, shard: int, index: int) -> bool:
        first, count = self._span.needs[shard]
        return first <= self._span.first + index < first + count

    def _in_order(self, columns: list[Units]) -> list[bytes]:
        """The needed units of the data shards as one run of bytes, its ends cut to what is wanted."""
        if len(set(self._span.needs)) == 1:
            pieces = [unit for unit in chain.from_iterable(zip(*columns, strict=True)) if unit is not None]
        else:
            units = [iter(column) for column in columns]
            pieces = []
            for index in range(self._rows):
                for shard in range(self._row.k):
                    if self._needed(shard, index):
                        unit = next(units[shard])
                        assert unit is not None
                        pieces.append(unit)
        excess = sum(map(len, pieces)) - self._span.head - self._span.length
        assert excess >= 0
        if excess:
            pieces[-1] = pieces[-1][:-excess]
        if self._span.head:
            pieces[0] = pieces[0][self._span.head :]
        return pieces
