"""Owns the mending of one degraded blob: plan purely, then read or rebuild its shards and put them in place."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from s3d.blobs.coding import column
from s3d.blobs.errors import LeaseLostError, NotEnoughShardsError
from s3d.blobs.gathering import gather_shards
from s3d.blobs.lease import Lease
from s3d.blobs.pace import Pace
from s3d.blobs.resources import Resources
from s3d.metadata.rows import BlobRow
from s3d.placement.durability import NOWHERE, settle, settled
from s3d.placement.ring import Ring, apart
from s3d.placement.stripes import Layout, Span
from s3d.shards.fleet import Extent
from shardd.contract.blobs import EXTENT_UNITS_MAX, BlobId, NodeId
from shardd.contract.errors import ShardError, StaleGenerationError
from shardd.contract.messages import PutExtent

GENERATIONS_TRIED_MAX = 4
STAT_DEADLINE_S = 2.0
RENEWED_S = 1.0  # how often the lease is, while the pace has a blob wait


@dataclass(frozen=True, slots=True)
class Room:
    """Where shards can be put now: `writable` nodes take them, `full` ones answer and have no room for any."""

    writable: Collection[NodeId]
    full: Collection[NodeId]


@dataclass(frozen=True, slots=True)
class Mending:
    """What to do for one blob: the node that each shard in `moves` is to be put on, and the row it was planned on.

    `complete`: nothing will be left to do.
    """

    blob: BlobId
    row: BlobRow
    moves: Mapping[int, NodeId]
    suspects: frozenset[int]
    complete: bool

    @property
    def moved_bytes(self) -> int:
        """Bytes of the shards that are put."""
        return Layout(self.row.size, self.row.k).shard_length * len(self.moves)


def plan(
    blob: BlobId,
    row: BlobRow,
    *,
    suspects: Collection[int],
    ring: Ring,
    room: Room,
) -> Mending | None:
    """How to mend a blob on the nodes that are writable now; None where that would change nothing.

    Suspects are put again where they are, but for those on full nodes, which are as good as missing. Missing and
    doubled shards go to nodes of their own: to those that are writable first, among them to zones that have fewest of
    the blob, then in the blob's order. Nodes that are down are waited for.
    """
    nodes = [NodeId(node) for node, _ in row.shards]
    writable = room.writable
    held = [NOWHERE if shard in suspects and node in room.full else node for shard, node in enumerate(nodes)]
    held_first = sorted(ring.walk(blob), key=lambda node: (node not in held, node not in writable))
    target = settle(held, sorted(apart(held_first, ring.zones), key=lambda node: node not in writable))
    wanted = {
        shard: node
        for shard, node in enumerate(target)
        if node != nodes[shard] or (shard in suspects and node)
    }
    moves = {shard: node for shard, node in wanted.items() if node in writable}
    if wanted and not moves:
        return None
    after = [moves.get(shard, node) for shard, node in enumerate(nodes)]
    complete = len(moves) == len(wanted) and settled(after)
    if not moves and not complete:
        return None
    known = frozenset(shard for shard in suspects if shard < len(nodes) and nodes[shard] != NOWHERE)
    return Mending(blob, row, moves, known, complete)


async def mend(
    resources: Resources, mending: Mending, *, pace: Pace, lease: Lease
) -> tuple[tuple[int, int], ...]:
    """Put the shards that `mending` moves; gives the placement for the row, (node, generation) a shard.

    Raises NotEnoughShardsError where the blob cannot be read, ShardError where a shard cannot be put, LeaseLostError
    where another process may do it. What was put until then is put again, the same, by the next try.
    """
    row = mending.row
    if not mending.moves:
        return row.shards
    generation, layout = row.next_generation, Layout(row.size, row.k)
    identity = await _identity(resources, mending)
    for _ in range(GENERATIONS_TRIED_MAX):
        try:
            for extent in range(layout.extents):
                # The pace first: uploads must not wait for room that sleeps.
                await _wait(pace.due_s(layout.extent_length(extent) * len(mending.moves)), lease)
                await _mend_extent(
                    resources, mending, extent=extent, generation=generation, identity=identity
                )
        except StaleGenerationError:
            # Shards of that generation were there, and were deleted: a tombstone stands in the way.
            generation += 1
            continue
        return tuple(
            (mending.moves[shard], generation) if shard in mending.moves else place
            for shard, place in enumerate(row.shards)
        )
    raise StaleGenerationError(f"blob {mending.blob.hex()}: generation {generation} is stale")


async def _wait(until_s: float, lease: Lease) -> None:
    """Until then, holding the lease: a large blob takes longer than one lasts."""
    loop = asyncio.get_running_loop()
    while await lease.hold():
        left_s = until_s - loop.time()
        if left_s <= 0:
            return
        await asyncio.sleep(min(left_s, RENEWED_S))
    raise LeaseLostError(f"another process does {lease.job}")


async def _mend_extent(
    resources: Resources, mending: Mending, *, extent: int, generation: int, identity: bytes
) -> None:
    layout = Layout(mending.row.size, mending.row.k)
    last = extent == layout.extents - 1
    columns: Mapping[int, list[bytes]] = {shard: [] for shard in mending.moves}
    cost = layout.extent_length(extent) * len(mending.row.shards)
    held = await resources.uploads.acquire(cost)
    try:
        if mending.row.size:
            columns = await _gather(resources, mending, layout.whole(extent))
        extents = []
        for shard, units in columns.items():
            made = column(units, blob=mending.blob, shard=shard, first_unit=extent * EXTENT_UNITS_MAX)
            message = PutExtent(
                mending.blob,
                shard,
                extent,
                generation,
                made.length,
                made.crcs,
                last,
                identity if last else b"",
            )
            extents.append(Extent(mending.moves[shard], message, units))
        for error in await resources.fleet.put_all(extents):
            if error is not None:
                raise error
    finally:
        resources.uploads.release(held)


async def _gather(resources: Resources, mending: Mending, span: Span) -> dict[int, list[bytes]]:
    """The units of the shards that are put, without the suspects where the others are enough.

    Complaints are about shards, and damage is about records: stripes may be whole though more shards are suspect than
    may be lost.
    """
    shards = list(mending.moves)
    try:
        return await gather_shards(resources, mending.blob, _trusted(mending), span=span, shards=shards)
    except NotEnoughShardsError:
        if not mending.suspects:
            raise
    return await gather_shards(resources, mending.blob, mending.row, span=span, shards=shards)


def _trusted(mending: Mending) -> BlobRow:
    """The row without its suspects."""
    row = mending.row
    shards = tuple(
        (NOWHERE, 0) if shard in mending.suspects else place for shard, place in enumerate(row.shards)
    )
    return BlobRow(row.size, row.codec, row.k, row.m, row.unit, shards)


async def _identity(resources: Resources, mending: Mending) -> bytes:
    """The identity that the last record of any shard carries, for the records to come."""
    up = resources.fleet.up()
    suspects_last = sorted(enumerate(mending.row.shards), key=lambda place: place[0] in mending.suspects)
    for shard, (node, _) in suspects_last:
        if node in up:
            try:
                stat = await resources.fleet.stat(
                    NodeId(node), mending.blob, shard, deadline_s=STAT_DEADLINE_S
                )
            except ShardError:
                continue
            if stat.last:
                return stat.identity
    raise NotEnoughShardsError(f"blob {mending.blob.hex()}: no shard says whose it is")
