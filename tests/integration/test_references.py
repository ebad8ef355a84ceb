"""Copies share blobs (S5): gateways die at random instants among copies, overwrites and uploads; no count is bent.

Condemned shards go at once here, so that a count that is too low is bytes lost before the drill is over.
"""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from s3d.metadata.references import audit
from s3d.metadata.state import State
from tests.integration.client import PATIENCE_S, Client, NoReplyError, Reply, credentials_of
from tests.integration.cluster import Cluster, wait_until
from tests.integration.tally import Tally, seed

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(0)]

BUCKET = "shared"
SETTINGS = "[gateway]\ncondemned_grace_s = 0.0\nrepair_interval_s = 0.2\n"
WORKERS = 5
KEYS = [f"k{number}" for number in range(12)]
PART_SIZE = 5 << 20
RETURN_S_MAX = 180.0
OPERATIONS_BETWEEN = 30
MAP_SIZE = 64 << 30


@pytest.fixture
def store(make_cluster) -> Iterator[Cluster]:  # type: ignore[no-untyped-def]
    """Five nodes under one launcher, which brings killed gateways back."""
    made = make_cluster(together=True, settings=SETTINGS)
    made.start_all()
    yield made


@dataclass(slots=True)
class Work:
    """Threads that name the same blobs again and again, through every gateway, on the same few keys."""

    store: Cluster
    stop: threading.Event = field(default_factory=threading.Event)
    answered: Counter[str] = field(default_factory=Counter)

    @property
    def operations(self) -> int:
        """How many got an answer."""
        return self.answered.total() - self.answered["no reply"]

    def run(self, number: int, chance: random.Random) -> None:
        clients = [
            Client(endpoint, credentials_of(self.store), timeout_s=20.0) for endpoint in self.store.endpoints
        ]
        small, large = random.Random(number).randbytes(3_000), random.Random(number).randbytes(PART_SIZE)
        acts = (self.put, self.copy, self.copy, self.copy, self.delete, self.upload)
        while not self.stop.is_set():
            act = chance.choice(acts)
            try:
                reply = act(chance.choice(clients), chance, large if chance.random() < 0.2 else small)
                self.answered[f"{act.__name__} {reply.status}"] += 1
            except NoReplyError:
                self.answered["no reply"] += 1
                self.stop.wait(0.05)
        for client in clients:
            client.close()

    def put(self, client: Client, chance: random.Random, body: bytes) -> Reply:
        return client.put(BUCKET, chance.choice(KEYS), body)

    def copy(self, client: Client, chance: random.Random, _: bytes) -> Reply:
        source = [("x-amz-copy-source", f"/{BUCKET}/{chance.choice(KEYS)}")]
        source.append(("x-amz-metadata-directive", "REPLACE"))
        return client.put(BUCKET, chance.choice(KEYS), b"", source)

    def delete(self, client: Client, chance: random.Random, _: bytes) -> Reply:
        return client.delete(BUCKET, chance.choice(KEYS))

    def upload(self, client: Client, chance: random.Random, body: bytes) -> Reply:
        """Parts that are copied and sent, one of them twice; then completed with some of them, aborted or left."""
        path = f"/{BUCKET}/{chance.choice(KEYS)}"
        begun = client.request("POST", path, query=[("uploads", "")])
        if begun.status != 200:
            return begun
        upload, etags = ("uploadId", begun.texts("UploadId")[0]), dict[int, str]()
        for number in (1, 2, 2):
            query = [("partNumber", str(number)), upload]
            source = [("x-amz-copy-source", f"/{BUCKET}/{chance.choice(KEYS)}")]
            copied = chance.random() < 0.7
            reply = client.request(
                "PUT", path, query=query, headers=source if copied else (), body=b"" if copied else body
            )
            if reply.status == 200:
                etags[number] = reply.texts("ETag")[0] if copied else reply.headers["etag"]
        if not etags or chance.random() < 0.2:
            return client.request("DELETE", path, query=[upload]) if chance.random() < 0.5 else begun
        named = list(etags.items())[-1:] if chance.random() < 0.5 else etags.items()
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>" for number, etag in named
        )
        document = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        return client.request("POST", path, query=[upload], body=document)


def test_gateways_are_killed_among_copies(store: Cluster, tally) -> None:  # type: ignore[no-untyped-def]
    kills: Tally = tally("S5", variable="QUOIN_COPY_KILLS", default=8)
    chance, work = random.Random(seed()), Work(store)
    with Client(store.endpoint(), credentials_of(store)) as client:
        assert client.request("PUT", f"/{BUCKET}").status == 200
    threads = [
        threading.Thread(target=work.run, args=(number, random.Random(chance.random())))
        for number in range(WORKERS)
    ]
    for thread in threads:
        thread.start()
    try:
        for number in kills.rounds():
            node = store.nodes[number % len(store.nodes)]
            wait_for(work, OPERATIONS_BETWEEN)
            (victim,) = wait_until(
                lambda node=node: store.gateway_pids(node), within_s=RETURN_S_MAX, what="its gateway is back"
            )
            time.sleep(chance.uniform(0.0, 0.05))  # the instant is the point: anywhere in the load
            os.kill(victim, signal.SIGKILL)
            assert not (faults := faults_of(store)), faults
            kills.hold()
    finally:
        work.stop.set()
        for thread in threads:
            thread.join()
    print(dict(work.answered))
    assert min(work.answered[f"{act} 200"] for act in ("put", "copy", "upload")) > 0, work.answered
    assert not (faults := faults_of(store)), faults
    everything_is_read(store)


def wait_for(work: Work, operations: int) -> None:
    """Until that many more operations were answered."""
    goal = work.operations + operations
    wait_until(lambda: work.operations >= goal, within_s=RETURN_S_MAX, what="the load goes on")


def faults_of(store: Cluster) -> list[str]:
    """What the audit finds in the metadata as it is committed now."""
    state = State.open(store.folder / "data/metadata", MAP_SIZE)
    try:
        with state.view() as view:
            return [str(fault) for fault in audit(view)]
    finally:
        state.close()


def everything_is_read(store: Cluster) -> None:
    """Every listed object has all its bytes, through each gateway."""
    for node in store.nodes:
        with Client(store.endpoint(node), credentials_of(store)) as client:
            wait_until(
                lambda client=client: serves(client), within_s=RETURN_S_MAX, what="its gateway is back"
            )

    def reads_all(node: int) -> bool:
        with Client(store.endpoint(node), credentials_of(store), patience_s=PATIENCE_S) as client:
            replies = ((client.get(BUCKET, key), etag) for key, etag in client.list_keys(BUCKET).items())
            return all((reply.status, reply.headers.get("etag")) == (200, etag) for reply, etag in replies)

    # A request that nobody waited for any more may still change a key between its listing and its reading.
    wait_until(
        lambda: all(map(reads_all, store.nodes)), within_s=RETURN_S_MAX, what="all that is listed is read"
    )


def serves(client: Client) -> bool:
    try:
        return client.request("GET", f"/{BUCKET}").status == 200
    except NoReplyError:
        return False
