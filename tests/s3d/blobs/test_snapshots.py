"""When snapshots are made, by which process, and that work beside the loop lets go of what it holds in time."""

import asyncio
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from s3d.blobs.lease import Lease
from s3d.blobs.snapshots import JOB, SOONEST_S, SnapshotKeeper, aside
from s3d.metadata import snapshot_files, tables
from s3d.metadata.commands import StopJob
from s3d.metadata.disks import PATIENCE_S, Disks
from s3d.metadata.log import LocalLog
from s3d.metadata.rows import RowChecksumError, RowError
from shardd.contract.cluster import MetadataConfig
from shardd.contract.folders import sync_folder
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
    others: Sequence[Path] = (),
):
    return SnapshotKeeper(
        [folder, *others],
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


def steps_in(folder: Path) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if str(folder) in thread.name]


def impatient(sound: Sequence[Path]) -> Disks:
    """Its time passes, a deadline at each look, once no step is under way in the folders that are `sound`."""
    now_s = 0.0

    def clock() -> float:
        nonlocal now_s
        if not any(map(steps_in, sound)):
            now_s += PATIENCE_S
        return now_s

    return Disks(clock)


@contextmanager
def hanging(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The disk of `folder` does not come back from a sync, until this is over."""
    over = threading.Event()

    def sync(path: Path) -> None:
        if path == folder:
            over.wait()
        sync_folder(path)

    monkeypatch.setattr("s3d.metadata.snapshot_files.sync_folder", sync)
    try:
        yield
    finally:
        over.set()
        for step in steps_in(folder):
            step.join()


async def test_a_disk_that_hangs_holds_up_no_snapshot_of_the_others_and_no_trimming(
    cluster: Cluster, tmp_path: Path, monkeypatch
):
    hung, *sound = folders = [tmp_path / name for name in ("hung", "one", "two")]
    made = keeper(cluster, hung, 1, others=sound)
    await made.round()
    trimmed: list[int] = []

    async def trim(index: int) -> None:
        trimmed.append(index)

    monkeypatch.setattr(cluster.log, "trim", trim)
    made._disks = impatient(sound)
    with hanging(hung, monkeypatch):
        for expected in (2, 3):
            cluster.now_us += int(INTERVAL_S * 1e6)
            await made.round()
            assert (made.made, len(trimmed)) == (expected, expected - 1)
            assert len(steps_in(hung)) == 1, "what hangs does not pile up"
            assert {path.parent for path in snapshot_files.stored(sound)[:2]} == set(sound)
    cluster.now_us += int(INTERVAL_S * 1e6)
    await made.round()
    newest, *_ = snapshot_files.stored(folders)
    assert (hung / newest.name).exists(), "it is as good as the others again"
    assert not list(hung.glob(f"*{snapshot_files.UNFINISHED}"))


async def test_a_disk_that_hangs_holds_up_no_end(cluster: Cluster, tmp_path: Path, monkeypatch):
    folder = tmp_path / "snapshots"
    made = keeper(cluster, folder, 1)
    made._disks = Disks(lambda: 0.0)  # no deadline ends
    with hanging(folder, monkeypatch):
        running = asyncio.create_task(made.run())
        async with asyncio.timeout(60):
            while not list(folder.glob(f"*{snapshot_files.SUFFIX}")):
                await asyncio.sleep(0.005)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        [step] = steps_in(folder)
        assert step.daemon, "else the interpreter would wait for it"


async def test_what_hangs_from_the_beginning_leaves_nothing_once_it_goes_on(cluster: Cluster, tmp_path: Path):
    """To open a pipe that nobody reads hangs."""
    hung, sound = folders = [tmp_path / name for name in ("hung", "sound")]
    hung.mkdir()
    disks = impatient([sound])
    with cluster.state.view() as view:
        pipe = hung / f"{5:016d}-{view.applied().index}{snapshot_files.SUFFIX}{snapshot_files.UNFINISHED}"
        os.mkfifo(pipe)
        save = partial(snapshot_files.save, view, folders, now_us=5, rest=lambda: None, disks=disks)
        [made] = save()
        assert made.parent == sound and disks.free(folders) == [sound]
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        for step in steps_in(hung):
            step.join()
        os.close(reader)
        assert not list(hung.iterdir())
        assert len(save()) == 2
