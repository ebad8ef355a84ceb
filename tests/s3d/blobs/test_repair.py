"""Proves that degraded blobs become whole again and condemned shards go, over the real state and log."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from s3d.blobs.pace import Pace
from s3d.blobs.repair import SWEEP_RETRY_US, Repairer, _Scan
from s3d.blobs.suspects import Suspects
from s3d.blobs.writer import StoredBlob
from s3d.metadata import keys, tables
from s3d.metadata.commands import (
    Command,
    CreateBucket,
    DeletedKey,
    DeleteObjects,
    MarkDegraded,
    PutObject,
    Relocate,
)
from s3d.metadata.log import LocalLog
from s3d.metadata.machine import apply
from s3d.metadata.outcomes import Outcome
from s3d.metadata.rows import Attributes, BlobRow
from s3d.metadata.state import State, StateFullError
from shardd.contract.blobs import NodeId, new_blob_id
from shardd.contract.cluster import MIB, GatewayConfig
from tests.s3d.blobs.conftest import Store, ring, store

GRACE_US = 1_000_000


@dataclass(slots=True)
class Cluster:
    """A store, its metadata and its repairer; time stands still unless a test moves it."""

    store: Store
    state: State
    log: LocalLog
    suspects: Suspects
    repairer: Repairer
    now_us: int = 1_700_000_000_000_000

    async def put(self, key: str, body: bytes) -> StoredBlob:
        stored = await self.store.put(body, key=key.encode())
        put = PutObject(
            new_blob_id(1),
            self.now_us,
            bucket="bucket",
            key=key.encode(),
            blob=stored.blob,
            row=stored.row,
            etag="0" * 32,
            attributes=Attributes(),
            degraded=stored.degraded,
            grace_us=GRACE_US,
        )
        outcomes = await self.log.append([put])
        assert not outcomes[0].error
        return stored

    def row(self, stored: StoredBlob) -> BlobRow:
        with self.state.view() as view:
            row = view.blob(stored.blob)
        assert row is not None
        return row

    def degraded(self) -> int:
        with self.state.view() as view:
            return view.degraded_count()

    def shards(self) -> int:
        return sum(len(node.stored) for node in self.store.nodes.values())

    def damage(self, table: tables.Table, key: bytes) -> None:
        """Flip a bit of a row."""
        with self.state.write() as writes:
            raw = bytearray(writes.get(table, key) or b"")
            raw[7] ^= 1
            writes.put(table, key, bytes(raw))

    async def kill(self, *numbers: int) -> None:
        for number, node in self.store.nodes.items():
            node.dead = number in numbers
        await self.store.settle()


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with make(tmp_path, 5) as made:
        yield made


def make(tmp_path: Path, count: int) -> "Making":
    return Making(tmp_path, count)


class Making:
    """`async with` around a cluster."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self._store = store(count)

    async def __aenter__(self) -> Cluster:
        made = await self._store.__aenter__()
        self._state = State.open(self._folder / "metadata", 64 * MIB)
        self._log = LocalLog(self._state)
        suspects = Suspects()
        cluster: Cluster

        def now_us() -> int:
            cluster.now_us += 1
            return cluster.now_us

        repairer = Repairer(
            made.blobs.resources,
            ring(len(made.nodes)),
            states=self._state,
            log=self._log,
            config=GatewayConfig(condemned_grace_s=1.0, repair_mb_per_s=10_000.0),
            lock=self._folder / "repair.lock",
            suspects=suspects,
            now_us=now_us,
        )
        cluster = Cluster(made, self._state, self._log, suspects, repairer)
        await self._log.append([CreateBucket(new_blob_id(1), 1, bucket="bucket", account="0" * 12)])
        return cluster

    async def __aexit__(self, *_: object) -> None:
        await self._log.close()
        self._state.environment.close()
        await self._store.__aexit__(None, None, None)


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


async def test_one_process_leads(cluster: Cluster, tmp_path: Path) -> None:
    await cluster.repairer.round()
    async with store(5) as other:
        second = Repairer(
            other.blobs.resources,
            ring(5),
            states=cluster.state,
            log=cluster.log,
            config=GatewayConfig(),
            lock=tmp_path / "repair.lock",
            suspects=Suspects(),
            now_us=lambda: 1,
        )
        await second.round()
        assert cluster.repairer.counters.leads and not second.counters.leads


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
    assert cluster.repairer.counters.leads


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

    async def take(pace: Pace, size: int) -> None:
        used.append(cluster.store.blobs.resources.uploads.used)

    monkeypatch.setattr(Pace, "take", take)
    await cluster.repairer.round()
    assert used == [0] and cluster.degraded() == 0


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
