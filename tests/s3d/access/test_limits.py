"""Rate limits: token buckets whose time the test says, and who draws from which."""

import pytest
from hypothesis import given, strategies as st

from s3d.access.limits import Budget, Limits
from s3d.protocol.errors import S3Error
from shardd.contract.cluster import LimitConfig

ONE, OTHER = "000000000001", "000000000002"


def spend(limits: Limits, now_s: float, account: str = ONE, action: str = "s3:GetObject") -> int:
    """0 where the request passes, or the seconds that its caller is told to wait."""
    refused = limits.refused
    try:
        limits.spend(account, action, now_s)
    except S3Error as error:
        assert (error.code, error.status) == ("SlowDown", 503)
        assert limits.refused == refused + 1
        return int(error.headers["Retry-After"])
    assert limits.refused == refused
    return 0


def test_a_burst_then_the_rate() -> None:
    limits = Limits([LimitConfig(2.0, burst=3)])
    assert [spend(limits, 100.0) for _ in range(5)] == [0, 0, 0, 1, 1]
    assert [spend(limits, at_s) for at_s in (100.4, 100.5, 100.6, 101.0, 101.0)] == [1, 0, 1, 0, 1]
    assert [spend(limits, 200.0) for _ in range(4)] == [0, 0, 0, 1]  # a pause fills it, and no more than that


@pytest.mark.parametrize(("rate", "passes"), [(5.0, 5), (0.1, 1), (1.5, 1)])
def test_without_a_burst_it_is_a_second_of_requests(rate: float, passes: int) -> None:
    limits = Limits([LimitConfig(rate)])
    assert [spend(limits, 1.0) for _ in range(7)].count(0) == passes


def test_a_slow_rate_says_how_long_to_wait() -> None:
    limits = Limits([LimitConfig(0.1)])
    assert [spend(limits, at_s) for at_s in (0.0, 0.0, 4.0, 9.5, 10.0)] == [0, 10, 6, 1, 0]


def test_each_account_has_a_budget_of_its_own() -> None:
    limits = Limits([LimitConfig(1.0)])
    assert [spend(limits, 0.0, account) for account in (ONE, OTHER, "", ONE, OTHER, "")] == [0, 0, 0, 1, 1, 1]


def test_one_account_or_nobody_is_meant() -> None:
    limits = Limits([LimitConfig(1.0, account_id=ONE), LimitConfig(2.0, account_id="anonymous")])
    assert [spend(limits, 0.0, ONE) for _ in range(2)] == [0, 1]
    assert [spend(limits, 0.0, "") for _ in range(3)] == [0, 0, 1]
    assert [spend(limits, 0.0, OTHER) for _ in range(9)] == [0] * 9


def test_actions_share_the_budget_of_their_entry() -> None:
    limits = Limits([LimitConfig(2.0, actions=("s3:List*", "s3:putobject"))])
    actions = ("s3:ListBucket", "s3:PutObject", "s3:ListAllMyBuckets", "s3:GetObject", "s3:PutObjectAcl")
    assert [spend(limits, 0.0, action=action) for action in actions] == [0, 0, 1, 0, 0]


def test_what_one_budget_refuses_is_drawn_from_none() -> None:
    limits = Limits([LimitConfig(10.0), LimitConfig(1.0, actions=("s3:PutObject",))])
    assert [spend(limits, 0.0, action="s3:PutObject") for _ in range(5)] == [0, 1, 1, 1, 1]
    assert [spend(limits, 0.0) for _ in range(10)] == [0] * 9 + [1]


def test_a_clock_that_goes_back_gives_and_takes_nothing() -> None:
    limits = Limits([LimitConfig(1.0, burst=2)])
    assert [spend(limits, at_s) for at_s in (100.0, 50.0, 50.0, 50.5, 51.0)] == [0, 0, 1, 1, 0]


@given(
    st.floats(0.01, 1_000.0),
    st.integers(1, 50),
    st.lists(st.floats(0.0, 20.0), min_size=1, max_size=200),
)
def test_never_more_than_burst_and_rate_allow(rate: float, burst: int, pauses: list[float]) -> None:
    budget, passed, now_s = Budget(rate, burst, burst, 0.0), 0, 0.0
    for pause_s in pauses:
        now_s += pause_s
        if budget.wait_s(now_s) == 0.0:
            budget.tokens -= 1.0
            passed += 1
    assert passed <= burst + rate * now_s + 1e-6
