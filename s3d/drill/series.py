"""Owns what a drill's plots show: operations and samples gathered by time; never draws."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil

from s3d.drill.facts import Operation, Record

Points = list[tuple[float, float]]  # seconds since the start, value


@dataclass(frozen=True, slots=True)
class Span:
    """A node was in one state, as "down", from one time to another."""

    node: int
    state: str
    began_s: float
    ended_s: float


def rates(
    operations: Sequence[Operation], end_s: float, step_s: float, *, weight: Callable[[Operation], float]
) -> Points:
    """The sum of `weight` a second of what ended in each step until `end_s`, put at the step's middle."""
    sums = [0.0] * max(1, ceil(end_s / step_s))
    for one in operations:
        if one.ended_s <= end_s:  # the one that ended last belongs to the last step: often it is what hung
            sums[min(int(one.ended_s / step_s), len(sums) - 1)] += weight(one)
    return [((at + 0.5) * step_s, total / step_s) for at, total in enumerate(sums)]


def quantiles(operations: Iterable[Operation], step_s: float, *, share: float) -> Points:
    """Within which time `share` of the operations were done that ended in each step; no point where none did."""
    took: dict[int, list[float]] = {}
    for one in operations:
        took.setdefault(int(one.ended_s / step_s), []).append(one.took_s)
    return [((at + 0.5) * step_s, quantile(took[at], share)) for at in sorted(took)]


def quantile(values: Sequence[float], share: float) -> float:
    """The least of `values` (one at least) that `share` of them do not exceed."""
    return sorted(values)[max(0, ceil(len(values) * share) - 1)]


def spans(record: Record) -> list[Span]:
    """Each node's states as they were seen, one span for each stretch of the same state."""
    found: list[Span] = []
    ends = [sample.at_s for sample in record.samples[1:]] + [record.took_s]
    last: dict[int, Span] = {}
    for sample, end_s in zip(record.samples, ends, strict=False):
        for node, state in sample.states.items():
            before = last.get(node)
            if before and before.state == state:
                last[node] = Span(node, state, before.began_s, end_s)
            else:
                found += [before] if before else []
                last[node] = Span(node, state, sample.at_s, end_s)
    return sorted([*found, *last.values()], key=lambda span: (span.node, span.began_s))
