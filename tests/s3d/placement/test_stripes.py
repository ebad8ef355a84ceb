"""Proves the geometry against a blob laid out byte by byte."""

import random

import pytest

from s3d.placement.stripes import Layout
from shardd.contract.blobs import EXTENT_UNITS_MAX, UNIT_SIZE, shard_length

MIB = 1 << 20


def places(layout: Layout) -> list[tuple[int, int, int]]:
    """(stripe, shard, offset) of sampled bytes, by walking over all units in order."""
    found, stripe, left = [], 0, layout.size
    while left:
        data = min(left, layout.k * UNIT_SIZE)
        length = -(-data // layout.k)
        assert layout.unit_length(stripe) == length
        for shard in range(layout.k):
            inside = min(length, max(0, data - shard * length))
            found += [(stripe, shard, offset) for offset in range(inside)]
        left -= data
        stripe += 1
    return found


@pytest.mark.parametrize("k", [1, 2, 3, 8])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 1000, 65_535, 65_536, 65_537, 200_001])
def test_every_byte_is_where_the_layout_says(k: int, size: int) -> None:
    layout = Layout(size, k)
    found = places(layout)
    assert len(found) == size
    step = max(1, size // 997)
    for offset in {*range(0, size, step), size - 1}:
        place = layout.locate(offset)
        assert (place.stripe, place.shard, place.offset) == found[offset]


@pytest.mark.parametrize("k", [1, 2, 3, 8])
def test_spans_cover_a_range_once_and_need_no_unit_too_many(k: int) -> None:
    chance = random.Random(k)
    for _ in range(300):
        size = chance.choice([1, 100, UNIT_SIZE * k, 3 * MIB, 7 * MIB + 13])
        start = chance.randrange(size)
        stop = chance.randint(start + 1, min(size, start + chance.choice([1, 1000, 4 * MIB])))
        stripes = chance.choice([1, 4, EXTENT_UNITS_MAX])
        layout, at = Layout(size, k), start
        needed = set()
        while at < stop:
            span = layout.span(at, stop, stripes=stripes)
            assert 0 <= span.first < span.stop <= EXTENT_UNITS_MAX and span.stop - span.first <= stripes
            assert span.head == layout.locate(at).offset
            base = span.extent * EXTENT_UNITS_MAX
            for shard, (first, count) in enumerate(span.needs):
                needed |= {(base + row, shard) for row in range(first, first + count)}
            at += span.length
        assert at == stop
        wanted = set()
        for offset in {*range(start, stop, 1000), stop - 1}:
            place = layout.locate(offset)
            wanted.add((place.stripe, place.shard))
        first, last = min(wanted), max(wanted)
        assert wanted <= needed
        assert min(needed) == first and max(needed) == last
        assert len(needed) == (last[0] - first[0]) * k + last[1] - first[1] + 1


@pytest.mark.parametrize("size", [0, 1, 3 * MIB - 1, 3 * MIB, 3 * MIB + 1, 7 * MIB + 13])
def test_extents_add_up_to_the_shard(size: int) -> None:
    layout = Layout(size, 3)
    lengths = [layout.extent_length(extent) for extent in range(layout.extents)]
    assert sum(lengths) == layout.shard_length == shard_length(size, 3)
    assert all(length == MIB for length in lengths[:-1]) and len(lengths) >= 1
    for extent, length in enumerate(lengths):
        whole = layout.whole(extent)
        assert whole.stop == -(-length // UNIT_SIZE) and whole.needs == ((0, whole.stop),) * 3
