"""Nodes that lose their disk (T-N5) or parts of it (T-B2) and become whole without a read; any two may die then."""

import itertools
import json
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from s3d.drill.model import Bodies
from tests.integration.client import PATIENCE_S, Client, credentials_of
from tests.integration.cluster import Cluster, wait_until
from tests.integration.tally import Tally, seed

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(0)]

BODIES = Bodies(5)
BUCKET = "healing"
MIB = 1 << 20
OBJECT_SIZE = 8 * MIB
SMALL = 60  # objects of some KiB beside the large ones
WITHIN_S = 600.0
SCRUBBED_S = 300.0
WIPED = 3
SECTOR = 512
FIRST_RECORD = 4_096
SCRUB = "\n[storage]\nscrub_days = 0.0001\n"  # a pass in some seconds
MakeTally = Callable[..., Tally]
Wanted = dict[str, tuple[int, int]]  # key: number and size of its body


def contents(size_mib: int) -> Wanted:
    """What is stored: about `size_mib` in objects of 8 MiB, and small ones."""
    large = {f"large-{n}": (n, OBJECT_SIZE) for n in range(max(1, size_mib * MIB // OBJECT_SIZE))}
    return large | {f"small-{n}": (1_000_000 + n, 64 << n % 10) for n in range(SMALL)}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster.create(tmp_path, settings=SCRUB) as made:
        made.start_all()
        yield made


def test_a_wiped_node_is_whole_again_while_clients_read(store: Cluster, tally: MakeTally):
    rounds = tally("T-N5, MiB of objects", variable="QUOIN_TN5_MIB", default=128)
    wanted = contents(rounds.asked)
    fill(store, wanted)
    undisturbed = Reader(store, wanted).over(3.0)
    store.kill(WIPED)
    shutil.rmtree(store.folder / f"node-{WIPED}")
    reader, wiped_us = Reader(store, wanted), time.time_ns() // 1_000
    store.start(WIPED)
    began_s = time.monotonic()
    with reader:
        wait_until(
            lambda: is_reconciled(store, WIPED, since_us=wiped_us),
            within_s=WITHIN_S,
            what="the list was compared",
        )
        store.wait_healed(deadline_s=WITHIN_S)
        took_s = time.monotonic() - began_s
    stored_mb = sum(size_bytes for _, size_bytes in wanted.values()) / 1e6
    print(
        f"T-N5: {stored_mb:.0f} MB of objects whole again after {took_s:.1f} s, {stored_mb / took_s:.0f} MB/s; "
        f"a reader had {reader.mb_per_s:.0f} MB/s meanwhile, {undisturbed.mb_per_s:.0f} before"
    )
    assert not reader.faults, reader.faults[:3]
    others = [node for node in store.nodes if node != WIPED]
    for pair in list(itertools.combinations(others, 2))[:2]:
        store.kill(*pair)
        read_all(store, wanted)
        store.start_all()  # and until they are in use again: the next two die at once
    for _ in rounds.rounds():
        rounds.hold()


def test_sectors_that_rot_on_two_nodes_are_found_by_scrub_and_mended(store: Cluster, tally: MakeTally):
    sectors = tally("T-B2, sectors", variable="QUOIN_TB2_SECTORS", default=60)
    chance = random.Random(seed())
    wanted = contents(48)
    fill(store, wanted)
    store.wait_healed(deadline_s=SCRUBBED_S)  # what lacks a shard already survives less
    for number in sectors.rounds():
        struck = partial(rot, store, node=1 + number % 2, chance=chance)
        wait_until(struck, within_s=SCRUBBED_S, what="a sector rots")
        sectors.hold()
    wait_until(
        lambda: mended(store) > 0 and quarantined(store) == 0, within_s=SCRUBBED_S, what="it is mended"
    )
    passes = scrub_passes(store)
    # Two more: the first of them may have been under way when the last shard was put again.
    wait_until(
        lambda: all(now >= before + 2 for now, before in zip(scrub_passes(store), passes, strict=True)),
        within_s=SCRUBBED_S,
        what="two more passes",
    )
    wait_until(lambda: quarantined(store) == 0, within_s=SCRUBBED_S, what="what they found is mended as well")
    store.wait_healed(deadline_s=SCRUBBED_S)
    read_all(store, wanted)
    store.kill(4, 5)
    read_all(store, wanted)


class Reader:
    """One client that reads everything again and again, large objects first, and checks each byte."""

    def __init__(self, store: Cluster, wanted: Wanted) -> None:
        self._client = Client(store.endpoint(1), credentials_of(store), patience_s=PATIENCE_S)
        self._wanted = wanted
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self.faults: list[str] = []
        self.mb_per_s = 0.0

    def over(self, seconds: float) -> "Reader":
        """Itself, after it has read for so long."""
        with self:
            self._stop.wait(seconds)
        return self

    def __enter__(self) -> "Reader":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._client.close()

    def _read(self) -> None:
        began_s, read = time.monotonic(), 0
        for key, content in itertools.cycle(self._wanted.items()):
            if self._stop.is_set():
                break
            reply = self._client.get(BUCKET, key)
            if reply.status != 200 or reply.body != BODIES.bytes_of(*content):
                self.faults.append(f"{key}: {reply.status}")
            read += len(reply.body)
        self.mb_per_s = read / 1e6 / (time.monotonic() - began_s)


def fill(store: Cluster, wanted: Wanted) -> None:
    """Stores everything, four at a time."""
    with Client(store.endpoint(1), credentials_of(store), patience_s=PATIENCE_S) as client:
        assert client.request("PUT", f"/{BUCKET}").status == 200

    def put(entries: list[tuple[str, tuple[int, int]]]) -> None:
        with Client(store.endpoint(2), credentials_of(store), patience_s=PATIENCE_S) as client:
            for key, content in entries:
                assert client.put(BUCKET, key, BODIES.bytes_of(*content)).status == 200

    entries = list(wanted.items())
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, [entries[number::4] for number in range(4)]))


def read_all(store: Cluster, wanted: Wanted) -> None:
    """Every object is what was written, through a node that is up."""
    with Client(store.endpoint(store.up[0]), credentials_of(store), patience_s=PATIENCE_S) as client:
        for key, content in wanted.items():
            reply = client.get(BUCKET, key)
            assert reply.status == 200 and reply.body == BODIES.bytes_of(*content), (key, reply.status)


def status(store: Cluster) -> dict[str, Any]:
    """/-/admin/status of the first node."""
    with Client(store.endpoint(1), credentials_of(store), patience_s=PATIENCE_S) as client:
        found: dict[str, Any] = json.loads(client.request("GET", "/-/admin/status").body)
    return found


def nodes_of(store: Cluster) -> list[dict[str, Any]]:
    """What the nodes say of themselves, once all do: one that is late looks as if it was down."""

    def told() -> list[dict[str, Any]] | None:
        found = status(store)["nodes"]
        return found if all(node["up"] for node in found) else None

    found: list[dict[str, Any]] = wait_until(told, within_s=WITHIN_S, what="all nodes say how they are")
    return found


def is_reconciled(store: Cluster, node: int, *, since_us: int) -> bool:
    """Whether a pass over the node is over that began behind this time."""
    jobs = {job["name"]: job for job in status(store)["jobs"]}
    job = jobs.get(f"reconcile/{node}")
    return job is not None and job["finished"] and job["started_us"] > since_us


def quarantined(store: Cluster) -> int:
    """Damaged records that all nodes keep aside."""
    return sum(node["quarantined"] for node in nodes_of(store))


def scrub_passes(store: Cluster) -> list[int]:
    """How often each node verified everything."""
    return [node["scrub"]["passes"] for node in nodes_of(store)]


def mended(store: Cluster) -> float:
    """How many shards all gateways made anew so far."""
    return sum(store.metric("quoin_mended_shards_total", node) for node in store.nodes)


def rot(store: Cluster, *, node: int, chance: random.Random) -> bool:
    """Zeroes, or turns round, a random sector of what a node has written; not where the segment was just compacted."""
    try:
        used = [
            (path, used_size(path)) for path in sorted((store.folder / f"node-{node}").glob("**/*.segment"))
        ]
        used = [(path, size) for path, size in used if size > FIRST_RECORD]
        path, size = chance.choices(used, [size for _, size in used])[0]
        at = chance.randrange(FIRST_RECORD, size) // SECTOR * SECTOR
        with path.open("r+b", buffering=0) as file:
            file.seek(at)
            before = file.read(SECTOR)
            file.seek(at)
            file.write(bytes(SECTOR) if chance.random() < 0.5 else bytes(byte ^ 0xFF for byte in before))
    except FileNotFoundError:
        return False
    return True


def used_size(path: Path) -> int:
    """How far a segment is written: behind it are zeros."""
    return len(path.read_bytes().rstrip(b"\0"))
