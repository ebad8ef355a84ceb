"""Owns T-M2: pages over the real state against a sorted list of keys, and each page's edges one by one."""

import os
import random
from collections.abc import Iterator, Sequence

import pytest

from s3d.metadata import keys, tables
from s3d.metadata.listing import (
    Page,
    Query,
    list_buckets,
    list_objects,
    list_parts,
    list_uploads,
    list_versions,
)
from s3d.metadata.rows import (
    AccountBucketRow,
    Attributes,
    BucketRow,
    ObjectRow,
    PartRow,
    UploadRow,
    VersionRow,
    encode_row,
)
from s3d.metadata.state import State
from s3d.metadata.tables import Table, Tables
from s3d.metadata.view import View

CASES = int(os.environ.get("QUOIN_LISTING_CASES", "4000"))
SEED = int(os.environ.get("QUOIN_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
BUCKET = 65_536
ALPHABETS = (b"ab/", b"\0\1a/\xff", bytes(range(256)), "aå/€😀".encode())
DELIMITERS = (b"", b"/", b"a", b"\0", b"\xff", b"//", b"ab", b"/a/", "€".encode())


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    state = State.open(tmp_path_factory.mktemp("listing") / "state", 1 << 28)
    yield state
    state.close()


def put_object(writes: Tables, incarnation: int, key: bytes) -> None:
    at = keys.current_key(incarnation, key)
    writes.put(tables.CURRENT, at, encode_row(at, ObjectRow(1, len(key), "e", 5)))


def put_version(writes: Tables, incarnation: int, key: bytes, sequence: int) -> None:
    at = keys.version_key(incarnation, key, sequence)
    row = VersionRow(sequence, keys.version_id_of(sequence), 0, "e", 5, Attributes())
    writes.put(tables.VERSIONS, at, encode_row(at, row))


def put_upload(writes: Tables, incarnation: int, key: bytes, upload: str) -> None:
    at = keys.upload_key(incarnation, key, upload)
    writes.put(tables.UPLOADS, at, encode_row(at, UploadRow(upload, 5, Attributes())))


def clear(writes: Tables, table: Table, incarnation: int) -> None:
    prefix = keys.bucket_prefix(incarnation)
    for at, _ in list(writes.scan(table, prefix, keys.after_prefix(prefix))):
        writes.delete(table, at)


def random_key(chance: random.Random) -> bytes:
    """1 to 1,024 bytes; half of the long ones share what they begin with up to a cut."""
    alphabet = chance.choice(ALPHABETS)
    length = chance.choice((1, 2, 3, 5, 8, 30, 471, 472, 473, 480, 481, 952, 953, 954, 1_023, 1_024))
    if length > 30 and chance.random() < 0.5:
        tail = bytes(chance.choices(alphabet, k=4))
        return (chance.choice((b"a", b"a/", b"\0", b"\xff")) * 1_024)[: length - 4] + tail
    return bytes(chance.choices(alphabet, k=length))


def model(stored: Sequence[bytes], query: Query, after: bytes) -> list[tuple[bytes, bool]]:
    """What a list shows behind `after`: each (key, False) or (common prefix, True), in order, without a limit."""
    shown: list[tuple[bytes, bool]] = []
    for key in stored:
        if not key.startswith(query.prefix):
            continue
        cut = key.find(query.delimiter, len(query.prefix)) if query.delimiter else -1
        item = (key, False) if cut < 0 else (key[: cut + len(query.delimiter)], True)
        if key > after and item != (after, True) and (not shown or shown[-1] != item):
            shown.append(item)
    return shown


def shown_by(page: Page) -> list[tuple[bytes, bool]]:
    entries = [(entry.key, False) for entry in page.entries]
    return sorted(entries + [(prefix, True) for prefix in page.prefixes])


def walk(view: View, query: Query, after: bytes) -> list[tuple[bytes, bool]]:
    """All pages, one behind the other; each is full, and says that it is the last one exactly when it is."""
    shown: list[tuple[bytes, bool]] = []
    while True:
        page = list_objects(view, query, after=after)
        shown += shown_by(page)
        if not page.truncated:
            return shown
        assert len(page.entries) + len(page.prefixes) == query.limit
        after = page.next


def test_pages_are_those_of_a_sorted_list(state: State) -> None:
    print(f"T-M2: {CASES} cases, QUOIN_LISTING_CASES for more, QUOIN_SEED={SEED}")
    chance = random.Random(SEED)
    stored: list[bytes] = []
    for case in range(CASES):
        if case % 100 == 0:
            stored = sorted({random_key(chance) for _ in range(chance.choice((0, 1, 5, 40, 200)))})
            with state.write() as writes:
                clear(writes, tables.CURRENT, BUCKET)
                put_object(writes, BUCKET - 1, b"zz")
                put_object(writes, BUCKET + 1, b"\0")
                for key in chance.sample(stored, len(stored)):
                    put_object(writes, BUCKET, key)
        some = chance.choice(stored) if stored else b"x"
        query = Query(
            BUCKET,
            prefix=chance.choice((b"", b"", some[: chance.randint(0, len(some))], random_key(chance))),
            delimiter=chance.choice((*DELIMITERS, some[-2:])),
            limit=chance.choice((1, 2, 3, 7, chance.randint(1, 1_000), 1_000)),
        )
        after = chance.choice((b"", b"", some, some[:-1], some + b"\0", random_key(chance)))
        with state.view() as view:
            assert walk(view, query, after) == model(stored, query, after), (SEED, case, query, after)


def test_every_page_size_from_1_to_1000(state: State) -> None:
    incarnation = BUCKET + 10
    chance = random.Random(7)
    stored = sorted({b"%03d/%s" % (n // 3, bytes(chance.choices(b"ab/", k=3))) for n in range(1_001)})
    with state.write() as writes:
        for key in stored:
            put_object(writes, incarnation, key)
    with state.view() as view:
        for delimiter in (b"", b"/"):
            expected = model(stored, Query(incarnation, delimiter=delimiter), b"")
            for limit in range(1, 1_001):
                assert walk(view, Query(incarnation, b"", delimiter, limit), b"") == expected


def test_a_page_of_nothing_is_not_truncated(state: State) -> None:
    with state.write() as writes:
        put_object(writes, BUCKET + 11, b"k")
    with state.view() as view:
        assert list_objects(view, Query(BUCKET + 11, limit=0)) == Page([], [])


def test_a_delimiter_seeks_past_a_prefix_whatever_it_holds(state: State) -> None:
    """Two common prefixes of many keys cost as many seeks as there are prefixes, not as there are keys."""
    incarnation = BUCKET + 12
    with state.write() as writes:
        for n in range(500):
            put_object(writes, incarnation, b"a/%04d" % n)
            put_object(writes, incarnation, b"b/%04d" % n)
    with state.view() as view:
        counted = CountingReads(view.reads)
        page = list_objects(View(counted), Query(incarnation, delimiter=b"/"))
    assert page.prefixes == [b"a/", b"b/"] and not page.entries and not page.truncated
    assert counted.rows == 2


class CountingReads:
    """The reads of another, counting the rows that scans give."""

    def __init__(self, inner: tables.Reads) -> None:
        self.inner = inner
        self.rows = 0

    def get(self, table: Table, key: bytes) -> bytes | None:
        return self.inner.get(table, key)

    def seek(self, table: Table, key: bytes) -> tables.Item | None:
        return self.inner.seek(table, key)

    def scan(self, table: Table, start: bytes, stop: bytes) -> Iterator[tables.Item]:
        for item in self.inner.scan(table, start, stop):
            self.rows += 1
            yield item

    def count(self, table: Table) -> int:
        return self.inner.count(table)


def test_a_marker_inside_of_a_prefix_does_not_hide_it(state: State) -> None:
    incarnation = BUCKET + 13
    with state.write() as writes:
        for key in (b"a/1", b"a/2", b"b"):
            put_object(writes, incarnation, key)
    with state.view() as view:
        query = Query(incarnation, delimiter=b"/")
        assert list_objects(view, query, after=b"a/1").prefixes == [b"a/"]
        assert list_objects(view, query, after=b"a/2").prefixes == []
        assert list_objects(view, query, after=b"a/").prefixes == []


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 100])
def test_versions_newest_first_with_markers(state: State, limit: int) -> None:
    incarnation = BUCKET + 14 + limit
    chance = random.Random(limit)
    names = sorted({random_key(chance) for _ in range(40)})
    stored = [
        (key, sequence) for key in names for sequence in chance.sample(range(1, 90), chance.choice((1, 1, 4)))
    ]
    with state.write() as writes:
        for key, sequence in stored:
            put_version(writes, incarnation, key, sequence)
    expected = sorted(stored, key=lambda item: (item[0], -item[1]))
    met, after, after_version = [], b"", ""
    with state.view() as view:
        while True:
            query = Query(incarnation, limit=limit)
            page = list_versions(view, query, after=after, after_version=after_version)
            met += [(entry.key, entry.row.sequence, entry.latest) for entry in page.entries]
            if not page.truncated:
                break
            after, after_version = page.next, page.next_id
    assert [(key, sequence) for key, sequence, _ in met] == expected
    newest = {key: max(sequence for other, sequence in stored if other == key) for key in names}
    assert all(latest == (newest[key] == sequence) for key, sequence, latest in met)


def test_versions_roll_up_and_go_on_behind_a_version_that_is_gone(state: State) -> None:
    incarnation = BUCKET + 200
    with state.write() as writes:
        for key, sequence in ((b"a/1", 1), (b"a/1", 2), (b"b", 3), (b"b", 5), (b"c\0/x", 6)):
            put_version(writes, incarnation, key, sequence)
    with state.view() as view:
        page = list_versions(view, Query(incarnation, delimiter=b"/"))
        assert page.prefixes == [b"a/", b"c\0/"]
        assert [(entry.key, entry.row.sequence) for entry in page.entries] == [(b"b", 5), (b"b", 3)]
        gone = list_versions(view, Query(incarnation), after=b"b", after_version=keys.version_id_of(4))
        assert [(entry.key, entry.latest) for entry in gone.entries] == [(b"b", False), (b"c\0/x", True)]
        newest = list_versions(view, Query(incarnation), after=b"b", after_version=keys.version_id_of(7))
        assert [(entry.row.sequence, entry.latest) for entry in newest.entries] == [
            (5, True),
            (3, False),
            (6, True),
        ]
        whole = list_versions(view, Query(incarnation), after=b"b")
        assert [entry.key for entry in whole.entries] == [b"c\0/x"]


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_uploads_by_key_and_id_with_markers(state: State, limit: int) -> None:
    incarnation = BUCKET + 300 + limit
    stored = [
        (b"a", "1"),
        (b"a", "2"),
        (b"a\0", "0"),
        (b"a/x", "3"),
        (b"b" * 1_024, "4"),
        (b"b" * 1_024, "5"),
    ]
    with state.write() as writes:
        for key, upload in stored:
            put_upload(writes, incarnation, key, upload)
    met, after, after_upload = [], b"", ""
    with state.view() as view:
        while True:
            page = list_uploads(view, Query(incarnation, limit=limit), after=after, after_upload=after_upload)
            met += [(entry.key, entry.row.upload) for entry in page.entries]
            if not page.truncated:
                break
            after, after_upload = page.next, page.next_id
        rolled = list_uploads(view, Query(incarnation, prefix=b"a", delimiter=b"/"))
    assert met == stored
    assert rolled.prefixes == [b"a/"] and len(rolled.entries) == 3


def test_parts_in_order_of_number(state: State) -> None:
    with state.write() as writes:
        for number in (10_000, 2, 1, 300):
            at = keys.part_key("up", number)
            writes.put(tables.PARTS, at, encode_row(at, PartRow(number, b"b" * 16, 1, "e", 5)))
        at = keys.part_key("up2", 7)
        writes.put(tables.PARTS, at, encode_row(at, PartRow(7, b"b" * 16, 1, "e", 5)))
    with state.view() as view:
        rows, more = list_parts(view, "up", limit=3)
        assert ([row.number for row in rows], more) == ([1, 2, 300], True)
        rows, more = list_parts(view, "up", after=300, limit=3)
        assert ([row.number for row in rows], more) == ([10_000], False)
        assert list_parts(view, "up", limit=0) == ([], False)


def test_buckets_of_one_account_alone_in_order(state: State) -> None:
    names = {"111111111111": ["alpha", "beta", "beta-2", "gamma"], "111111111112": ["alien"]}
    with state.write() as writes:
        for account, owned in names.items():
            for name in owned:
                at = keys.account_bucket_key(account, name)
                writes.put(tables.ACCOUNT_BUCKETS, at, encode_row(at, AccountBucketRow(5)))
                row = BucketRow(name, 1, account, 5)
                writes.put(tables.BUCKETS, name.encode(), encode_row(name.encode(), row))
    with state.view() as view:

        def listed(**options: object) -> tuple[list[str], bool]:
            rows, more = list_buckets(view, "111111111111", **options)  # type: ignore[arg-type]
            return [row.name for row in rows], more

        assert listed() == (["alpha", "beta", "beta-2", "gamma"], False)
        assert listed(limit=2) == (["alpha", "beta"], True)
        assert listed(limit=2, after="beta") == (["beta-2", "gamma"], False)
        assert listed(prefix="beta") == (["beta", "beta-2"], False)
        assert listed(prefix="beta", after="beta") == (["beta-2"], False)
        assert listed(prefix="beta", after="alpha", limit=1) == (["beta"], True)
