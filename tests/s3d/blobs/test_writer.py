"""Proves which writes are acknowledged, and what is sent where."""

import asyncio
import hashlib
import itertools
import random
import threading
from collections.abc import Sequence

import pytest

from s3d.blobs.errors import NoRoomError, NotEnoughShardsError
from s3d.blobs.writer import BlobWriter
from shardd.contract.blobs import NodeId, new_blob_id
from shardd.contract.cluster import MIB, ErasureConfig
from shardd.contract.errors import UnreachableError
from shardd.contract.messages import PutExtent
from tests.s3d.blobs.conftest import Store, store
from tests.s3d.blobs.fake_node import FakeNode

KEY = b"bucket/key"


async def kill(five: Store, nodes: tuple[int, ...]) -> None:
    for number, node in five.nodes.items():
        node.dead = number in nodes
    await five.settle()


@pytest.mark.parametrize(
    "dead", [dead for count in range(3) for dead in itertools.combinations(range(1, 6), count)]
)
async def test_two_nodes_down_are_written_around(five: Store, dead: tuple[int, ...]) -> None:
    await kill(five, dead)
    body = random.Random(1).randbytes(4 * MIB)
    stored = await five.put(body)
    assert stored.degraded == bool(dead)
    assert {node for node, _ in stored.row.shards} == set(five.nodes) - set(dead)
    for last in set(five.nodes) - set(dead):
        await kill(five, (*dead, last))
        assert await five.get(stored) == body


@pytest.mark.parametrize("dead", [*itertools.combinations(range(1, 6), 3), (1, 2, 3, 4, 5)])
async def test_with_three_down_nothing_is_taken(five: Store, dead: tuple[int, ...]) -> None:
    await kill(five, dead)
    with pytest.raises(NotEnoughShardsError):
        five.blobs.writer(KEY, blob=new_blob_id(1), size=10, digests=None)
    assert not five.blobs.can_write() and not any(node.puts for node in five.nodes.values())


@pytest.mark.parametrize("full", [(1,), (2, 5)])
async def test_full_nodes_take_nothing_new(five: Store, full: tuple[int, ...]) -> None:
    for number in full:
        five.nodes[NodeId(number)].full = True
    async with asyncio.timeout(5):
        while five.fleet.writable() & set(full):
            await asyncio.sleep(0.005)
    stored = await five.put(b"body")
    assert not {node for node, _ in stored.row.shards} & set(full)
    assert await five.get(stored) == b"body"


@pytest.mark.parametrize("known", [True, False])
async def test_too_little_room_is_another_error_than_too_few_nodes(five: Store, known: bool) -> None:
    for number in (1, 2, 3):
        five.nodes[NodeId(number)].full = True
    async with asyncio.timeout(5):
        while known and len(five.fleet.full()) < 3:
            await asyncio.sleep(0.005)
    with pytest.raises(NoRoomError):
        writer = five.blobs.writer(KEY, blob=new_blob_id(1), size=3, digests=None)
        await writer.write(b"abc")
        await writer.finish(b"")
    await kill(five, (3, 4, 5))
    with pytest.raises(NotEnoughShardsError) as raised:
        five.blobs.writer(KEY, blob=new_blob_id(1), size=3, digests=None)
    assert raised.type is NotEnoughShardsError


@pytest.mark.parametrize("size", [4_096, 10 * MIB])
async def test_a_node_that_dies_under_a_write_is_done_without(five: Store, size: int) -> None:
    body = random.Random(2).randbytes(size)
    five.nodes[NodeId(4)].dead = True
    stored = await five.put(body)
    assert stored.degraded and [node for node, _ in stored.row.shards].count(0) == 1
    assert [node for node, _, _ in stored.strays] == [4] and set(stored.strays) < set(stored.places)
    assert await five.get(stored) == body


async def test_a_small_blob_whose_nodes_die_doubles_up_before_it_gives_up(five: Store) -> None:
    for number in (2, 4):
        five.nodes[NodeId(number)].dead = True
    stored = await five.put(b"small")
    assert stored.degraded
    assert sorted(node for node, _ in stored.row.shards) in (
        [1, 1, 3, 3, 5],
        [1, 1, 3, 5, 5],
        [1, 3, 3, 5, 5],
    )
    assert len(stored.places) == 7 and {node for node, _, _ in stored.strays} == {2, 4}


