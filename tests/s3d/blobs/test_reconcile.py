"""Proves that a node which lost shards, or kept too many, is set right from its list, over the real state and log."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import pytest

from s3d.blobs.reconcile import DAY_US, Reconciler, due, is_settled
from s3d.metadata import tables
from s3d.metadata.commands import RegisterNode
from s3d.metadata.rows import JobRow, NodeRow
from s3d.metadata.state import State
from shardd.contract.blobs import NodeId, new_blob_id
from shardd.contract.cluster import GatewayConfig
from shardd.contract.messages import PutExtent, Status
from tests.s3d.blobs.cluster import GRACE_US, Cluster, make, outrun

LIFE = b"l" * 16
UPLOAD_LIFE_S = 60.0
PERIOD_US = 7 * DAY_US


@dataclass(slots=True)
class Reconciled:
    """A cluster with the reconciler of one gateway."""

    cluster: Cluster
    reconciler: Reconciler

    def job(self, node: int) -> JobRow | None:
        with self.cluster.state.view() as view:
            return view.job(f"reconcile/{node}")

    async def register(self, *, life: bytes | None = None) -> None:
        """The state is told which life each node is in, as gateways do; or `life` of all."""
        for number, node in self.cluster.store.nodes.items():
            incarnation = node.incarnation if life is None else life
            told = RegisterNode(new_blob_id(1), self.cluster.now_us, node=number, incarnation=incarnation)
            await self.cluster.log.append([told])

    async def wipe(self, number: int) -> None:
        """A node comes back with an empty folder."""
        node = self.cluster.store.nodes[NodeId(number)]
        await self.cluster.kill(number)
        node.stored.clear()
        node.incarnation = bytes(15) + bytes((node.incarnation[15] + 1,))
        await self.cluster.kill()


@pytest.fixture
async def five(tmp_path: Path) -> AsyncIterator[Reconciled]:
    async with make(tmp_path, 5) as cluster:
        reconciler = Reconciler(
            cluster.store.fleet,
            states=cluster.state,
            log=cluster.log,
            lease_for=lambda job: cluster.lease(job, bytes(16)),
            config=GatewayConfig(condemned_grace_s=GRACE_US / 1e6, upload_life_s=UPLOAD_LIFE_S),
            now_us=lambda: cluster.now_us,
        )
        made = Reconciled(cluster, reconciler)
        await made.register()
        yield made


def status(*, life: bytes = LIFE, losses: int = 0) -> Status:
    return Status("ok", 1, life, "v", 0, 0, 0, 7, 0, 0, 0, losses=losses)


def test_a_pass_is_due_for_a_new_life_for_damage_and_weekly() -> None:
    owed = partial(due, period_us=PERIOD_US)
    first = owed(None, status(losses=2), 10)
    assert first is not None and (first.cursor, first.total, first.started_us) == (b"", 7, 10)
    half = JobRow(first.subject, 10, 20, b"here")
    assert owed(half, status(losses=2), 30) == half, "it is gone on with"
    whole = JobRow(first.subject, 10, 20, b"end", finished=True)
    assert owed(whole, status(losses=2), 30) is None
    assert owed(whole, status(losses=3), 30) is not None
    assert owed(whole, status(losses=1), 30) is not None, "the index was made anew"
    assert owed(half, status(losses=3), 30) == half, "first to its end"
    assert owed(whole, status(life=b"m" * 16, losses=2), 30) is not None
    assert owed(half, status(life=b"m" * 16), 30) == owed(None, status(life=b"m" * 16), 30)
    assert owed(whole, status(losses=2), 10 + PERIOD_US) is not None
    assert owed(whole, status(losses=2), 9) is not None, "the clock was ahead"


async def test_a_wiped_node_is_filled_again_without_any_read(five: Reconciled) -> None:
    cluster = five.cluster
    stored = [await cluster.put(f"key-{number}", bytes(2_000 * number)) for number in range(8)]
    await five.reconciler.round()
    assert cluster.degraded() == 0
    await five.wipe(3)
    await five.reconciler.round()
    assert cluster.degraded() == 8 and five.reconciler.counters.missing_shards == 8
    await cluster.repairer.round()
    assert cluster.degraded() == 0
    assert {blob for blob, _ in cluster.store.nodes[NodeId(3)].stored} == {one.blob for one in stored}
    await five.reconciler.round()
    assert cluster.degraded() == 0, "one life, one pass"


async def test_a_node_that_needs_nothing_costs_no_look_at_the_state(
    five: Reconciled, monkeypatch: pytest.MonkeyPatch
) -> None:
    views, view = [], State.view

    def counted(state: State) -> object:
        views.append(1)
        return view(state)

    await five.reconciler.round()  # the passes
    await five.reconciler.round()  # sees that they are over
    monkeypatch.setattr(State, "view", counted)
    await five.reconciler.round()
    assert not views
    await five.wipe(3)
    await five.reconciler.round()
    assert views and five.reconciler.counters.passes == 6
    five.cluster.now_us += PERIOD_US
    await five.reconciler.round()
    assert five.reconciler.counters.passes == 11


async def test_pages_that_end_anywhere_miss_nothing(
    five: Reconciled, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = five.cluster
    monkeypatch.setattr("s3d.blobs.reconcile.PAGE_ROWS", 3)
    monkeypatch.setattr("s3d.blobs.reconcile.COMMANDS_MAX", 2)
    await cluster.kill(1, 2)  # so that shards double up
    stored = [await cluster.put(f"key-{number}", bytes(10)) for number in range(11)]
    await cluster.kill()
    lost = set()
    for one in stored[::2]:
        node, _ = one.row.shards[2]
        del cluster.store.nodes[NodeId(node)].stored[one.blob, 2]
        lost.add((one.blob, 2))
    await five.reconciler.round()
    with cluster.state.view() as view:
        found = {(blob, shard) for _, blob, row in view.degraded() for shard in row.suspects}
    assert found == lost


async def test_a_pass_goes_on_where_another_process_stopped(
    five: Reconciled, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = five.cluster
    monkeypatch.setattr("s3d.blobs.reconcile.PAGE_ROWS", 2)
    monkeypatch.setattr("s3d.blobs.reconcile.SAVE_PAGES", 1)
    for number in range(6):
        await cluster.put(f"key-{number}", bytes(10))
    taken = cluster.lease("reconcile/3", b"other" * 3 + b".")
    assert await taken.hold()
    await five.reconciler.round()
    assert five.job(3) is None and five.job(2) is not None
    await taken.give_up()
    await five.wipe(3)
    node = cluster.store.nodes[NodeId(3)]
    listed = node.lists
    node.lists_max = listed + 2
    await five.reconciler.round()
    half = five.job(3)
    assert half is not None and not half.finished and half.found == 4
    node.lists_max = None
    await cluster.store.settle()
    await five.reconciler.round()
    whole = five.job(3)
    assert whole is not None and whole.finished and whole.found == 6
    assert node.lists - listed == 4, "no page twice"


async def test_who_had_to_wait_for_the_lease_looks_again(
    five: Reconciled, monkeypatch: pytest.MonkeyPatch
) -> None:
    outrun(monkeypatch, five.reconciler.round)
    await five.reconciler.round()
    assert five.reconciler.counters.passes == 5, "one of each node"


async def test_what_a_killed_gateway_left_is_condemned_once_its_upload_cannot_be_under_way(
    five: Reconciled,
) -> None:
    cluster = five.cluster
    orphan = new_blob_id(cluster.now_us // 1_000)
    for number in (1, 4):
        message = PutExtent(orphan, number, 0, 1, 0, b"", True, b"identity")
        await cluster.store.nodes[NodeId(number)].put(message, [], deadline_s=1)
    named = await cluster.put("key", bytes(10))
    await five.reconciler.round()
    await cluster.repairer.round()
    assert cluster.shards() == 7
    cluster.now_us += PERIOD_US + int(UPLOAD_LIFE_S * 1e6)
    await five.reconciler.round()
    assert five.reconciler.counters.unnamed_shards == 2
    cluster.now_us += GRACE_US
    await cluster.repairer.round()
    assert cluster.shards() == 5
    assert await cluster.store.read(named.blob, cluster.row(named)) == bytes(10)


async def test_a_state_that_just_met_a_node_gives_up_nothing_that_it_has(five: Reconciled) -> None:
    """It was lost, or restored from an old snapshot: what its rows do not name may be all that somebody has."""
    cluster = five.cluster
    kept = await cluster.put("key", bytes(10))
    with cluster.state.write() as writes:
        writes.delete(tables.BLOBS, kept.blob)
    cluster.now_us += PERIOD_US
    await five.register(life=b"")  # as a restore does
    await five.reconciler.round()
    assert (five.reconciler.counters.passes, five.reconciler.counters.unnamed_shards) == (5, 0)
    await five.register()
    cluster.now_us += PERIOD_US
    await five.reconciler.round()
    assert (five.reconciler.counters.passes, five.reconciler.counters.unnamed_shards) == (10, 5)


def test_a_state_knows_a_life_once_an_upload_could_have_ended_in_it() -> None:
    known = partial(is_settled, upload_life_us=100)
    row = NodeRow(1, LIFE, since_us=1_000)
    assert known(row, status(), 1_100)
    assert not known(row, status(), 1_099)
    assert not known(row, status(life=b"m" * 16), 9_999)
    assert not known(None, status(), 9_999)


async def test_a_damaged_row_keeps_the_shards_of_its_blob_and_stops_nothing_else(five: Reconciled) -> None:
    cluster = five.cluster
    stored = [await cluster.put(f"key-{number}", bytes(10)) for number in range(4)]
    cluster.damage(tables.BLOBS, min(one.blob for one in stored))
    cluster.now_us += PERIOD_US + int(UPLOAD_LIFE_S * 1e6)  # what no row names is old enough to go
    await five.wipe(3)
    await five.reconciler.round()
    assert five.reconciler.counters.passes == 5
    assert five.reconciler.counters.missing_shards == 3
    assert five.reconciler.counters.unnamed_shards == 0
    assert cluster.shards() == 4 * 4


async def test_what_a_move_is_putting_is_not_taken_for_left_over(five: Reconciled) -> None:
    """While somebody moves shards it stays, though no row names it yet; once nobody does, it is left over."""
    cluster = five.cluster
    stored = await cluster.put("key", bytes(10))
    (home, generation), (target, _) = stored.row.shards[:2]
    message, data = cluster.store.nodes[NodeId(home)].stored[stored.blob, 0][0]
    copy = msgspec.structs.replace(message, generation=generation + 1)
    await cluster.store.nodes[NodeId(target)].put(copy, [data], deadline_s=1)
    cluster.now_us += PERIOD_US + int(UPLOAD_LIFE_S * 1e6)
    moving = cluster.lease("rebalance", bytes(16))
    assert await moving.hold()
    await five.reconciler.round()
    assert (five.reconciler.counters.passes, five.reconciler.counters.unnamed_shards) == (5, 0)
    await moving.give_up()
    cluster.now_us += PERIOD_US
    await five.reconciler.round()
    assert (five.reconciler.counters.passes, five.reconciler.counters.unnamed_shards) == (10, 1)
    assert cluster.row(stored).shards == stored.row.shards and cluster.degraded() == 0
