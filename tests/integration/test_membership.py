"""Nodes that join, are drained and removed under load (T-N7), each with an address of its own on one machine."""

import json
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.integration.client import Client, credentials_of
from tests.integration.cluster import Cluster, wait_until
from tests.integration.ledger import Bodies, Content, Ledger
from tests.integration.oracle import faults_of_store
from tests.integration.shards import blobs_of, faults_of_shards, s3ctl, shards_on
from tests.integration.tally import Tally, seed
from tests.integration.traffic import Traffic

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(0)]

BUCKET = "members"
SETTINGS = "\n[gateway]\ncondemned_grace_s = 20.0\n"
PATIENCE_S = 120.0
MOVED_S = 600.0
OPERATIONS = 40
NEW = 6
MakeTally = Callable[..., Tally]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster.create(tmp_path, settings=SETTINGS, apart=True) as made:
        made.start_all()
        with Client(made.endpoint(), credentials_of(made)) as client:
            assert client.request("PUT", f"/{BUCKET}").status == 200
        yield made


def test_a_node_joins_and_leaves_under_load(store: Cluster, tally: MakeTally):
    objects = tally("T-N7, objects", variable="QUOIN_TN7_OBJECTS", default=400)
    chance, ledger = random.Random(seed()), Ledger(Bodies(17))
    fill(store, ledger, objects.asked)
    gateways = [store.endpoint(node) for node in store.nodes]
    before = blobs_of(store)
    assert store.extend() == NEW
    store.start(NEW)
    wait_until(lambda: "node add 6" in store.get("/-/ready", NEW)[1], within_s=PATIENCE_S, what="6 waits")
    load = Traffic(
        gateways, credentials_of(store), ledger, bucket=BUCKET, clients=6, seed=chance.randrange(2**16)
    )
    with load:
        load.wait_for(OPERATIONS, deadline_s=PATIENCE_S)
        assert ordered(store, "node", "add", str(NEW))
        settle(store)
        moved = share_moved(before, blobs_of(store), to=NEW)
        print(f"T-N7: {moved:.3f} of the shards moved to the node that joined, 1/6 = {1 / 6:.3f}")
        wait_until(lambda: store.get("/-/ready", NEW)[0] == 200, within_s=PATIENCE_S, what="node 6 is ready")
        load.wait_for(OPERATIONS, deadline_s=PATIENCE_S)
        joined = blobs_of(store)
        refused = s3ctl(store, "node", "remove", str(NEW))
        assert refused.returncode == 1 and "drain" in refused.stderr, refused.stderr
        assert ordered(store, "node", "drain", str(NEW))
        wait_until(lambda: shards_on(store, NEW) == 0, within_s=MOVED_S, what="node 6 is empty")
        left = share_moved(joined, blobs_of(store), away=NEW)
        print(f"T-N7: {left:.3f} of the shards moved away from the node that left")
        wait_until(
            lambda: s3ctl(store, "node", "remove", str(NEW)).returncode == 0,
            within_s=PATIENCE_S,
            what="node 6 is removed",
        )
        load.wait_for(OPERATIONS, deadline_s=PATIENCE_S)
        store.kill(NEW)
        load.wait_for(OPERATIONS, deadline_s=PATIENCE_S)
    print(f"T-N7: {load.seen}")
    assert not load.seen.errors and not load.seen.faults, (str(load.seen), load.seen.faults[:3])
    assert 0.8 / 6 <= moved <= 1.2 / 6 and 0.8 / 6 <= left <= 1.2 / 6
    settle(store)
    store.wait_healed(deadline_s=PATIENCE_S)
    assert not faults_of_shards(store, store.up)
    faults = faults_of_store(store.endpoints, credentials_of(store), ledger, bucket=BUCKET)
    assert not faults, faults[:5]
    for _ in objects.rounds():
        objects.hold()


def fill(store: Cluster, ledger: Ledger, count: int) -> None:
    """Stores `count` objects of some KiB, one in eight of 1 MiB."""

    def put(numbers: range) -> None:
        with Client(store.endpoint(1 + numbers[0] % 4), credentials_of(store)) as client:
            for number in numbers:
                content = Content(number, 1 << 20 if number % 8 == 0 else 1_000 + number)
                assert client.put(BUCKET, f"k{number}", ledger.bodies.bytes_of(content)).status == 200
                ledger.acknowledge(f"k{number}", content)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, [range(start, count, 4) for start in range(4)]))


def ordered(store: Cluster, *words: str) -> bool:
    """An order of s3ctl that must be obeyed."""
    done = s3ctl(store, *words)
    assert done.returncode == 0, done.stderr
    return True


def jobs(store: Cluster) -> dict[str, Any]:
    """The jobs by name, as `s3ctl status` has them."""
    done = s3ctl(store, "status", "-json")
    return {job["name"]: job for job in json.loads(done.stdout)["jobs"]} if not done.returncode else {}


def settle(store: Cluster) -> None:
    """Until a pass that began after the last order has left nothing."""
    began_us = time.time_ns() // 1_000 - 1_000_000

    def settled() -> bool:
        job = jobs(store).get("rebalance")
        return job is not None and job["finished"] and job["updated_us"] > began_us

    wait_until(settled, within_s=MOVED_S, what="the shards have moved")


def share_moved(before: dict[Any, Any], now: dict[Any, Any], *, to: int = 0, away: int = 0) -> float:
    """The share of the shards of what lived all the time that are on another node now, all of them `to`, or `away`."""
    shards = [
        (old[0], new[0])
        for blob in before.keys() & now.keys()
        for old, new in zip(before[blob].shards, now[blob].shards, strict=True)
    ]
    moved = [(old, new) for old, new in shards if old != new]
    assert all((not to or new == to) and (not away or old == away) for old, new in moved), moved[:5]
    return len(moved) / len(shards)
