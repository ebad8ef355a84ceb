"""Owns lists at scale: a bucket of very many keys beside one of 2,000, a page of each in turns; never a whole list.

All keys stand under `all/`: half of them under `all/flat/`, the others in 1,000 folders under `all/tree/`. They are
copies of one object, made by the commands of copies in the metadata of the bench's own store: PUTs would take hours.
"""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from bench.drive import Driver
from bench.measure import PAGE_KEYS, Figure, Server, measured
from bench.pairs import Pair
from bench.requests import Body, Target
from s3d.metadata.commands import Command, CopyObject, CreateUpload
from s3d.metadata.machine import apply
from s3d.metadata.rows import Attributes, BucketRow, VersionRow
from s3d.metadata.state import State
from shardd.contract.blobs import new_blob_id
from shardd.contract.cluster import MetadataConfig

FOLDERS = 1_000
FEW_KEYS = 2 * FOLDERS
KEYS_AN_UPLOAD = 10
COMMANDS_A_COMMIT = 20_000
ROUNDS = 5
PAGES_A_ROUND = 40
GROWTH_MOST = 2.0  # of a page's CPU
P99_MS_MOST = 50.0  # T-R7, which asks for 10,000,000 keys
FIRST = "all/flat/"  # the object that all others are copies of; it sorts before them

Query = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket to be filled: `half` keys of each kind."""

    target: Target
    half: int

    def flat(self, number: int) -> str:
        """A key of `all/flat/`; -1 is FIRST, which stands before all of them."""
        return FIRST if number < 0 else f"{FIRST}{number:08}"

    def deep(self, number: int) -> str:
        """A key of `all/tree/`; -1 stands before all of them."""
        return "all/tree/" if number < 0 else f"all/tree/{number * FOLDERS // self.half:04}/{number:08}"

    def upload(self, number: int) -> str:
        """The key of an upload in progress."""
        return f"up/{number:08}"

    @property
    def uploads(self) -> int:
        """How many uploads are in progress."""
        return max(PAGE_KEYS, self.half // KEYS_AN_UPLOAD)

    def any_place(self, chance: random.Random, count: int | None = None) -> int:
        """The number of a key behind which a whole page follows."""
        return chance.randrange((count or self.half) - PAGE_KEYS + 1) - 1


ROWS: dict[str, Callable[[Bucket, random.Random], Query]] = {
    "1,000 keys anywhere, no delimiter": lambda bucket, chance: [
        ("list-type", "2"),
        ("prefix", "all/"),
        ("start-after", chance.choice((bucket.flat, bucket.deep))(bucket.any_place(chance))),
    ],
    "1,000 keys anywhere, delimiter, half of all under the prefix": lambda bucket, chance: [
        ("list-type", "2"),
        ("prefix", "all/flat/"),
        ("delimiter", "/"),
        ("start-after", bucket.flat(bucket.any_place(chance))),
    ],
    "1,000 common prefixes, half of all under them": lambda bucket, chance: [
        ("list-type", "2"),
        ("prefix", "all/tree/"),
        ("delimiter", "/"),
    ],
    "2 common prefixes, half of all under each": lambda bucket, chance: [
        ("list-type", "2"),
        ("prefix", "all/"),
        ("delimiter", "/"),
    ],
    "1,000 versions anywhere": lambda bucket, chance: [
        ("versions", ""),
        ("prefix", "all/flat/"),
        ("key-marker", bucket.flat(bucket.any_place(chance))),
    ],
    "1,000 uploads anywhere": lambda bucket, chance: [
        ("uploads", ""),
        ("key-marker", bucket.upload(bucket.any_place(chance, bucket.uploads))),
    ],
}


def compare(server: Server, state_path: Path, *, keys: int, scale: float) -> Iterator[Pair]:
    """A row for each kind of page: of a bucket of FEW_KEYS, and of one of `keys`, at least as many."""
    few, many = (
        Bucket(replace(server.target, bucket=f"{server.target.bucket}-{name}"), max(FEW_KEYS, count) // 2)
        for name, count in (("few", FEW_KEYS), ("many", keys))
    )
    for bucket in (few, many):
        _begin(bucket.target)
        fill(state_path, bucket, now_us=time.time_ns() // 1_000)
    chance, pages = random.Random(keys), max(2, int(PAGES_A_ROUND * scale))
    for name, query in ROWS.items():
        rounds: tuple[list[Figure], list[Figure]] = ([], [])
        for _ in range(ROUNDS):
            for figures, bucket in zip(rounds, (few, many), strict=True):
                jobs = [bucket.target.listed(n, query(bucket, chance)) for n in range(pages)]
                figures.append(measured(server, name, jobs, workers=1, body_bytes=0))
        yield Pair(*rounds, most=GROWTH_MOST, p99_ms_most=P99_MS_MOST)


def fill(state_path: Path, bucket: Bucket, *, now_us: int) -> None:
    """Copy the object FIRST to all keys of the bucket, and begin its uploads."""
    state = State.open(state_path, MetadataConfig().map_size_bytes)
    try:
        with state.view() as view:
            row = view.bucket(bucket.target.bucket)
            source = view.find(row.incarnation, FIRST.encode()) if row else None
        assert row and source, "the bucket and its first object are there"
        waiting = _commands(bucket, row, source, now_us)
        while batch := list(islice(waiting, COMMANDS_A_COMMIT)):
            with state.write() as writes:
                for command in batch:
                    outcome = apply(writes, command)
                    assert not outcome.error, outcome
    finally:
        state.close()


def _commands(bucket: Bucket, row: BucketRow, source: VersionRow, now_us: int) -> Iterator[Command]:
    for name in (bucket.flat, bucket.deep):
        for number in range(bucket.half):
            yield CopyObject(
                new_blob_id(now_us // 1_000),
                now_us,
                bucket=row.name,
                key=name(number).encode(),
                source_incarnation=row.incarnation,
                source_key=FIRST.encode(),
                source_sequence=source.sequence,
                attributes=source.attributes,
            )
    for number in range(bucket.uploads):
        key = bucket.upload(number).encode()
        write_id = new_blob_id(now_us // 1_000)
        said = Attributes(owner=row.account)
        yield CreateUpload(write_id, now_us, bucket=row.name, key=key, upload=write_id.hex(), attributes=said)


def _begin(target: Target) -> None:
    with Driver(target.addresses, 1) as driver:
        run = driver.run([target.create_bucket()])
        run_of_first = driver.run([target.put(0, FIRST, Body(b""), chunked=False)])
    assert not run.failures + run_of_first.failures, "the bucket and its first object could not be made"
