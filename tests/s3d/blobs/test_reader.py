"""Proves that reads survive what they can, say so early when they cannot, and give out nothing unverified."""

import asyncio
import random
from contextlib import aclosing

import pytest

from s3d.blobs.errors import BlobReadError, NotEnoughShardsError
from s3d.blobs.gathering import STALL_S
from s3d.blobs.writer import StoredBlob
from shardd.contract.blobs import NodeId
from shardd.contract.cluster import MIB
from shardd.contract.messages import GetUnits
from tests.s3d.blobs.conftest import Store, store
from tests.s3d.blobs.fake_node import FakeNode


def body_of(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def holder(made: Store, stored: StoredBlob, shard: int) -> FakeNode:
    return made.nodes[NodeId(stored.row.shards[shard][0])]


@pytest.mark.parametrize("size", [5, 100_000, 8 * MIB])
@pytest.mark.parametrize("shards", [(0,), (2,), (0, 1), (1, 4), (3, 4)])
async def test_damage_is_found_passed_by_and_told(five: Store, size: int, shards: tuple[int, ...]) -> None:
    body = body_of(size)
    stored = await five.put(body)
    for shard in shards:
        holder(five, stored, shard).flip(stored.blob, shard, at=1)
    assert await five.get(stored) == body
    assert five.suspects == {(stored.blob, shard) for shard in shards if shard < 3}


async def test_damage_in_other_stripes_of_all_shards_is_still_read(five: Store) -> None:
    """No three of the shards that are read are whole, but each stripe has three good units."""
    body = body_of(3 * MIB)
    stored = await five.put(body)
    for shard in range(4):
        holder(five, stored, shard).flip(stored.blob, shard, at=65_536 * shard)
    assert await five.get(stored) == body
    assert five.suspects == {(stored.blob, shard) for shard in range(4)}


async def test_a_unit_of_another_place_is_damage(five: Store) -> None:
    stored = await five.put(body_of(200_000))
    node = holder(five, stored, 0)
    other = holder(five, stored, 1)
    node.stored[stored.blob, 0] = other.stored[stored.blob, 1]
    assert await five.get(stored) == body_of(200_000)
    assert five.suspects == {(stored.blob, 0)}


@pytest.mark.parametrize("size", [5, 8 * MIB])
async def test_too_much_damage_is_an_error_and_never_bytes(five: Store, size: int) -> None:
    stored = await five.put(body_of(size))
    for shard in (0, 2, 4):
        holder(five, stored, shard).flip(stored.blob, shard)
    with pytest.raises(NotEnoughShardsError):
        await five.get(stored)


async def test_missing_shards_are_passed_by_and_told(five: Store) -> None:
    stored = await five.put(body_of(MIB))
    holder(five, stored, 1).stored.clear()
    assert await five.get(stored) == body_of(MIB)
    assert five.suspects == {(stored.blob, 1)}


async def test_a_node_that_is_down_is_not_asked_and_not_suspected(five: Store) -> None:
    stored = await five.put(body_of(MIB))
    node = holder(five, stored, 0)
    node.dead = True
    await five.settle()
    assert await five.get(stored) == body_of(MIB)
    assert node.gets == 0 and not five.suspects


async def test_a_silent_node_is_done_without(five: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3d.blobs.gathering.STALL_S", 0.05)
    stored = await five.put(body_of(8 * MIB))
    holder(five, stored, 1).silent = True
    async with asyncio.timeout(3):
        assert await five.get(stored) == body_of(8 * MIB)


@pytest.mark.parametrize("count", [3, 5])
async def test_three_silent_nodes_are_an_error_within_the_deadline(
    five: Store, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr("s3d.blobs.gathering.STALL_S", 0.05)
    monkeypatch.setattr("s3d.blobs.gathering.DEADLINE_S", 0.3)
    stored = await five.put(body_of(100))
    for shard in range(count):
        holder(five, stored, shard).silent = True
    async with asyncio.timeout(1):
        with pytest.raises(NotEnoughShardsError):
            await five.get(stored)


async def test_nodes_that_are_up_but_slow_are_waited_for(
    five: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy machine is not three dead nodes: they answer others."""
    monkeypatch.setattr("s3d.blobs.gathering.STALL_S", 0.02)
    monkeypatch.setattr("s3d.blobs.gathering.DEADLINE_S", 0.1)
    stored = await five.put(body_of(100))
    for node in five.nodes.values():
        node.slow_gets_s = 0.6
    with pytest.raises(NotEnoughShardsError):
        await five.get(stored)
    others = []
    for shard in [0, 1, 2, 3, 4] * 12:
        request = GetUnits(stored.blob, shard, 0, 0, 1)
        others.append(
            asyncio.create_task(five.fleet.get(holder(five, stored, shard).node, request, deadline_s=9))
        )
        await asyncio.sleep(0.01)
    assert await five.get(stored) == body_of(100)
    await asyncio.gather(*others)


@pytest.mark.parametrize("size", [100, 8 * MIB])
async def test_what_is_late_is_hedged_within_the_budget(five: Store, size: int) -> None:
    """A node that answers most, but not this: nothing is known against it."""
    stored, hedges = await five.put(body_of(size)), five.blobs.resources.hedges
    late = holder(five, stored, 1)
    late.slow_gets_s = 0.9
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    assert await five.get(stored) == body_of(size)
    assert loop.time() - began_s < 0.8 and hedges.sent == hedges.won > 0 and not hedges.refused
    late.slow_gets_s = 0.0
    while hedges.take(1):  # somebody else uses the budget up
        pass
    refused = hedges.refused
    assert await five.get(stored) == body_of(size)
    assert hedges.refused == refused
    late.slow_gets_s = 0.5
    assert await five.get(stored) == body_of(size)
    assert hedges.refused > refused


async def test_what_may_not_be_hedged_waits_no_longer_than_its_node_is_thought_well_of(five: Store) -> None:
    stored, hedges = await five.put(body_of(100)), five.blobs.resources.hedges
    while hedges.take(1):
        pass
    holder(five, stored, 1).silent = True
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    assert await five.get(stored) == body_of(100)
    assert hedges.refused > 1 and loop.time() - began_s < STALL_S * 0.9


async def test_an_error_is_no_hedge_and_is_not_waited_for(five: Store) -> None:
    """One shard is gone, another is late: the parity is asked when the first is missed, not after the second."""
    stored, hedges = await five.put(body_of(100)), five.blobs.resources.hedges
    holder(five, stored, 0).stored.clear()
    holder(five, stored, 1).slow_gets_s = 0.3
    for number in five.nodes:
        five.fleet._health[number].verdict.reads.p95_s = 0.9
    while hedges.take(1):
        pass
    reading = asyncio.create_task(five.get(stored))
    async with asyncio.timeout(0.25):
        while not holder(five, stored, 3).gets:
            await asyncio.sleep(0.001)
    assert await reading == body_of(100)


async def test_three_dead_nodes_are_an_error_at_once(five: Store) -> None:
    stored = await five.put(body_of(100))
    for shard in range(3):
        holder(five, stored, shard).dead = True
    async with asyncio.timeout(0.5):
        with pytest.raises(NotEnoughShardsError) as raised:
            await five.get(stored)
    assert raised.type is NotEnoughShardsError


async def test_a_failure_after_the_first_byte_is_another_error(five: Store) -> None:
    stored = await five.put(body_of(20 * MIB))
    got = b""
    async with aclosing(five.blobs.reader(stored.blob, stored.row).chunks(0, 20 * MIB)) as chunks:
        got += b"".join(await anext(chunks))
        for node in five.nodes.values():
            node.dead = True
        with pytest.raises(BlobReadError):
            async for pieces in chunks:
                got += b"".join(pieces)
    assert 0 < len(got) < 20 * MIB and body_of(20 * MIB).startswith(got)
    assert five.blobs.resources.downloads.used == 0


async def test_nodes_may_come_and_go_under_a_read(five: Store) -> None:
    stored = await five.put(body_of(20 * MIB))
    got, dead = b"", iter([(1, 2), (3, 4), (5, 1), (), (2, 4), (), ()])
    async with aclosing(five.blobs.reader(stored.blob, stored.row).chunks(0, 20 * MIB)) as chunks:
        async for pieces in chunks:
            got += b"".join(pieces)
            down = next(dead, ())
            for number, node in five.nodes.items():
                node.dead = number in down
            await five.settle()
    assert got == body_of(20 * MIB)


async def test_doubled_up_shards_are_read_from_one_node(five: Store) -> None:
    for number in (1, 2):
        five.nodes[NodeId(number)].dead = True
    await five.settle()
    stored = await five.put(body_of(MIB))
    for number in (3, 4, 5):
        five.nodes[NodeId(number)].dead = True
        await five.settle()
        assert await five.get(stored) == body_of(MIB)
        five.nodes[NodeId(number)].dead = False


async def test_a_read_that_is_given_up_holds_nothing_and_runs_nothing(five: Store) -> None:
    stored = await five.put(body_of(20 * MIB))
    before = asyncio.all_tasks()
    async with aclosing(five.blobs.reader(stored.blob, stored.row).chunks(0, 20 * MIB)) as chunks:
        await anext(chunks)
        assert five.blobs.resources.downloads.used > 0
    assert five.blobs.resources.downloads.used == 0 and asyncio.all_tasks() == before


async def test_slow_consumers_do_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3d.blobs.reader.PATIENCE_S", 0.01)
    async with store(buffer_bytes=32 * MIB) as made:
        stored = await made.put(body_of(20 * MIB))
        slow = [made.blobs.reader(stored.blob, stored.row).chunks(0, 20 * MIB) for _ in range(20)]
        for chunks in slow:
            await anext(chunks)
        async with asyncio.timeout(20):
            assert await made.get(stored) == body_of(20 * MIB)
        for chunks in slow:
            await chunks.aclose()
        assert made.blobs.resources.downloads.used == 0


async def test_reading_nothing_gives_nothing(five: Store) -> None:
    stored = await five.put(body_of(100))
    assert await five.get(stored, 50, 50) == b""
    assert not any(node.gets for node in five.nodes.values())


async def test_the_first_bytes_of_a_long_read_come_early(five: Store) -> None:
    stored = await five.put(body_of(20 * MIB))
    async with aclosing(five.blobs.reader(stored.blob, stored.row).chunks(0, 20 * MIB)) as chunks:
        assert sum(map(len, await anext(chunks))) == 4 * 3 * 65_536
