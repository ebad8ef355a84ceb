"""Owns the proof of wire.py: golden frames, every split and every flip of a byte, limits, and hostile bodies."""

import struct
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from shardd.contract import hello, messages, wire
from shardd.contract.blobs import crc32c
from shardd.contract.errors import CorruptFrameError, TruncatedFrameError, UnsupportedVersionError
from shardd.contract.hello import Role

GOLDEN = Path(__file__).parents[2] / "golden" / "frames-1.txt"
CLUSTER = bytes(range(16))
BLOB = bytes(range(16, 32))

FRAMES = {
    "put": (messages.PutExtent(BLOB, 4, 7, 2, 5, b"\x01\x02\x03\x04", True, b"who"), b"bytes"),
    "get": (messages.GetUnits(BLOB, 4, 7, 3, 13), b""),
    "delete": (messages.DeleteShards([(BLOB, 4, 2), (BLOB, 0, 1)]), b""),
    "stat": (messages.StatShard(BLOB, 4), b""),
    "list": (messages.ListShards(BLOB + b"\x04", 500), b""),
    "get-status": (messages.GetStatus(), b""),
    "done": (messages.Done(), b""),
    "units": (messages.Units(5, b"\x01\x02\x03\x04"), b"bytes"),
    "stat-reply": (messages.Stat([(0, 2, 1 << 20), (1, 2, 17)], True, b"who"), b""),
    "page": (messages.Page([(BLOB, 4, 2, 2, 1_048_593, True)], BLOB + b"\x04"), b""),
    "status": (
        messages.Status("ok", 3, BLOB, "0.1.0", 1_700_000_000_000_000, 10, 20, 3, 4, 5, 6, *range(7, 14)),
        b"",
    ),
    "failure": (messages.Failure(5, "no room"), b""),
    "challenge": (hello.Challenge(bytes(32)), b""),
    "proof": (hello.Proof(Role.GATEWAY, 3, bytes(32), b"certificate", b"signature", b"padding"), b""),
    "welcome": (hello.Welcome(b"padding"), b""),
}


def grammar_of(body: object) -> wire.Grammar:
    if type(body) in (hello.Challenge, hello.Proof, hello.Welcome):
        return wire.HELLO
    return wire.REQUEST if hasattr(type(body), "OPERATION") else wire.REPLY


def frame_bytes(name: str) -> bytes:
    body, payload = FRAMES[name]
    return wire.encode(body, cluster=CLUSTER, epoch=9, payload_size=len(payload)) + payload


def golden() -> dict[str, bytes]:
    lines = [line.split() for line in GOLDEN.read_text().splitlines() if not line.startswith("#")]
    return {name: bytes.fromhex(value) for name, value in lines}


def header(
    operation: int, *, body: bytes = b"", payload_size: int = 0, body_size: int | None = None
) -> bytes:
    size = len(body) if body_size is None else body_size
    fields = struct.pack(">4sBBH16sIII", wire.MAGIC, 1, 0, operation, CLUSTER, 0, size, payload_size)
    return fields + struct.pack(">I", crc32c(fields)) + body


def decode(data: bytes, grammar: wire.Grammar) -> wire.Frame:
    decoder = wire.Decoder(grammar)
    decoder.feed(data)
    return decoder.finish()


@pytest.mark.parametrize("name", FRAMES)
def test_frames_are_the_golden_ones_and_come_back(name: str) -> None:
    body, payload = FRAMES[name]
    assert frame_bytes(name) == golden()[name]
    frame = decode(golden()[name], grammar_of(body))
    assert frame.body == body and b"".join(frame.payload) == payload
    assert (frame.cluster, frame.epoch, frame.payload_size) == (CLUSTER, 9, len(payload))


def test_golden_holds_every_operation() -> None:
    assert golden().keys() - {"status-earlier", "status-earlier-2"} == FRAMES.keys()


def test_a_status_without_the_fields_that_were_added_later_is_read() -> None:
    known = messages.Status("ok", 3, BLOB, "0.1.0", 1_700_000_000_000_000, 10, 20, 3, 4, 5, 6)
    assert decode(golden()["status-earlier"], wire.REPLY).body == known
    scrubbed = {"scrub_started_us": 7, "scrub_records": 8, "scrub_damaged": 9, "scrub_passes": 10}
    earlier = decode(golden()["status-earlier-2"], wire.REPLY).body
    assert earlier == msgspec.structs.replace(known, **scrubbed)


