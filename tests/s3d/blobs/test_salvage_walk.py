"""What salvage finds on nodes beside a state that knows some of their blobs, and how much of it it has at once."""

import asyncio
from dataclasses import dataclass, field

import pytest

from s3d.blobs import salvage_walk
from s3d.blobs.identity import Identity, encode_identity
from s3d.blobs.salvage_walk import STATS_AT_ONCE
from s3d.blobs.salvaging import Salvage
from s3d.metadata.state import State
from shardd.contract.blobs import BlobId, NodeId, shard_length
from shardd.contract.errors import ShardCorruptError
from shardd.contract.messages import Page, PutExtent, Stat
from tests.s3d.blobs.fake_node import FakeNode
from tests.s3d.metadata.machine.story import MD5

SIZE = 30
NOW_US = 1_000_000_000


@dataclass(slots=True)
class Node(FakeNode):
    """It counts how many ask it at once, and how many tasks there are then."""

    asking: int = 0
    asking_max: int = 0
    tasks_max: int = 0
    asked: list[bytes] = field(default_factory=list)
    disorder: bool = False

    async def stat(self, blob: bytes, shard: int, *, deadline_s: float) -> Stat:
        self.asking += 1
        self.asked.append(blob)
        self.asking_max = max(self.asking_max, self.asking)
        self.tasks_max = max(self.tasks_max, len(asyncio.all_tasks()))
        try:
            return await FakeNode.stat(self, blob, shard, deadline_s=deadline_s)
        finally:
            self.asking -= 1

    async def list(self, after: bytes, limit: int, *, deadline_s: float) -> Page:
        page = await FakeNode.list(self, after, limit, deadline_s=deadline_s)
        return Page(page.shards[::-1], page.after) if self.disorder else page


Nodes = dict[NodeId, Node]


def blob_id(number: int) -> BlobId:
    return BlobId(number.to_bytes(16, "big"))


def hold(nodes: Nodes, number: int, *, shards: int = 5) -> None:
    """Have the first nodes hold a shard each of the blob of that number, whose key is its number."""
    identity = Identity("bucket", b"%d" % number, SIZE, MD5, 2, 3, 2, created_us=number)
    data = bytes(shard_length(SIZE, 3))
    for shard, node in zip(range(shards), nodes.values(), strict=False):
        extent = PutExtent(blob_id(number), shard, 0, 1, len(data), bytes(4), True, encode_identity(identity))
        node.stored[blob_id(number), shard] = {0: (extent, data)}


def five(*numbers: int) -> Nodes:
    nodes = {NodeId(node): Node(NodeId(node)) for node in range(1, 6)}
    for number in numbers:
        hold(nodes, number)
    return nodes


async def salvage(state: State, nodes: Nodes, *, all_there: bool = True) -> Salvage:
    work = Salvage(state, accounts={}, owner="000000000001", now_us=NOW_US)
    await salvage_walk.run(nodes, work, since_us=0, all_there=all_there)
    return work


def keys_of(state: State) -> set[int]:
    with state.view() as view:
        bucket = view.bucket("bucket")
        assert bucket is not None
        return {
            number for number in range(1, 1_000) if view.find(bucket.incarnation, b"%d" % number) is not None
        }


async def test_however_many_blobs_are_unknown_few_are_asked_for_at_once(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(salvage_walk, "UNKNOWN_AT_ONCE", 200)
    monkeypatch.setattr("s3d.blobs.salvaging.COMMANDS_AT_ONCE", 7)
    numbers = range(1, 901)
    nodes = five(*numbers)
    work = await salvage(state, nodes)
    assert keys_of(state) == set(numbers) and work.report.objects == len(numbers)
    first = nodes[NodeId(1)]
    assert first.asking_max == STATS_AT_ONCE and first.tasks_max <= STATS_AT_ONCE + 2
    assert sorted(first.asked) == [blob_id(number) for number in numbers], "each once"


async def test_what_the_state_knows_is_met_and_what_no_node_has_is_dropped(state: State) -> None:
    await salvage(state, five(2, 4, 6, 8))
    nodes = five(1, 4, 5, 6)
    hold(nodes, 7, shards=2)
    away = await salvage(state, nodes, all_there=False)
    assert keys_of(state) == {1, 2, 4, 5, 6, 8} and away.report.dropped == 0
    assert sorted(doubt.key for doubt in away.report.doubts if doubt.what.startswith("no node")) == ["2", "8"]
    assert [doubt.key for doubt in away.report.doubts if doubt.what.startswith("2 shards")] == ["7"]
    there = await salvage(state, nodes)
    assert keys_of(state) == {1, 4, 5, 6} and there.report.dropped == 2


async def test_a_node_that_lists_in_disorder_has_nothing_dropped(state: State) -> None:
    nodes = five(1, 2, 3)
    await salvage(state, nodes)
    for node in nodes.values():
        node.disorder = True
    with pytest.raises(ShardCorruptError, match="in order"):
        await salvage(state, nodes)
    assert keys_of(state) == {1, 2, 3}
