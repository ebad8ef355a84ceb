"""Owns which shards of a blob belong on other nodes once nodes have come or go; pure, never moves one."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from s3d.metadata.rows import BlobRow
from s3d.placement.durability import NOWHERE, fill, survives
from s3d.placement.ring import Ring, apart
from shardd.contract.blobs import BlobId, NodeId


def moves(blob: BlobId, row: BlobRow, *, ring: Ring, newcomers: Collection[NodeId]) -> dict[int, NodeId]:
    """The node that each shard of a blob that is not degraded is to be moved to; as few shards as can be.

    `ring`: of the active nodes. Shards on any other node leave it, for nodes that hold none of the blob, in zones that
    hold fewest; where there are no more of these, for k+m was greater once, for nodes that hold fewest of it. A
    newcomer, which joined after the blob was made, takes the shard of a node behind it in the blob's walk, where it is
    among the first k+m there itself: of all shards its part, 1/(N+1) for the node that joins N others. It takes it from
    its own zone or from one that holds more, the fullest and then the last in the walk.
    """
    walk, zones = ring.walk(blob), ring.zones
    place = {node: index for index, node in enumerate(walk)}
    held = {NodeId(node): shard for shard, (node, _) in enumerate(row.shards) if node != NOWHERE}
    free = [
        node for node in apart(sorted(walk, key=lambda node: node not in held), zones) if node not in held
    ]
    leaving = [shard for node, shard in held.items() if node not in place]
    made = dict(zip(leaving, free, strict=False))
    if len(leaving) > len(free):
        made |= _doubled(row, made, leaving[len(free) :], walk)
    staying = {node for node in held if node in place}
    load = Counter(zones[node] for node in (*staying, *made.values()))
    for node in free[len(made) :]:
        if node not in newcomers or place[node] >= len(row.shards):
            continue
        mine = zones[node]
        behind = [
            other
            for other in staying
            if place[other] > place[node] and (zones[other] == mine or load[zones[other]] > load[mine])
        ]
        if behind:
            last = max(behind, key=lambda other: (load[zones[other]], place[other]))
            staying.remove(last)
            made[held[last]] = node
            load[zones[last]] -= 1
            load[mine] += 1
    return made


def _doubled(
    row: BlobRow, made: Mapping[int, NodeId], left: Collection[int], walk: Sequence[NodeId]
) -> dict[int, NodeId]:
    """Nodes, beside those of `made`, for the shards that are `left`; none where a loss would be one too many."""
    nodes = [
        NOWHERE if shard in left else made.get(shard, NodeId(node))
        for shard, (node, _) in enumerate(row.shards)
    ]
    after = fill(nodes, walk)
    losses = 1 if row.m >= 2 else 0  # as for a write
    return {shard: after[shard] for shard in left} if survives(after, row.k, losses) else {}
