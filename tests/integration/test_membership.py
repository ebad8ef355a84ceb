"""Nodes that join, leave (T-N7) and come back (T-N6), each with an address of its own on one machine."""

import os
import random
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from s3d.drill.model import Bodies, Model
from tests.integration.client import PATIENCE_S, Client, credentials_of
from tests.integration.cluster import Cluster, wait_until
from tests.integration.load import STEADY, Load, faults_of_store
from tests.integration.shards import blobs_of, faults_of_shards, jobs, rows_of, s3ctl, shards_on
from tests.integration.tally import Tally, seed

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(0)]

BUCKET = "members"
SETTINGS = "\n[gateway]\ncondemned_grace_s = 20.0\n"
SLOWLY = "repair_mb_per_s = 0.1\n"
HEAL_S_MAX = 300.0  # a node that was slow is left alone for a minute at most
ERRORS_SOME = int(os.environ.get("QUOIN_TN7_ERRORS", "3"))  # of a machine that does other things as well
WAIT_S_MAX, MOVED_S = 180.0, 600.0
OPERATIONS = 40
NEW = 6
AWAY = 3
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
    chance, ledger = random.Random(seed()), Model(Bodies(17))
    fill(store, ledger, objects.asked)
    store.wait_healed(deadline_s=HEAL_S_MAX)  # what is mended later moves as well
    load = Load(store, ledger, bucket=BUCKET, clients=6, seed=chance.randrange(2**16), mix=STEADY)
    before = blobs_of(store)
    assert store.extend() == NEW
    store.start(NEW)
    wait_until(lambda: "node add 6" in store.get("/-/ready", NEW)[1], within_s=WAIT_S_MAX, what="6 waits")
    with load:
        load.wait_for(OPERATIONS, deadline_s=WAIT_S_MAX)
        settle(store, since_us=ordered(store, "node", "add", str(NEW)))
        moved = share_moved(before, blobs_of(store), to=NEW)
        print(f"T-N7: {moved:.3f} of the shards moved to the node that joined, 1/6 = {1 / 6:.3f}")
        wait_until(lambda: store.get("/-/ready", NEW)[0] == 200, within_s=WAIT_S_MAX, what="node 6 is ready")
        load.wait_for(OPERATIONS, deadline_s=WAIT_S_MAX)
        joined = {blob: row for blob, row in blobs_of(store).items() if blob in before}
        refused = s3ctl(store, "node", "remove", str(NEW))
        assert refused.returncode == 1 and "drain" in refused.stderr, refused.stderr
        ordered(store, "node", "drain", str(NEW))
        wait_until(lambda: shards_on(store, NEW) == 0, within_s=MOVED_S, what="node 6 is empty")
        left = share_moved(joined, blobs_of(store), away=NEW)
        print(f"T-N7: {left:.3f} of the shards moved away from the node that left")
        wait_until(
            lambda: s3ctl(store, "node", "remove", str(NEW)).returncode == 0,
            within_s=WAIT_S_MAX,
            what="node 6 is removed",
        )
        load.wait_for(OPERATIONS, deadline_s=WAIT_S_MAX)
        store.kill(NEW)
        load.wait_for(OPERATIONS, deadline_s=WAIT_S_MAX)
    print(f"T-N7: {load}")
    assert load.errors.total() <= ERRORS_SOME and not load.faults, (str(load), load.faults[:3])
    assert 0.8 / 6 <= moved <= 1.2 / 6 and 0.8 / 6 <= left <= 1.2 / 6
    store.wait_healed(deadline_s=HEAL_S_MAX)
    assert not faults_of_shards(store, store.up)
    faults = faults_of_store(store, ledger, bucket=BUCKET)
    assert not faults, faults[:5]
    for _ in objects.rounds():
        objects.hold()


def test_a_node_that_was_down_gets_what_it_missed_and_no_more(store: Cluster, tally: MakeTally):
    missed = tally("T-N6, objects", variable="QUOIN_TN6_OBJECTS", default=60)
    ledger = Model(Bodies(19))
    fill(store, ledger, 4 * missed.asked)
    store.wait_healed(deadline_s=HEAL_S_MAX)
    kept = set(blobs_of(store))
    store.kill(AWAY)
    fill(store, ledger, missed.asked, prefix="missed")
    # What another node was too late for is mended meanwhile.
    wait_until(
        lambda: lacking(store, kept) == {1}, within_s=HEAL_S_MAX, what="only the dead node's are missing"
    )
    written = blobs_of(store).keys() - kept
    before = mended(store, store.up)
    store.start(AWAY)
    store.wait_healed(deadline_s=HEAL_S_MAX)
    # Counters are told once a second.
    wait_until(
        lambda: mended(store, store.up) - before >= len(written), within_s=WAIT_S_MAX, what="all is counted"
    )
    copied = mended(store, store.up) - before
    print(f"T-N6: {copied:.0f} shards copied for {len(written)} objects that were written meanwhile")
    assert copied <= 1.1 * len(written)
    rows = blobs_of(store)
    assert all(AWAY in {node for node, _ in rows[blob].shards} for blob in written)
    assert not faults_of_shards(store, store.nodes)
    for _ in missed.rounds():
        missed.hold()


