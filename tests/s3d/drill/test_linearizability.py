"""The check of order: histories of a right register pass, each kind of wrong answer is refused."""

import itertools
import os
import random

import pytest

from s3d.drill.linearizability import Act, Call, Outcome, Value, after, violations

READ, WRITE, SWAP = Act.READ, Act.WRITE, Act.SWAP


def call(act: Act, value: Value, began_s: float, ended_s: float, **more: object) -> Call:
    return Call("k", act, value, began_s, ended_s, **more)  # type: ignore[arg-type]


GOOD = {
    "nothing yet": [call(READ, None, 0, 1)],
    "read after write": [call(WRITE, "a", 0, 1), call(READ, "a", 2, 3)],
    "read beside a write, new": [call(WRITE, "a", 0, 3), call(READ, "a", 1, 2)],
    "read beside a write, old": [call(WRITE, "a", 0, 3), call(READ, None, 1, 2)],
    "two writes at once, either last": [
        call(WRITE, "a", 0, 3),
        call(WRITE, "b", 0, 3),
        call(READ, "a", 4, 5),
        call(READ, "a", 6, 7),
    ],
    "deleted": [call(WRITE, "a", 0, 1), call(WRITE, None, 2, 3), call(READ, None, 4, 5)],
    "an unknown write shows late": [
        call(WRITE, "a", 0, 1),
        call(WRITE, "b", 2, 3, outcome=Outcome.UNKNOWN),
        call(READ, "a", 4, 5),
        call(READ, "b", 6, 7),
    ],
    "an unknown write never shows": [
        call(WRITE, "a", 0, 1),
        call(WRITE, "b", 2, 3, outcome=Outcome.UNKNOWN),
        call(READ, "a", 4, 5),
    ],
    "one of two swaps wins": [
        call(SWAP, "a", 0, 3),
        call(SWAP, "b", 0, 3, outcome=Outcome.REFUSED),
        call(READ, "a", 4, 5),
    ],
    "a swap follows a swap": [
        call(SWAP, "a", 0, 1),
        call(SWAP, "b", 2, 3, expected="a"),
        call(READ, "b", 4, 5),
    ],
    "an unknown read says nothing": [call(READ, "z", 0, 1, outcome=Outcome.UNKNOWN)],
}
BAD = {
    "a value that nobody wrote": [call(READ, "z", 0, 1)],
    "an acknowledged write is lost": [call(WRITE, "a", 0, 1), call(READ, None, 2, 3)],
    "old after new": [
        call(WRITE, "a", 0, 1),
        call(WRITE, "b", 2, 3),
        call(READ, "a", 4, 5),
    ],
    "new, then old again, beside the write": [
        call(WRITE, "a", 0, 1),
        call(WRITE, "b", 2, 9),
        call(READ, "b", 3, 4),
        call(READ, "a", 5, 6),
    ],
    "back from the dead": [
        call(WRITE, "a", 0, 1),
        call(WRITE, None, 2, 3),
        call(READ, "a", 4, 5),
    ],
    "seen before it was written": [call(READ, "a", 0, 1), call(WRITE, "a", 2, 3)],
    "both creators win": [call(SWAP, "a", 0, 3), call(SWAP, "b", 0, 3)],
    "refused without a cause": [call(SWAP, "a", 0, 1, outcome=Outcome.REFUSED)],
    "a swap of what was not there": [call(WRITE, "a", 0, 1), call(SWAP, "b", 2, 3, expected="z")],
    "a lost update": [
        call(WRITE, "a", 0, 1),
        call(SWAP, "b", 2, 5, expected="a"),
        call(SWAP, "c", 2, 5, expected="a"),
    ],
    "an unknown write shows, then does not": [
        call(WRITE, "a", 0, 1),
        call(WRITE, "b", 2, 3, outcome=Outcome.UNKNOWN),
        call(READ, "b", 4, 5),
        call(READ, "a", 6, 7),
    ],
}


@pytest.mark.parametrize("name", GOOD)
def test_what_an_order_explains_passes(name: str):
    assert violations(GOOD[name]) == []


@pytest.mark.parametrize("name", BAD)
def test_what_no_order_explains_is_refused(name: str):
    (found,) = violations(BAD[name])
    assert found.key == "k" and found.stuck


def test_keys_are_judged_apart():
    other = Call("other", READ, "z", 0, 1)
    assert [found.key for found in violations([*GOOD["read after write"], other])] == ["other"]


