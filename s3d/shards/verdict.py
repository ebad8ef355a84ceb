"""Owns whether a node is prompt or slow: what it took beside what the others took; never asks it, never has a clock."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median

LATENCY_MIN_S = 0.000_5
LATENCY_MAX_S = 4.0
LATENCY_AT_FIRST_S = 0.02
_FALL = 0.99
# 19 requests under the estimate take back what one over it adds: it rests where 95 of 100 are under.
_RISE = _FALL**-19


@dataclass(slots=True)
class Latency:
    """The time under which 95 of 100 requests are answered, followed in one number.

    Frugal streaming in proportion (Ma, Muthukrishnan, Sandler: Frugal Streaming for Estimating Quantiles, 2013): it
    doubles in four late answers, and halves in seventy prompt ones.
    """

    p95_s: float = LATENCY_AT_FIRST_S

    def add(self, took_s: float) -> None:
        """One request was answered after so long, or was given up after it."""
        if took_s > self.p95_s:
            self.p95_s = min(self.p95_s * _RISE, LATENCY_MAX_S)
        elif self.p95_s > LATENCY_MIN_S:
            self.p95_s *= _FALL


@dataclass(frozen=True, slots=True)
class VerdictLimits:
    """When a node is slow. A machine that is busy makes all its nodes late, so only the others tell what late is."""

    times: float = 5.0  # as slow as this many times the median of the others ...
    floor_s: float = 0.25  # ... and not under this
    others_min: int = 2  # fewer are no measure
    back_off_first_s: float = 2.0  # so long a slow node is left alone, then it is tried
    back_off_max_s: float = 60.0  # every trial that fails doubles it
    trial_s: float = 10.0  # so long it is prompt again before its past is forgotten


@dataclass(slots=True)
class Verdict:
    """One node. Prompt until its puts stand still or its answers are late beside those of the others.

    Then it is slow for a while, which tells nothing about it, for it is asked little; then it is on trial: prompt,
    but what condemns it again does so sooner and for longer. Times are of the caller's clock, in seconds.
    """

    limits: VerdictLimits = field(default_factory=VerdictLimits)
    reads: Latency = field(default_factory=Latency)
    writes: Latency = field(default_factory=Latency)
    slow: bool = False
    on_trial: bool = False
    _until_s: float = 0.0
    _back_off_s: float = 0.0

    def stood_still(self, now_s: float) -> None:
        """Its puts did, while those of others moved."""
        if self.slow:
            return
        first, most = self.limits.back_off_first_s, self.limits.back_off_max_s
        self._back_off_s = min(2 * self._back_off_s, most) if self._back_off_s else first
        self._until_s = now_s + self._back_off_s
        self.slow, self.on_trial = True, False

    def judge(self, others: Sequence["Verdict"], now_s: float) -> None:
        """Judge it beside the `others` that are up; to be called about twice a second."""
        if self.slow:
            if now_s >= self._until_s:
                self._try_again(now_s)
        elif self._is_late((one.reads.p95_s for one in others), self.reads) or self._is_late(
            (one.writes.p95_s for one in others), self.writes
        ):
            self.stood_still(now_s)
        elif self.on_trial and now_s >= self._until_s:
            self.on_trial, self._back_off_s = False, 0.0

    def _try_again(self, now_s: float) -> None:
        self.slow, self.on_trial = False, True
        self._until_s = now_s + self.limits.trial_s
        self.reads, self.writes = Latency(), Latency()

    def _is_late(self, others_s: Iterable[float], mine: Latency) -> bool:
        limits = self.limits
        if mine.p95_s <= limits.floor_s:
            return False
        known_s = list(others_s)
        return len(known_s) >= limits.others_min and mine.p95_s > limits.times * median(known_s)
