"""Nodes that die, alone, in pairs, three at once, or go silent, under load (T-N1 to T-N4); what clients see of it."""

import os
import random
import signal
import time
from collections.abc import Callable
from itertools import combinations

import pytest

from s3d.drill.model import Bodies, Model
from tests.integration.client import Client, credentials_of
from tests.integration.cluster import Cluster, wait_until
from tests.integration.load import STEADY, Load, faults_of_store
from tests.integration.tally import Tally, seed
from tests.integration.tracing import injecting

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(0)]

BUCKET = "nodes"
# What is overwritten makes room while the drills go on: 16 clients fill a disk otherwise.
SETTINGS = "[storage]\nsegment_bytes = 16777216\n[gateway]\ncondemned_grace_s = 30.0\n"
PATIENCE_S = 180.0
HEAL_S_MAX = 300.0  # a node that was slow is left alone for a minute at most
OPERATIONS_BETWEEN = 80
SLACK_S = float(os.environ.get("QUOIN_NODES_SLACK_S", "40"))  # for a machine that does other things as well
STALL_S_MAX = 3.0 + SLACK_S
REFUSAL_S_MAX = 5.0 + SLACK_S
RECOVERY_S_MAX = 15.0 + SLACK_S
ERRORS_SOME = 3 if SLACK_S else 0  # of so few operations it is more than the share that many may have
SLOWER_S = min(SLACK_S, 1.0)  # what a node costs every operation that does not go round it
STOPPED_S_CI = 6
GET_TIMES_MAX, PUT_TIMES_MAX = 3.0, 5.0
MakeTally = Callable[..., Tally]


@pytest.fixture(scope="module")
def ledger(mortal: Cluster) -> Model:
    """What all drills of this module wrote."""
    with Client(mortal.endpoint(), credentials_of(mortal)) as client:
        assert client.request("PUT", f"/{BUCKET}").status == 200
    return Model(Bodies(13))


def test_each_node_is_killed_in_turn(mortal: Cluster, ledger: Model, tally: MakeTally):
    rounds, chance = tally("T-N1", variable="QUOIN_TN1_ROUNDS", default=1), random.Random(seed())
    with traffic(mortal, ledger, chance) as load:
        load.wait_for(2 * OPERATIONS_BETWEEN, deadline_s=PATIENCE_S)
        healthy_s = load.longest_s
        for _ in rounds.rounds():
            for node in mortal.nodes:
                mortal.kill(node)
                load.wait_for(OPERATIONS_BETWEEN, deadline_s=PATIENCE_S)
                mortal.start(node)
                mortal.wait_reached(deadline_s=PATIENCE_S)
                load.wait_for(OPERATIONS_BETWEEN, deadline_s=PATIENCE_S)
            rounds.hold()
    print(f"T-N1: {load}; before the first kill {healthy_s:.2f} s")
    judge(mortal, ledger, load)
    assert few_errors(load, share=0.001), str(load)
    assert load.longest_s <= STALL_S_MAX + healthy_s, str(load)


def test_each_pair_is_killed_in_turn(mortal: Cluster, ledger: Model, tally: MakeTally):
    rounds, chance = tally("T-N2", variable="QUOIN_TN2_PAIRS", default=2), random.Random(seed())
    pairs = list(combinations(mortal.nodes, 2))
    chance.shuffle(pairs)
    for number in rounds.rounds():
        with traffic(mortal, ledger, chance) as before:
            before.wait_for(OPERATIONS_BETWEEN, deadline_s=PATIENCE_S)
        assert not before.faults, before.faults[:5]
        # What is written without a node that is late cannot be read without two more: next to nothing is before.
        mortal.wait_healed(deadline_s=HEAL_S_MAX)
        with traffic(mortal, ledger, chance) as load:
            load.wait_for(1, deadline_s=PATIENCE_S)
            mortal.kill(*pairs[number % len(pairs)])
            load.wait_for(3 * OPERATIONS_BETWEEN, deadline_s=PATIENCE_S)
        print(f"T-N2 {pairs[number % len(pairs)]}: {load}")
        judge(mortal, ledger, load)
        mortal.start_all()
        assert few_errors(load, share=0.01), str(load)
        rounds.hold()


def test_three_nodes_die_and_come_back(mortal: Cluster, ledger: Model, tally: MakeTally):
    rounds, chance = tally("T-N3", variable="QUOIN_TN3_ROUNDS", default=1), random.Random(seed())
    for _ in rounds.rounds():
        mortal.wait_reached(deadline_s=PATIENCE_S)
        with traffic(mortal, ledger, chance) as load:
            load.wait_for(OPERATIONS_BETWEEN, deadline_s=PATIENCE_S)
            dead = chance.sample(mortal.nodes, 3)
            mortal.kill(*dead)
            killed_s = time.monotonic()
            load.wait_for(50, deadline_s=PATIENCE_S, errors_too=True)
            start_s = time.monotonic()
            mortal.start(*dead)
            load.wait_for(OPERATIONS_BETWEEN, deadline_s=PATIENCE_S, errors_too=True)
        print(f"T-N3 {dead}: {load}")
        in_time = [one for one in load.record.operations if killed_s <= one.began_s < start_s]
        assert max(one.took_s for one in in_time) <= REFUSAL_S_MAX, str(load)
        last_error_s = max(one.began_s + one.took_s for one in load.record.operations if one.error)
        print(f"T-N3: no error {max(0.0, last_error_s - start_s):.1f} s after the start of the dead")
        assert last_error_s - start_s <= RECOVERY_S_MAX
        judge(mortal, ledger, load)
        rounds.hold()


