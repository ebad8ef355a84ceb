"""Proves when the loop may wait for the disk."""

from shardd.promptness import REST_S, SLOW_S, Promptness


def test_slow_work_ends_the_waiting_for_a_while_and_quick_work_does_not() -> None:
    now_s = 5.0
    prompt = Promptness(lambda: now_s)
    assert prompt
    with prompt.watched():
        now_s += SLOW_S / 2
    assert prompt
    with prompt.watched():
        now_s += SLOW_S * 2
    assert not prompt
    now_s += REST_S / 2
    assert not prompt
    now_s += REST_S
    assert prompt
