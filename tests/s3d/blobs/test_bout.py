"""Owns the proof of what a bout of repair says of itself."""

from s3d.blobs.bout import TOLD_EVERY_US, Bout


def test_a_bout_tells_now_and_then_and_at_its_end() -> None:
    bout = Bout()
    assert bout.news(7, 1_000) is None, "nothing was mended"
    bout.mended(100, 5_000_000)
    first = bout.news(6, 5_000_000)
    assert first is not None
    assert (first.started_us, first.done, first.total, first.moved_bytes) == (5_000_000, 1, 7, 100)
    bout.mended(50, 5_000_001)
    assert bout.news(5, 5_000_001) is None, "it has just told"
    second = bout.news(5, 5_000_000 + TOLD_EVERY_US)
    assert second is not None and (second.done, second.total, second.finished) == (2, 7, False)
    last = bout.news(0, 5_000_001 + TOLD_EVERY_US)
    assert last is not None and last.finished and last.started_us == 5_000_000
    assert bout.news(0, 1 << 60) is None
    bout.mended(1, 9_000_000)
    again = bout.news(0, 9_000_001)
    assert again is not None and (again.started_us, again.done, again.moved_bytes) == (9_000_000, 1, 1)
