"""Proves that load spreads, that zones stay apart, and that a new node moves no more keys than it must."""

from collections import Counter
from pathlib import Path

import pytest

from s3d.placement.ring import Ring, hash_key
from shardd.contract.blobs import NodeId
from shardd.contract.cluster import NodeConfig

KEYS = [b"bucket/%d" % number for number in range(100_000)]


def ring(count: int, zones: str = "") -> Ring:
    return Ring(
        [
            NodeConfig(
                NodeId(number), "host", number, Path(f"/{number}"), zone=zones[number - 1] if zones else ""
            )
            for number in range(1, count + 1)
        ]
    )


@pytest.mark.parametrize("count", [3, 5, 8])
def test_loads_differ_by_under_a_tenth(count: int) -> None:
    walks = ring(count)
    loads = Counter(walks.walk(key)[0] for key in KEYS)
    assert len(loads) == count
    assert max(loads.values()) - min(loads.values()) < 0.1 * len(KEYS) / count


@pytest.mark.parametrize("count", [3, 5, 9])
def test_one_more_node_moves_its_share_and_nothing_else(count: int) -> None:
    before, after = ring(count), ring(count + 1)
    moved = 0
    for key in KEYS[:30_000]:
        old, new = before.walk(key), after.walk(key)
        assert [node for node in new if node != count + 1] == old
        moved += old[0] != new[0]
    assert moved / 30_000 == pytest.approx(1 / (count + 1), rel=0.2)


def test_a_walk_is_every_node_once() -> None:
    walks = ring(7)
    for key in KEYS[:1000]:
        assert sorted(walks.walk(key)) == [1, 2, 3, 4, 5, 6, 7]


def test_a_walk_depends_on_ids_alone() -> None:
    nodes = [NodeConfig(NodeId(number), "elsewhere", 7_000 + number, Path("/x")) for number in (3, 1, 2)]
    before, moved = ring(3), Ring(nodes)
    assert [moved.walk(key) for key in KEYS[:1000]] == [before.walk(key) for key in KEYS[:1000]]


def test_walks_are_the_same_for_ever() -> None:
    """Rows hold their placement, but a store that moved all new keys at an upgrade would be a surprise."""
    assert [ring(5).walk(key) for key in (b"bucket/key", b"b/", b"a/\xff\x00")] == [
        [4, 1, 5, 2, 3],
        [2, 3, 5, 1, 4],
        [1, 5, 3, 4, 2],
    ]
    assert hash_key(b"bucket/key") == hash_key("bucket/key")


def test_no_zone_comes_twice_before_every_other_came_once() -> None:
    zones = "aaabbc"
    walks = ring(6, zones)
    for key in KEYS[:1000]:
        order = [zones[node - 1] for node in walks.walk(key)]
        assert sorted(order[:3]) == ["a", "b", "c"] and sorted(order[3:5]) == ["a", "b"] and order[5] == "a"
    assert {walks.walk(key)[0] for key in KEYS[:1000]} == {1, 2, 3, 4, 5, 6}


def test_nodes_without_a_zone_are_zones_of_their_own() -> None:
    nodes = [
        NodeConfig(NodeId(number), "h", number, Path("/"), zone="z" if number < 3 else "")
        for number in range(1, 5)
    ]
    walks = Ring(nodes)
    for key in KEYS[:500]:
        assert walks.walk(key)[3] in (1, 2)
