"""Owns the writing of one blob: windows of stripes out to the shards, and the line that decides an acknowledgement."""

import asyncio
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial

from s3d.blobs.allowance import Allowance
from s3d.blobs.coding import Column, Digests, Pieces, code, column
from s3d.blobs.errors import NoRoomError, NotEnoughShardsError
from s3d.blobs.gathering import gather_shards
from s3d.blobs.resources import Resources
from s3d.metadata.rows import BlobRow
from s3d.placement.durability import NOWHERE, assign, fill, settled, survives
from s3d.placement.erasure import Codec
from s3d.placement.stripes import Layout
from s3d.shards.fleet import Extent
from shardd.contract.blobs import EXTENT_UNITS_MAX, UNIT_SIZE, BlobId, NodeId
from shardd.contract.errors import StorageFullError
from shardd.contract.messages import PutExtent

FIRST_GENERATION = 1
WINDOWS_IN_FLIGHT_MAX = 2
REPLACEMENTS_MAX = 2  # how often shards that were given up are put on other nodes, before a write is refused
# A large blob takes long, and its client, which waits for the answer, has 60 s of patience.
REPLACED_WITHIN_S = 45.0
INLINE_BYTES_MAX = 65_536  # to code so little costs less than a hop to a coding thread and back


@dataclass(frozen=True, slots=True)
class Plan:
    """A blob to be written: the walk of nodes for its shards, losses to survive, its size where it is known."""

    blob: BlobId
    codec: Codec
    walk: tuple[NodeId, ...]
    spare: int
    size: int | None = None


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """What was stored.

    `row` has node 0 where a shard is missing; `degraded`: it needs repair; `places`: (node, shard, generation) of
    all that was sent anywhere, for the command that condemns it.
    """

    blob: BlobId
    row: BlobRow
    degraded: bool
    places: tuple[tuple[int, int, int], ...]

    @property
    def strays(self) -> tuple[tuple[int, int, int], ...]:
        """The places where a shard was given up and may have become durable all the same."""
        return tuple(place for place in self.places if (place[0], place[2]) != self.row.shards[place[1]])


