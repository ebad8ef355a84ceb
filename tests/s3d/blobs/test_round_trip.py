"""Proves that what is written is what is read, at every boundary and for every set of survivors (T-M3)."""

import itertools
import random

import pytest

from shardd.contract.blobs import NodeId
from tests.s3d.blobs.conftest import Store

K, UNIT, MIB = 3, 65_536, 1 << 20
SIZES = [0, 1, K - 1, K, K + 1]
SIZES += [edge + step for edge in (UNIT, MIB, 3 * MIB) for step in (-1, 0, 1)] + [7 * MIB + 13]
SURVIVORS = list(itertools.combinations(range(5), 3))


@pytest.mark.parametrize("size", SIZES)
async def test_every_survivor_set_gives_every_size_back(five: Store, size: int) -> None:
    body = random.Random(size).randbytes(size)
    stored = await five.put(body)
    assert not stored.degraded
    assert await five.get(stored) == body
    for alive in SURVIVORS:
        for shard, (node, _) in enumerate(stored.row.shards):
            five.nodes[NodeId(node)].dead = shard not in alive
        await five.settle()
        assert await five.get(stored) == body, alive
    assert not five.suspects


async def test_random_ranges(five: Store) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for size in (1, 5, 3 * UNIT + 7, 7 * MIB + 13):
        body = chance.randbytes(size)
        stored = await five.put(body)
        for _ in range(40):
            start = chance.randrange(size)
            stop = chance.randint(start, min(size, start + chance.choice([0, 1, 100, UNIT, 4 * MIB])))
            assert await five.get(stored, start, stop) == body[start:stop]


async def test_a_small_range_reads_one_unit(five: Store) -> None:
    stored = await five.put(bytes(7 * MIB))
    for node in five.nodes.values():
        node.units_read = 0
    await five.get(stored, 4 * MIB + 10, 4 * MIB + 20)
    assert sum(node.units_read for node in five.nodes.values()) == 1
