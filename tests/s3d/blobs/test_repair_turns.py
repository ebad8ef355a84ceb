"""Proves that no part of repair keeps another, or a blob in greater need, from its turn; over the real state."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from s3d.blobs.mending import Mending, mend
from s3d.blobs.repair import FRUITLESS_SHARE_MAX, SWEEP_RETRY_US, WALK_S, Walk
from s3d.metadata.commands import DeletedKey, DeleteObjects, MarkDegraded
from shardd.contract.blobs import new_blob_id
from tests.s3d.blobs.cluster import Cluster, make

WITHIN_S = 60.0


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with make(tmp_path, 5) as made:
        yield made


async def delete(cluster: Cluster, *keys: str) -> None:
    """The shards are due at once."""
    doomed = tuple(DeletedKey(key.encode()) for key in keys)
    await cluster.log.append([DeleteObjects(new_blob_id(1), cluster.now_us, bucket="bucket", keys=doomed)])


async def test_shards_are_swept_and_complaints_filed_while_a_blob_takes_long_to_mend(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def slowly(*arguments: Any, **options: Any) -> Any:
        begun.set()
        await ended.wait()
        return await mend(*arguments, **options)

    monkeypatch.setattr("s3d.blobs.repair.mend", slowly)
    await cluster.kill(2)
    await cluster.put("key", bytes(1000))
    await cluster.kill()
    await cluster.put("doomed", bytes(1000))
    sound = await cluster.put("sound", bytes(1000))
    working = asyncio.create_task(cluster.repairer.run())
    try:
        async with asyncio.timeout(WITHIN_S):
            await begun.wait()
            await delete(cluster, "doomed")
            cluster.suspects.add(sound.blob, 0)
            counters = cluster.repairer.counters
            while counters.swept_shards < 5 or not counters.suspect_shards:
                await asyncio.sleep(0.01)
            assert cluster.degraded() == 2
            ended.set()
            while cluster.degraded():
                await asyncio.sleep(0.01)
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


async def test_blobs_with_fewer_survivors_come_first_though_they_are_filed_after_the_walk_began(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3d.blobs.repair.PAGE_ROWS", 4)
    monkeypatch.setattr("s3d.blobs.repair.WALK_S", 0.0)
    await cluster.kill(2)
    for number in range(20):
        await cluster.put(f"key-{number}", b"body")
    await cluster.kill()
    worse = await cluster.put("worse", b"body")
    order = []

    async def noting(resources: Any, mending: Mending, **options: Any) -> Any:
        if not order:
            mark = MarkDegraded(new_blob_id(2), cluster.now_us, blob=worse.blob, suspects=(0, 1))
            await cluster.log.append([mark])
        order.append(mending.blob)
        return await mend(resources, mending, **options)

    monkeypatch.setattr("s3d.blobs.repair.mend", noting)
    await cluster.repairer.round()
    assert order.index(worse.blob) == 4, "it is in the page after the one that was under way"
    assert len(order) == 21 and cluster.degraded() == 0


def test_a_walk_begins_again_only_where_looking_for_work_took_a_small_part_of_it() -> None:
    walk = Walk()
    walk.add(WALK_S, mended=True)
    assert not walk.is_over
    walk.add(1.0, mended=True)
    assert walk.is_over
    walk.add(WALK_S, mended=False)
    assert not walk.is_over, "what is behind many blobs that wait, or fail, would never have its turn"
    walk.add(WALK_S / FRUITLESS_SHARE_MAX, mended=True)
    assert walk.is_over


async def test_shards_of_a_node_that_is_away_are_asked_for_more_rarely_the_more_there_are(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3d.blobs.repair.SWEEP_ROW_US", SWEEP_RETRY_US)
    for key in ("one", "two", "three"):
        await cluster.put(key, b"body")
    await cluster.kill(3)
    await delete(cluster, "one", "two", "three")
    await cluster.repairer.round()
    assert cluster.shards() == 3
    await cluster.kill()
    cluster.now_us += 2 * SWEEP_RETRY_US
    await cluster.repairer.round()
    assert cluster.shards() == 3
    cluster.now_us += SWEEP_RETRY_US
    await cluster.repairer.round()
    assert cluster.shards() == 0
