"""Owns the check that a history is linearizable: that each operation took effect at one moment between its two ends.

After Wing and Gong, "Testing and Verifying Concurrent Objects" (1993), with Lowe's memo of what was tried (2017): depth
first over the calls that may be next, each pair of the key's value and the set of calls done looked at once. Keys are
registers of their own; a list counts as one read of each key that it could have named.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import Final

STATES_MAX: Final = 2_000_000  # pairs of one key that are looked at before the check gives up

Value = str | None  # an ETag; None where there is no object


class Act(Enum):
    """What a call does to its key."""

    READ = "read"
    WRITE = "write"  # a PUT, or a DELETE where the value is None
    SWAP = "swap"  # a PUT under a condition


class Outcome(Enum):
    """What the store said of it. REFUSED is for a SWAP whose condition did not hold."""

    DONE = "done"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Call:
    """One call about one key: what was read or wanted, what a SWAP expected to find, and its two ends in seconds.

    An UNKNOWN one may take effect at any time after its begin, or never.
    """

    key: str
    act: Act
    value: Value
    began_s: float
    ended_s: float
    outcome: Outcome = Outcome.DONE
    expected: Value = None
    client: int = 0


@dataclass(frozen=True, slots=True)
class Violation:
    """A key whose calls no order explains: how many could be put in order, and those that could not be next."""

    key: str
    explained: int
    stuck: tuple[Call, ...]


class UndecidedError(Exception):
    """Too many calls at once to try all orders."""


def violations(calls: Iterable[Call], before: Value = None) -> list[Violation]:
    """Every key of the history that is not linearizable, each having held `before` at first.

    Raises UndecidedError.
    """
    keys: dict[str, list[Call]] = {}
    for call in calls:
        if call.act is not Act.READ or call.outcome is Outcome.DONE:
            keys.setdefault(call.key, []).append(call)
    return [found for key in sorted(keys) if (found := _check(key, keys[key], before))]


def after(value: Value, call: Call) -> tuple[Value] | None:
    """The key's value after the call took effect on `value`, in a tuple; None where the call's answer forbids that."""
    match call.act:
        case Act.READ:
            return (value,) if value == call.value else None
        case Act.WRITE:
            return (call.value,)
        case Act.SWAP:
            fits = value == call.expected
            if call.outcome is Outcome.UNKNOWN:
                return (call.value if fits else value,)
            if call.outcome is Outcome.REFUSED:
                return None if fits else (value,)
            return (call.value,) if fits else None


def _check(key: str, calls: Sequence[Call], before: Value) -> Violation | None:
    search = _Search(calls)
    if search.run(before):
        return None
    return Violation(key, search.deepest.bit_count(), tuple(search.next_of(search.deepest)))


class _Search:
    """Over the orders of one key's calls. A set of calls done is an integer, one bit for each call by its begin."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self._calls = sorted(calls, key=lambda call: call.began_s)
        self._ends = [inf if call.outcome is Outcome.UNKNOWN else call.ended_s for call in self._calls]
        self._needed = sum(1 << at for at, end_s in enumerate(self._ends) if end_s < inf)
        self.deepest = 0

    def run(self, before: Value) -> bool:
        """Whether there is an order."""
        seen: set[tuple[Value, int]] = set()
        waiting: list[tuple[Value, int]] = [(before, 0)]
        while waiting:
            value, done = self._settled(*waiting.pop())
            if done & self._needed == self._needed:
                return True
            if (value, done) in seen:
                continue
            seen.add((value, done))
            if len(seen) > STATES_MAX:
                raise UndecidedError(f"{len(self._calls)} calls of {self._calls[0].key}: too many at once")
            if (done & self._needed).bit_count() > (self.deepest & self._needed).bit_count():
                self.deepest = done
            # Those that began first are tried first: the last on the stack.
            for at in reversed(list(self._candidates(done))):
                found = after(value, self._calls[at])
                if found is not None:
                    waiting.append((found[0], done | 1 << at))
        return False

    def next_of(self, done: int) -> Iterator[Call]:
        """The calls of which one would have to be next."""
        return (self._calls[at] for at in self._candidates(done))

    def _settled(self, value: Value, done: int) -> tuple[Value, int]:
        """With every call done that may be next and only looks: doing it now forbids nothing later."""
        found = True
        while found:
            found = False
            for at in self._candidates(done):
                if _only_looks(self._calls[at]) and after(value, self._calls[at]) is not None:
                    done |= 1 << at
                    found = True
        return value, done

    def _candidates(self, done: int) -> Iterator[int]:
        """Calls that began before any that is not done ended."""
        first = (~done & (done + 1)).bit_length() - 1  # the first that is not done
        end_s = inf
        open_calls = []
        for at in range(first, len(self._calls)):
            if self._calls[at].began_s > end_s:
                break
            if not done >> at & 1:
                open_calls.append(at)
                end_s = min(end_s, self._ends[at])
        return (at for at in open_calls if self._calls[at].began_s <= end_s)


def _only_looks(call: Call) -> bool:
    """A write of what is there already is none of these: it may be needed later."""
    return call.act is Act.READ or (call.act is Act.SWAP and call.outcome is Outcome.REFUSED)
