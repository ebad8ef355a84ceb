"""Owns when a write may be acknowledged and which living node takes which shard; never talks to a node."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from shardd.contract.blobs import NodeId

NOWHERE = NodeId(0)  # stands where a shard is not stored


def survives(nodes: Iterable[NodeId], k: int, losses: int) -> bool:
    """THE acknowledgement rule: after losing ANY `losses` further nodes, are at least `k` shards left?

    `nodes` holds the node of each shard that is stored, once a shard; NOWHERE does not count. RS(3,2) and one loss:
    on five nodes any four shards do; on three nodes 2+2+1 does; on two nodes nothing does.
    """
    load = Counter(node for node in nodes if node != NOWHERE)
    lost = sum(count for _, count in load.most_common(losses))
    return load.total() - lost >= k


def assign(walk: Sequence[NodeId], up: Collection[NodeId], shards: int) -> tuple[NodeId, ...]:
    """The node of each of `shards` shards of a new blob: at home where its home is up, else elsewhere.

    Shard i is at home on the i-th node of the walk. Everything is NOWHERE when no node is up.
    """
    homes = [node if node in up else NOWHERE for node in walk[:shards]]
    homes += [NOWHERE] * (shards - len(homes))
    return fill(homes, [node for node in walk if node in up])


def fill(nodes: Sequence[NodeId], alive: Sequence[NodeId]) -> tuple[NodeId, ...]:
    """`nodes` with each NOWHERE replaced by the node of `alive` that has fewest shards; the first where many do.

    So free nodes come first, and where there are none, shards double up evenly.
    """
    placed = list(nodes)
    load = Counter(dict.fromkeys(alive, 0))
    load.update(node for node in nodes if node in load)
    for shard, node in enumerate(nodes):
        if node == NOWHERE and alive:
            placed[shard] = min(alive, key=load.__getitem__)
            load[placed[shard]] += 1
    return tuple(placed)


def settled(nodes: Sequence[NodeId]) -> bool:
    """Is every shard stored, and each on a node of its own? Otherwise the blob is degraded."""
    return NOWHERE not in nodes and len(set(nodes)) == len(nodes)


def settle(nodes: Sequence[NodeId], walk: Sequence[NodeId]) -> tuple[NodeId, ...]:
    """Where the shards of a degraded blob belong: each on a node of its own, moving as few as can be.

    The first shard on each node stays; doubled ones go to free nodes of the walk, as far as there are some, and
    missing ones to what is then left. Nodes that are not in the walk hold nothing.
    """
    kept: dict[NodeId, int] = {}
    for shard, node in enumerate(nodes):
        if node in walk:
            kept.setdefault(node, shard)
    free = [node for node in walk if node not in kept]
    placed = [NOWHERE] * len(nodes)
    for shard, node in enumerate(nodes):
        if node in walk:
            placed[shard] = node if kept[node] == shard or not free else free.pop(0)
    return fill(placed, walk)