@pytest.mark.parametrize("name", FRAMES)
def test_any_split_gives_the_same_frame(name: str) -> None:
    data, grammar = frame_bytes(name), grammar_of(FRAMES[name][0])
    whole = decode(data, grammar)
    for at in range(len(data) + 1):
        decoder = wire.Decoder(grammar)
        decoder.feed(data[:at])
        decoder.feed(data[at:])
        frame = decoder.finish()
        assert frame.body == whole.body and b"".join(frame.payload) == b"".join(whole.payload)
    drip = wire.Decoder(grammar)
    for each in data:
        drip.feed(bytes([each]))
    assert drip.finish().body == whole.body


def test_payload_chunks_are_handed_on_as_they_came() -> None:
    head = wire.encode(FRAMES["put"][0], cluster=CLUSTER, payload_size=6)
    decoder, chunks = wire.Decoder(wire.REQUEST), [b"abc", b"def"]
    assert decoder.feed(head) is None
    assert decoder.feed(chunks[0]) is None
    frame = decoder.feed(chunks[1])
    assert frame is not None and all(got is sent for got, sent in zip(frame.payload, chunks, strict=True))


@pytest.mark.parametrize("name", FRAMES)
def test_any_prefix_is_truncated(name: str) -> None:
    data = frame_bytes(name)
    for size in range(len(data)):
        with pytest.raises(TruncatedFrameError):
            decode(data[:size], grammar_of(FRAMES[name][0]))


@pytest.mark.parametrize("name", FRAMES)
def test_every_flipped_bit_of_the_header_is_the_right_error(name: str) -> None:
    data = frame_bytes(name)
    for at in range(wire.HEADER_SIZE):
        for mask in (*(1 << bit for bit in range(8)), 0xFF):
            flipped = bytearray(data)
            flipped[at] ^= mask
            with pytest.raises(UnsupportedVersionError if at == 4 else CorruptFrameError):
                decode(bytes(flipped), grammar_of(FRAMES[name][0]))


def test_bytes_after_the_end_are_corrupt() -> None:
    with pytest.raises(CorruptFrameError, match="after the end"):
        decode(frame_bytes("put") + b"x", wire.REQUEST)


@pytest.mark.parametrize(
    ("data", "grammar"),
    [
        (header(0xFFFF), wire.REQUEST),
        (header(0x8001), wire.REQUEST),
        (header(1), wire.REPLY),
        (header(1), wire.HELLO),
        (header(1, body_size=1 << 20), wire.REQUEST),
        (header(1, body_size=(1 << 32) - 1), wire.REQUEST),
        (header(1, payload_size=wire.PAYLOAD_SIZE_MAX + 1), wire.REQUEST),
        (header(0x4002, body_size=wire.HELLO_BODY_SIZE_MAX + 1), wire.HELLO),
        (header(0x4002, payload_size=1), wire.HELLO),
    ],
)
def test_what_exceeds_the_grammar_is_refused_by_its_header_alone(data: bytes, grammar: wire.Grammar) -> None:
    with pytest.raises(CorruptFrameError):
        wire.Decoder(grammar).feed(data)


@pytest.mark.parametrize(
    "body",
    [
        b"\x91" * 100_000 + b"\xc0",  # nested 10^5 deep
        b"\x98" + b"\xc4\x10" + BLOB + b"\x91" * 100_000,
        b"\x9b"
        + b"\xc4\x10"
        + BLOB
        + b"\x00" * 4
        + b"\xc4\x00\xc2\xc4\x00"
        + b"\x00\x00"
        + b"\x91" * 100_000
        + b"\xc0",
        b"\xdd\xff\xff\xff\xff",  # an array of 2^32 - 1
        b"\xc6\xff\xff\xff\xff",  # a string of bytes as long
        b"\xc1",  # never used
        b"",
        b"\x90\x90",
        b"\x98\xc0",
    ],
)
def test_hostile_bodies_are_corrupt(body: bytes) -> None:
    with pytest.raises(CorruptFrameError):
        decode(header(1, body=body), wire.REQUEST)


def test_a_field_added_at_the_end_is_passed_over() -> None:
    assert decode(header(6, body=b"\x91\xa5later"), wire.REQUEST).body == messages.GetStatus()


def test_a_decoder_keeps_no_more_than_a_frame() -> None:
    decoder = wire.Decoder(wire.REQUEST)
    decoder.feed(header(1, body_size=wire.BODY_SIZE_MAX)[: wire.HEADER_SIZE])
    with pytest.raises(CorruptFrameError):
        for _ in range(2 * wire.BODY_SIZE_MAX // 4_096):
            decoder.feed(b"\x91" * 4_096)


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=200), cut=st.integers(0, 200))
def test_noise_is_one_of_the_three_errors(data: bytes, cut: int) -> None:
    decoder = wire.Decoder(wire.REQUEST)
    with pytest.raises((CorruptFrameError, TruncatedFrameError, UnsupportedVersionError)):
        decoder.feed(data[:cut])
        decoder.feed(data[cut:])
        decoder.finish()
