"""T-M4: a plain model of S3 against the live store: every answer, through any gateway, is the model's."""

import os
from collections.abc import Callable

import hypothesis
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.integration.client import Client
from tests.integration.semantics_asking import Wire
from tests.integration.semantics_machine import Semantics
from tests.integration.tally import Tally, seed

pytestmark = pytest.mark.cluster

STEPS_AN_EXAMPLE = 60
OPERATIONS_AN_EXAMPLE = 45  # at least: some steps find nothing to ask about


def test_every_answer_is_that_of_the_model(clients: list[Client], tally: Callable[..., Tally]) -> None:
    """Requests one after the other, each through a gateway by chance; a failing run prints the fewest that fail."""
    rounds = tally("T-M4", variable="QUOIN_TM4_OPERATIONS", default=10_000)
    chosen = seed()

    class Machine(Semantics):
        wire = Wire(clients, f"tm4-{os.getpid()}")

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
