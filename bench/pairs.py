"""Owns how two things that were measured in turns compare: the ratios of each row, and their table; never measures.

Of each figure the best of all rounds counts: what else the machine does only ever adds to it.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.table import Table

from bench.measure import Figure


@dataclass(frozen=True, slots=True)
class Pair:
    """One row: the figures of every round, of the base and of what is held against it.

    Its CPU may be `most` times the base's, and 99 % of its requests may take `p99_ms_most`.
    """

    base: Sequence[Figure]
    other: Sequence[Figure]
    most: float
    p99_ms_most: float = math.inf

    @property
    def cpu_ratio(self) -> float:
        """CPU for one operation, or one MB. Below the clock's resolution nothing is said: 1."""
        base = min(figure.cpu_ms for figure in self.base)
        return min(figure.cpu_ms for figure in self.other) / base if base else 1.0

    @property
    def p50_ratio(self) -> float:
        """The time that half of the requests take at most."""
        return min(figure.p50_ms for figure in self.other) / min(figure.p50_ms for figure in self.base)

    @property
    def p99_ms(self) -> float:
        """The time that 99 % of the requests take at most."""
        return min(figure.p99_ms for figure in self.other)

    @property
    def held(self) -> bool:
        """Whether it stayed within its limits, and no request failed."""
        failures = sum(figure.failures for figure in (*self.base, *self.other))
        return self.cpu_ratio <= self.most and self.p99_ms <= self.p99_ms_most and not failures

    def __str__(self) -> str:
        return (
            f"{self.other[0].name}: CPU x{self.cpu_ratio:.2f}, p50 x{self.p50_ratio:.2f}, "
            f"p99 {self.p99_ms:.2f} ms"
        )

    def as_json(self) -> dict[str, object]:
        """Every figure of every round, and what came of them."""
        return {
            "name": self.other[0].name,
            "base": [asdict(figure) for figure in self.base],
            "other": [asdict(figure) for figure in self.other],
            "cpu_ratio": self.cpu_ratio,
            "p50_ratio": self.p50_ratio,
            "held": self.held,
        }


def table(title: str, pairs: Sequence[Pair], *, base: str, other: str) -> Table:
    """The pairs under the names of the two."""
    made = Table(title=title, title_justify="left")
    columns = (f"CPU ms, {base}", other, "ratio", f"p50 ms, {base}", other, "ratio", f"p99 ms, {other}", "")
    made.add_column("row", no_wrap=True)
    for column in columns:
        made.add_column(column, justify="right")
    for pair in pairs:
        made.add_row(
            pair.other[0].name,
            *(f"{min(figure.cpu_ms for figure in side):.3f}" for side in (pair.base, pair.other)),
            f"{pair.cpu_ratio:.2f}",
            *(f"{min(figure.p50_ms for figure in side):.2f}" for side in (pair.base, pair.other)),
            f"{pair.p50_ratio:.2f}",
            f"{pair.p99_ms:.2f}",
            f"{'within' if pair.held else 'OVER'} {pair.most:g}" + _in_words(pair.p99_ms_most),
        )
    return made


def _in_words(p99_ms_most: float) -> str:
    return "" if math.isinf(p99_ms_most) else f", p99 {p99_ms_most:g} ms"
