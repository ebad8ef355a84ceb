"""Disks that refuse under load (T-C6): syncs and writes of a running shard server fail, come short, are interrupted."""

import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from s3d.drill.model import Bodies, Model
from s3d.drill.processes import command_line
from tests.integration.client import Client, credentials_of
from tests.integration.cluster import Cluster, wait_until
from tests.integration.load import Load, faults_of_store
from tests.integration.tally import Tally, seed
from tests.integration.tracing import first_injected_s, injecting

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(0)]

BUCKET = "disks"
PATIENCE_S = 240.0  # a node that was slow is left alone for a minute at most, and must be written to again
OPERATIONS = 60
FENCED_S_MAX = 1.0
SLACK_S = float(os.environ.get("QUOIN_TC6_SLACK_S", "30"))  # for a machine that does other things as well
# Once means: the third call of each thread. A write that reports nothing written is a short one that does not lie.
PASSING = {
    "EIO of a sync, once": ("fdatasync:error=EIO:when=3",),
    "EIO of a write, once": ("pwrite64:error=EIO:when=3",),
    "short writes": ("pwrite64:retval=0:when=3+5",),
    "EINTR": ("pwrite64:error=EINTR:when=2+3", "fdatasync:error=EINTR:when=2+3"),
}
# A shard server that can use its index no longer ends, to make it anew when it is started again.
FENCED = ("failed", "down")
LASTING = ("fdatasync:error=EIO", "pwrite64:error=EIO")
MakeTally = Callable[..., Tally]


@pytest.fixture(scope="module")
def ledger(mortal: Cluster) -> Model:
    """What all drills of this module wrote."""
    with Client(mortal.endpoint(), credentials_of(mortal)) as client:
        assert client.request("PUT", f"/{BUCKET}").status == 200
    return Model(Bodies(17))


def test_a_disk_that_fails_for_a_moment_loses_nothing(
    mortal: Cluster, ledger: Model, tally: MakeTally, tmp_path: Path
):
    chance = random.Random(seed())
    rounds = tally("T-C6, for a moment", variable="QUOIN_TC6_ROUNDS", default=len(PASSING))
    with working_on(mortal, ledger, chance) as load:
        for number in rounds.rounds():
            node, log = chance.choice(mortal.nodes), tmp_path / f"{number}"
            kind = list(PASSING)[number % len(PASSING)]
            while not struck(mortal, load, node, *PASSING[kind], log=log):
                pass  # what the round before did to its index ended it only now: its launcher brings another
            restarted_if_fenced(mortal, node)
            rounds.hold()
        load.wait_for(OPERATIONS, deadline_s=PATIENCE_S)
    judge(mortal, load)


def struck(mortal: Cluster, load: Load, node: int, *faults: str, log: Path) -> bool:
    """Whether the faults met the node's shard server, and clients went on, before it ended of something else."""
    restarted_if_fenced(mortal, node)
    pid = mortal.shard_server_pid(node)
    with injecting(pid, *faults, log=log):
        wait_until(
            lambda: first_injected_s(log) or not any(command_line(pid)),
            within_s=PATIENCE_S,
            what=f"node {node}: {faults}",
        )
        if first_injected_s(log) is None:
            return False
        load.wait_for(OPERATIONS, deadline_s=PATIENCE_S)
    return True


def test_a_disk_that_refuses_for_ever_is_fenced(
    mortal: Cluster, ledger: Model, tally: MakeTally, tmp_path: Path
):
    chance, slowest_s = random.Random(seed()), 0.0
    rounds = tally("T-C6, for ever", variable="QUOIN_TC6_ROUNDS", default=len(LASTING))
    with working_on(mortal, ledger, chance) as load:
        for number in rounds.rounds():
            node, log = chance.choice(mortal.nodes), tmp_path / f"{number}"
            restarted_if_fenced(mortal, node)
            fault = LASTING[number % len(LASTING)]
            with not_started_again(mortal, node), injecting(mortal.shard_server_pid(node), fault, log=log):
                began_s = wait_until(
                    lambda log=log: first_injected_s(log), within_s=PATIENCE_S, what="a fault"
                )
                for by in mortal.nodes:
                    wait_until(
                        lambda node=node, by=by: state_of(mortal, node, by=by) in FENCED,
                        within_s=PATIENCE_S,
                        what=f"node {by} sees that node {node} failed",
                    )
                slowest_s = max(slowest_s, time.time() - began_s)
                load.wait_for(OPERATIONS, deadline_s=PATIENCE_S)
            restarted_if_fenced(mortal, node)
            load.wait_for(OPERATIONS, deadline_s=PATIENCE_S)
            rounds.hold()
    judge(mortal, load)
    print(f"T-C6: fenced everywhere after {slowest_s:.2f} s at most")
    assert slowest_s <= FENCED_S_MAX + SLACK_S


def working_on(store: Cluster, ledger: Model, chance: random.Random) -> Load:
    """Six clients of all gateways."""
    return Load(store, ledger, bucket=BUCKET, seed=chance.randrange(2**32))


def state_of(store: Cluster, node: int, *, by: int) -> str:
    """What the gateway `by` thinks of a node."""
    with Client(store.endpoint(by), credentials_of(store)) as client:
        found = json.loads(client.request("GET", "/-/admin/status").body)["nodes"]
    return str(next(one["state"] for one in found if one["id"] == node))


@contextmanager
def not_started_again(store: Cluster, node: int) -> Iterator[None]:
    """A shard server that ends stays away until the end of the block: every gateway has the time to see it."""
    [launcher] = store.pids("s3d.daemon", node)
    os.kill(launcher, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(launcher, signal.SIGCONT)


def restarted_if_fenced(store: Cluster, node: int) -> None:
    """A fenced shard server takes writes again once it is started again; nothing else helps it."""
    others = [one for one in store.nodes if one != node]

    def states() -> set[str]:
        return {state_of(store, node, by=by) for by in others}

    def is_well() -> bool:
        if "failed" in states():  # or was a moment ago: another start harms nobody
            for pid in store.pids("shardd.daemon", node):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            wait_until(lambda: "failed" not in states(), within_s=PATIENCE_S, what=f"node {node} is gone")
        return states() == {"ok"} and len(store.pids("shardd.daemon", node)) == 1

    wait_until(is_well, within_s=PATIENCE_S, what=f"node {node} is well")


def judge(store: Cluster, load: Load) -> None:
    """No fault under load, and none in what is there now."""
    print(f"load: {load}")
    assert not load.faults, load.faults[:5]
    faults = faults_of_store(store, load.model, bucket=BUCKET)
    assert not faults, faults[:5]
