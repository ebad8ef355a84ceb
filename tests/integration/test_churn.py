"""Overwrites and deletes without end (T-R6): little is on the disk beyond what lives, memory and files stay flat."""

import random
import resource
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import pytest

from s3d.drill.load import Mix
from s3d.drill.model import Bodies, Model
from s3d.metadata.fields import OUTCOMES_WINDOW
from shardd.contract.blobs import shard_length
from tests.integration.client import Client, credentials_of
from tests.integration.cluster import Cluster, wait_until
from tests.integration.load import Load, faults_of_store
from tests.integration.shards import rows_of
from tests.integration.tally import Tally, seed

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(0)]

BUCKET, WARMING = "churn", "warming"
SEGMENT_BYTES = 4 << 20
SETTINGS = f"""
[storage]
segment_bytes = {SEGMENT_BYTES}
[gateway]
condemned_grace_s = 1.0
repair_interval_s = 0.2
"""
SECONDS = 20
CLIENTS = 4
WARMERS, TINY = 16, Mix({"PUT": 1}, size_bits=(-1.0, 4.0))
WRITTEN_BYTES_MIN = 120_000_000  # several times what lives at the end, however slow the machine
DATA, SHARDS = 3, 5
BLOCK = 4_096
AMPLIFICATION_MAX = 1.5
GROWTH_MAX = 1.05
GROWTH_BYTES_CI = 48 << 20  # of a process, where a run is too short to tell a drift from a warming up
LONG_S = 600
WARM_S_MAX = 3_600.0
FILES_MORE_MAX = 32  # of a process: connections that a moment needs
AT_REST_S_MAX = 300.0
MakeTally = Callable[..., Tally]


@dataclass(slots=True)
class Processes:
    """What memory (bytes) and how many files each process had at each look, in both halves of a drill."""

    pids: list[int]
    halves: tuple[dict[int, list[tuple[int, int]]], dict[int, list[tuple[int, int]]]] = field(
        default_factory=lambda: (defaultdict(list), defaultdict(list))
    )

    def look(self, half: int) -> None:
        """Note how they are now."""
        for pid in self.pids:
            self.halves[half][pid].append((_resident_bytes(pid), len([*Path(f"/proc/{pid}/fd").iterdir()])))

    def judge(self, *, allowed_bytes: int) -> None:
        """Neither memory nor files of any process grew from the first half to the second.

        Of memory the middle of what was seen: drift moves that, and one look at a moment with many requests does not.
        """
        for pid in self.pids:
            (before, files), (after, more_files) = (
                (median(memory for memory, _ in half[pid]), max(files for _, files in half[pid]))
                for half in self.halves
            )
            most = max(memory for half in self.halves for memory, _ in half[pid])
            print(
                f"T-R6: process {pid}: {before:,.0f} bytes, then {after:,.0f} ({after / before - 1:+.1%}), "
                f"at most {most:,}; {files} files, then {more_files}"
            )
            assert more_files <= files + FILES_MORE_MAX, (pid, files, more_files)
            assert after <= before * GROWTH_MAX + allowed_bytes, (pid, before, after)


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def test_what_is_overwritten_and_deleted_gives_its_room_back(tmp_path: Path, tally: MakeTally) -> None:
    seconds, chance, ledger = (
        tally("T-R6", variable="QUOIN_TR6_S", default=SECONDS),
        random.Random(seed()),
        Model(Bodies(29)),
    )
    with Cluster.create(tmp_path, together=True, settings=SETTINGS) as store:
        store.start_all()
        keys = credentials_of(store)
        with Client(store.endpoint(), keys) as client:
            assert client.request("PUT", f"/{BUCKET}").status == 200
        load = Load(store, ledger, bucket=BUCKET, clients=CLIENTS, seed=chance.randrange(2**16))
        if seconds.asked >= LONG_S:
            _warm(store, seed=chance.randrange(2**16))
        processes = Processes(store.pids())
        with load:
            start_s = time.monotonic()
            while (past_s := time.monotonic() - start_s) < seconds.asked or _written(
                store
            ) < WRITTEN_BYTES_MIN:
                processes.look(int(past_s >= seconds.asked / 2))
                time.sleep(0.5)
            processes.look(1)  # a machine that stands still may come to its second half only now
        print(f"T-R6: {load}; {_written(store):,.0f} bytes written, {_disk(store):,} on the disk")
        assert not load.faults, load.faults[:5]
        wait_until(lambda: _at_rest(store), within_s=AT_REST_S_MAX, what="all that is condemned is deleted")
        allowed = _allowed_bytes(store)
        wait_until(lambda: _disk(store) <= allowed, within_s=AT_REST_S_MAX, what=f"{allowed:,} bytes at most")
        faults = faults_of_store(store, ledger, bucket=BUCKET)
        assert not faults, faults[:5]
        processes.judge(allowed_bytes=0 if seconds.asked >= LONG_S else GROWTH_BYTES_CI)
    seconds.held = seconds.asked


def _warm(store: Cluster, *, seed: int) -> None:
    """The state remembers so many outcomes of commands and no more: what it takes to fill that is no drift."""

    def is_full() -> bool:
        with rows_of(store) as view:
            return view.applied().index > OUTCOMES_WINDOW

    client = store.client()
    client.create_bucket(Bucket=WARMING)
    with Load(store, Model(Bodies(31)), bucket=WARMING, clients=WARMERS, seed=seed, mix=TINY):
        wait_until(is_full, within_s=WARM_S_MAX, what="the state is as full as it gets")
    keys = [{"Key": entry["Key"]} for entry in client.list_objects_v2(Bucket=WARMING)["Contents"]]
    client.delete_objects(Bucket=WARMING, Delete={"Objects": keys})


def _at_rest(store: Cluster) -> bool:
    return all(
        store.metric(f"quoin_{name}", node) == 0
        for name in ("condemned", "degraded_blobs")
        for node in store.nodes
    )


def _written(store: Cluster) -> float:
    return sum(store.metric("quoin_received_bytes_total", node) for node in store.nodes)


def _disk(store: Cluster) -> int:
    """Bytes that all segments take on the disk."""
    taken = 0
    for node in store.nodes:
        for file in (store.folder / f"node-{node}/shards").glob("*.segment"):
            with suppress(FileNotFoundError):  # compacted meanwhile
                taken += file.stat().st_blocks * 512
    return taken


def _allowed_bytes(store: Cluster) -> int:
    """For all that lives: its shards, what pads those of small objects, and the segment that each node writes."""
    sizes = list(_sizes(store))
    shards = sum(SHARDS * shard_length(size, DATA) for size in sizes)
    # A record of its own, and the rest of its last block: next to nothing for a big one.
    padding = len(sizes) * SHARDS * BLOCK
    active = len(store.nodes) * SEGMENT_BYTES
    disk = _disk(store)
    print(
        f"T-R6: {len(sizes)} objects of {sum(sizes):,} bytes: {shards:,} of shards, {padding:,} of padding; at rest "
        f"{disk:,} on the disk, {disk / shards:.2f} times the shards, {disk / (shards + padding):.2f} with padding"
    )
    return int(AMPLIFICATION_MAX * (shards + padding)) + active


def _sizes(store: Cluster) -> list[int]:
    pages = store.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    return [entry["Size"] for page in pages for entry in page.get("Contents", ())]