def test_histories_of_a_right_register_pass_and_one_wrong_answer_is_seen():
    """Seeded histories of ten clients; then one read is changed to a value that another order cannot give."""
    cases = int(os.environ.get("QUOIN_ORDERS", "40"))
    for seed in range(cases):
        chance = random.Random(seed)
        history = _history(chance, length=200)
        assert violations(history) == [], seed
        reads = [at for at, one in enumerate(history) if one.act is READ]
        at = chance.choice(reads)
        one = history[at]
        history[at] = call(READ, "never", one.began_s, one.ended_s)
        assert violations(history), seed


def test_verdicts_are_those_of_trying_every_order():
    """Small histories of chance, most of them wrong: the same verdict as of all permutations."""
    cases, seen = int(os.environ.get("QUOIN_ORDERS", "40")) * 10, {True: 0, False: 0}
    for seed in range(cases):
        chance = random.Random(f"small {seed}")
        calls = [_any_call(chance) for _ in range(chance.randrange(2, 6))]
        right = not violations(calls)
        assert right == _some_order_explains(calls), (seed, calls)
        seen[right] += 1
    assert min(seen.values()) > cases // 20, seen


def test_unknown_outcomes_without_number_leave_a_lie_decided():
    """Each of them may take effect at any later time: all their subsets are more than anybody can try."""
    calls = []
    for at in range(150):
        calls.append(call(WRITE, f"v{at}", at, at + 0.5))
        calls.append(call(WRITE, f"lost{at}", at, at + 0.5, outcome=Outcome.UNKNOWN))
        calls.append(call(WRITE, None, at, at + 0.5, outcome=Outcome.UNKNOWN))
        calls.append(call(READ, f"v{at}", at + 0.6, at + 0.8))
    assert violations(calls) == []
    (found,) = violations([*calls, call(READ, "v100", 150.0, 150.5)])
    assert found.explained == 300 and [one.value for one in found.stuck] == ["v100"]
    assert violations([*calls, call(READ, "lost100", 150.0, 150.5)]) == []


def _history(chance: random.Random, *, length: int) -> list[Call]:
    """Each call takes effect at a moment of chance between its ends; up to ten overlap."""
    value: Value = None
    calls = []
    for number in range(length):
        moment_s = float(number)
        began_s, ended_s = moment_s - chance.random() * 5, moment_s + chance.random() * 5
        act = chance.choice([READ, READ, WRITE, SWAP])
        wanted = None if act is WRITE and chance.random() < 0.3 else f"v{number}"
        one = call(act, value if act is READ else wanted, began_s, ended_s)
        if act is SWAP:
            fits = chance.random() < 0.7
            outcome = Outcome.DONE if fits else Outcome.REFUSED
            one = call(SWAP, wanted, began_s, ended_s, expected=value if fits else "other", outcome=outcome)
        if act is not READ and chance.random() < 0.05:
            one = call(act, one.value, began_s, ended_s, expected=one.expected, outcome=Outcome.UNKNOWN)
            if chance.random() < 0.5:
                calls.append(one)
                continue
        found = after(value, one)
        assert found is not None
        (value,) = found
        calls.append(one)
    return calls


def _any_call(chance: random.Random) -> Call:
    began_s = chance.random() * 3
    act = chance.choice([READ, WRITE, SWAP])
    outcome = chance.choice([Outcome.DONE, Outcome.DONE, Outcome.UNKNOWN])
    if act is SWAP and chance.random() < 0.3:
        outcome = Outcome.REFUSED
    values = [None, "a", "b"]
    return call(
        act,
        chance.choice(values),
        began_s,
        began_s + chance.random() * 2,
        expected=chance.choice(values),
        outcome=outcome,
    )


def _some_order_explains(calls: list[Call]) -> bool:
    known = [one for one in calls if one.outcome is not Outcome.UNKNOWN]
    maybe = [one for one in calls if one.outcome is Outcome.UNKNOWN and one.act is not READ]
    for count in range(len(maybe) + 1):
        for chosen in itertools.combinations(maybe, count):
            for order in itertools.permutations([*known, *chosen]):
                if _fits(order):
                    return True
    return False


def _fits(order: tuple[Call, ...]) -> bool:
    value: Value = None
    for at, one in enumerate(order):
        if any(
            later.outcome is not Outcome.UNKNOWN and later.ended_s < one.began_s for later in order[at + 1 :]
        ):
            return False
        found = after(value, one)
        if found is None:
            return False
        (value,) = found
    return True
