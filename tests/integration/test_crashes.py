"""Crashes (T-C2, T-C3, T-C7): processes killed with -9 at random instants under load; nothing acknowledged is lost."""

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from s3d.drill.model import Bodies, Model
from tests.integration.client import Client, NoReplyError, Reply, credentials_of
from tests.integration.cluster import Cluster, wait_until
from tests.integration.load import Load, faults_of_store
from tests.integration.shards import blobs_of, faults_of_shards
from tests.integration.tally import Tally, seed

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(0)]

BUCKET = "crashes"
# Nothing condemns what no row names while the drills go on: uploads may take long here. Then all of it goes at once.
SETTINGS = "[gateway]\ncondemned_grace_s = 5.0\nrepair_interval_s = 0.2\n"
CLEANING = SETTINGS + "upload_life_s = 1.0\nreconcile_days = 0.00002\n"
CLEAN_S_MAX = 240.0
RETURN_S_MAX = 180.0
SERVING_S_MAX = 10.0
SLACK_S = float(os.environ.get("QUOIN_TC3_SLACK_S", "60"))  # for a machine that does other things as well
OPERATIONS_BETWEEN = 10
KILLS_A_LAUNCHER = 3
MakeTally = Callable[..., Tally]


@pytest.fixture(scope="module")
def ledger(mortal: Cluster) -> Model:
    """What all drills of this module wrote: a later one also finds what an earlier one lost."""
    with Client(mortal.endpoint(), credentials_of(mortal)) as client:
        for name in (BUCKET, "durations"):
            assert client.request("PUT", f"/{name}").status == 200
    return Model(Bodies(7))


def test_a_shard_server_is_killed(mortal: Cluster, ledger: Model, tally: MakeTally):
    cycles, chance = tally("T-C2", variable="QUOIN_TC2_CYCLES", default=30), random.Random(seed())
    with working_on(mortal, ledger, chance.randrange(2**32)) as load:
        for number in cycles.rounds():
            node = mortal.nodes[number % len(mortal.nodes)]
            (victim,) = wait_until(
                lambda node=node: mortal.pids("shardd.daemon", node), within_s=RETURN_S_MAX, what="it is back"
            )
            time.sleep(chance.uniform(0.0, 0.1))  # the instant is the point: anywhere in the load
            if number // len(mortal.nodes) % KILLS_A_LAUNCHER:
                os.kill(victim, signal.SIGKILL)
            else:  # its launcher, too: a new one has forgotten how often its child died, and starts it again at once
                mortal.kill(node)
                mortal.start(node)
            load.wait_for(OPERATIONS_BETWEEN, deadline_s=RETURN_S_MAX)
            assert not load.faults, load.faults[:5]
            cycles.hold()
    check(mortal, load)


def test_all_processes_are_killed(mortal: Cluster, ledger: Model, tally: MakeTally):
    cycles, chance = tally("T-C3", variable="QUOIN_TC3_CYCLES", default=4), random.Random(seed())
    slowest_s = 0.0
    for _ in cycles.rounds():
        with working_on(mortal, ledger, chance.randrange(2**32)) as load:
            load.wait_for(50, deadline_s=RETURN_S_MAX)
            time.sleep(chance.uniform(0.0, 0.3))
            mortal.kill(*mortal.nodes)
        start = time.monotonic()
        mortal.start(*mortal.nodes)
        for endpoint in mortal.endpoints:
            with Client(endpoint, credentials_of(mortal)) as client:
                wait_until(
                    lambda client=client: answers(client, "served"), within_s=RETURN_S_MAX, what="it serves"
                )
        slowest_s = max(slowest_s, time.monotonic() - start)
        check(mortal, load)
        cycles.hold()
    print(f"T-C3: serving again after {slowest_s:.1f} s at most")
    assert slowest_s <= SERVING_S_MAX + SLACK_S


