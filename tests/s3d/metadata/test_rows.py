"""Owns the proof of rows.py and of the commands' bytes: golden files, and every flipped or missing byte found."""

import struct
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from s3d.metadata import commands, rows
from s3d.metadata.machine.apply import HANDLERS
from s3d.metadata.rows import (
    RowChecksumError,
    RowError,
    RowTruncatedError,
    RowVersionError,
    decode_row,
    encode_row,
)
from shardd.contract.blobs import crc32c
from tests.s3d.metadata import samples
from tests.s3d.metadata.samples import COMMANDS, ROWS

GOLDEN = Path(__file__).parents[2] / "golden"
KEY = b"\x00\x00\x00\x00\x00\x01\x00\x00a/b"


def golden(name: str) -> dict[str, bytes]:
    lines = [line.split() for line in (GOLDEN / name).read_text().splitlines() if not line.startswith("#")]
    return {name: bytes.fromhex(value) for name, value in lines}


def seal(head: bytes) -> bytes:
    return head + crc32c(head, crc32c(KEY)).to_bytes(4, "big")


@pytest.mark.parametrize("name", ROWS)
def test_rows_are_the_golden_ones_and_come_back(name: str) -> None:
    row = ROWS[name]
    assert encode_row(KEY, row) == golden("rows-1.txt")[name]
    assert decode_row(type(row), KEY, golden("rows-1.txt")[name]) == row


def test_golden_holds_every_row() -> None:
    assert golden("rows-1.txt").keys() == ROWS.keys()
    assert {type(row) for row in ROWS.values()} == set(rows.Row.__subclasses__())


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_are_the_golden_ones_and_come_back(name: str) -> None:
    assert commands.encode_command(COMMANDS[name]) == golden("commands-1.txt")[name]
    assert commands.decode_command(golden("commands-1.txt")[name]) == COMMANDS[name]


def test_commands_without_the_fields_that_were_added_later_are_read() -> None:
    earlier = golden("commands-1-earlier.txt")
    assert {name: commands.decode_command(raw) for name, raw in earlier.items()} == {
        name: COMMANDS[name] for name in earlier
    }


def test_golden_holds_every_command_and_each_has_a_handler() -> None:
    assert golden("commands-1.txt").keys() == COMMANDS.keys()
    kinds = {type(command) for command in COMMANDS.values()}
    assert kinds == set(get_args(commands.AnyCommand)) == set(HANDLERS)


@pytest.mark.parametrize("name", ROWS)
def test_every_flipped_bit_is_found(name: str) -> None:
    row, raw = ROWS[name], encode_row(KEY, ROWS[name])
    for bit in range(len(raw) * 8):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        grown = 8 <= bit < 40 and flipped > raw  # its length says more than is there
        with pytest.raises(RowError) as raised:
            decode_row(type(row), KEY, bytes(flipped))
        assert raised.type is (
            RowVersionError if bit < 8 else RowTruncatedError if grown else RowChecksumError
        ), bit


@pytest.mark.parametrize("name", ROWS)
def test_every_cut_is_found_as_one(name: str) -> None:
    raw = encode_row(KEY, ROWS[name])
    for length in range(len(raw)):
        with pytest.raises(RowTruncatedError):
            decode_row(type(ROWS[name]), KEY, raw[:length])


def test_a_row_under_a_damaged_key_is_found() -> None:
    raw = encode_row(KEY, ROWS["object"])
    for bit in range(len(KEY) * 8):
        key = bytearray(KEY)
        key[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RowChecksumError):
            decode_row(rows.ObjectRow, bytes(key), raw)


def test_a_row_of_a_later_version_says_so_though_its_checksum_holds() -> None:
    body = msgspec.msgpack.encode(ROWS["node"])
    with pytest.raises(RowVersionError):
        decode_row(rows.NodeRow, KEY, seal(struct.pack(">BI", 2, len(body)) + body))


def test_a_whole_row_of_another_kind_is_an_error_of_rows() -> None:
    with pytest.raises(RowChecksumError):
        decode_row(rows.VersionRow, KEY, encode_row(KEY, ROWS["node"]))


def test_a_row_from_before_a_field_was_added_has_its_default() -> None:
    body = msgspec.msgpack.encode(["photos", 65_536, "123456789012", 5])
    row = decode_row(rows.BucketRow, KEY, seal(struct.pack(">BI", 1, len(body)) + body))
    assert row == rows.BucketRow("photos", 65_536, "123456789012", 5)


def test_a_row_with_a_field_of_later_programs_is_read() -> None:
    body = msgspec.msgpack.encode([b"i", 6, "a field to come"])
    row = decode_row(rows.LeaseRow, KEY, seal(struct.pack(">BI", 1, len(body)) + body))
    assert row == rows.LeaseRow(b"i", 6)


def test_rows_without_the_fields_that_were_added_later_are_read() -> None:
    earlier = {
        "version": msgspec.structs.replace(ROWS["version"], null=rows.UNKNOWN),
        "node": rows.NodeRow(5, samples.OTHER, samples.TIME_US),
    }
    found = golden("rows-1-earlier.txt")
    assert {name: decode_row(type(ROWS[name]), KEY, raw) for name, raw in found.items()} == earlier
