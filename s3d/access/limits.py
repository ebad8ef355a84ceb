"""Owns how many requests an account may make: a token bucket for each budget of [[limits]]; never a clock."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from s3d.access.patterns import fits
from s3d.protocol.errors import S3Error
from shardd.contract.cluster import LimitConfig

ANONYMOUS: Final = "anonymous"


@dataclass(slots=True)
class Budget:
    """A token bucket: `burst` tokens at most, `rate` more each second. Times are seconds, given by the caller."""

    rate: float
    burst: float
    tokens: float
    at_s: float

    def wait_s(self, now_s: float) -> float:
        """How long until there is a whole token; 0 where there is one. A clock that goes back gives nothing."""
        self.tokens = min(self.burst, self.tokens + max(0.0, now_s - self.at_s) * self.rate)
        self.at_s = now_s
        return max(0.0, (1.0 - self.tokens) / self.rate)


class Limits:
    """All budgets of one gateway process. Each account has its own of an entry that names none.

    There are as many as entries times accounts of the file at most, and those who do not sign are one account.
    """

    def __init__(self, entries: Iterable[LimitConfig]) -> None:
        self._entries = tuple(entries)
        self._matching: dict[tuple[str, str], tuple[Budget, ...]] = {}
        self._budgets: dict[tuple[int, str], Budget] = {}
        self.refused = 0

    def spend(self, account: str, action: str, now_s: float) -> None:
        """Draw one request from every budget that it falls under, "" being nobody's account.

        Raises SlowDown, which says when to come back, where one of them is used up; then none is drawn from.
        """
        budgets = self._matching.get((account, action))
        if budgets is None:
            budgets = self._matching[account, action] = self._find(account or ANONYMOUS, action, now_s)
        wait_s = max((budget.wait_s(now_s) for budget in budgets), default=0.0)
        if wait_s > 0.0:
            self.refused += 1
            raise S3Error("SlowDown", headers={"Retry-After": str(math.ceil(wait_s))})
        for budget in budgets:
            budget.tokens -= 1.0

    def _find(self, account: str, action: str, now_s: float) -> tuple[Budget, ...]:
        found = []
        for number, entry in enumerate(self._entries):
            meant = any(fits(pattern.lower(), action.lower()) for pattern in entry.actions)
            if meant and entry.account_id in ("", account):
                burst = float(entry.burst or max(1.0, entry.requests_per_s))
                fresh = Budget(entry.requests_per_s, burst, burst, now_s)
                found.append(self._budgets.setdefault((number, account), fresh))
        return tuple(found)
