"""Owns the proof of what a bout of repair says of itself."""

from s3d.blobs.bout import TOLD_EVERY_US, Bout


def test_a_bout_tells_now_and_then_and_at_its_end() -> None:
    bout = Bout()
    assert bout.news(7, 1_000) is None, "nothing was mended"
    bout.work(4_000_000)
    bout.mended(100)
    first = bout.news(6, 5_000_000)
    assert first is not None
    assert (first.started_us, first.done, first.total, first.moved_bytes) == (4_000_000, 1, 7, 100)
    bout.work(5_000_000)
    bout.mended(50)
    assert bout.news(5, 5_000_001) is None, "it has just told"
    bout.work(5_000_001)
    second = bout.news(5, 5_000_000 + TOLD_EVERY_US)
    assert second is not None and (second.done, second.total, second.finished) == (2, 7, False)
    last = bout.news(0, 5_000_001 + TOLD_EVERY_US)
    assert last is not None and last.finished and last.started_us == 4_000_000
    assert bout.news(0, 1 << 60) is None
    bout.work(9_000_000)
    bout.mended(1)
    again = bout.news(0, 9_000_001)
    assert again is not None and (again.started_us, again.done, again.moved_bytes) == (9_000_000, 1, 1)


def test_a_bout_that_waits_says_nothing_of_the_time_it_takes() -> None:
    bout = Bout()
    bout.work(1_000_000)
    bout.mended(100)
    assert not getattr(bout.news(1, 3_000_000), "stands", True)
    bout.work(6_000_000)
    waiting = bout.news(1, 6_000_000, waits=True)
    assert waiting is not None and waiting.stands and (waiting.done, waiting.total) == (1, 2)
    bout.work(9_000_000)
    bout.mended(100)
    last = bout.news(0, 10_000_000)
    assert last is not None and last.updated_us - last.started_us == 3_000_000


def test_time_in_which_a_bout_waits_for_nodes_tells_nothing_of_its_speed() -> None:
    bout = Bout()
    bout.work(1_000_000)
    bout.mended(100)
    assert bout.news(1, 3_000_000) is not None
    bout.work(93_000_000)
    bout.mended(100)
    last = bout.news(0, 95_000_000)
    assert last is not None and last.updated_us - last.started_us == 4_000_000 and last.moved_bytes == 200
