"""Proves that one process at a time has a job, that it copies nothing for a job it lost, and that one has both."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from s3d.blobs.lease import LIFE_US, Lease
from s3d.blobs.pace import Pace
from s3d.blobs.repair import Repairer
from s3d.blobs.suspects import Suspects
from shardd.contract.cluster import MIB, GatewayConfig
from tests.s3d.blobs.cluster import Cluster, make, unhurried
from tests.s3d.blobs.conftest import ring

FIRST, SECOND = b"1" * 16, b"2" * 16


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with make(tmp_path, 5) as made:
        yield made


def pair(cluster: Cluster, holder: bytes) -> tuple[Lease, Lease]:
    """The leases of one process: to repair, and to move shards beside it."""
    repair = cluster.lease("repair", holder)
    moving = Lease(
        "rebalance",
        holder=holder,
        states=cluster.state,
        log=cluster.log,
        now_us=lambda: cluster.now_us,
        beside=repair,
    )
    return repair, moving


async def test_who_repairs_is_who_moves_until_another_does_both(cluster: Cluster) -> None:
    (repair, moving), (repair_too, moving_too) = pair(cluster, FIRST), pair(cluster, SECOND)
    assert await repair.hold()
    assert not await moving_too.hold(), "that process would add its pace to the first one's"
    assert await moving.hold()
    cluster.now_us += LIFE_US  # the first is killed, or stands still
    assert await moving_too.hold() and await repair_too.hold()
    assert not await moving.hold() and not await repair.hold(), "it goes on, and asks first"
    await moving_too.give_up()
    assert not await moving.hold(), "repair is still the other's"
    await repair_too.give_up()
    assert await moving.hold()


async def test_a_blob_in_the_middle_is_left_by_who_lost_the_lease(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cluster.kill(4)
    stored = await cluster.put("large", bytes(9 * MIB))  # three extents a shard
    await cluster.kill()
    asked, stands = 0, asyncio.Event()

    def due_s(pace: Pace, size: int) -> float:
        nonlocal asked
        asked += 1
        if asked < 2:
            return 0.0
        stands.set()
        return float("inf")

    monkeypatch.setattr(Pace, "due_s", due_s)
    monkeypatch.setattr("s3d.blobs.mending.RENEWED_S", 0.01)
    other = cluster.lease("repair", SECOND)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        round_ = group.create_task(cluster.repairer.round())
        await stands.wait()
        for _ in range(3):
            cluster.now_us += LIFE_US // 2 + 1
            while held_until_us(cluster) < cluster.now_us + LIFE_US // 2:
                await asyncio.sleep(0.005)
            assert not await other.hold(), "it is renewed, however long a blob takes"
        cluster.now_us += 2 * LIFE_US  # it stood still
        assert await other.hold()
        await round_
    assert asked == 2 and not cluster.repairer.leads and cluster.degraded() == 1
    assert 4 not in {node for node, _ in cluster.row(stored).shards}
    monkeypatch.setattr(Pace, "due_s", lambda pace, size: 0.0)
    next_one = Repairer(
        cluster.store.blobs.resources,
        ring(5),
        states=cluster.state,
        log=cluster.log,
        config=GatewayConfig(),
        pace=unhurried(cluster.store),
        lease=other,
        suspects=Suspects(),
        now_us=lambda: cluster.now_us,
    )
    await next_one.round()
    assert {node for node, _ in cluster.row(stored).shards} == {1, 2, 3, 4, 5} and cluster.degraded() == 0


def held_until_us(cluster: Cluster) -> int:
    with cluster.state.view() as view:
        row = view.lease("repair")
    return row.until_us if row is not None else 0