def test_a_pass_is_stopped_outlives_its_processes_and_goes_on_and_a_lost_node_is_done_without(tmp_path: Path):
    with Cluster.create(tmp_path, settings=SETTINGS + SLOWLY) as store:
        store.start_all()
        with Client(store.endpoint(), credentials_of(store)) as client:
            assert client.request("PUT", f"/{BUCKET}").status == 200
        ledger = Model(Bodies(29))
        fill(store, ledger, 120)
        store.wait_healed(deadline_s=HEAL_S_MAX)
        before = blobs_of(store)
        store.start(store.extend())
        wait_until(lambda: "node add 6" in store.get("/-/ready", NEW)[1], within_s=WAIT_S_MAX, what="6 waits")
        began_us = ordered(store, "node", "add", str(NEW))
        wait_until(lambda: shards_on(store, NEW) > 3, within_s=WAIT_S_MAX, what="some shards have moved")
        ordered(store, "rebalance", "stop")
        wait_until(lambda: not is_held(store, "rebalance"), within_s=WAIT_S_MAX, what="nobody moves any more")
        store.kill(*store.nodes)
        part = shards_on(store, NEW)  # one that was stopped in mid-move may have ended it behind its lease
        store.set(SETTINGS)  # what follows need not be slow
        store.start_all()
        assert jobs(store)["rebalance"]["stopped"] and shards_on(store, NEW) == part
        print(f"stopped after {part} shards")
        assert part < 0.8 / 6 * 5 * len(before), "it was stopped too late to tell anything"
        ordered(store, "rebalance", "start")
        settle(store, since_us=began_us)
        assert 0.8 / 6 <= share_moved(before, blobs_of(store), to=NEW) <= 1.2 / 6
        store.kill(NEW)
        assert s3ctl(store, "node", "remove", str(NEW)).returncode == 1
        ordered(store, "node", "remove", str(NEW), "--force-lost")
        wait_until(lambda: shards_on(store, NEW) == 0, within_s=MOVED_S, what="all is rebuilt on the others")
        store.wait_healed(deadline_s=HEAL_S_MAX)
        assert not faults_of_shards(store, store.up)
        faults = faults_of_store(store, ledger, bucket=BUCKET)
        assert not faults, faults[:5]


def is_held(store: Cluster, job: str) -> bool:
    """Whether a process does the job now."""
    with rows_of(store) as view:
        lease = view.lease(job)
    return lease is not None and lease.holds(time.time_ns() // 1_000)


def lacking(store: Cluster, kept: set[bytes]) -> set[int]:
    """How many shards the blobs beside those `kept` have not, or beside another one of their own."""
    rows = (row for blob, row in blobs_of(store).items() if blob not in kept)
    return {len(row.shards) - len({node for node, _ in row.shards if node}) for row in rows}


def mended(store: Cluster, nodes: Iterable[int]) -> float:
    """How many shards were put again by repair, by the gateways of these nodes since each was started."""
    return sum(store.metric("quoin_mended_shards_total", node) for node in nodes)


def fill(store: Cluster, ledger: Model, count: int, *, prefix: str = "k") -> None:
    """Stores `count` objects of some KiB, one in eight of 1 MiB."""

    def put(numbers: range) -> None:
        endpoint = store.endpoint((1, 2, 4, 5)[numbers[0] % 4])
        with Client(endpoint, credentials_of(store), patience_s=PATIENCE_S) as client:
            for number in numbers:
                size_bytes = 1 << 20 if number % 8 == 0 else 1_000 + number
                content, body = ledger.bodies.object_of(number, size_bytes)
                assert client.put(BUCKET, f"{prefix}{number}", body).status == 200
                ledger.settle(f"{prefix}{number}", content)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, [range(start, count, 4) for start in range(4)]))


def ordered(store: Cluster, *words: str) -> int:
    """An order of s3ctl, given until it is obeyed, as nodes may be late; when it was, in microseconds since 1970."""
    now_us = time.time_ns() // 1_000
    wait_until(lambda: s3ctl(store, *words).returncode == 0, within_s=WAIT_S_MAX, what=f"{words} is obeyed")
    return now_us


def settle(store: Cluster, *, since_us: int) -> None:
    """Until a pass that began after `since_us` has left nothing."""

    def settled() -> bool:
        job = jobs(store).get("rebalance")
        return job is not None and job["finished"] and job["started_us"] > since_us

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
