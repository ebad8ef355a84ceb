"""When a pass over all blobs is due after the members changed, and what it moves, over the real state and log."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
from msgspec.structs import replace

from s3d.blobs import rebalance
from s3d.blobs.membership import Connection, Member, Membership
from s3d.blobs.rebalance import AGAIN_ROW_US, AGAIN_US, DRAINED_AGAIN_US, JOB, LATE_AGAIN_US, Rebalancer
from s3d.blobs.writer import StoredBlob
from s3d.metadata import tables
from s3d.metadata.commands import ImportNodes, NodeAddress, SetNodeState, StopJob
from s3d.metadata.rows import ACTIVE, DRAINING, JobRow
from s3d.placement.ring import Ring
from shardd.contract.blobs import NodeId, new_blob_id
from shardd.contract.cluster import GatewayConfig
from shardd.contract.errors import UnreachableError
from tests.s3d.blobs.cluster import GRACE_US, Cluster, make, outrun, unhurried

NOW_US = 1_000_000_000
DAY_US = 86_400_000_000


def member(node: int, *, state: str = ACTIVE, joined_us: int = 0) -> Member:
    return Member(NodeId(node), "host", 9_000 + node, 8_000 + node, "", state, joined_us)


FIRST = tuple(map(member, range(1, 6)))
JOINED = (*FIRST, member(6, joined_us=5))
DRAINED = (*FIRST, member(6, state=DRAINING, joined_us=5))


def due(
    job: JobRow | None, members: tuple[Member, ...], now_us: int, *, period_us: int = DAY_US
) -> JobRow | None:
    return rebalance.due(job, members, now_us, period_us=period_us)


def begun(members: tuple[Member, ...]) -> JobRow:
    job = due(None, members, NOW_US)
    assert job is not None
    return job


def test_members_that_never_changed_need_no_pass() -> None:
    assert due(None, FIRST, NOW_US) is None
    assert due(None, JOINED, NOW_US) == begun(JOINED)


def test_what_waits_for_a_node_is_looked_for_more_rarely_the_more_blobs_there_are() -> None:
    left = replace(begun(JOINED), total=10_000_000)
    for job, members in (
        (left, JOINED),
        (replace(left, subject=begun(DRAINED).subject, finished=True), DRAINED),
    ):
        assert due(job, members, NOW_US + AGAIN_ROW_US * job.total - 1) is None
        assert due(job, members, NOW_US + AGAIN_ROW_US * job.total) is not None


def test_each_change_is_a_new_pass_from_the_first_blob_on() -> None:
    job = replace(begun(JOINED), cursor=b"c", done=7)
    assert due(job, JOINED, NOW_US + 1) == job, "it is gone on with where it was"
    for members in (DRAINED, FIRST, (*JOINED, member(7, joined_us=9))):
        fresh = due(job, members, NOW_US + 1)
        assert fresh is not None and (fresh.cursor, fresh.done) == (b"", 0)
        assert due(replace(job, finished=True), members, NOW_US + 1) == fresh


def test_a_pass_that_left_nothing_was_the_last_and_one_that_did_is_followed_by_another() -> None:
    job = begun(JOINED)
    assert due(replace(job, finished=True), JOINED, NOW_US + LATE_AGAIN_US - 1) is None
    assert due(job, JOINED, NOW_US + AGAIN_US - 1) is None
    assert due(job, JOINED, NOW_US + AGAIN_US) == job
    assert due(job, JOINED, NOW_US - 1) == job, "the clock was ahead"


def test_while_a_node_is_drained_late_uploads_are_looked_for() -> None:
    job = replace(begun(DRAINED), finished=True)
    assert due(job, DRAINED, NOW_US + DRAINED_AGAIN_US - 1) is None
    assert due(job, DRAINED, NOW_US + DRAINED_AGAIN_US) is not None
    assert due(job, DRAINED, NOW_US - 1) is not None


def test_uploads_that_a_node_took_before_it_left_are_looked_for_once_more() -> None:
    late = due(replace(begun(JOINED), finished=True), JOINED, NOW_US + LATE_AGAIN_US)
    assert late is not None and not late.finished
    later_us = NOW_US + LATE_AGAIN_US + AGAIN_US
    assert due(replace(late, cursor=b"c"), JOINED, later_us) == replace(late, cursor=b"c"), (
        "it is gone on with"
    )
    ended = replace(late, finished=True)
    assert due(ended, JOINED, later_us + LATE_AGAIN_US, period_us=DAY_US) is None, "once is enough"
    assert due(ended, FIRST, later_us) not in (None, late), "the next change is met"


def test_what_a_gateway_commits_that_was_stopped_for_longer_is_met_within_the_period() -> None:
    late = due(replace(begun(JOINED), finished=True), JOINED, NOW_US + LATE_AGAIN_US)
    assert late is not None
    ended = replace(late, finished=True)
    again = due(ended, JOINED, late.updated_us + DAY_US, period_us=DAY_US)
    assert again == replace(late, started_us=late.updated_us + DAY_US, updated_us=late.updated_us + DAY_US)
    assert due(ended, JOINED, late.updated_us + DAY_US - 1, period_us=DAY_US) is None


def test_what_an_operator_stopped_is_not_done_whatever_changes() -> None:
    job = replace(begun(JOINED), cursor=b"c", stopped=True)
    assert due(job, JOINED, NOW_US + AGAIN_US) is None
    assert due(job, DRAINED, NOW_US + AGAIN_US) is None
    assert due(replace(job, stopped=False), JOINED, NOW_US) is not None


@dataclass(slots=True)
class Moving:
    """Six nodes, the rows of whom say that the second is drained, and the rebalancer of one gateway."""

    cluster: Cluster
    rebalancer: Rebalancer
    membership: Membership
    stored: list[StoredBlob]

    def on(self, node: int) -> int:
        rows = [self.cluster.row(stored) for stored in self.stored]
        return sum(place == node for row in rows for place, _ in row.shards)

    def job(self) -> JobRow | None:
        with self.cluster.state.view() as view:
            return view.job(JOB)

    def later(self, passed_us: int = DRAINED_AGAIN_US) -> None:
        self.cluster.now_us += passed_us

    async def remove(self, node: int) -> None:
        """Take a node out; this gateway follows."""
        gone = SetNodeState(new_blob_id(2), self.cluster.now_us, node=node, state="removed", active_min=5)
        outcomes = await self.cluster.log.append([gone])
        assert not outcomes[0].error
        await self.membership.follow()


@pytest.fixture
async def moving(tmp_path: Path) -> AsyncIterator[Moving]:
    async with make(tmp_path, 6) as cluster:
        stored = [await cluster.put(f"key-{number}", b"x" * 1_000) for number in range(12)]
        addresses = tuple(NodeAddress(node, "host", 9_000 + node, 8_000 + node) for node in range(1, 7))
        stamp = (new_blob_id(2), cluster.now_us)
        drain = SetNodeState(*stamp, node=2, state="draining", active_min=5)
        await cluster.log.append([ImportNodes(new_blob_id(2), 1, nodes=addresses), drain])
        membership = Membership(
            cluster.store.fleet,
            Ring(()),
            states=cluster.state,
            connect=lambda config: cast(Connection, cluster.store.nodes[config.id]),
        )
        await membership.follow()
        await cluster.store.settle()
        rebalancer = Rebalancer(
            cluster.store.blobs.resources,
            membership,
            states=cluster.state,
            log=cluster.log,
            config=GatewayConfig(condemned_grace_s=GRACE_US / 1e6),
            pace=unhurried(cluster.store),
            lease=cluster.lease(JOB, bytes(16)),
            now_us=lambda: cluster.now_us,
        )
        yield Moving(cluster, rebalancer, membership, stored)


async def test_a_drained_node_is_emptied_and_every_blob_is_read_before_and_after(moving: Moving) -> None:
    had = moving.on(2)
    assert had > 5
    held = len(moving.cluster.store.nodes[NodeId(2)].stored)
    await moving.rebalancer.round()
    job = moving.job()
    assert moving.on(2) == 0 and job is not None and (job.finished, job.found, job.done) == (True, had, 12)
    assert len(moving.cluster.store.nodes[NodeId(2)].stored) == held, "readers that began before find it"
    with moving.cluster.state.view() as view:
        condemned = [row for _, row in view.condemned(moving.cluster.now_us + GRACE_US)]
    assert sorted(place[0] for row in condemned for place in row.places) == [2] * had
    for stored in moving.stored:
        row = moving.cluster.row(stored)
        assert len({node for node, _ in row.shards}) == 5
        for shard, (node, generation) in enumerate(row.shards):
            extents = moving.cluster.store.nodes[NodeId(node)].stored[stored.blob, shard]
            assert extents[0][0].generation == generation


async def test_what_cannot_move_now_is_moved_by_a_later_pass(moving: Moving) -> None:
    await moving.cluster.kill(6)
    await moving.rebalancer.round()
    left, job = moving.on(2), moving.job()
    assert left and job is not None and not job.finished
    await moving.cluster.kill()
    moving.later()
    await moving.rebalancer.round()
    job = moving.job()
    assert not moving.on(2) and job is not None and job.finished


async def test_a_node_that_is_lost_before_any_pass_is_done_without(moving: Moving) -> None:
    assert moving.on(2) and moving.job() is None
    moving.cluster.store.nodes[NodeId(2)].dead = True
    await moving.remove(2)
    await moving.rebalancer.round()
    job = moving.job()
    assert moving.on(2) == 0 and job is not None and job.finished


async def test_a_drain_of_blobs_that_have_more_shards_than_nodes_are_left_ends_and_they_are_degraded(
    moving: Moving,
) -> None:
    """As k+m was greater when they were written."""
    drain = SetNodeState(new_blob_id(2), moving.cluster.now_us, node=6, state="draining", active_min=4)
    await moving.cluster.log.append([drain])
    await moving.membership.follow()
    had = {stored.blob: {node for node, _ in moving.cluster.row(stored).shards} for stored in moving.stored}
    await moving.rebalancer.round()
    job = moving.job()
    assert moving.on(2) == moving.on(6) == 0 and job is not None and job.finished
    assert moving.cluster.degraded() == len(had), "a node that joins is given one shard of each"
    for stored in moving.stored:
        row = moving.cluster.row(stored)
        assert sorted(Counter(node for node, _ in row.shards).values()) == [1, 1, 1, 2]
        assert await moving.cluster.store.read(stored.blob, row) == b"x" * 1_000


async def test_a_drain_that_would_leave_too_few_nodes_for_a_blob_does_not_end(moving: Moving) -> None:
    for node in (4, 5, 6):
        drain = SetNodeState(
            new_blob_id(node), moving.cluster.now_us, node=node, state="draining", active_min=2
        )
        await moving.cluster.log.append([drain])
    await moving.membership.follow()
    await moving.rebalancer.round()
    job = moving.job()
    assert job is not None and not job.finished and not moving.cluster.degraded()


async def test_what_a_gateway_commits_after_its_node_has_left_is_moved(moving: Moving) -> None:
    fleet = moving.cluster.store.fleet
    fleet.retire(())  # a gateway that does not know yet that the node is drained
    late = {f"late-{number}": b"y" * 1_000 for number in range(6)}
    stored = {key: await moving.cluster.store.put(body, key=key.encode()) for key, body in late.items()}
    fleet.retire([NodeId(2)])
    await moving.rebalancer.round()
    await moving.remove(2)
    await moving.rebalancer.round()
    job = moving.job()
    assert job is not None and job.finished and moving.on(2) == 0
    halves = list(stored.items())[:3], list(stored.items())[3:]
    for half, waits_us in zip(halves, (LATE_AGAIN_US, 7 * DAY_US), strict=True):
        for key, one in half:
            await moving.cluster.commit(key, one)
            moving.stored.append(one)
        assert moving.on(2) and not moving.cluster.degraded(), "no other job meets them"
        moving.later(waits_us)
        await moving.rebalancer.round()
        job = moving.job()
        assert moving.on(2) == 0 and job is not None and job.finished
        assert job.done == len(moving.stored)


async def test_nobody_moves_anything_while_it_is_stopped(moving: Moving) -> None:
    had = moving.on(2)
    for stopped, left in ((True, had), (False, 0)):
        stop = StopJob(new_blob_id(3 + stopped), moving.cluster.now_us, job=JOB, stopped=stopped)
        await moving.cluster.log.append([stop])
        moving.later()
        await moving.rebalancer.round()
        assert moving.on(2) == left


async def test_a_damaged_row_is_passed_over(moving: Moving) -> None:
    damaged = moving.stored.pop()
    moving.cluster.damage(tables.BLOBS, damaged.blob)
    await moving.rebalancer.round()
    job = moving.job()
    assert moving.on(2) == 0 and job is not None and job.finished


async def test_a_pass_that_another_process_ends_is_not_the_last_for_what_the_first_one_left(
    moving: Moving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3d.blobs.rebalance.PAGE_ROWS", 6)
    monkeypatch.setattr("s3d.blobs.rebalance.SAVED_EVERY_US", 0)
    first_page = sorted(moving.stored, key=lambda stored: stored.blob)[:6]
    held = next(
        nodes
        for stored in first_page
        if 2 in (nodes := {node for node, _ in moving.cluster.row(stored).shards})
    )
    (free,) = set(range(1, 7)) - held
    save = Rebalancer._save

    async def save_and_die(rebalancer: Rebalancer, job: JobRow) -> None:
        await save(rebalancer, job)
        raise UnreachableError("killed")

    await moving.cluster.kill(free)
    with monkeypatch.context() as patch, pytest.raises(UnreachableError):
        patch.setattr(Rebalancer, "_save", save_and_die)
        await moving.rebalancer.round()
    await moving.cluster.kill()
    await moving.rebalancer.round()
    job = moving.job()
    assert moving.on(2) and job is not None and not job.finished
    moving.later()
    await moving.rebalancer.round()
    job = moving.job()
    assert not moving.on(2) and job is not None and job.finished


async def test_who_had_to_wait_for_the_lease_looks_again(
    moving: Moving, monkeypatch: pytest.MonkeyPatch
) -> None:
    had = moving.on(2)
    outrun(monkeypatch, moving.rebalancer.round)
    await moving.rebalancer.round()
    job = moving.job()
    assert job is not None and job.found == had, "no second pass, which finds nothing to do"


async def test_how_far_it_is_says_nothing_of_the_time_in_which_nobody_did_it(
    moving: Moving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process dies after the first page; what is saved last is what the next one goes on from, and its speed."""
    monkeypatch.setattr("s3d.blobs.rebalance.PAGE_ROWS", 4)
    monkeypatch.setattr("s3d.blobs.rebalance.SAVED_EVERY_US", 0)
    seen: list[JobRow] = []
    save = Rebalancer._save

    async def save_first(rebalancer: Rebalancer, job: JobRow) -> None:
        await save(rebalancer, job)
        seen.append(job)
        if len(seen) == 1:
            raise UnreachableError("killed")

    monkeypatch.setattr(Rebalancer, "_save", save_first)
    with pytest.raises(UnreachableError):
        await moving.rebalancer.round()
    half, moved = moving.job(), moving.rebalancer.counters.moved_shards
    assert half is not None and (half.done, half.total, half.finished) == (4, 12, False)
    moving.cluster.now_us += 3_600_000_000
    await moving.rebalancer.round()
    job = moving.job()
    assert job is not None and moving.on(2) == 0
    assert job.found == moving.rebalancer.counters.moved_shards > moved, "nothing is moved twice"
    assert all(one.done <= one.total for one in seen)
    assert [one.done for one in seen] == [4, 8, 12, 0], (
        "what the first process left is looked for from the start"
    )
    job = seen[-2]
    assert job.started_us > half.started_us and job.updated_us - job.started_us < 60_000_000
