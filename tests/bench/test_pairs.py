"""How two that were measured in turns compare: by the best of the rounds, and never where a request failed."""

from dataclasses import replace

import pytest

from bench.measure import Figure
from bench.pairs import Pair, table

FIGURE = Figure("row", 1, 100, 0, 0.0, 50.0, 4.0, 9.0, 1.0, 2.0, "op", 0.1)


def figures(*cpu_ms: float) -> list[Figure]:
    return [replace(FIGURE, cpu_ms=one, p50_ms=2 * one) for one in cpu_ms]


@pytest.mark.parametrize(
    ("base", "other", "ratio", "held"),
    [
        (figures(2.0, 9.0), figures(8.0, 2.1), 1.05, True),
        (figures(2.0, 9.0), figures(8.0, 2.2), 1.10, False),
        (figures(4.0), figures(2.0), 0.50, True),
        (figures(0.0), figures(2.0), 1.00, True),
    ],
)
def test_the_best_round_of_each_counts(
    base: list[Figure], other: list[Figure], ratio: float, held: bool
) -> None:
    base = [replace(figure, p50_ms=max(1.0, figure.p50_ms)) for figure in base]
    pair = Pair(base, other, most=1.05)
    assert pair.cpu_ratio == pytest.approx(ratio) and pair.held is held
    shown = table("title", [pair], base="older", other="this")
    assert shown.row_count == 1 and ("OVER 1.05" in list(shown.columns[-1].cells)) is not held


def test_p50s_are_compared_too() -> None:
    assert Pair(figures(2.0, 4.0), figures(3.0, 8.0), most=2.0).p50_ratio == pytest.approx(1.5)


@pytest.mark.parametrize("side", [0, 1])
def test_a_row_with_a_failed_request_does_not_hold(side: int) -> None:
    sides = [figures(2.0), figures(2.0)]
    sides[side] = [replace(FIGURE, failures=1)]
    assert not Pair(*sides, most=1.05).held


def test_a_row_over_its_time_does_not_hold() -> None:
    slow = [replace(FIGURE, p99_ms=51.0), replace(FIGURE, p99_ms=60.0)]
    assert not Pair([FIGURE], slow, most=2.0, p99_ms_most=50.0).held
    assert Pair([FIGURE], [*slow, FIGURE], most=2.0, p99_ms_most=50.0).held
