"""Owns the proof of keys.py: golden keys, and an order of bytes that is the order of what they stand for."""

import random
from itertools import pairwise
from pathlib import Path

from hypothesis import given, strategies as st

from s3d.metadata import keys

GOLDEN = Path(__file__).parents[2] / "golden" / "keys-1.txt"
BLOB = bytes(range(16))
LONG = b"0123456789" * 100  # 1,000 bytes: cut twice

KEYS = {
    "bucket-prefix": keys.bucket_prefix(65_536),
    "current": keys.current_key(65_536, b"a/\0b"),
    "version": keys.version_key(65_536, b"a/\0b", 9),
    "upload": keys.upload_key(65_536, b"a/\0b", "upload-1"),
    "part": keys.part_key("upload-1", 10_000),
    "manifest": keys.manifest_key(9, 2),
    "account-bucket": keys.account_bucket_key("123456789012", "photos"),
    "write": keys.write_key(70_000),
    "degraded": keys.degraded_key(3, BLOB),
    "condemned": keys.condemned_key(1_790_000_000_123_456, BLOB, 77, 1),
    "node": keys.node_key(5),
    "applied": keys.APPLIED,
    "long": keys.place_of(LONG),
    "long-signposts": b"".join(place + region for place, region in keys.signposts(LONG)),
}

s3_keys = st.binary(min_size=1, max_size=40) | st.text("\0\1a/ÿ", min_size=1, max_size=9).map(str.encode)


def golden() -> dict[str, bytes]:
    lines = [line.split() for line in GOLDEN.read_text().splitlines() if not line.startswith("#")]
    return {name: bytes.fromhex(value) for name, value in lines}


def test_keys_are_the_golden_ones() -> None:
    assert golden() == KEYS


def test_no_physical_key_is_longer_than_lmdb_takes() -> None:
    for length in range(1, 2_200):
        key = b"k" * length
        assert len(keys.place_of(key)) <= 511
        assert all(len(place) <= 511 for place, _ in keys.signposts(key))


@given(s3_keys, s3_keys, st.integers(1, 1 << 62), st.integers(1, 1 << 62))
def test_versions_are_in_order_of_key_then_newest_first(a: bytes, b: bytes, old: int, new: int) -> None:
    in_order = keys.version_key(1, a, old) < keys.version_key(1, b, new)
    assert in_order == ((a, -old) < (b, -new))


@given(s3_keys, s3_keys, st.integers(1, 1 << 62))
def test_versions_come_apart_again_and_stay_within_their_prefixes(
    key: bytes, prefix: bytes, sequence: int
) -> None:
    at = keys.version_key(7, key, sequence)
    found, tail = keys.split_stack(at)
    assert (found, tail) == (key, (keys.SEQUENCE_MAX - sequence).to_bytes(8, "big"))
    assert at.startswith(keys.stack_prefix(7, key))
    assert at.startswith(keys.partial_prefix(7, prefix)) == key.startswith(prefix)


@given(st.binary(max_size=5), st.binary(max_size=5))
def test_after_prefix_is_the_least_key_behind_all_that_begin_with_it(prefix: bytes, other: bytes) -> None:
    after = keys.after_prefix(prefix)
    if not after:
        assert not prefix.strip(b"\xff")
        return
    assert not after.startswith(prefix) and prefix < after
    if other >= prefix and other < after:
        assert other.startswith(prefix)


def test_condemned_shards_are_in_order_of_when_they_are_due() -> None:
    chance = random.Random(1)
    filed = sorted((chance.randrange(1 << 62), chance.randbytes(16), n) for n in range(500))
    places = [keys.condemned_key(due_us, blob, n, 0) for due_us, blob, n in filed]
    assert all(a < b for a, b in pairwise(places))
    assert all(
        place < keys.due_prefix(due_us + 1) for place, (due_us, _, _) in zip(places, filed, strict=True)
    )


def test_version_ids_tell_their_sequence_and_others_none() -> None:
    assert keys.sequence_from(keys.version_id_of(1 << 62)) == 1 << 62
    for foreign in (
        "null",
        "",
        "0" * 15,
        "0" * 17,
        "G" * 16,
        "０" * 16,
        "0000000000000A00",
        "0000000000000001\n",
    ):
        assert keys.sequence_from(foreign) == 0
