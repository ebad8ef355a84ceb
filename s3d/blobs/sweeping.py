"""Owns the deletion of condemned shards: the only place of the gateways that deletes any."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from s3d.metadata.commands import SweptItem
from s3d.metadata.fields import Places
from s3d.metadata.rows import CondemnedRow
from s3d.shards.fleet import Fleet
from shardd.contract.blobs import NodeId
from shardd.contract.errors import ShardError

DELETES_MAX = 1_000  # shards a message
DELETE_DEADLINE_S = 10.0

Shards = list[tuple[bytes, int, int]]


async def sweep(
    fleet: Fleet, condemned: Sequence[tuple[bytes, CondemnedRow]], *, retry_us: int
) -> tuple[list[SweptItem], int]:
    """Delete the shards of condemned rows, (key, row) each, on the nodes that are up.

    Gives an item for each row, for the Swept command: what is left of it, on nodes that did not answer, is due
    again at `retry_us`. And how many shards were deleted.
    """
    orders: dict[NodeId, Shards] = defaultdict(list)
    for _, row in condemned:
        for node, shard, generation in row.places:
            orders[NodeId(node)].append((row.blob, shard, generation))
    up = fleet.up()
    reachable = [node for node in orders if node in up]
    outcomes = await asyncio.gather(*(_delete(fleet, node, orders[node]) for node in reachable))
    # A node that is no longer in the cluster has nothing that we could delete.
    done = {node for node, good in zip(reachable, outcomes, strict=True) if good} | (
        orders.keys() - set(fleet.nodes)
    )
    items = []
    for key, row in condemned:
        left: Places = tuple(place for place in row.places if NodeId(place[0]) not in done)
        items.append(SweptItem(key, left, retry_us if left else 0))
    return items, sum(len(orders[node]) for node in done)


async def _delete(fleet: Fleet, node: NodeId, shards: Shards) -> bool:
    try:
        for at in range(0, len(shards), DELETES_MAX):
            await fleet.delete(node, shards[at : at + DELETES_MAX], deadline_s=DELETE_DEADLINE_S)
    except ShardError:
        return False
    return True