class BlobWriter:
    """Writes one blob: `write` pieces, `drain`, then `finish`; or `abandon`, also after any error.

    A window is one extent of every data shard; its bytes are kept until all its shards have answered. The last one
    is held back until `finish`, because its records carry the blob's identity. The tasks that send windows belong
    to the writer: `finish` and `abandon` end them.
    """

    def __init__(self, resources: Resources, plan: Plan, *, digests: Digests | None) -> None:
        self._resources = resources
        self._plan = plan
        self._codec = plan.codec
        self._digests = digests
        # The node of each shard; NOWHERE from the moment that the shard is given up.
        self._nodes: list[NodeId] = []
        self._tried: set[tuple[int, int, int]] = set()
        self._received = 0
        self._extent = 0  # number of the window that fills
        self._stripes: list[Pieces] = []  # of that window
        self._room = 0  # bytes that the last of them still takes
        self._allowance = Allowance(
            resources.uploads, resources.slow, k=plan.codec.k, m=plan.codec.m, size=plan.size
        )
        self._last: list[Column] | None = None
        self._replacements = 0
        self._refused_as_full = bool(resources.fleet.full())
        self._flight: deque[asyncio.Task[None]] = deque()
        self._coded: asyncio.Future[None] | None = None
        for nodes in resources.fleet.choices():
            self._nodes = list(assign(plan.walk, nodes, plan.codec.k + plan.codec.m))
            if self._acknowledged:
                return
        self._require()

    async def write(self, piece: bytes) -> None:
        """Take the next bytes of the body; waits while the process holds too much.

        Raises NotEnoughShardsError; NoBufferError where it holds too much for too long.
        """
        view = memoryview(piece)
        while view:
            if not self._room:
                await self._begin_stripe()
            taken = view[: self._room]
            await self._allowance.take(len(taken))
            self._stripes[-1].append(piece if len(taken) == len(piece) else taken)
            self._room -= len(taken)
            self._received += len(taken)
            view = view[len(taken) :]

    async def drain(self) -> None:
        """Wait until all bytes given are in the digests; no more may be written. The last window is not yet sent."""
        if self._last is None:
            await self._until_coded()
            await self._allowance.settle()
            self._last = await self._code(self._stripes, self._extent)

    async def finish(self, identity: bytes) -> StoredBlob:
        """Send the last window with the blob's `identity`, wait for every shard, decide.

        Raises NotEnoughShardsError where too few shards are durable, or could not be put elsewhere in time.
        """
        await self.drain()
        assert self._last is not None
        last = dict(enumerate(self._last))
        await self._send(last, self._extent, identity=identity)
        await self._landed(0)
        if not self._acknowledged:
            await self._replace_all(last, identity)
        self._let_go()
        self._require()
        return self._stored()

    async def abandon(self) -> StoredBlob | None:
        """Stop, and say what may have been stored and must be condemned; None where nothing was sent."""
        for task in self._flight:
            task.cancel()
        await asyncio.gather(*self._flight, return_exceptions=True)
        self._flight.clear()
        self._let_go()
        return self._stored() if self._tried else None

    @property
    def _acknowledged(self) -> bool:
        """THE acknowledgement: do the shards that are durable survive `spare` further losses of nodes?"""
        return survives(self._nodes, self._codec.k, self._plan.spare)

    def _can_do_without(self, shards: set[int]) -> bool:
        """Could the write be acknowledged without some of the shards that are not yet durable?"""
        nodes = [NOWHERE if shard in shards else node for shard, node in enumerate(self._nodes)]
        return self._may_become_enough(nodes, failed={self._nodes[shard] for shard in shards})

    def _may_become_enough(self, nodes: list[NodeId], *, failed: Collection[NodeId]) -> bool:
        """Are the shards on `nodes` enough, or will be with those that can be put elsewhere: from here, or rebuilt?"""
        k, losses = self._codec.k, self._plan.spare
        here = self._extent == 0 or len(nodes) - nodes.count(NOWHERE) >= k
        if here and self._replacements < REPLACEMENTS_MAX:
            nodes = self._filled(nodes, failed)
        return survives(nodes, k, losses)

    def _filled(self, nodes: list[NodeId], failed: Collection[NodeId]) -> list[NodeId]:
        """`nodes` with what is missing on nodes that take shards and have not `failed` to, slow ones if need be."""
        filled = nodes
        for taking in self._resources.fleet.choices():
            others = taking.difference(failed)
            filled = list(fill(nodes, [node for node in self._plan.walk if node in others]))
            if survives(filled, self._codec.k, self._plan.spare):
                break
        return filled

    def _require(self) -> None:
        if not self._acknowledged:
            up = assign(self._plan.walk, self._resources.fleet.up(), len(self._nodes))
            if self._refused_as_full and survives(up, self._codec.k, self._plan.spare):
                raise NoRoomError("too few of the nodes that are up have room for new shards")
            stored = [node for node in self._nodes if node != NOWHERE]
            raise NotEnoughShardsError(f"{len(stored)} shards on {len(set(stored))} nodes are too few")

    def _require_hope(self) -> None:
        if not self._may_become_enough(self._nodes, failed=()):
            self._require()

    async def _begin_stripe(self) -> None:
        if len(self._stripes) == EXTENT_UNITS_MAX:
            await self._dispatch()
        self._stripes.append([])
        self._room = self._codec.k * UNIT_SIZE

    async def _dispatch(self) -> None:
        """Send the full window on its way, and begin another."""
        await self._landed(WINDOWS_IN_FLIGHT_MAX - 1)
        await self._until_coded()
        self._require_hope()
        await self._allowance.settle()
        loop = asyncio.get_running_loop()
        self._coded = loop.create_future()
        window = self._carry(self._stripes, self._extent, coded=self._coded)
        task = loop.create_task(window, name=f"window {self._extent} of {self._plan.blob.hex()}")
        # Not in the coroutine: one that is cancelled before it begins has no end.
        task.add_done_callback(self._allowance.next_window())
        self._flight.append(task)
        self._stripes = []
        self._extent += 1

    async def _carry(self, stripes: list[Pieces], extent: int, *, coded: asyncio.Future[None]) -> None:
        try:
            columns = await self._code(stripes, extent)
        finally:
            coded.set_result(None)
        await self._send(dict(enumerate(columns)), extent)

    async def _until_coded(self) -> None:
        """Digests take bytes in order, so one window is coded after the other."""
        if self._coded is not None:
            await self._coded

    async def _landed(self, left: int) -> None:
        """Wait until at most `left` windows are in flight."""
        while len(self._flight) > left:
            await self._flight[0]
            self._flight.popleft()

    async def _code(self, stripes: list[Pieces], extent: int) -> list[Column]:
        work = partial(
            code,
            stripes,
            codec=self._codec,
            blob=self._plan.blob,
            first_unit=extent * EXTENT_UNITS_MAX,
            digests=self._digests,
        )
        if sum(len(piece) for pieces in stripes for piece in pieces) <= INLINE_BYTES_MAX:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._resources.coding, work)

    async def _send(
        self, columns: Mapping[int, Column], extent: int, *, identity: bytes | None = None
    ) -> None:
        """Put one extent of every shard that is not given up; those that fail are, from now on."""
        shards = [shard for shard, node in enumerate(self._nodes) if node != NOWHERE]
        await self._put(shards, columns, extent, identity=identity)

    async def _put(
        self, shards: list[int], columns: Mapping[int, Column], extent: int, *, identity: bytes | None
    ) -> None:
        extents = []
        for shard in shards:
            column, node = columns[shard], self._nodes[shard]
            message = PutExtent(
                self._plan.blob,
                shard,
                extent,
                FIRST_GENERATION,
                column.length,
                column.crcs,
                identity is not None,
                identity or b"",
            )
            extents.append(Extent(node, message, column.units))
            self._tried.add((node, shard, FIRST_GENERATION))
        outcomes = await self._resources.fleet.put_all(
            extents, spare=lambda numbers: self._can_do_without({shards[number] for number in numbers})
        )
        for shard, error in zip(shards, outcomes, strict=True):
            if error is not None:
                self._nodes[shard] = NOWHERE
                self._refused_as_full |= isinstance(error, StorageFullError)

    async def _replace_all(self, last: Mapping[int, Column], identity: bytes) -> None:
        try:
            async with asyncio.timeout(REPLACED_WITHIN_S):
                while not self._acknowledged and self._replacements < REPLACEMENTS_MAX:
                    self._require_hope()
                    await self._replace(last, identity)
        except TimeoutError:
            raise NotEnoughShardsError("shards of nodes that failed were not put elsewhere in time") from None

    async def _replace(self, last: Mapping[int, Column], identity: bytes) -> None:
        """Put the shards that were given up on nodes that did not fail: their last extent is here."""
        self._replacements += 1
        left = self._row()
        missing = [shard for shard, node in enumerate(self._nodes) if node == NOWHERE]
        failed = {NodeId(node) for node, shard, _ in self._tried if shard in missing}
        self._nodes = self._filled(self._nodes, failed)
        for extent in range(self._extent + 1):
            moved = [shard for shard in missing if self._nodes[shard] != NOWHERE]
            if not moved:
                return  # the nodes that were to take them have failed too
            if extent < self._extent:
                await self._put(moved, await self._rebuilt(left, extent, moved), extent, identity=None)
            else:
                await self._put(moved, last, extent, identity=identity)

    async def _rebuilt(self, left: BlobRow, extent: int, shards: list[int]) -> dict[int, Column]:
        """A full extent of some shards, from those that are `left`: its bytes were let go."""
        span = Layout(left.size, left.k).whole(extent)
        found = await gather_shards(self._resources, self._plan.blob, left, span=span, shards=shards)
        first = extent * EXTENT_UNITS_MAX
        return {
            shard: column(units, blob=self._plan.blob, shard=shard, first_unit=first)
            for shard, units in found.items()
        }

    def _let_go(self) -> None:
        """Give back the last window's bytes."""
        self._stripes = []
        self._allowance.let_go()

    def _row(self) -> BlobRow:
        codec = self._codec
        return BlobRow(
            size=self._received,
            codec=codec.id,
            k=codec.k,
            m=codec.m,
            unit=UNIT_SIZE,
            shards=tuple((node, FIRST_GENERATION if node else 0) for node in self._nodes),
        )

    def _stored(self) -> StoredBlob:
        return StoredBlob(self._plan.blob, self._row(), not settled(self._nodes), tuple(sorted(self._tried)))
