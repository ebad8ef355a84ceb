"""Owns what every implementation of the Tables port must do; never knows which one it tests.

A test module subclasses TablesContract and gives it a `tables` fixture: empty tables, open for writing.
"""

import itertools
import random

import pytest

from s3d.metadata.keys import HEAD_SIZE
from s3d.metadata.tables import BLOBS, CURRENT, KEY_SIZE_MAX, TABLES, UPLOADS, VERSIONS, Tables

# Lengths where a key is cut, or is not yet: one place, two, three; and the longest.
LENGTHS = sorted({1, 2, KEY_SIZE_MAX} | {HEAD_SIZE * n + d for n in (1, 2, 3) for d in (-1, 0, 1, 2)})


def tricky_keys(seed: int) -> list[bytes]:
    """Keys that share beginnings up to every cut, with the smallest and greatest bytes around it."""
    chance = random.Random(seed)
    keys = set()
    for length, fill, tail in itertools.product(
        LENGTHS, (b"\0", b"a", b"\xff"), (b"\0", b"\1", b"b", b"\xff")
    ):
        keys.add((fill * KEY_SIZE_MAX)[: length - 1] + tail)
    for _ in range(150):
        length = chance.choice(LENGTHS)
        keys.add((b"a" * length)[: length - 3] + bytes(chance.choices(b"\0a\xff", k=min(3, length))))
    return sorted(keys)


class TablesContract:
    """The contract of s3d.metadata.tables.Tables."""

    def test_what_was_put_is_got_and_put_again_is_replaced(self, tables: Tables) -> None:
        for table in TABLES:
            assert tables.get(table, b"k") is None
            tables.put(table, b"k", b"of " + table.encode())
        for table in TABLES:
            assert tables.get(table, b"k") == b"of " + table.encode()
        tables.put(BLOBS, b"k", b"again")
        assert tables.get(BLOBS, b"k") == b"again"
        assert tables.count(BLOBS) == 1

    def test_deleting_tells_whether_there_was_anything(self, tables: Tables) -> None:
        tables.put(CURRENT, b"k", b"v")
        assert not tables.delete(CURRENT, b"j")
        assert tables.delete(CURRENT, b"k")
        assert not tables.delete(CURRENT, b"k")
        assert tables.get(CURRENT, b"k") is None
        assert tables.count(CURRENT) == 0

    @pytest.mark.parametrize("table", [CURRENT, VERSIONS, UPLOADS])
    def test_keys_of_every_length_keep_the_order_of_bytes(self, tables: Tables, table: str) -> None:
        keys = tricky_keys(1)
        shuffled = random.Random(2).sample(keys, len(keys))
        for key in shuffled:
            tables.put(table, key, key[-9:])
        assert list(tables.scan(table, b"", b"")) == [(key, key[-9:]) for key in keys]
        assert all(tables.get(table, key) == key[-9:] for key in keys)

    def test_seeks_and_scans_begin_and_end_anywhere(self, tables: Tables) -> None:
        keys = tricky_keys(3)
        stored = keys[::2]  # so that half of the places to begin at have no row
        for key in stored:
            tables.put(CURRENT, key, b"v")
        for start in keys:
            behind = [key for key in stored if key >= start]
            assert tables.seek(CURRENT, start) == ((behind[0], b"v") if behind else None)
        chance = random.Random(4)
        for _ in range(2_000):
            start, stop = chance.choice(keys), chance.choice(keys)
            found = [key for key, _ in tables.scan(CURRENT, start, stop)]
            assert found == [key for key in stored if start <= key < stop]

    def test_what_is_deleted_leaves_nothing_behind(self, tables: Tables) -> None:
        keys = tricky_keys(5)
        for key in keys:
            tables.put(CURRENT, key, b"v")
        order = random.Random(6).sample(keys, len(keys))
        left = set(keys)
        for n, key in enumerate(order):
            assert tables.delete(CURRENT, key)
            left.discard(key)
            if n % 25 == 0:
                assert [found for found, _ in tables.scan(CURRENT, b"", b"")] == sorted(left)
        assert tables.seek(CURRENT, b"\0") is None
        assert tables.count(CURRENT) == 0
