"""Owns the proof of retry.py: first packets read strictly, tokens bound to address, ids and time."""

import random

import pytest

from shardd.transport import retry
from shardd.transport.native import Address

KEY = b"k" * 32
HERE: Address = ("127.0.0.1", 4_433)
FACTS = {"original_id": b"original", "retry_id": b"retry-id"}


def initial(
    *, to_id: bytes = b"12345678", from_id: bytes = b"abcd", token: bytes = b"", size: int = 1_200
) -> bytes:
    head = b"\xc3" + (1).to_bytes(4, "big") + bytes([len(to_id)]) + to_id + bytes([len(from_id)]) + from_id
    head += (0x4000 | len(token)).to_bytes(2, "big") + token
    return head + bytes(size - len(head))


def test_an_initial_is_read() -> None:
    assert retry.parse_initial(initial(token=b"t" * 70)) == retry.Initial(b"12345678", b"abcd", b"t" * 70)
    assert retry.parse_initial(initial()) == retry.Initial(b"12345678", b"abcd", b"")
    assert retry.destination_id(initial(), 8) == b"12345678"
    assert retry.destination_id(b"\x40" + b"87654321" + bytes(30), 8) == b"87654321"
    assert retry.destination_id(b"\x40", 8) == b""


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        initial()[:1_199],
        b"\x43" + initial()[1:],  # a short header
        b"\xf3" + initial()[1:],  # a Retry
        b"\xe3" + initial()[1:],  # a Handshake packet
        initial()[:1] + b"\0\0\0\2" + initial()[5:],
        initial(to_id=b"x" * 21),
        initial(from_id=b"x" * 21),
        initial()[:19] + b"\xff" * 8 + initial()[27:],  # a token of 2^62 bytes
    ],
)
def test_anything_else_is_not_an_initial(datagram: bytes) -> None:
    assert retry.parse_initial(datagram) is None


def test_noise_is_not_a_fault() -> None:
    chance = random.Random(1)
    for _ in range(5_000):
        noise = bytearray(initial(token=b"t"))
        for _ in range(chance.randrange(1, 6)):
            noise[chance.randrange(60)] = chance.randrange(256)
        retry.parse_initial(bytes(noise))
        retry.destination_id(chance.randbytes(chance.randrange(40)), 8)


def test_a_token_gives_the_original_id_back() -> None:
    token = retry.make_token(KEY, HERE, now_s=5.0, **FACTS)
    for now_s in (5.0, 5.0 + retry.TOKEN_LIFE_S):
        found = retry.check_token(KEY, HERE, token=token, retry_id=b"retry-id", now_s=now_s)
        assert found == b"original"


@pytest.mark.parametrize(
    ("key", "address", "retry_id", "now_s"),
    [
        (b"x" * 32, HERE, b"retry-id", 5.0),
        (KEY, ("127.0.0.2", 4_433), b"retry-id", 5.0),
        (KEY, ("127.0.0.1", 4_434), b"retry-id", 5.0),
        (KEY, HERE, b"other-id", 5.0),
        (KEY, HERE, b"retry-id", 5.1 + retry.TOKEN_LIFE_S),
    ],
)
def test_a_token_holds_for_nothing_else(key: bytes, address: Address, retry_id: bytes, now_s: float) -> None:
    token = retry.make_token(KEY, HERE, now_s=5.0, **FACTS)
    assert retry.check_token(key, address, token=token, retry_id=retry_id, now_s=now_s) is None


def test_any_flip_and_any_cut_of_a_token_is_refused() -> None:
    token = retry.make_token(KEY, HERE, now_s=5.0, **FACTS)
    for at in range(len(token)):
        flipped = token[:at] + bytes([token[at] ^ 1]) + token[at + 1 :]
        for bad in (flipped, token[:at]):
            assert retry.check_token(KEY, HERE, token=bad, retry_id=b"retry-id", now_s=5.0) is None
