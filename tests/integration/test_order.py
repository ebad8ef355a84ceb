"""Order: of racing writers one wins, readers see whole bodies, lists hold every acknowledged key at once."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count

import pytest

from bench.signing import Credentials
from s3d.drill.model import Bodies
from tests.integration.client import PATIENCE_S, Client, Reply
from tests.integration.cluster import Cluster
from tests.integration.tally import Tally

pytestmark = pytest.mark.cluster

WRITERS = 16
READERS = 3
SIZES = (20, 70_000, 300_001)
BODIES = Bodies(1)
MakeTally = Callable[..., Tally]


@pytest.fixture
def writers(shared_cluster: Cluster, administrator: Credentials) -> Iterator[list[Client]]:
    """Sixteen clients, in turn over the five gateways."""
    urls = shared_cluster.endpoints
    found = [Client(urls[i % len(urls)], administrator, patience_s=PATIENCE_S) for i in range(WRITERS)]
    yield found
    for client in found:
        client.close()


class Race:
    """One round: every writer sends its own body to one key at the same moment."""

    def __init__(self, bucket: str, key: str, numbers: Sequence[int]) -> None:
        self.bucket, self.key = bucket, key
        self.bodies = [BODIES.bytes_of(number, SIZES[number % len(SIZES)]) for number in numbers]

    def run(self, writers: Sequence[Client], condition: tuple[str, str]) -> list[Reply]:
        barrier = threading.Barrier(len(writers))

        def write(client: Client, body: bytes) -> Reply:
            barrier.wait()
            return client.put(self.bucket, self.key, body, [condition])

        with ThreadPoolExecutor(len(writers)) as pool:
            return list(pool.map(write, writers, self.bodies))

    def winner(self, replies: Sequence[Reply]) -> bytes:
        """The body of the only writer that got 200; every other must have been refused by its condition."""
        won = [body for body, reply in zip(self.bodies, replies, strict=True) if reply.status == 200]
        refused = {(reply.status, reply.code) for reply in replies if reply.status != 200}
        assert len(won) == 1, f"{len(won)} of {len(replies)} writers won {self.key}"
        assert refused <= {(412, "PreconditionFailed"), (409, "ConditionalRequestConflict")}, refused
        return won[0]


@contextmanager
def reading(clients: Sequence[Client], bucket: str, key: str, allowed: set[bytes]) -> Iterator[None]:
    """Readers of `key`, one a client: whatever they find must be one of the bodies `allowed`, whole."""
    stop, faults = threading.Event(), list[str]()

    def read(client: Client) -> None:
        while not stop.is_set():
            reply = client.get(bucket, key)
            if reply.status == 404:
                continue
            if reply.status != 200 or reply.body not in allowed:
                faults.append(f"{reply.status} {reply.code} {len(reply.body)} bytes {reply.body[:16]!r}")

    threads = [threading.Thread(target=read, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not faults, faults[:5]


def test_one_creator_wins(bucket: str, writers: list[Client], clients: list[Client], tally: MakeTally):
    rounds, numbers = tally("Order, If-None-Match", variable="QUOIN_ORDER_ROUNDS", default=10), count()
    for number in rounds.rounds():
        race = Race(bucket, f"new-{number}", [next(numbers) for _ in range(WRITERS)])
        with reading(clients[:READERS], bucket, race.key, set(race.bodies)):
            body = race.winner(race.run(writers, ("If-None-Match", "*")))
        for client in clients:
            assert client.get(bucket, race.key).body == body
        rounds.hold()


def test_one_updater_wins(bucket: str, writers: list[Client], clients: list[Client], tally: MakeTally):
    rounds, numbers, key = (
        tally("Order, If-Match", variable="QUOIN_ORDER_ROUNDS", default=10),
        count(10**6),
        "cell",
    )
    body = BODIES.bytes_of(next(numbers), 20)
    assert clients[0].put(bucket, key, body).status == 200
    for number in rounds.rounds():
        etag = clients[number % len(clients)].head(bucket, key).headers["etag"]
        race = Race(bucket, key, [next(numbers) for _ in range(WRITERS)])
        with reading(clients[:READERS], bucket, key, {body, *race.bodies}):
            body = race.winner(race.run(writers, ("If-Match", etag)))
        for client in clients:
            assert client.get(bucket, key).body == body
        rounds.hold()


def test_unconditional_writers_leave_one_whole_body(
    bucket: str, writers: list[Client], clients: list[Client]
):
    race = Race(bucket, "last-wins", range(2 * 10**6, 2 * 10**6 + WRITERS))
    with reading(clients[:READERS], bucket, race.key, set(race.bodies)):
        assert {reply.status for reply in race.run(writers, ("X-Nothing", "1"))} == {200}
    assert len({client.get(bucket, race.key).body for client in clients}) == 1


def test_a_list_never_misses_an_acknowledged_key(bucket: str, writers: list[Client], tally: MakeTally):
    rounds = tally("Order, lists", variable="QUOIN_ORDER_LISTS", default=50)

    def write_and_list(worker: int) -> None:
        for number in rounds.rounds():
            key = f"{worker}/{number:06}"
            assert writers[worker].put(bucket, key, b"").status == 200
            listed = writers[(worker + number) % 4 + (worker // 4) * 4].list_keys(bucket, f"{worker}/")
            assert listed.keys() == {f"{worker}/{done:06}" for done in range(number + 1)}

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write_and_list, [0, 4, 8, 12]))
    rounds.held = rounds.asked
