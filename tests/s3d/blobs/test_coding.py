"""Proves what stripes become, how units come out of chunks, and that a damaged unit never passes."""

import random

import pytest

from s3d.blobs.coding import code, cut, verify
from s3d.placement.erasure import codec
from shardd.contract.blobs import UNIT_SIZE, new_blob_id, shard_length, unit_crc

BLOB = new_blob_id(1)
CODEC = codec(2, 3, 2)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 100, 3 * UNIT_SIZE, 3 * UNIT_SIZE + 4, 7 * UNIT_SIZE])
def test_columns_hold_the_body_and_their_checksums(size: int) -> None:
    body = random.Random(size).randbytes(size)
    stripes = [
        [body[at : at + 1_000], memoryview(body)[at + 1_000 : at + 3 * UNIT_SIZE]]
        for at in range(0, size, 3 * UNIT_SIZE)
    ]
    seen: list[bytes] = []

    class Digest:
        def update(self, data: bytes, /) -> None:
            seen.append(data)

    columns = code(stripes, codec=CODEC, blob=BLOB, first_unit=32, digests=Digest())
    assert b"".join(seen) == body
    assert {column.length for column in columns} == {shard_length(size, 3)}
    data = b"".join(b"".join(units) for units in zip(*(column.units for column in columns[:3]), strict=True))
    assert data[:size] == body and not any(data[size:]) and len(data) - size < 3
    for shard, column in enumerate(columns):
        crcs = [unit_crc(BLOB, shard, 32 + number, unit) for number, unit in enumerate(column.units)]
        assert column.crcs == b"".join(crc.to_bytes(4, "big") for crc in crcs)


def test_a_blob_of_nothing_has_empty_columns() -> None:
    columns = code([], codec=CODEC, blob=BLOB, first_unit=0, digests=None)
    assert [(column.units, column.crcs, column.length) for column in columns] == [([], b"", 0)] * 5


@pytest.mark.parametrize(
    "length", [0, 1, UNIT_SIZE - 1, UNIT_SIZE, UNIT_SIZE + 1, 3 * UNIT_SIZE, 3 * UNIT_SIZE + 7]
)
@pytest.mark.parametrize("step", [1_452, 16_000, UNIT_SIZE, 1 << 20])
def test_units_come_out_of_chunks_of_any_length(length: int, step: int) -> None:
    data = random.Random(length).randbytes(length)
    chunks = [data[at : at + step] for at in range(0, length, step)]
    assert cut(chunks, length) == [data[at : at + UNIT_SIZE] for at in range(0, length, UNIT_SIZE)]
    assert cut([*chunks, b"x"], length) == [] and cut(chunks, length + 1) == []


def test_a_unit_passes_with_its_own_checksum_in_its_own_place_alone() -> None:
    units = [random.Random(number).randbytes(100) for number in range(4)]
    crcs = b"".join(
        unit_crc(BLOB, 1, 5 + number, unit).to_bytes(4, "big") for number, unit in enumerate(units)
    )

    def check(units: list[bytes], crcs: bytes = crcs, shard: int = 1, first: int = 5) -> list[bytes | None]:
        return verify(units, crcs, blob=BLOB, shard=shard, first_unit=first)

    assert check(units) == units
    damaged = bytes([units[2][0] ^ 1]) + units[2][1:]
    assert check([units[0], units[1], damaged, units[3]]) == [units[0], units[1], None, units[3]]
    assert check([units[1], units[0], units[2], units[3]]) == [None, None, units[2], units[3]]
    assert check(units, shard=2) == check(units, first=6) == [None] * 4
    assert check(units, crcs[:12]) == units[:3]
