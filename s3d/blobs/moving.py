"""Owns which shards of a blob belong on other nodes once nodes have come or go; pure, never moves one."""

from collections.abc import Collection, Sequence

from s3d.metadata.rows import BlobRow
from s3d.placement.durability import NOWHERE
from shardd.contract.blobs import NodeId


def moves(row: BlobRow, *, walk: Sequence[NodeId], newcomers: Collection[NodeId]) -> dict[int, NodeId]:
    """The node that each shard of a blob that is not degraded is to be moved to; as few shards as can be.

    `walk`: the active nodes in the blob's order. Shards on any other node leave it, for nodes that hold none of the
    blob. A newcomer, which joined after the blob was made, takes the shard of the node that is last in the walk, where
    the walk has the newcomer among its first k+m: of all shards its part, 1/(N+1) for the node that joins N others.
    """
    place = {node: index for index, node in enumerate(walk)}
    held = {NodeId(node): shard for shard, (node, _) in enumerate(row.shards) if node != NOWHERE}
    free = [node for node in walk if node not in held]
    leaving = [shard for node, shard in held.items() if node not in place]
    made = dict(zip(leaving, free, strict=False))
    staying = sorted((node for node in held if node in place), key=place.__getitem__)
    for node in free[len(made) :]:
        if (
            node in newcomers
            and place[node] < len(row.shards)
            and staying
            and place[staying[-1]] > place[node]
        ):
            made[held[staying.pop()]] = node
    return made
