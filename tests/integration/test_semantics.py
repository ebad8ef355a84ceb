"""T-M4: a plain model of S3 against the live store: every answer, through any gateway, is the model's."""

import os
import signal
from collections.abc import Callable, Sequence
from typing import ClassVar

import hypothesis
import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from tests.integration.client import PATIENCE_S, Client, credentials_of
from tests.integration.cluster import Cluster, wait_until
from tests.integration.semantics_asking import Wire
from tests.integration.semantics_machine import Semantics
from tests.integration.tally import Tally, seed

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(0)]

STEPS_AN_EXAMPLE = 60
OPERATIONS_AN_EXAMPLE = 45  # at least: some steps find nothing to ask about
BACK_WITHIN_S = 180.0
MakeTally = Callable[..., Tally]


def hold(machine: type[Semantics], clients: Sequence[Client], rounds: Tally) -> None:
    """Asks so many requests as the tally wants, and tells of what kinds they were."""
    chosen = seed()

    class Machine(machine):  # type: ignore[misc, valid-type]
        wire = Wire(clients, f"tm4-{os.getpid()}-{machine.__name__.lower()}")

    run_state_machine_as_test(
        hypothesis.seed(chosen)(Machine),
        settings=settings(
            max_examples=1 + rounds.asked // OPERATIONS_AN_EXAMPLE,
            stateful_step_count=STEPS_AN_EXAMPLE,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        ),
    )
    for (operation, status, code), times in sorted(Machine.wire.answers.items()):
        print(f"{times:7,} {operation} {status} {code}")
    rounds.held = min(rounds.asked, Machine.wire.asked)


def test_every_answer_is_that_of_the_model(clients: list[Client], tally: MakeTally) -> None:
    """Requests one after the other, each through a gateway by chance; a failing run prints the fewest that fail."""
    hold(Semantics, clients, tally("T-M4", variable="QUOIN_TM4_OPERATIONS", default=10_000))


class Mortal(Semantics):
    """The same while shard servers are killed: once an example, and never a second before the first is back."""

    store: ClassVar[Cluster]

    def __init__(self) -> None:
        super().__init__()
        self.killed = False

    @precondition(lambda self: not self.killed)
    @rule(node=st.integers(1, 5))
    def kill(self, node: int) -> None:
        """Its launcher starts it again, which nobody waits for but the next death."""
        self.killed = True
        wait_until(self.all_are_up, within_s=BACK_WITHIN_S, what="every node has its shard server back")
        os.kill(self.store.shard_server_pid(node), signal.SIGKILL)

    def all_are_up(self) -> bool:
        """Whether each shard server runs, and each gateway reaches all."""
        running = all(len(self.store.pids("shardd.daemon", node)) == 1 for node in self.store.nodes)
        return running and all(
            self.store.metric("quoin_nodes_up", node) == len(self.store.nodes) for node in self.store.nodes
        )


def test_no_answer_is_another_while_shard_servers_die(mortal: Cluster, tally: MakeTally) -> None:
    keys = credentials_of(mortal)
    clients = [Client(endpoint, keys, patience_s=PATIENCE_S) for endpoint in mortal.endpoints]
    Mortal.store = mortal
    try:
        rounds = tally("T-M4, killed", variable="QUOIN_TM4_KILLED_OPERATIONS", default=500)
        hold(Mortal, clients, rounds)
    finally:
        for client in clients:
            client.close()
