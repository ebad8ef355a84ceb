"""Processes die at any moment of deletes, overwrites, uploads, moves, compaction (T-C4): nothing that a row names goes.

Condemned shards go at once here, so that a shard that is deleted in error is gone before the drill is over.
"""

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from s3d.drill.model import Bodies, Model
from tests.integration.client import Client, credentials_of
from tests.integration.cluster import Cluster, wait_until
from tests.integration.load import Load, faults_of_store
from tests.integration.shards import blobs_of, delete_late, faults_of_shards, jobs, s3ctl, shards_on
from tests.integration.tally import Tally, seed

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(0)]

BUCKET, PARTS = "kills", "kills-parts"
SETTINGS = """
[gateway]
condemned_grace_s = 0.0
repair_interval_s = 0.2
[storage]
segment_bytes = 4194304
"""
MOVING = 6
OPERATIONS_BETWEEN = 25
PATIENCE_S = 300.0
PART_SIZE = 5 << 20
MakeTally = Callable[..., Tally]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Cluster]:
    """Six nodes under one launcher, which brings back what is killed."""
    with Cluster.create(tmp_path, nodes=MOVING, together=True, settings=SETTINGS) as made:
        made.start_all()
        with Client(made.endpoint(), credentials_of(made)) as client:
            for bucket in (BUCKET, PARTS):
                assert client.request("PUT", f"/{bucket}").status == 200
        yield made


def test_whoever_dies_at_whatever_step_no_named_shard_is_deleted(store: Cluster, tally: MakeTally):
    kills = tally("T-C4, kills", variable="QUOIN_TC4_KILLS", default=3)
    chance, ledger = random.Random(seed()), Model(Bodies(23))
    load = Load(store, ledger, bucket=BUCKET, clients=4, seed=chance.randrange(2**16))
    ordered_us = 0
    with load, uploads(store):
        for number in kills.rounds():
            ordered_us = order(store, "drain" if number % 2 == 0 else "add")
            load.wait_for(OPERATIONS_BETWEEN, deadline_s=PATIENCE_S)
            strike(store, chance)
            load.wait_for(OPERATIONS_BETWEEN, deadline_s=PATIENCE_S)
            kills.hold()
    print(f"T-C4: {load}, {len(blobs_of(store))} blobs")
    assert not load.faults, load.faults[:3]
    drained = kills.asked % 2
    wait_until(
        lambda: not (drained and shards_on(store, MOVING)) and is_at_rest(store, since_us=ordered_us),
        within_s=PATIENCE_S,
        what="all is mended, moved and swept",
    )
    faults = faults_of_shards(store, store.nodes)
    assert not faults, faults[:5]
    late = delete_late(store, store.nodes)
    print(f"T-C4: {late} shards were asked to go by deletes from before they moved")
    assert late > 0
    faults = faults_of_shards(store, store.nodes)
    assert not faults, faults[:5]
    faults = faults_of_store(store, ledger, bucket=BUCKET)
    assert not faults, faults[:5]


def strike(store: Cluster, chance: random.Random) -> None:
    """kill -9 of one gateway or shard server, whatever it does at the moment; until it is back."""
    node, program = chance.choice(store.nodes), chance.choice(("s3d.gateway", "shardd.daemon"))
    [victim] = store.pids(program, node)
    os.kill(victim, signal.SIGKILL)
    wait_until(
        lambda: store.pids(program, node) not in ([], [victim]),
        within_s=PATIENCE_S,
        what=f"{program} is back",
    )


def order(store: Cluster, verb: str) -> int:
    """Until a gateway has obeyed: the one that is asked may be dying. When it was given, in us since 1970."""
    now_us = time.time_ns() // 1_000
    wait_until(
        lambda: s3ctl(store, "node", verb, str(MOVING)).returncode == 0,
        within_s=PATIENCE_S,
        what=f"node {MOVING}: {verb}",
    )
    return now_us


def is_at_rest(store: Cluster, *, since_us: int) -> bool:
    """Nothing is degraded, condemned, or still to be moved away from a node that is drained."""
    with contextlib.suppress(OSError):
        moving = jobs(store).get("rebalance")  # None until a pass began
        return (
            moving is not None
            and moving["finished"]
            and moving["started_us"] > since_us  # of the last order, not of one before
            and not any(
                store.metric(f"quoin_{name}", node)
                for name in ("degraded_blobs", "condemned")
                for node in store.nodes
            )
        )
    return False


@contextlib.contextmanager
def uploads(store: Cluster) -> Iterator[None]:
    """Uploads in parts to a few keys, one after the other, whatever becomes of each."""
    stop = threading.Event()
    clients = [store.client(node) for node in store.nodes]

    def work() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            client = clients[number % len(clients)]
            named = {"Bucket": PARTS, "Key": f"parts/{number % 3}"}
            with contextlib.suppress(BotoCoreError, ClientError):
                upload = client.create_multipart_upload(**named)["UploadId"]
                parts = [
                    {
                        "PartNumber": part,
                        "ETag": client.upload_part(
                            **named, UploadId=upload, PartNumber=part, Body=bytes([part]) * size
                        )["ETag"],
                    }
                    for part, size in ((1, PART_SIZE), (2, 1_000))
                ]
                client.complete_multipart_upload(**named, UploadId=upload, MultipartUpload={"Parts": parts})

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
