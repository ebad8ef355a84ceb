"""When snapshots are made, by which process, and that work beside the loop lets go of what it holds in time."""

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from s3d.blobs.lease import Lease
from s3d.blobs.snapshots import JOB, SOONEST_S, SnapshotKeeper, aside
from s3d.metadata import snapshot_files, tables
from s3d.metadata.commands import StopJob
from s3d.metadata.log import LocalLog
from s3d.metadata.rows import RowChecksumError, RowError
from shardd.contract.cluster import MetadataConfig
from tests.s3d.blobs.cluster import Cluster, make

INTERVAL_S = 60.0
CONFIG = MetadataConfig(snapshot_interval_s=INTERVAL_S, snapshots_keep=2)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with make(tmp_path / "cluster", 5) as made:
        yield made


def keeper(
    cluster: Cluster,
    folder: Path,
    holder: int,
    damaged: Callable[[RowError], None] = print,
    *,
    booted_us: int = 0,
    config: MetadataConfig = CONFIG,
    log: LocalLog | None = None,
):
    return SnapshotKeeper(
        [folder],
        states=cluster.state,
        config=config,
        lease=cluster.lease(JOB, bytes(15) + bytes((holder,))),
        log=log or cluster.log,
        booted_us=booted_us,
        damaged=damaged,
        now_us=lambda: cluster.now_us,
    )


async def test_one_is_made_each_interval_by_one_process(cluster: Cluster, tmp_path: Path):
    folder = tmp_path / "snapshots"
    one, other = (keeper(cluster, folder, holder) for holder in (1, 2))
    for expected in (1, 2, 2):
        for _ in range(2):
            await asyncio.gather(one.round(), other.round())
        assert len(snapshot_files.stored([folder])) == expected
        cluster.now_us += int(INTERVAL_S * 1e6)
    assert one.made + other.made == 3


async def test_who_had_to_wait_for_the_lease_looks_again(cluster: Cluster, tmp_path: Path, monkeypatch):
    folder = tmp_path / "snapshots"
    one, other = (keeper(cluster, folder, holder) for holder in (1, 2))
    hold = Lease.hold

    async def hold_after_the_other(lease: Lease) -> bool:
        monkeypatch.setattr(Lease, "hold", hold)
        await other.round()
        return await lease.hold()

    monkeypatch.setattr(Lease, "hold", hold_after_the_other)
    await one.round()
    assert (one.made, other.made) == (0, 1)


async def test_after_a_start_of_the_machine_one_is_made_at_once(cluster: Cluster, tmp_path: Path):
    folder = tmp_path / "snapshots"
    await keeper(cluster, folder, 1).round()
    booted_us = cluster.now_us + 1
    cluster.now_us += 2
    for _ in range(2):
        await keeper(cluster, folder, 1, booted_us=booted_us).round()
        assert len(snapshot_files.stored([folder])) == 2


async def test_a_clock_that_steps_back_costs_one_snapshot_and_hides_none(cluster: Cluster, tmp_path: Path):
    folder = tmp_path / "snapshots"
    one = keeper(cluster, folder, 1)
    for now_us, expected in (
        (10**15, 1),
        (2 * 10**15, 2),
        (10**15, 3),
        (10**15 + 10**7, 3),
        (10**15 + 10**8, 4),
    ):
        cluster.now_us = now_us
        await one.round()
        assert one.made == expected
    newest, *_ = found = snapshot_files.stored([folder])
    with cluster.state.view() as view:
        assert view.applied().index - snapshot_files.index(newest) == 1  # the lease is given up behind it
    assert [snapshot_files.made_us(path) for path in found] == [10**15 + 10**8, 10**15]
    assert snapshot_files.newest_us([folder]) == 10**15 + 10**8


async def test_a_long_journal_makes_the_next_one_due_sooner(cluster: Cluster, tmp_path: Path):
    folder = tmp_path / "snapshots"
    config = MetadataConfig(snapshot_journal_bytes=10_000)
    one = keeper(cluster, folder, 1, config=config)
    await one.round()
    for expected in (2, 3):
        cluster.now_us += int(SOONEST_S * 1e6)
        await one.round()
        assert one.made == expected - 1  # what was there before the last one does not count
        for number in range(100):
            await cluster.put(f"{expected}-{number}", b"")
        await one.round()
        assert one.made == expected
        await one.round()
        assert one.made == expected


async def test_a_gap_in_the_journal_makes_the_next_one_due(cluster: Cluster, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("s3d.metadata.journal.COMMANDS_PER_FILE", 1)  # each into a file of its own
    one = keeper(cluster, tmp_path / "snapshots", 1, config=MetadataConfig())
    await one.round()
    journal = cluster.state.path / "journal"
    away = journal.rename(journal.with_name("away"))
    journal.touch()
    await cluster.put("it does without", b"")
    journal.unlink()
    away.rename(journal)
    for expected in (1, 2, 2):  # not at once, and not twice
        await one.round()
        assert one.made == expected
        cluster.now_us += int(SOONEST_S * 1e6)


async def test_a_journal_that_does_not_reach_back_to_the_snapshot_makes_the_next_one_due(
    cluster: Cluster, tmp_path: Path
):
    """A restore that could keep no snapshot leaves that, or who takes the journal away."""
    folder = tmp_path / "snapshots"
    await keeper(cluster, folder, 1, config=MetadataConfig()).round()
    await cluster.put("unkept", b"")
    shutil.rmtree(cluster.state.path / "journal")
    log = LocalLog(cluster.state)
    await log.append([StopJob(bytes(16), 1, job="any", stopped=True)])
    cluster.now_us += int(SOONEST_S * 1e6)
    for expected in (1, 1):
        one = keeper(cluster, folder, 1, config=MetadataConfig(), log=log)
        await one.round()
        assert len(snapshot_files.stored([folder])) == 1 + expected
    await log.close()


async def test_damage_that_a_snapshot_meets_is_told(cluster: Cluster, tmp_path: Path):
    told: list[RowError] = []
    met = asyncio.Event()

    def damaged(error: RowError) -> None:
        told.append(error)
        met.set()

    with cluster.state.write() as writes:
        writes.put(tables.BLOBS, bytes(16), bytes((1, *bytes(40))))
    running = asyncio.create_task(keeper(cluster, tmp_path / "snapshots", 1, damaged).run())
    async with asyncio.timeout(10):
        await met.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert isinstance(told[0], RowChecksumError)
    assert snapshot_files.stored([tmp_path / "snapshots"]) == []


async def test_work_that_is_cancelled_has_let_go_when_it_is_over():
    begun, ended = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def work(rest: Callable[[], None]) -> None:
        try:
            loop.call_soon_threadsafe(begun.set)
            while True:
                rest()
        finally:
            ended.set()

    task = asyncio.create_task(aside(work))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
