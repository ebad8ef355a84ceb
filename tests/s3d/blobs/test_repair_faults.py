"""Proves that repair goes on where the state is full, unreadable or damaged, and loses no complaint by it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from s3d.blobs.pace import Pace
from s3d.blobs.repair import _Scan
from s3d.metadata import keys, tables
from s3d.metadata.commands import Command, DeletedKey, DeleteObjects, MarkDegraded, Relocate
from s3d.metadata.machine import apply
from s3d.metadata.outcomes import Outcome
from s3d.metadata.state import State, StateFullError
from shardd.contract.blobs import new_blob_id
from tests.s3d.blobs.cluster import Cluster, make


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with make(tmp_path, 5) as made:
        yield made


def refuse(kind: type[Command], monkeypatch: pytest.MonkeyPatch) -> None:
    """The state is full for commands of this kind."""

    def full(writes: tables.Tables, command: Command) -> Outcome:
        if isinstance(command, kind):
            raise StateFullError("full")
        return apply(writes, command)

    monkeypatch.setattr("s3d.metadata.log.apply", full)


async def test_a_state_that_takes_no_placement_neither_ends_repair_nor_stops_sweeping(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cluster.put("doomed", b"body")
    await cluster.kill(2)
    stored = await cluster.put("key", bytes(1000))
    await cluster.kill()
    delete = DeleteObjects(new_blob_id(1), cluster.now_us, bucket="bucket", keys=(DeletedKey(b"doomed"),))
    await cluster.log.append([delete])
    with monkeypatch.context() as patch:
        refuse(Relocate, patch)
        await cluster.repairer.round()
    counters = cluster.repairer.counters
    assert (counters.failed_blobs, counters.mended_blobs, counters.swept_shards) == (1, 0, 5)
    monkeypatch.setattr(cluster.repairer, "_scan", _Scan())
    await cluster.repairer.round()
    assert cluster.degraded() == 0 and {node for node, _ in cluster.row(stored).shards} == {1, 2, 3, 4, 5}


async def test_a_state_that_cannot_be_read_ends_nothing(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(State, "view", lambda state: (_ for _ in ()).throw(StateFullError("unreadable")))
        await cluster.repairer.round()
    await cluster.repairer.round()
    assert cluster.repairer.leads


async def test_complaints_that_could_not_be_filed_are_filed_later(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = await cluster.put("key", bytes(300_000))
    await cluster.kill(*(node for node, _ in stored.row.shards[3:]))  # so that nothing of it can be mended
    for shard in (3, 4):
        cluster.suspects.add(stored.blob, shard)
    with monkeypatch.context() as patch:
        refuse(MarkDegraded, patch)
        await cluster.repairer.round()
    assert cluster.degraded() == 0 and cluster.repairer.counters.suspect_shards == 0
    await cluster.repairer.round()
    assert cluster.repairer.counters.suspect_shards == 2
    with cluster.state.view() as view:
        assert [row.suspects for _, _, row in view.degraded()] == [(3, 4)]
    assert cluster.suspects.take() == {}


@pytest.mark.parametrize("table", [tables.BLOBS, tables.DEGRADED])
async def test_a_damaged_row_is_passed_over(cluster: Cluster, table: tables.Table) -> None:
    await cluster.kill(2)
    bad, good = await cluster.put("bad", b"bad"), await cluster.put("good", b"good")
    other = await cluster.put("other", b"other")
    await cluster.kill()
    cluster.suspects.add(bad.blob, 0)
    cluster.suspects.add(other.blob, 1)
    filed = keys.degraded_key(cluster.row(bad).filed - 1, bad.blob)
    cluster.damage(table, bad.blob if table == tables.BLOBS else filed)
    await cluster.repairer.round()
    assert cluster.degraded() == 1
    for stored in (good, other):
        assert {node for node, _ in cluster.row(stored).shards} == {1, 2, 3, 4, 5}


async def test_a_damaged_condemned_row_keeps_no_other_from_being_swept(cluster: Cluster) -> None:
    for key in ("first", "second"):
        await cluster.put(key, b"body")
        doomed = (DeletedKey(key.encode()),)
        await cluster.log.append(
            [DeleteObjects(new_blob_id(1), cluster.now_us, bucket="bucket", keys=doomed)]
        )
    with cluster.state.view() as view:
        (first, _), _ = view.condemned(cluster.now_us + 10)
    cluster.damage(tables.CONDEMNED, first)
    cluster.now_us += 10
    await cluster.repairer.round()
    assert cluster.shards() == 5


async def test_what_waits_for_its_pace_holds_no_room_of_the_uploads(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cluster.kill(2)
    await cluster.put("key", bytes(1000))
    await cluster.kill()
    used: list[int] = []

    def due_s(pace: Pace, size: int) -> float:
        used.append(cluster.store.blobs.resources.uploads.used)
        return 0.0

    monkeypatch.setattr(Pace, "due_s", due_s)
    await cluster.repairer.round()
    assert used == [0] and cluster.degraded() == 0
