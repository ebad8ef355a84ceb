"""Which shards move when nodes come and go: their part, no more; each to a node that holds none of the blob."""

from collections import Counter
from itertools import pairwise

import pytest

from s3d.blobs.moving import moves
from s3d.metadata.rows import BlobRow
from s3d.placement.ring import Ring
from shardd.contract.blobs import NodeId, new_blob_id
from tests.s3d.blobs.conftest import ring

BLOBS = 3_000


def place(walk: list[NodeId], width: int) -> BlobRow:
    return BlobRow(9, 2, width - 2, 2, 65_536, tuple((int(node), 1) for node in walk[:width]))


def moved(row: BlobRow, made: dict[int, NodeId]) -> BlobRow:
    nodes = [(int(made.get(shard, node)), generation) for shard, (node, generation) in enumerate(row.shards)]
    assert len({node for node, _ in nodes}) == len(nodes), "two shards on one node"
    return BlobRow(row.size, row.codec, row.k, row.m, row.unit, tuple(nodes))


@pytest.mark.parametrize(("before", "width"), [(5, 5), (6, 5), (9, 5), (11, 9)])
def test_a_node_that_joins_takes_its_part_and_no_other_shard_moves(before: int, width: int) -> None:
    old, new, last = ring(before), ring(before + 1), NodeId(before + 1)
    taken = Counter[int]()
    for number in range(BLOBS):
        row = place(old.walk(b"bucket/%d" % number), width)
        blob = new_blob_id(number)
        made = moves(blob, row, ring=new, newcomers={last})
        assert set(made.values()) <= {last}
        taken.update(row.shards[shard][0] for shard in made)
        assert not moves(blob, moved(row, made), ring=new, newcomers={last}), "it moves on and on"
    share = taken.total() / (BLOBS * width)
    assert share == pytest.approx(1 / (before + 1), rel=0.1)
    assert max(taken.values()) < 1.5 * taken.total() / before, (
        f"taken from one more than from others: {taken}"
    )


@pytest.mark.parametrize(("before", "width"), [(6, 5), (9, 5)])
def test_a_node_that_leaves_gives_up_all_it_has_to_all_others(before: int, width: int) -> None:
    old, active = ring(before), ring(before - 1)
    taken = Counter[int]()
    for number in range(BLOBS):
        row = place(old.walk(b"bucket/%d" % number), width)
        made = moves(new_blob_id(number), row, ring=active, newcomers=())
        assert set(made) == {shard for shard, (node, _) in enumerate(row.shards) if node == before}
        moved(row, made)
        taken.update(made.values())
    most, least = max(taken.values()), min(taken.values())
    assert len(taken) == before - 1 and most < 1.5 * least, taken


def test_nothing_moves_where_nobody_came_or_went() -> None:
    five: Ring = ring(5)
    for number in range(100):
        row = place(five.walk(b"bucket/%d" % number), 5)
        assert not moves(new_blob_id(number), row, ring=five, newcomers=())


def test_fewer_nodes_than_shards_hold_two_of_a_blob_where_it_still_survives_a_loss() -> None:
    """k+m was made smaller after the blob was written."""
    row = place(ring(5).walk(b"key"), 5)
    made = moves(new_blob_id(1), row, ring=ring(4), newcomers=())
    assert [row.shards[shard][0] for shard in made] == [5] and set(made.values()) <= {1, 2, 3, 4}
    made = moves(new_blob_id(1), row, ring=ring(3), newcomers=())
    after = Counter(made.get(shard, node) for shard, (node, _) in enumerate(row.shards))
    assert sorted(after.values()) == [1, 2, 2]
    assert not moves(new_blob_id(1), row, ring=ring(2), newcomers=()), (
        "the loss of one node would be one too many"
    )


def test_two_nodes_that_join_take_two_shards_in_turn() -> None:
    rows = {new_blob_id(n): place(ring(5).walk(b"bucket/%d" % n), 5) for n in range(500)}
    for before, after in pairwise((5, 6, 7)):
        del before
        newcomers = {NodeId(node) for node in range(6, after + 1)}
        rows = {
            blob: moved(row, moves(blob, row, ring=ring(after), newcomers=newcomers))
            for blob, row in rows.items()
        }
    load = Counter(node for row in rows.values() for node, _ in row.shards)
    assert max(load.values()) < 1.3 * min(load.values()), load