@pytest.mark.parametrize("size", [5, 4 * MIB])
async def test_what_cannot_be_acknowledged_says_what_to_condemn(five: Store, size: int) -> None:
    for number in (2, 4, 5):
        five.nodes[NodeId(number)].dead = True
    writer = five.blobs.writer(KEY, blob=new_blob_id(1), size=size, digests=None)
    with pytest.raises(NotEnoughShardsError):
        await writer.write(bytes(size))
        await writer.finish(b"")
    sent = await writer.abandon()
    assert sent is not None
    stored = {(number, shard) for number, node in five.nodes.items() for _, shard in node.stored}
    assert stored and stored <= {(node, shard) for node, shard, _ in sent.places}
    assert five.blobs.resources.uploads.used == 0


async def test_a_node_that_takes_its_time_is_waited_for_and_one_that_stands_still_is_not(five: Store) -> None:
    five.nodes[NodeId(3)].slow_s = 0.05
    stored = await five.put(bytes(100_000))
    assert not stored.degraded and stored.strays == ()
    five.nodes[NodeId(3)].silent_puts = True
    stored = await five.put(bytes(100_000))
    assert [node for node, _ in stored.row.shards].count(0) == 1
    puts = five.nodes[NodeId(3)].puts
    stored = await five.put(bytes(100_000))
    assert (
        stored.degraded and stored.strays == () and five.nodes[NodeId(3)].puts == puts
    )  # left alone from here on


@pytest.mark.parametrize("size", [5, 10 * MIB])
async def test_more_slow_nodes_than_can_be_spared_are_written_to(five: Store, size: int) -> None:
    for number in (1, 2, 4):
        five.fleet._health[NodeId(number)].verdict.slow = True
        five.fleet._health[NodeId(number)].verdict._until_s = 1e12
    five.fleet._refresh()
    assert five.fleet.writable() == {3, 5} and five.blobs.can_write()
    stored = await five.put(bytes(size))
    assert not stored.degraded and await five.get(stored) == bytes(size)


@pytest.mark.parametrize("size", [7 * MIB, 20 * MIB + 5])
@pytest.mark.parametrize("dead", [(2, 4), (1, 5)])
async def test_an_upload_that_loses_two_nodes_under_way_is_put_on_the_others(
    five: Store, size: int, dead: tuple[int, ...]
) -> None:
    body = random.Random(size).randbytes(size)
    writer = await begun(five, body, dead=dead)
    await writer.write(body[5 * MIB :])
    stored = await writer.finish(b"identity")
    assert stored.degraded and {node for node, _ in stored.row.shards} == set(five.nodes) - set(dead)
    for last in set(five.nodes) - set(dead):
        await kill(five, (*dead, last))
        assert await five.get(stored) == body
    assert five.blobs.resources.uploads.used == 0


