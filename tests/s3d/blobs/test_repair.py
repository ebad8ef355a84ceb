"""Proves that degraded blobs become whole again and condemned shards go, over the real state and log."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from s3d.blobs.bout import TOLD_EVERY_US
from s3d.blobs.lease import LIFE_US
from s3d.blobs.repair import SWEEP_RETRY_US, Repairer
from s3d.blobs.suspects import Suspects
from s3d.metadata.commands import DeletedKey, DeleteObjects
from s3d.metadata.rows import JobRow
from shardd.contract.blobs import NodeId, new_blob_id
from shardd.contract.cluster import MIB, GatewayConfig
from tests.s3d.blobs.cluster import GRACE_US, Cluster, make, unhurried
from tests.s3d.blobs.conftest import Store, ring, store


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with make(tmp_path, 5) as made:
        yield made


@pytest.mark.parametrize("size", [0, 1, 4_096, 200_000, 4 * MIB + 7])
async def test_shards_go_home_when_their_nodes_are_back(cluster: Cluster, size: int) -> None:
    body = random.Random(size).randbytes(size)
    await cluster.kill(2, 4)
    stored = await cluster.put("key", body)
    assert stored.degraded and cluster.degraded() == 1
    await cluster.repairer.round()
    assert cluster.degraded() == 1
    await cluster.kill()
    await cluster.repairer.round()
    row = cluster.row(stored)
    assert cluster.degraded() == 0
    assert {node for node, _ in row.shards} == {1, 2, 3, 4, 5}
    for pair in [(1, 3), (1, 5), (3, 5), (2, 4)]:
        await cluster.kill(*pair)
        assert await cluster.store.read(stored.blob, row) == body
    for shard, (node, generation) in enumerate(row.shards):
        extents = cluster.store.nodes[NodeId(node)].stored[stored.blob, shard]
        message, _ = extents[max(extents)]
        assert (message.generation, message.last, message.identity) == (generation, True, b"identity")


async def test_one_node_back_of_two_is_half_of_it(cluster: Cluster) -> None:
    await cluster.kill(2, 4)
    stored = await cluster.put("key", bytes(1000))
    await cluster.kill(4)
    await cluster.repairer.round()
    assert cluster.degraded() == 1
    assert {node for node, _ in cluster.row(stored).shards} == {1, 2, 3, 5}
    await cluster.kill()
    await cluster.repairer.round()
    assert cluster.degraded() == 0


async def half_mended(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> JobRow:
    """Repair has done what it can while a node is away; its job as it was told at work."""
    monkeypatch.setattr("s3d.blobs.repair.SCAN_SHARE_MAX", 1e9)
    await cluster.kill(2, 4)
    await cluster.put("key", bytes(1000))
    await cluster.kill(4)
    await cluster.repairer.round()
    job = told(cluster)
    assert (job.done, job.total, job.finished, job.stands) == (1, 2, False, False)
    return job


def told(cluster: Cluster) -> JobRow:
    with cluster.state.view() as view:
        job = view.job("repair")
    assert job is not None
    return job


async def test_while_it_waits_for_a_node_it_says_nothing_of_the_time_left(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    await half_mended(cluster, monkeypatch)
    cluster.now_us += TOLD_EVERY_US
    await cluster.repairer.round()
    job = told(cluster)
    assert (job.done, job.total, job.finished, job.stands) == (1, 2, False, True)
    await cluster.kill()
    cluster.now_us += TOLD_EVERY_US
    await cluster.repairer.round()
    job = told(cluster)
    assert job.finished and not job.stands and cluster.degraded() == 0


async def test_what_a_process_told_that_is_no_more_is_not_told_while_another_waits(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await half_mended(cluster, monkeypatch)
    cluster.now_us += LIFE_US
    await another(cluster, cluster.store).round()
    job = told(cluster)
    assert job.stands and job == msgspec.structs.replace(before, started_us=before.updated_us)


def another(cluster: Cluster, nodes: Store) -> Repairer:
    """The repairer of another process."""
    return Repairer(
        nodes.blobs.resources,
        ring(5),
        states=cluster.state,
        log=cluster.log,
        config=GatewayConfig(),
        pace=unhurried(nodes),
        lease=cluster.lease("repair", b"other" * 3 + b"."),
        suspects=Suspects(),
        now_us=lambda: cluster.now_us,
    )


async def test_old_places_are_swept_after_the_grace(cluster: Cluster) -> None:
    await cluster.kill(2, 4)
    stored = await cluster.put("key", b"x" * 100_000)
    await cluster.kill()
    await cluster.repairer.round()
    assert cluster.shards() == 7
    await cluster.repairer.round()
    assert cluster.shards() == 7
    cluster.now_us += GRACE_US
    await cluster.repairer.round()
    assert cluster.shards() == 5 and cluster.repairer.counters.swept_shards == 2
    assert await cluster.store.read(stored.blob, cluster.row(stored)) == b"x" * 100_000


async def test_damage_that_a_read_found_is_repaired_in_place(cluster: Cluster) -> None:
    body = random.Random(1).randbytes(4 * MIB)
    stored = await cluster.put("key", body)
    node = NodeId(stored.row.shards[1][0])
    cluster.store.nodes[node].flip(stored.blob, 1, extent=1, at=70_000)
    assert await cluster.store.get(stored) == body
    assert cluster.store.suspects == {(stored.blob, 1)}
    cluster.suspects.add(stored.blob, 1)
    cluster.store.suspects.clear()
    await cluster.repairer.round()
    assert cluster.degraded() == 0 and not cluster.store.suspects
    row = cluster.row(stored)
    assert row.shards[1] == (node, 2)
    cluster.now_us += GRACE_US
    await cluster.repairer.round()
    cluster.store.suspects.clear()
    assert await cluster.store.read(stored.blob, row) == body
    assert not cluster.store.suspects


async def test_a_suspect_on_a_node_that_is_down_is_not_forgotten(cluster: Cluster) -> None:
    stored = await cluster.put("key", bytes(300_000))
    first, second = (NodeId(stored.row.shards[shard][0]) for shard in (0, 4))
    for shard, node in ((0, first), (4, second)):
        cluster.store.nodes[node].stored.clear()
        cluster.suspects.add(stored.blob, shard)
    await cluster.kill(second)
    await cluster.repairer.round()
    assert cluster.row(stored).shards[0] == (first, 2) and cluster.degraded() == 1
    await cluster.kill()
    await cluster.repairer.round()
    assert cluster.degraded() == 0 and (stored.blob, 4) in cluster.store.nodes[second].stored


async def test_a_suspect_on_a_full_node_is_made_on_one_that_has_room_and_waits_where_none_has(
    tmp_path: Path,
) -> None:
    async with make(tmp_path, 6) as cluster:
        body = random.Random(2).randbytes(300_000)
        stored = await cluster.put("key", body)
        places = [NodeId(node) for node, _ in stored.row.shards]
        full, (free,) = places[1], cluster.store.nodes.keys() - set(places)
        for node in (full, free):
            cluster.store.nodes[node].full = True
        async with asyncio.timeout(5):
            while cluster.store.fleet.full() != {full, free}:
                await asyncio.sleep(0.005)
        cluster.store.nodes[full].flip(stored.blob, 1)
        cluster.suspects.add(stored.blob, 1)
        await cluster.repairer.round()
        assert cluster.degraded() == 1 and cluster.row(stored).shards == stored.row.shards
        cluster.store.nodes[free].full = False
        async with asyncio.timeout(5):
            while free not in cluster.store.fleet.writable():
                await asyncio.sleep(0.005)
        await cluster.repairer.round()
        row = cluster.row(stored)
        assert cluster.degraded() == 0 and row.shards[1] == (free, 2)
        cluster.now_us += GRACE_US
        await cluster.repairer.round()
        assert not cluster.store.nodes[full].stored, "what rotted there is deleted, which takes no room"
        assert await cluster.store.read(stored.blob, row) == body and not cluster.store.suspects


async def test_a_deleted_blob_loses_its_shards_also_on_a_node_that_was_down(cluster: Cluster) -> None:
    await cluster.put("key", bytes(1000))
    delete = DeleteObjects(
        new_blob_id(1), cluster.now_us, bucket="bucket", keys=(DeletedKey(b"key"),), grace_us=GRACE_US
    )
    await cluster.log.append([delete])
    await cluster.kill(3)
    await cluster.repairer.round()
    assert cluster.shards() == 5
    cluster.now_us += GRACE_US
    await cluster.repairer.round()
    assert cluster.shards() == 1
    await cluster.kill()
    cluster.now_us += SWEEP_RETRY_US
    await cluster.repairer.round()
    assert cluster.shards() == 0
    with cluster.state.view() as view:
        assert view.condemned_count() == 0


async def test_a_long_rest_ends_when_a_node_comes_back(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3d.blobs.repair.SCAN_SHARE_MAX", 1e-9)
    await cluster.kill(2)
    await cluster.put("key", bytes(1000))
    await cluster.repairer.round()
    await cluster.kill()
    await cluster.repairer.round()
    assert cluster.degraded() == 0


async def test_looking_at_many_rows_lets_requests_go_on(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3d.blobs.repair.PAGE_ROWS", 4)
    await cluster.kill(2)
    for number in range(20):
        await cluster.put(f"key-{number}", b"body")
    turns = 0

    async def requests() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    served = asyncio.create_task(requests())
    await cluster.repairer.round()
    served.cancel()
    assert turns >= 5 and cluster.degraded() == 20
    await cluster.kill()
    await cluster.repairer.round()
    assert cluster.degraded() == 0


async def test_one_process_leads_and_another_when_it_is_gone(cluster: Cluster) -> None:
    await cluster.repairer.round()
    async with store(5) as other:
        second = another(cluster, other)
        await second.round()
        assert cluster.repairer.leads and not second.leads
        cluster.now_us += LIFE_US  # it was killed, or stands still
        await second.round()
        await cluster.repairer.round()
        assert second.leads and not cluster.repairer.leads


async def test_an_unreadable_blob_does_not_stop_the_others(cluster: Cluster) -> None:
    lost = await cluster.put("lost", bytes(1000))
    for shard in (0, 1, 2):
        node = cluster.store.nodes[NodeId(lost.row.shards[shard][0])]
        del node.stored[lost.blob, shard]
        cluster.suspects.add(lost.blob, shard)
    await cluster.kill(5)
    stored = await cluster.put("key", bytes(1000))
    await cluster.kill()
    await cluster.repairer.round()
    assert cluster.repairer.counters.failed_blobs == 1 and cluster.degraded() == 1
    assert {node for node, _ in cluster.row(stored).shards} == {1, 2, 3, 4, 5}


async def test_damage_in_more_shards_than_may_be_lost_is_mended_as_long_as_each_stripe_is_readable(
    cluster: Cluster,
) -> None:
    body = random.Random(7).randbytes(9 * MIB)
    stored = await cluster.put("key", body)
    for shard in (0, 1, 2):
        node = cluster.store.nodes[NodeId(stored.row.shards[shard][0])]
        node.flip(stored.blob, shard, extent=shard, at=1_000)
        cluster.suspects.add(stored.blob, shard)
    assert await cluster.store.get(stored) == body
    await cluster.repairer.round()
    assert cluster.degraded() == 0 and cluster.repairer.counters.failed_blobs == 0
    cluster.store.suspects.clear()
    assert await cluster.store.read(stored.blob, cluster.row(stored)) == body
    assert not cluster.store.suspects


async def test_six_nodes_need_not_wait_for_the_one_that_is_down(tmp_path: Path) -> None:
    async with make(tmp_path, 6) as cluster:
        await cluster.kill(1)
        stored = await cluster.put("key", bytes(1000))
        assert not stored.degraded and {node for node, _ in stored.row.shards} == {2, 3, 4, 5, 6}


async def test_a_tombstone_in_the_way_is_passed(cluster: Cluster) -> None:
    await cluster.kill(2)
    stored = await cluster.put("key", bytes(1000))
    await cluster.kill()
    for shard in range(5):
        await cluster.store.nodes[NodeId(2)].delete([(stored.blob, shard, 2)], deadline_s=1)
    await cluster.repairer.round()
    assert cluster.degraded() == 0
    assert max(generation for _, generation in cluster.row(stored).shards) == 3