def test_a_gateway_is_killed_around_the_commit(mortal: Cluster, ledger: Model, tally: MakeTally):
    cycles, chance = tally("T-C7", variable="QUOIN_TC7_CYCLES", default=20), random.Random(seed())
    urls, keys, acknowledged = mortal.endpoints, credentials_of(mortal), 0
    for number in cycles.rounds():
        node = mortal.nodes[number % len(urls)]
        doomed, witness = (Client(urls[(number + step) % len(urls)], keys) for step in (0, 1))
        with doomed, witness:
            for client in (doomed, witness):
                wait_until(lambda client=client: answers(client), within_s=RETURN_S_MAX, what="it is back")
            key = f"commit/{number % 7}"
            if ledger.spent(key):
                key = f"commit/{number}-again"
            content, body = ledger.bodies.object_of(number, chance.choice((10, 5_000, 400_000)))
            after_s = chance.uniform(0.0, 1.5 * duration_s(doomed, content.size_bytes))
            with killing(mortal.gateway_pids(node), after_s=after_s):
                done = is_put(doomed, key, body)
            (ledger.settle if done else ledger.doubt)(key, content)
            acknowledged += done
            reply = asked(lambda witness=witness, key=key: witness.get(BUCKET, key))
            fault = ledger.judge_read(key, reply.body if reply.status == 200 else None)
            assert not fault, fault
        if (
            number // len(urls) % KILLS_A_LAUNCHER == 0
        ):  # a new launcher starts its gateway at once, next time, too
            mortal.kill(node)
            mortal.start(node)
        cycles.hold()
    print(f"T-C7: {acknowledged} of {cycles.asked} were acknowledged before the gateway died")
    judge(mortal, ledger)
    mortal.stop()
    mortal.set(CLEANING)
    mortal.start_all()
    print(f"T-C7: {surplus(mortal)} shards that no row names, or that it no longer does")
    wait_until(
        lambda: not surplus(mortal), within_s=CLEAN_S_MAX, what="the nodes have what rows name, no more"
    )
    mortal.wait_healed(deadline_s=CLEAN_S_MAX)  # one that is too many makes up for one that is lacking
    wait_until(lambda: not surplus(mortal), within_s=CLEAN_S_MAX, what="it is so still")
    assert not faults_of_shards(mortal, mortal.nodes)
    judge(mortal, ledger)


def working_on(store: Cluster, ledger: Model, number: int) -> Load:
    """Six clients of all gateways; `number` is the seed of what they do."""
    return Load(store, ledger, bucket=BUCKET, seed=number)


def check(store: Cluster, load: Load) -> None:
    """No fault under load, and none in what is there now."""
    print(f"load: {load}")
    assert not load.faults, load.faults[:5]
    judge(store, load.model)


def judge(store: Cluster, ledger: Model) -> None:
    """Everything is read and listed right by every gateway."""
    faults = faults_of_store(store, ledger, bucket=BUCKET)
    assert not faults, faults[:5]


def surplus(store: Cluster) -> int:
    """How many shards the nodes have beyond those that rows name, or lack."""
    with Client(store.endpoint(), credentials_of(store)) as client:
        nodes = json.loads(client.request("GET", "/-/admin/status").body)["nodes"]
    named = sum(node != 0 for row in blobs_of(store).values() for node, _ in row.shards)
    found = sum(node["shards"] or 0 for node in nodes)
    return found - named


def duration_s(client: Client, size: int) -> float:
    """How long a PUT of that size takes here and now."""
    start_s = time.monotonic()
    assert asked(lambda: client.put("durations", "probe", bytes(size))).status == 200
    return time.monotonic() - start_s


def asked(ask: Callable[[], Reply]) -> Reply:
    """The first answer that is not 503: a machine that does other things as well may have nodes that seem down."""

    def answer() -> Reply | None:
        with suppress(NoReplyError):
            reply = ask()
            return reply if reply.status in (200, 404) else None
        return None

    return wait_until(answer, within_s=RETURN_S_MAX, what="an answer")


def is_put(client: Client, key: str, body: bytes) -> bool:
    """Whether the PUT was acknowledged."""
    try:
        reply = client.put(BUCKET, key, body)
    except NoReplyError:
        return False
    assert reply.status in (200, 503), reply
    return reply.status == 200


def answers(client: Client, key: str = "") -> bool:
    """Whether the gateway lists, or, with a key, stores it (and takes it away again)."""
    try:
        if not key:
            return client.request("GET", "/").status == 200
        stored = client.put(BUCKET, key, b"x").status == 200 and client.get(BUCKET, key).body == b"x"
        return stored and client.delete(BUCKET, key).status == 204
    except NoReplyError:
        return False


@contextmanager
def killing(pids: list[int], *, after_s: float) -> Iterator[None]:
    """kill -9 of these processes so long after the beginning of the block; they are dead at its end."""
    timer = threading.Timer(after_s, lambda: [os.kill(pid, signal.SIGKILL) for pid in pids])
    timer.start()
    try:
        yield
    finally:
        timer.join()
