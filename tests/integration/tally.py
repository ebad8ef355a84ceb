"""Owns the count of rounds that a drill held, for people who read its output and for the campaign's table."""

import os
import random
from collections.abc import Callable

RecordProperty = Callable[[str, object], None]


class Tally:
    """Rounds of one row of the fault contract. How many are asked comes from the environment, or is CI's number."""

    def __init__(self, row: str, *, variable: str, default: int, record: RecordProperty) -> None:
        self.row, self.asked, self.held = row, int(os.environ.get(variable, default)), 0
        self._record = record

    def rounds(self) -> "range":
        """The numbers of the rounds to do."""
        return range(self.asked)

    def hold(self) -> None:
        """One more round went as it must."""
        self.held += 1

    def close(self) -> None:
        """Says how many held of how many asked."""
        for name, value in (("row", self.row), ("held", self.held), ("asked", self.asked)):
            self._record(name, value)
        print(f"{self.row}: held {self.held} of {self.asked}")


def seed() -> int:
    """The seed of a drill: QUOIN_SEED, or a new one; printed, so that a failing run can be run again."""
    chosen = int(os.environ.get("QUOIN_SEED", random.SystemRandom().randrange(2**32)))
    print(f"QUOIN_SEED={chosen}")
    return chosen
