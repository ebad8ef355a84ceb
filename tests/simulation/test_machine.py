"""The metadata in a simulated machine (T-D1, T-D2), and known faults put back in, each of them caught (T-D5).

QUOIN_TD1_SEEDS: worlds that are lived through. QUOIN_SEED: the number of the first; a world that breaks says its own.
"""

import os
from collections import Counter
from collections.abc import Callable

import pytest

from tests.integration.tally import Tally
from tests.s3d.metadata.machine.story import check
from tests.simulation.machine_world import Broken, Flaw, live_through

FIRST = int(os.environ.get("QUOIN_SEED", "1"))
STEPS = 12
CAUGHT_WITHIN = 10_000  # seeds
CHECKED_EVERY = 50


def test_a_sound_machine_breaks_no_promise(record_property: Callable[[str, object], None]) -> None:
    rounds = Tally("T-D1, T-D2, seeds", variable="QUOIN_TD1_SEEDS", default=10_000, record=record_property)
    met: Counter[str] = Counter()
    for number in rounds.rounds():
        seed = FIRST + number
        try:
            world = live_through(seed, Flaw.NONE, steps=STEPS)
            if not number % CHECKED_EVERY:
                check(world.synced)
        except AssertionError as error:
            raise AssertionError(f"QUOIN_SEED={seed}: {error}") from error
        met += world.counts
        rounds.hold()
    rounds.close()
    assert met["power cuts"] > rounds.asked


@pytest.mark.parametrize("flaw", [flaw for flaw in Flaw if flaw is not Flaw.NONE])
def test_a_fault_that_is_put_back_in_is_caught(flaw: Flaw) -> None:
    for seed in range(FIRST, FIRST + CAUGHT_WITHIN):
        try:
            live_through(seed, flaw, steps=STEPS)
        except Broken as caught:
            print(f"{flaw.name}: caught by seed {seed}, number {seed - FIRST + 1}: {caught}")
            return
    pytest.fail(f"{flaw.name} is not caught by {CAUGHT_WITHIN} seeds")
