"""Owns the proof that the bytes of version 1 stay what they are, and that each damage to them has its own error."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shardd.contract.blobs import UNIT_SIZE, BlobId, NodeId
from shardd.engine.record import (
    BLOCK_SIZE,
    ENDS_COMMIT,
    HEADER_SIZE,
    DamagedFormatError,
    FormatError,
    Kind,
    Origin,
    Record,
    SegmentHeader,
    TruncatedFormatError,
    UnsupportedFormatError,
    check_body,
    check_place,
    decode_header,
    decode_segment_header,
    encode_footer,
    encode_head,
    encode_segment_header,
    metadata_in,
    record_size,
    unit_crcs,
    unit_crcs_in,
)
from tests.shardd.engine.shards import content, crcs_of

GOLDEN = Path(__file__).parents[2] / "golden" / "segments-1.txt"
ORIGIN = Origin(bytes(range(16)), NodeId(7), bytes(range(16, 32)))
BLOB = BlobId(bytes(range(32, 48)))
SEGMENT, OFFSET, SYNCED_TO = 9, 12_288, 8_192
UNITS = content(UNIT_SIZE + 5, 1)


def _record(units: bytes = UNITS, *, extent: int = 2, metadata: bytes = b"identity") -> Record:
    return Record(
        kind=Kind.EXTENT,
        blob=BLOB,
        shard=3,
        extent=extent,
        generation=5,
        length=len(units),
        crcs=crcs_of(BLOB, 3, extent, units),
        metadata=metadata,
        last=True,
    )


def _bytes_of(record: Record, units: bytes = UNITS) -> bytes:
    head = encode_head(
        record,
        segment=SEGMENT,
        offset=OFFSET,
        synced_to=SYNCED_TO,
        flags=ENDS_COMMIT,
        seed=ORIGIN.seed,
    )
    size = record_size(len(record.metadata), len(units))
    padding = bytes(-len(units) % 8)
    return head + units + padding + encode_footer(head, size)


def _golden() -> dict[str, bytes]:
    lines = (line.split() for line in GOLDEN.read_text().splitlines() if line and line[0] != "#")
    return {name: bytes.fromhex(data) for name, data in lines}


def test_the_bytes_are_those_of_the_golden_file() -> None:
    golden = _golden()
    small = content(13, 2)
    tombstone = Record(kind=Kind.TOMBSTONE, blob=BLOB, shard=3, extent=0, generation=5)
    made = {
        "segment-header": encode_segment_header(SegmentHeader(ORIGIN, SEGMENT, 1_750_000_000_000_000)),
        "extent": _bytes_of(_record(small), small),
        "empty-extent": _bytes_of(_record(b"", extent=0, metadata=b""), b""),
        "tombstone": _bytes_of(tombstone, b""),
    }
    assert made.keys() == golden.keys()
    for name, data in made.items():
        assert data == golden[name], name


def test_the_golden_bytes_are_read() -> None:
    golden = _golden()
    header = decode_header(golden["extent"], seed=ORIGIN.seed)
    check_place(header, segment=SEGMENT, offset=OFFSET)
    assert check_body(golden["extent"], header) == _record(content(13, 2))
    assert (header.synced_to, header.ends_commit) == (SYNCED_TO, True)
    assert decode_segment_header(golden["segment-header"]) == SegmentHeader(
        ORIGIN, SEGMENT, 1_750_000_000_000_000
    )


def test_a_record_comes_back_from_its_bytes() -> None:
    data = b"before" + _bytes_of(_record())
    header = decode_header(data, 6, seed=ORIGIN.seed)
    assert len(data) - 6 == header.size
    assert check_body(data, header, at=6) == _record()
    head = data[6 : 6 + header.head_size]
    assert metadata_in(head, header) == b"identity"
    assert unit_crcs_in(head, header) == _record().crcs


def test_unit_crcs_do_not_depend_on_the_pieces() -> None:
    units = content(3 * UNIT_SIZE + 77, 3)
    record = _record(units)
    for size in (1_000, 15_900, UNIT_SIZE, UNIT_SIZE + 1, len(units)):
        assert unit_crcs(record, [units[at : at + size] for at in range(0, len(units), size)]) == record.crcs
    assert unit_crcs(record, []) == b""


def _flipped(data: bytes, at: int) -> Iterator[bytes]:
    """The same with each bit of one byte flipped, and with all of them."""
    for mask in (*(1 << bit for bit in range(8)), 0xFF):
        yield data[:at] + bytes((data[at] ^ mask,)) + data[at + 1 :]


@pytest.mark.parametrize("at", range(HEADER_SIZE))
def test_every_flipped_bit_of_a_header_has_the_right_error(at: int) -> None:
    expected = UnsupportedFormatError if at in (4, 5) else DamagedFormatError
    for data in _flipped(_bytes_of(_record()), at):
        with pytest.raises(expected):
            decode_header(data, seed=ORIGIN.seed)


def test_every_flipped_byte_behind_the_header_is_found() -> None:
    small = content(1_003, 4)
    whole = _bytes_of(_record(small), small)
    header = decode_header(whole, seed=ORIGIN.seed)
    for at in range(HEADER_SIZE, len(whole)):
        data = bytearray(whole)
        data[at] ^= 0x01
        with pytest.raises(DamagedFormatError):
            check_body(bytes(data), header)


def test_truncated_is_not_damaged() -> None:
    whole = _bytes_of(_record())
    header = decode_header(whole, seed=ORIGIN.seed)
    for size in range(HEADER_SIZE):
        with pytest.raises(TruncatedFormatError):
            decode_header(whole[:size], seed=ORIGIN.seed)
    for size in (HEADER_SIZE, HEADER_SIZE + 30, len(whole) - 1):
        with pytest.raises(TruncatedFormatError):
            check_body(whole[:size], header)


def test_a_record_of_another_store_or_place_is_refused() -> None:
    data = _bytes_of(_record())
    for other in (
        Origin(b"x" * 16, ORIGIN.node, ORIGIN.incarnation),
        Origin(ORIGIN.cluster, NodeId(8), ORIGIN.incarnation),
        Origin(ORIGIN.cluster, ORIGIN.node, b"x" * 16),
    ):
        with pytest.raises(DamagedFormatError):
            decode_header(data, seed=other.seed)
    header = decode_header(data, seed=ORIGIN.seed)
    for segment, offset in ((SEGMENT + 1, OFFSET), (SEGMENT, OFFSET + 8)):
        with pytest.raises(DamagedFormatError):
            check_place(header, segment=segment, offset=offset)


def test_every_flipped_bit_of_a_segment_header_has_the_right_error() -> None:
    header = encode_segment_header(SegmentHeader(ORIGIN, SEGMENT, 1))
    for at in range(len(header)):
        expected: type[FormatError] = UnsupportedFormatError if at in (4, 5) else DamagedFormatError
        for data in _flipped(header, at):
            with pytest.raises(expected):
                decode_segment_header(data)


def test_a_short_segment_header_is_truncated() -> None:
    data = encode_segment_header(SegmentHeader(ORIGIN, SEGMENT, 1))
    for size in (0, 5, BLOCK_SIZE - 1):
        with pytest.raises(TruncatedFormatError):
            decode_segment_header(data[:size])