async def test_when_those_that_are_to_take_over_fail_too_it_is_too_few(
    five: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = random.Random(2).randbytes(7 * MIB)
    writer = await begun(five, body, dead=(2, 4))
    put = FakeNode.put

    async def refuse_first(
        node: FakeNode, message: PutExtent, payload: Sequence[bytes], *, deadline_s: float
    ) -> None:
        if message.extent == 0:  # what is put anew begins with it
            raise UnreachableError("cut")
        await put(node, message, payload, deadline_s=deadline_s)

    monkeypatch.setattr(FakeNode, "put", refuse_first)
    await writer.write(body[5 * MIB :])
    with pytest.raises(NotEnoughShardsError):
        await writer.finish(b"identity")
    await writer.abandon()
    assert five.blobs.resources.uploads.used == 0


async def test_what_is_not_put_elsewhere_in_time_is_refused_and_leaves_only_what_is_condemned(
    five: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = random.Random(3).randbytes(7 * MIB)
    writer = await begun(five, body, dead=(2, 4))
    put, again = FakeNode.put, asyncio.Event()

    async def take_for_ever(
        node: FakeNode, message: PutExtent, payload: Sequence[bytes], *, deadline_s: float
    ) -> None:
        await put(node, message, payload, deadline_s=deadline_s)
        if message.extent == 0:  # what is put anew begins with it
            again.set()
            await asyncio.Event().wait()

    monkeypatch.setattr(FakeNode, "put", take_for_ever)
    monkeypatch.setattr("s3d.blobs.writer.REPLACED_WITHIN_S", 2.0)
    await writer.write(body[5 * MIB :])
    with pytest.raises(NotEnoughShardsError, match="in time"):
        async with asyncio.timeout(30):
            await writer.finish(b"identity")
    left = await writer.abandon()
    assert again.is_set() and left is not None
    there = {
        (node.node, shard, message.generation)
        for node in five.nodes.values()
        for (blob, shard), extents in node.stored.items()
        for message, _ in extents.values()
        if blob == left.blob
    }
    assert there <= set(left.places) and five.blobs.resources.uploads.used == 0


async def test_a_node_that_dies_while_shards_are_put_on_it_instead_is_done_without(five: Store) -> None:
    """Two deaths that the gateway learns of one after the other: the second when it has put a shard there again."""
    five.nodes[NodeId(2)].dead = True
    writer = five.blobs.writer(KEY, blob=new_blob_id(1), size=3, digests=None)
    await writer.write(b"abc")
    await writer.drain()
    five.nodes[NodeId(4)].dead = True
    writer._nodes[writer._nodes.index(NodeId(4))] = NodeId(
        2
    )  # nothing of the first try tells of the other death
    stored = await writer.finish(b"")
    assert {node for node, _ in stored.row.shards} == {1, 3, 5} and await five.get(stored) == b"abc"


async def test_a_small_blob_does_not_wait_long_for_two_silent_nodes(five: Store) -> None:
    """Neither can be spared as it is, but both can be replaced."""
    for number in (3, 5):
        five.nodes[NodeId(number)].silent_puts = True
    async with asyncio.timeout(4):
        stored = await five.put(bytes(100_000))
    assert {node for node, _ in stored.row.shards} == {1, 2, 4}


async def test_slow_nodes_together_are_waited_for(five: Store) -> None:
    for node in five.nodes.values():
        node.slow_s = 0.4
    assert not (await five.put(bytes(100_000))).degraded


async def test_a_refused_extent_gives_up_its_shard(five: Store) -> None:
    blob = new_blob_id(1)
    for node in five.nodes.values():
        node.deleted[blob, 2] = 1
    writer = five.blobs.writer(KEY, blob=blob, size=3, digests=None)
    await writer.write(b"abc")
    stored = await writer.finish(b"")
    assert stored.row.shards[2] == (0, 0) and stored.degraded


async def test_the_end_waits_for_what_was_sent_before(five: Store) -> None:
    """The last window is durable at once, the one before it fails later: that decides."""
    for node in five.nodes.values():
        node.slow_s = 0.3
    writer = five.blobs.writer(KEY, blob=new_blob_id(1), size=4 * MIB, digests=None)
    await writer.write(bytes(4 * MIB))
    await puts(five, 5)
    for node in five.nodes.values():
        node.slow_s = 0.0
    finishing = asyncio.create_task(writer.finish(b""))
    async with asyncio.timeout(5):
        while sum(len(node.stored) for node in five.nodes.values()) < 5:
            await asyncio.sleep(0)
    for number in (1, 2, 3):
        five.nodes[NodeId(number)].dead = True
    with pytest.raises(NotEnoughShardsError):
        await finishing
    await writer.abandon()


async def begun(five: Store, body: bytes, *, dead: Sequence[int]) -> BlobWriter:
    """A writer of `body` that has taken 5 MiB of it, of which each node has its part, when these nodes die."""
    writer = five.blobs.writer(KEY, blob=new_blob_id(1), size=len(body), digests=None)
    await writer.write(body[: 5 * MIB])
    await puts(five, 5)
    for number in dead:
        five.nodes[NodeId(number)].dead = True
    return writer


async def puts(five: Store, count: int) -> None:
    """Wait until so many puts have reached their nodes."""
    async with asyncio.timeout(60):
        while sum(node.puts for node in five.nodes.values()) < count:
            await asyncio.sleep(0)


@pytest.mark.parametrize("size", [0, 10, 65_537, 3 * MIB, 3 * MIB + 1, 9 * MIB])
async def test_the_identity_is_in_the_last_record_of_each_shard(five: Store, size: int) -> None:
    stored = await five.put(bytes(size))
    for shard, (node, _) in enumerate(stored.row.shards):
        extents = sorted(five.nodes[NodeId(node)].stored[stored.blob, shard].items())
        assert [number for number, _ in extents] == list(range(max(1, -(-size // (3 * MIB)))))
        marks = [(message.last, message.identity) for _, (message, _) in extents]
        assert marks == [(False, b"")] * (len(extents) - 1) + [(True, b"identity")]


@pytest.mark.parametrize("size", [0, 1, 40_000, 7 * MIB + 1])
@pytest.mark.parametrize("known", [True, False])
async def test_digests_see_the_body_in_order_before_the_end_is_sent(
    five: Store, size: int, known: bool
) -> None:
    body = random.Random(3).randbytes(size)
    digest = hashlib.md5()
    writer = five.blobs.writer(KEY, blob=new_blob_id(1), size=size if known else None, digests=digest)
    chance, at = random.Random(4), 0
    while at < size:
        step = chance.choice([1, 1_000, 65_536, 200_000, 4 * MIB])
        await writer.write(body[at : at + step])
        at += step
    await writer.drain()
    assert digest.digest() == hashlib.md5(body).digest()
    assert not any(
        message.last
        for node in five.nodes.values()
        for one in node.stored.values()
        for message, _ in one.values()
    )
    stored = await writer.finish(b"")
    assert await five.get(stored) == body


async def test_an_abandoned_writer_holds_nothing_and_runs_nothing(five: Store) -> None:
    for node in five.nodes.values():
        node.slow_s = 0.3
    before = asyncio.all_tasks()
    writer = five.blobs.writer(KEY, blob=new_blob_id(1), size=9 * MIB, digests=None)
    await writer.write(bytes(8 * MIB))
    assert five.blobs.resources.uploads.used > 0
    assert await writer.abandon() is not None or not any(node.puts for node in five.nodes.values())
    assert five.blobs.resources.uploads.used == 0
    assert asyncio.all_tasks() == before


async def test_nothing_sent_is_nothing_to_condemn(five: Store) -> None:
    writer = five.blobs.writer(KEY, blob=new_blob_id(1), size=9 * MIB, digests=None)
    await writer.write(bytes(MIB))
    assert await writer.abandon() is None


async def test_small_bodies_are_coded_here_and_big_ones_in_a_coding_thread(five: Store) -> None:
    class Watch:
        def __init__(self) -> None:
            self.threads: set[int] = set()

        def update(self, data: bytes, /) -> None:
            self.threads.add(threading.get_ident())

    for size, inline in ((4_096, True), (MIB, False)):
        watch = Watch()
        writer = five.blobs.writer(KEY, blob=new_blob_id(1), size=size, digests=watch)
        await writer.write(bytes(size))
        await writer.drain()
        assert (watch.threads == {threading.get_ident()}) is inline
        await writer.abandon()


@pytest.mark.parametrize(("k", "m", "nodes"), [(1, 0, 1), (1, 1, 2), (2, 1, 3), (4, 2, 6), (8, 4, 12)])
@pytest.mark.parametrize("codec", ["isal", "zfec"])
async def test_other_codes(k: int, m: int, nodes: int, codec: str) -> None:
    async with store(nodes, ErasureConfig(data=k, parity=m, codec=codec)) as made:  # type: ignore[arg-type]
        for size in (0, 1, k * 65_536 + 5, 3 * MIB):
            body = random.Random(size).randbytes(size)
            stored = await made.put(body)
            assert not stored.degraded and await made.get(stored) == body
            dead = random.Random(size + 1).sample(sorted(made.nodes), m)
            await kill(made, tuple(dead))
            assert await made.get(stored) == body
            await kill(made, ())
