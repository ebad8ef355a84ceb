"""Owns the check that a history is linearizable: that each operation took effect at one moment between its two ends.

After Wing and Gong, "Testing and Verifying Concurrent Objects" (1993), with Lowe's memo of what was tried (2017): depth
first over the calls that may be next, each pair of the key's value and the set of calls done looked at once. Keys are
registers of their own; a list counts as one read of each key that it could have named.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import Final, NamedTuple

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
    return Violation(key, search.deepest.sure_calls(), tuple(search.next_of(search.deepest)))


class _Done(NamedTuple):
    """The calls that are done.

    Of the sure ones, by their begin: the first `first`, and those of the bits of `window` after them; of the unsure
    ones those of the bits of `used`.
    """

    first: int = 0
    window: int = 0
    used: int = 0

    def with_sure(self, at: int) -> "_Done":
        """And the sure call at this place."""
        window = self.window | 1 << (at - self.first)
        ones = (~window & (window + 1)).bit_length() - 1
        return _Done(self.first + ones, window >> ones, self.used)

    def with_unsure(self, at: int) -> "_Done":
        """And the unsure call at this place."""
        return self._replace(used=self.used | 1 << at)

    def sure_calls(self) -> int:
        """How many of the sure ones."""
        return self.first + self.window.bit_count()


class _Search:
    """Over the orders of one key's calls: sure ones have to be done, unsure ones (UNKNOWN) may be.

    Of two states that differ in what is `used` alone, the one that used less can do all that the other can. So the
    other is not looked at, and the search does not grow with each way to waste unsure calls.
    """

    def __init__(self, calls: Sequence[Call]) -> None:
        ordered = sorted(calls, key=lambda call: call.began_s)
        self._sure = [call for call in ordered if call.outcome is not Outcome.UNKNOWN]
        self._unsure = [call for call in ordered if call.outcome is Outcome.UNKNOWN]
        self.deepest = _Done()

    def run(self, before: Value) -> bool:
        """Whether there is an order."""
        seen: dict[tuple[Value, int, int], list[int]] = {}
        waiting, looked_at = [(before, _Done())], 0
        while waiting:
            value, done = self._settled(*waiting.pop())
            if done.first == len(self._sure):
                return True
            used = seen.setdefault((value, done.first, done.window), [])
            if any(less & done.used == less for less in used):
                continue
            used.append(done.used)
            looked_at += 1
            if looked_at > STATES_MAX:
                raise UndecidedError(f"{len(self._sure)} calls of {self._sure[0].key}: too many at once")
            self.deepest = max(self.deepest, done, key=_Done.sure_calls)
            waiting += self._followers(value, done)
        return False

    def next_of(self, done: _Done) -> Iterator[Call]:
        """The sure calls of which one would have to be next."""
        return (self._sure[at] for at in self._candidates(done)[0])

    def _followers(self, value: Value, done: _Done) -> Iterator[tuple[Value, _Done]]:
        """What may be next, the last of them first: sure ones before unsure ones, those that began first before all."""
        sure, end_s = self._candidates(done)
        unsure = list(self._maybe(done, end_s))
        possible = [*(self._sure[at] for at in sure), *(self._unsure[at] for at in unsure)]
        asking = [call for call in possible if call.act is not Act.WRITE]
        for at in unsure:
            found = after(value, self._unsure[at])
            # An unsure one was worth doing only if a call that may be next depends on the value that it leaves.
            if found and found[0] != value and any(_answers(found[0], call) for call in asking):
                yield found[0], done.with_unsure(at)
        for at in reversed(sure):
            if found := after(value, self._sure[at]):
                yield found[0], done.with_sure(at)

    def _settled(self, value: Value, done: _Done) -> tuple[Value, _Done]:
        """With every call done that may be next and only looks: doing it now forbids nothing later."""
        found = True
        while found:
            found = False
            for at in self._candidates(done)[0]:
                if _only_looks(self._sure[at]) and after(value, self._sure[at]) is not None:
                    done, found = done.with_sure(at), True
        return value, done

    def _candidates(self, done: _Done) -> tuple[list[int], float]:
        """The sure calls that began before any that is not done ended, and the first of these ends."""
        end_s, places = inf, list[int]()
        for at in range(done.first, len(self._sure)):
            if self._sure[at].began_s > end_s:
                break
            if not done.window >> (at - done.first) & 1:
                places.append(at)
                end_s = min(end_s, self._sure[at].ended_s)
        return [at for at in places if self._sure[at].began_s <= end_s], end_s

    def _maybe(self, done: _Done, end_s: float) -> Iterator[int]:
        """The unsure calls that may be next; of those that want the same, the first alone: it may stand for any."""
        wanted = set[tuple[Act, Value, Value]]()
        for at, call in enumerate(self._unsure):
            if call.began_s > end_s:
                return
            same = (call.act, call.value, call.expected)
            if not done.used >> at & 1 and same not in wanted:
                wanted.add(same)
                yield at


def _answers(value: Value, call: Call) -> bool:
    """Whether the call's answer, or what it would do where there was none, is that of this value."""
    found = after(value, call)
    return found is not None and (call.outcome is not Outcome.UNKNOWN or found != (value,))


def _only_looks(call: Call) -> bool:
    """A write of what is there already is none of these: it may be needed later."""
    return call.act is Act.READ or (call.act is Act.SWAP and call.outcome is Outcome.REFUSED)
