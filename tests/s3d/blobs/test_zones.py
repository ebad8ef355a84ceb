"""Proves that repair and rebalance keep a blob as far apart as its placement did: no zone gets too many shards."""

from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from s3d.blobs.mending import Room, plan
from s3d.blobs.moving import moves
from s3d.metadata.rows import BlobRow
from s3d.placement.durability import NOWHERE
from s3d.placement.ring import Ring
from shardd.contract.blobs import BlobId, NodeId, new_blob_id
from shardd.contract.cluster import NodeConfig

BLOBS = 500
K, M = 4, 2
NINE = "abcabcabc"


@cache
def zoned(zones: str) -> Ring:
    """A ring of nodes 1, 2, ... in these zones; "-" leaves a number out."""
    return Ring(
        [
            NodeConfig(NodeId(number), "host", number, Path("/"), zone=zone)
            for number, zone in enumerate(zones, 1)
            if zone != "-"
        ]
    )


def placed(number: int) -> tuple[BlobId, BlobRow]:
    """A blob as a PUT on nine nodes places it: two shards a zone. Its key orders the nodes otherwise than its id."""
    nodes = zoned(NINE).walk(b"bucket/%d" % number)[: K + M]
    return new_blob_id(number), BlobRow(9, 2, K, M, 65_536, tuple((int(node), 1) for node in nodes))


def fullest(nodes: list[int], zones: str) -> int:
    """The most shards in one zone, each on a node of its own."""
    assert len(set(nodes)) == len(nodes) == K + M
    return max(Counter(zones[node - 1] for node in nodes).values())


def after(row: BlobRow, made: dict[int, NodeId]) -> list[int]:
    return [int(made.get(shard, NodeId(node))) for shard, (node, _) in enumerate(row.shards)]


@pytest.mark.parametrize("zone", "abcd")
def test_a_node_that_joins_takes_from_no_zone_that_has_fewer(zone: str) -> None:
    now, last, taken = NINE + zone, NodeId(10), 0
    for blob, row in map(placed, range(BLOBS)):
        made = moves(blob, row, ring=zoned(now), newcomers={last})
        assert set(made.values()) <= {last} and fullest(after(row, made), now) <= 2
        taken += len(made)
    # Of a blob's two shards in its zone a node of four has one half of the time; a new zone has its part of each blob.
    assert taken / BLOBS == pytest.approx(1.0 if zone == "d" else 0.5, rel=0.2)


def test_what_leaves_a_node_goes_to_the_zone_that_has_fewest() -> None:
    without = NINE[:8] + "-"
    for blob, row in map(placed, range(BLOBS)):
        made = moves(blob, row, ring=zoned(without), newcomers=())
        assert 9 not in after(row, made) and fullest(after(row, made), NINE) <= 2


def test_a_zone_that_has_too_many_gives_to_a_node_that_joins_another() -> None:
    row = BlobRow(9, 2, K, M, 65_536, tuple((node, 1) for node in (1, 4, 7, 2, 5, 3)))
    ring, given = zoned(NINE + "c"), 0
    for number in range(BLOBS):
        made = moves(new_blob_id(number), row, ring=ring, newcomers={NodeId(10)})
        before, now = fullest(after(row, {}), NINE), fullest(after(row, made), NINE + "c")
        assert before == 3 and now == 3 - bool(made)
        given += bool(made)
    assert given > BLOBS / 3


@pytest.mark.parametrize("missing", range(K + M))
def test_what_is_missing_is_made_in_the_zone_that_has_fewest(missing: int) -> None:
    ring = zoned(NINE)
    for blob, row in map(placed, range(BLOBS // (K + M))):
        lost = row.shards[missing][0]
        shards = tuple((int(NOWHERE), 0) if node == lost else (node, 1) for node, _ in row.shards)
        degraded = BlobRow(row.size, row.codec, K, M, row.unit, shards)
        room = Room(set(ring.zones) - {NodeId(lost)}, full=())
        made = plan(blob, degraded, suspects=(), ring=ring, room=room)
        assert made is not None and made.complete and set(made.moves) == {missing}
        assert fullest(after(degraded, dict(made.moves)), NINE) <= 2


@pytest.mark.parametrize("rotten", range(K + M))
def test_what_rots_on_a_full_node_is_made_elsewhere_in_the_zone_that_has_fewest(rotten: int) -> None:
    ring = zoned(NINE)
    for blob, row in map(placed, range(BLOBS // (K + M))):
        full = NodeId(row.shards[rotten][0])
        room = Room(set(ring.zones) - {full}, {full})
        made = plan(blob, row, suspects={rotten}, ring=ring, room=room)
        assert made is not None and made.complete and set(made.moves) == {rotten}
        assert fullest(after(row, dict(made.moves)), NINE) <= 2
        down = plan(blob, row, suspects={rotten}, ring=ring, room=Room(room.writable, full=()))
        assert down is None, "a node that is down comes back, with what else it has"
