"""Owns the proof that rows of the index come back from their bytes, and that a changed bit in one is noticed."""

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from shardd.engine.record import record_size
from shardd.engine.rows import (
    DamagedRowError,
    ExtentRow,
    TombstoneRow,
    decode_extent,
    decode_tombstone,
    encode_extent,
    encode_tombstone,
    extent_in,
    extent_suffix,
    shard_key,
    split_shard_key,
)
from tests.shardd.engine.shards import blob

words = st.integers(0, (1 << 32) - 1)
longs = st.integers(0, (1 << 64) - 1)
holders = st.lists(longs, max_size=4).map(tuple)
extent_rows = st.builds(ExtentRow, words, longs, longs, words, words, st.booleans(), st.booleans(), holders)
tombstone_rows = st.builds(TombstoneRow, words, longs, longs, holders)


GOLDEN = Path(__file__).parents[2] / "golden" / "index-rows-1.txt"
ROWS = {
    "extent": encode_extent(ExtentRow(1, 2, 4_096, 104, 70_001)),
    "last-extent": encode_extent(ExtentRow(3, 4, 8_192, 112, 5, last=True)),
    "quarantined-extent": encode_extent(ExtentRow(6, 7, 12_288, 96, 0, quarantined=True, holders=(2, 3))),
    "tombstone": encode_tombstone(TombstoneRow(8, 9, 16_384, (1, 5))),
    "key": shard_key(blob(10), 4) + extent_suffix(17),
}


def test_the_bytes_are_those_of_the_golden_file() -> None:
    lines = (line.split() for line in GOLDEN.read_text().splitlines() if not line.startswith("#"))
    assert {name: bytes.fromhex(data) for name, data in lines} == ROWS


@given(extent_rows, tombstone_rows)
def test_rows_come_back(extent: ExtentRow, tombstone: TombstoneRow) -> None:
    assert decode_extent(encode_extent(extent)) == extent
    assert decode_tombstone(encode_tombstone(tombstone)) == tombstone


@pytest.mark.parametrize("held", [(), (7, 9)])
def test_every_flipped_bit_and_every_cut_is_noticed(held: tuple[int, ...]) -> None:
    extent = encode_extent(ExtentRow(1, 2, 3, 104, 5, holders=held))
    for data, decode in (
        (extent, decode_extent),
        (encode_tombstone(TombstoneRow(1, 2, 3, held)), decode_tombstone),
    ):
        for bit in range(len(data) * 8):
            changed = bytearray(data)
            changed[bit // 8] ^= 1 << bit % 8
            with pytest.raises(DamagedRowError):
                decode(bytes(changed))
        for size in range(len(data)):
            with pytest.raises(DamagedRowError):
                decode(data[:size])


def test_keys_sort_by_blob_shard_and_extent() -> None:
    places = [
        (number, shard, extent) for number in (1, 2) for shard in (0, 255) for extent in (0, 1, 256, 1 << 31)
    ]
    keys = [shard_key(blob(number), shard) + extent_suffix(extent) for number, shard, extent in places]
    assert keys == sorted(keys)
    assert [extent_in(key) for key in keys] == [extent for _, _, extent in places]
    assert split_shard_key(keys[-1][:17]) == (blob(2), 255)


def test_a_row_knows_the_size_of_its_record() -> None:
    for metadata, length in ((0, 0), (13, 1), (300, 70_001)):
        head = record_size(metadata, 0) - 16 if length == 0 else None
        row = ExtentRow(1, 1, 4_096, head or _head(metadata, length), length)
        assert row.size == record_size(metadata, length)


def _head(metadata: int, length: int) -> int:
    units = -(-length // 65_536)
    return -(-(80 + metadata + 4 + 4 * units) // 8) * 8
