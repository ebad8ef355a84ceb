"""Proves when a node is slow: beside the others, not because of one late answer, and not for ever."""

import random

import pytest

from s3d.shards.verdict import LATENCY_MAX_S, Latency, Verdict, VerdictLimits

LIMITS = VerdictLimits()


@pytest.mark.parametrize("scale_s", [0.002, 0.05, 0.4])
def test_the_estimate_rests_at_the_95th_percentile(scale_s: float) -> None:
    chance, latency = random.Random(1), Latency()
    under = [0, 0]
    for number in range(20_000):
        took_s = scale_s * chance.uniform(0, 1)
        if number > 2_000:
            under[took_s <= latency.p95_s] += 1
        latency.add(took_s)
    assert 0.93 < under[1] / sum(under) < 0.97


def test_the_estimate_has_ends() -> None:
    latency = Latency()
    for _ in range(100):
        latency.add(1e9)
    assert latency.p95_s == LATENCY_MAX_S
    for _ in range(10_000):
        latency.add(0.0)
    assert latency.p95_s > 0
    latency.add(1.0)
    assert latency.p95_s < 0.001


def fed(took_s: float, *, count: int = 200, writes: bool = False) -> Verdict:
    verdict = Verdict()
    for _ in range(count):
        (verdict.writes if writes else verdict.reads).add(took_s)
    return verdict


@pytest.mark.parametrize("writes", [False, True])
def test_who_is_late_beside_the_others_is_slow(writes: bool) -> None:
    others = [fed(0.01, writes=writes) for _ in range(4)]
    late = fed(0.5, writes=writes)
    late.judge(others, 0.0)
    assert late.slow
    for one in others:
        one.judge([late, *others[1:]], 0.0)
        assert not one.slow


def test_a_busy_machine_makes_nobody_slow() -> None:
    nodes = [fed(took_s) for took_s in (0.5, 0.8, 1.0, 1.5, 2.0)]
    for one in nodes:
        one.judge([other for other in nodes if other is not one], 0.0)
        assert not one.slow


def test_a_few_late_answers_are_forgiven() -> None:
    others, one = [fed(0.01) for _ in range(4)], fed(0.01)
    for _ in range(8):
        one.reads.add(2.0)
    one.judge(others, 0.0)
    assert not one.slow


@pytest.mark.parametrize("others", [0, 1])
def test_too_few_others_are_no_measure(others: int) -> None:
    late = fed(2.0)
    late.judge([fed(0.01)] * others, 0.0)
    assert not late.slow


def test_times_under_the_floor_are_prompt_whatever_the_others_take() -> None:
    one = fed(0.1)
    one.judge([fed(0.001) for _ in range(4)], 0.0)
    assert not one.slow


def test_each_trial_that_fails_doubles_the_time_until_the_next_and_a_good_one_forgets() -> None:
    verdict, others, now_s = Verdict(), [fed(0.01) for _ in range(4)], 100.0
    waits = []
    for _ in range(8):
        verdict.stood_still(now_s)
        assert verdict.slow and not verdict.on_trial
        began_s = now_s
        while verdict.slow:
            verdict.stood_still(now_s)  # what is known already changes nothing
            now_s += 0.5
            verdict.judge(others, now_s)
        assert verdict.on_trial
        waits.append(now_s - began_s)
    assert waits == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    verdict.judge(others, now_s + LIMITS.trial_s)
    assert not verdict.on_trial
    verdict.stood_still(now_s + 20)
    verdict.judge(others, now_s + 22)
    assert not verdict.slow


def test_a_trial_begins_with_a_clean_slate() -> None:
    others, late = [fed(0.01) for _ in range(4)], fed(0.5)
    late.judge(others, 0.0)
    late.judge(others, LIMITS.back_off_first_s)
    late.judge(others, LIMITS.back_off_first_s + 0.5)
    assert not late.slow and late.on_trial
