"""Proves that hedges stay within their share of all reads, however they come."""

import random

from s3d.blobs.hedging import HEDGE_SHARE, HEDGES_AT_FIRST, HEDGES_AT_ONCE_MAX, Hedges


def test_hedges_stay_within_their_share() -> None:
    hedges, chance, sent = Hedges(), random.Random(1), 0
    for _ in range(50_000):
        hedges.asked += 3
        count = chance.choice((1, 2, 3))
        if chance.random() < 0.2 and hedges.take(count):
            sent += count
        assert sent <= HEDGES_AT_FIRST + HEDGE_SHARE * hedges.asked, "also of the first reads"
    assert HEDGE_SHARE * hedges.asked - 10 < sent
    assert hedges.sent and hedges.refused


def test_what_was_not_used_is_saved_up_to_a_limit() -> None:
    hedges = Hedges()
    hedges.asked = 1_000_000
    sent = 0
    while hedges.take(1):
        sent += 1
    assert sent == HEDGES_AT_ONCE_MAX and hedges.refused == 1
    hedges.asked += 19
    assert not hedges.take(1)
    hedges.asked += 1
    assert hedges.take(1) and not hedges.take(1)
