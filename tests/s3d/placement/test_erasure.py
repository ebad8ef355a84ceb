"""Proves both codecs by one suite: any k units give all others, and what is stored today is read for ever."""

import itertools
import random
from hashlib import sha256

import pytest

from s3d.placement.erasure import CODECS, Codec, codec

CODES = [(1, 0), (1, 1), (2, 1), (3, 2), (4, 2), (8, 4), (2, 6)]
LENGTHS = [1, 2, 15, 16, 17, 1_000, 65_535, 65_536]


@pytest.fixture(params=CODECS, scope="module")
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def units_of(coder: Codec, length: int) -> list[bytes]:
    stripe = random.Random(length).randbytes(coder.k * length)
    return [stripe[at : at + length] for at in range(0, len(stripe), length)] + coder.encode(stripe)


@pytest.mark.parametrize(("k", "m"), CODES)
@pytest.mark.parametrize("length", LENGTHS)
def test_any_k_units_give_all_others(name: str, k: int, m: int, length: int) -> None:
    coder = codec(CODECS[name], k, m)
    units = units_of(coder, length)
    assert [len(unit) for unit in units] == [length] * (k + m)
    sets = list(itertools.combinations(range(k + m), k))
    for survivors in sets if length <= 1_000 else random.Random(k).sample(sets, min(len(sets), 12)):
        lost = [index for index in range(k + m) if index not in survivors]
        assert coder.reconstruct({index: units[index] for index in survivors}, lost) == [
            units[index] for index in lost
        ]


def test_wanted_units_come_in_the_order_asked_and_more_than_k_are_welcome(name: str) -> None:
    coder = codec(CODECS[name], 3, 2)
    units = units_of(coder, 100)
    assert coder.reconstruct(dict(enumerate(units[:4])), [4]) == [units[4]]
    assert coder.reconstruct({1: units[1], 3: units[3], 4: units[4]}, [2, 0]) == [units[2], units[0]]
    assert coder.reconstruct({1: units[1], 2: units[2], 3: units[3]}, [4, 0]) == [units[4], units[0]]


@pytest.mark.parametrize(("k", "m"), CODES)
def test_fewer_than_k_are_refused(name: str, k: int, m: int) -> None:
    coder = codec(CODECS[name], k, m)
    with pytest.raises(ValueError, match="units of"):
        coder.reconstruct(dict(enumerate(units_of(coder, 10)[: k - 1])), [k - 1])


def test_codecs_are_made_once_and_unknown_ids_are_refused() -> None:
    assert codec(1, 3, 2) is codec(1, 3, 2)
    assert {codec(number, 3, 2).id for number in (1, 2)} == {1, 2}
    with pytest.raises(ValueError, match="no codec"):
        codec(3, 3, 2)


def test_the_parity_of_today_is_the_parity_of_version_1() -> None:
    """A codec whose parity changed could not read what is stored: golden digests of RS(3,2) and RS(4,2)."""
    stripe = bytes(range(240))
    made = {
        (number, k): sha256(b"".join(codec(number, k, 2).encode(stripe))).hexdigest()[:16]
        for number in (1, 2)
        for k in (3, 4)
    }
    assert made == {
        (1, 3): "80f093cf15d36053",
        (1, 4): "70e7acb78ed365b6",
        (2, 3): "59285eb9e406ef96",
        (2, 4): "2923ab81282ea77d",
    }