def test_a_shard_server_that_is_stopped_is_gone_round(mortal: Cluster, ledger: Model, tally: MakeTally):
    seconds, chance = tally("T-N4", variable="QUOIN_TN4_S", default=STOPPED_S_CI), random.Random(seed())
    # The first second of a stop weighs more in a short one, and so does a moment in which the machine stands still.
    share = 0.99 if seconds.asked > 2 * STOPPED_S_CI else 0.75
    mortal.wait_healed(deadline_s=HEAL_S_MAX)
    node = chance.choice(mortal.nodes)
    victim = mortal.shard_server_pid(node)
    with traffic(mortal, ledger, chance) as load:
        load.wait_for(OPERATIONS_BETWEEN, deadline_s=PATIENCE_S)
        healthy_s = time.monotonic()
        time.sleep(seconds.asked)
        os.kill(victim, signal.SIGSTOP)
        stopped_s = time.monotonic()
        try:
            wait_until(
                lambda: mortal.get("/-/ready", node)[0] == 503, within_s=REFUSAL_S_MAX, what="it is not ready"
            )
            print(f"T-N4: not ready after {time.monotonic() - stopped_s:.2f} s")
            time.sleep(max(0.0, stopped_s + seconds.asked - time.monotonic()))
        finally:
            os.kill(victim, signal.SIGCONT)
        resumed_s = time.monotonic()
        load.wait_for(OPERATIONS_BETWEEN, deadline_s=PATIENCE_S)
        wait_until(
            lambda: mortal.get("/-/ready", node)[0] == 200, within_s=PATIENCE_S, what="it is taken back"
        )
    print(f"T-N4: {load}")
    judge(mortal, ledger, load)
    longest_s = dict[str, float]()
    for kind, times_max in (("GET", GET_TIMES_MAX), ("PUT", PUT_TIMES_MAX)):
        before_s = load.quantile_s(kind, share, start_s=healthy_s, stop_s=stopped_s)
        during_s = load.quantile_s(kind, share, start_s=stopped_s, stop_s=resumed_s)
        print(f"T-N4: {kind} p{share * 100:.0f} {before_s * 1e3:.0f} ms, then {during_s * 1e3:.0f} ms")
        assert during_s <= times_max * before_s + SLOWER_S, (kind, before_s, during_s)
        longest_s[kind] = load.quantile_s(kind, 1.0, stop_s=stopped_s)
    assert few_errors(load, share=0.0), str(load)
    assert load.longest_s <= STALL_S_MAX + max(longest_s.values()), str(load)
    seconds.held = seconds.asked


def test_a_disk_that_syncs_in_two_seconds_is_left_alone(mortal: Cluster, ledger: Model, tally: MakeTally):
    seconds, chance = (
        tally("T-N4, a slow disk", variable="QUOIN_TN4_S", default=STOPPED_S_CI),
        random.Random(seed()),
    )
    mortal.wait_healed(deadline_s=HEAL_S_MAX)
    node = chance.choice(mortal.nodes)
    victim = mortal.shard_server_pid(node)
    with traffic(mortal, ledger, chance) as load:
        load.wait_for(OPERATIONS_BETWEEN, deadline_s=PATIENCE_S)
        healthy_s = load.longest_s
        with injecting(victim, "fdatasync:delay_exit=2s"):
            wait_until(
                lambda: mortal.get("/-/ready", node)[0] == 503, within_s=PATIENCE_S, what="it is not ready"
            )
            time.sleep(seconds.asked)
        load.wait_for(OPERATIONS_BETWEEN, deadline_s=PATIENCE_S)
    wait_until(lambda: mortal.get("/-/ready", node)[0] == 200, within_s=PATIENCE_S, what="it is taken back")
    print(f"T-N4, a slow disk: {load}; before {healthy_s:.2f} s")
    judge(mortal, ledger, load)
    assert few_errors(load, share=0.0), str(load)
    assert load.longest_s <= STALL_S_MAX + healthy_s, str(load)
    seconds.held = seconds.asked


def traffic(store: Cluster, ledger: Model, chance: random.Random) -> Load:
    """16 clients of all gateways."""
    return Load(store, ledger, bucket=BUCKET, clients=16, seed=chance.randrange(2**16), mix=STEADY)


def few_errors(load: Load, *, share: float) -> bool:
    """Whether clients saw no more errors than this share of their operations."""
    return load.errors.total() <= max(ERRORS_SOME, share * len(load.record.operations))


def judge(store: Cluster, ledger: Model, load: Load) -> None:
    """Everything acknowledged is read and listed right, by each gateway that is up."""
    assert not load.faults, load.faults[:5]
    faults = faults_of_store(store, ledger, bucket=BUCKET)
    assert not faults, faults[:5]
