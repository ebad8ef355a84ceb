"""Proves the acknowledgement rule for every set of nodes and shards, and where shards go when nodes are down."""

import itertools

import pytest

from s3d.placement.durability import NOWHERE, assign, fill, settle, settled, survives
from shardd.contract.blobs import NodeId

WALK = [NodeId(number) for number in (3, 1, 5, 2, 4)]


def by_definition(nodes: tuple[int, ...], k: int, losses: int) -> bool:
    """The rule as a sentence: whichever nodes are lost, at least k shards are left."""
    every = set(nodes) - {NOWHERE}
    return all(
        sum(node != NOWHERE and node not in lost for node in nodes) >= k
        for lost in itertools.combinations(sorted(every), min(losses, len(every)))
    )


@pytest.mark.parametrize(("k", "m"), [(1, 0), (1, 1), (2, 1), (3, 2)])
@pytest.mark.parametrize("losses", [0, 1, 2])
def test_the_rule_is_its_definition_for_every_placement(k: int, m: int, losses: int) -> None:
    for nodes in itertools.product(range(5), repeat=k + m):
        assert survives([NodeId(node) for node in nodes], k, losses) == by_definition(nodes, k, losses), nodes


@pytest.mark.parametrize(
    ("nodes", "acknowledged"),
    [
        ((1, 2, 3, 4, 5), True),
        ((1, 2, 3, 4, 0), True),
        ((1, 2, 3, 0, 0), False),
        ((1, 1, 2, 2, 3), True),
        ((1, 1, 2, 3, 0), False),
        ((1, 1, 1, 2, 3), False),
        ((1, 1, 1, 2, 2), False),
        ((1, 1, 1, 1, 1), False),
        ((0, 0, 0, 0, 0), False),
    ],
)
def test_rs_3_2_with_one_spare(nodes: tuple[int, ...], acknowledged: bool) -> None:
    assert survives([NodeId(node) for node in nodes], 3, 1) is acknowledged


def test_every_set_of_living_nodes_takes_all_shards_evenly() -> None:
    for count in range(6):
        for up in itertools.combinations(WALK, count):
            nodes = assign(WALK, up, 5)
            assert set(nodes) == (set(up) or {NOWHERE})
            loads = [nodes.count(node) for node in up]
            assert not up or max(loads) - min(loads) <= 1
            assert all(nodes[shard] == home for shard, home in enumerate(WALK) if home in up)
            assert survives(nodes, 3, 1) == (count >= 3)


def test_a_free_node_comes_before_doubling_up() -> None:
    walk = [NodeId(number) for number in range(1, 8)]
    assert assign(walk, {1, 3, 4, 5, 6, 7}, 5) == (1, 6, 3, 4, 5)
    assert assign(walk, {1, 3, 5, 6}, 5) == (1, 6, 3, 1, 5)


def test_fewer_nodes_than_shards() -> None:
    assert assign(WALK[:2], WALK[:2], 5) == (3, 1, 3, 1, 3)


def test_fill_without_anybody_alive_changes_nothing() -> None:
    assert fill([NodeId(1), NOWHERE], []) == (1, NOWHERE)


@pytest.mark.parametrize(
    ("nodes", "whole"),
    [((1, 2, 3), True), ((1, 1, 3), False), ((1, 0, 3), False), ((0, 0, 0), False), ((7,), True)],
)
def test_settled(nodes: tuple[int, ...], whole: bool) -> None:
    assert settled([NodeId(node) for node in nodes]) is whole


def test_settling_any_placement_of_five_on_five_gives_each_a_node_and_moves_the_fewest() -> None:
    for numbers in itertools.product(range(6), repeat=5):
        nodes = [NodeId(number) for number in numbers]
        after = settle(nodes, WALK)
        assert settled(after) and set(after) == set(WALK)
        stays = sum(old == new for old, new in zip(nodes, after, strict=True))
        assert stays == len(set(nodes) - {NOWHERE})


def test_settling_with_too_few_nodes_leaves_doubled_shards_where_they_are() -> None:
    walk = WALK[:3]
    assert settle([NodeId(number) for number in (3, 3, 1, 1, 5)], walk) == (3, 3, 1, 1, 5)
    assert settle([NodeId(number) for number in (3, 3, 1, 0, 5)], walk) == (3, 3, 1, 1, 5)


def test_a_node_that_left_the_cluster_holds_nothing() -> None:
    assert settle([NodeId(number) for number in (9, 1, 5, 2, 4)], WALK) == (3, 1, 5, 2, 4)
