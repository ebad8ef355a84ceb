"""Owns the look at every shard of one blob: is it there, whole, and readable; never mends, never changes a row."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from typing import Final

from s3d.blobs.coding import cut, verify
from s3d.blobs.comparing import is_whole
from s3d.blobs.resources import Resources
from s3d.metadata.rows import BlobRow
from s3d.placement.durability import NOWHERE, survives
from s3d.placement.stripes import Layout
from shardd.contract.blobs import EXTENT_UNITS_MAX, BlobId, NodeId, units_in
from shardd.contract.errors import ShardCorruptError, ShardError, ShardNotFoundError
from shardd.contract.messages import GetUnits

STAT_DEADLINE_S: Final = 2.0
READ_DEADLINE_S: Final = 10.0


class ShardState(StrEnum):
    """What a look at one shard showed."""

    OK = "ok"
    MISSING = "missing"  # its node is up and has nothing of it
    INCOMPLETE = "incomplete"  # extents are missing, or of a generation before the row's
    DAMAGED = "damaged"
    UNREACHABLE = "unreachable"
    UNPLACED = "unplaced"  # the row gives it no node


@dataclass(frozen=True, slots=True)
class Sight:
    """One shard as it was seen. `node` 0 has none; `stored_bytes` are those of the extents that are there."""

    shard: int
    node: NodeId
    generation: int
    state: ShardState
    stored_bytes: int = 0


def spare(sights: Iterable[Sight], k: int) -> int:
    """How many more nodes may be lost, whichever they are; -1 where the blob cannot be read as it is."""
    nodes = [sight.node for sight in sights if sight.state is ShardState.OK]
    return next(losses for losses in count() if not survives(nodes, k, losses)) - 1


async def survey(resources: Resources, blob: BlobId, row: BlobRow, *, read: bool) -> list[Sight]:
    """Every shard of a blob, in order. `read`: each is read as well, and its checksums are checked."""
    looks = (_look(resources, blob, row, shard=shard, read=read) for shard in range(len(row.shards)))
    return await asyncio.gather(*looks)


async def _look(resources: Resources, blob: BlobId, row: BlobRow, *, shard: int, read: bool) -> Sight:
    node, generation = NodeId(row.shards[shard][0]), row.shards[shard][1]
    if node == NOWHERE:
        return Sight(shard, node, generation, ShardState.UNPLACED)
    stored_bytes = 0
    try:
        stat = await resources.fleet.stat(node, blob, shard, deadline_s=STAT_DEADLINE_S)
        stored_bytes = sum(length for _, _, length in stat.extents)
        whole = is_whole(stat, extents=Layout(row.size, row.k).extents, generation=generation)
        if not whole:
            state = ShardState.INCOMPLETE if stat.extents else ShardState.MISSING
        elif read and not await _reads(resources, blob, row, shard=shard):
            state = ShardState.DAMAGED
        else:
            state = ShardState.OK
    except ShardCorruptError:
        state = ShardState.DAMAGED
    except ShardNotFoundError:
        state = ShardState.MISSING
    except ShardError:
        state = ShardState.UNREACHABLE
    return Sight(shard, node, generation, state, stored_bytes)


async def _reads(resources: Resources, blob: BlobId, row: BlobRow, *, shard: int) -> bool:
    """Does all of a shard come, with the checksums that the gateway gave it? Raises ShardError."""
    layout = Layout(row.size, row.k)
    for extent in range(layout.extents if row.size else 0):
        length = layout.extent_length(extent)
        held = await resources.downloads.acquire(length)
        try:
            request = GetUnits(blob, shard, extent, 0, units_in(length))
            reply, chunks = await resources.fleet.get(
                NodeId(row.shards[shard][0]), request, deadline_s=READ_DEADLINE_S
            )
            first = extent * EXTENT_UNITS_MAX
            units = verify(cut(chunks, length), reply.crcs, blob=blob, shard=shard, first_unit=first)
        finally:
            resources.downloads.release(held)
        if len(units) != request.count or None in units:
            return False
    return True
