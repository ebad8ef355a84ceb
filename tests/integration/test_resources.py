"""Many at once: parts in parallel that may not hang (T-P5), slow uploads that share memory fairly (T-R2)."""

import os
import resource
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import md5
from pathlib import Path
from statistics import median

import pytest

from bench.signing import UNSIGNED
from tests.integration.client import PATIENCE_S, Client, credentials_of
from tests.integration.cluster import Cluster
from tests.integration.forge import Forge, wire
from tests.integration.senders import Senders
from tests.integration.tally import Tally

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(0)]

BUCKET = "many"
SETTINGS = "[gateway]\ncondemned_grace_s = 1.0\nrepair_interval_s = 0.2\nconnections_per_ip_max = 10000\n"
CLIENTS, PARTS, PART_MIB = 4, 10, 5
ANSWER_S_MAX = 120.0  # more than any part takes on a machine that does other things as well
RATE = float(os.environ.get("QUOIN_TR2_RATE", "3e5"))  # bytes a second of each
SECONDS = float(os.environ.get("QUOIN_TR2_S", "12"))
UPLOAD_MIB = int(os.environ.get("QUOIN_TR2_MIB", "3"))
RESIDENT_BYTES_MAX = 1 << 30
FAIR_SHARE = 0.2
MakeTally = Callable[..., Tally]


@pytest.fixture(scope="module")
def store(module_folder: Path) -> Iterator[Cluster]:
    """Five nodes under one launcher."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with Cluster.create(module_folder, together=True, settings=SETTINGS) as made:
        made.start_all()
        made.client().create_bucket(Bucket=BUCKET)
        yield made


def test_parts_in_parallel_never_hang(store: Cluster, tally: MakeTally) -> None:
    runs = tally("T-P5", variable="QUOIN_TP5_RUNS", default=1)
    body, slowest_s = os.urandom(PART_MIB << 20), 0.0
    with ThreadPoolExecutor(CLIENTS) as clients, ThreadPoolExecutor(CLIENTS * PARTS) as parts:
        for _ in runs.rounds():
            start_s = time.monotonic()
            tags = clients.map(lambda number: _upload(store, number, body, parts), range(CLIENTS))
            assert set(tags) == {_etag(body)}
            slowest_s = max(slowest_s, time.monotonic() - start_s)
            runs.hold()
    print(
        f"T-P5: {CLIENTS} clients with {PARTS} parts of {PART_MIB} MiB at once in {slowest_s:.1f} s at most"
    )


def _upload(store: Cluster, number: int, body: bytes, parts: ThreadPoolExecutor) -> str:
    """The ETag of an object of many parts, all sent at the same time, each to the next gateway."""
    key, name = f"/{BUCKET}/parts-{number}", [("uploads", "")]
    with _client(store, number) as client:
        upload = client.request("POST", key, query=name).texts("UploadId")[0]

        def send(part: int) -> str:
            query = [("partNumber", str(part)), ("uploadId", upload)]
            with _client(store, number + part) as other:
                reply = other.request("PUT", key, query=query, body=body)
            assert reply.status == 200, reply
            return f"<Part><PartNumber>{part}</PartNumber><ETag>{reply.headers['etag']}</ETag></Part>"

        listed = "".join(parts.map(send, range(1, PARTS + 1)))
        document = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
        done = client.request("POST", key, query=[("uploadId", upload)], body=document)
        assert done.status == 200, done
        found = client.get(BUCKET, key.rpartition("/")[2])
        assert found.body == body * PARTS
        assert client.delete(BUCKET, key.rpartition("/")[2]).status == 204
        return found.headers["etag"]


def _etag(body: bytes) -> str:
    """Of PARTS parts that are all `body` (S3's ETag of a multipart object)."""
    digest = md5(md5(body, usedforsecurity=False).digest() * PARTS, usedforsecurity=False).hexdigest()
    return f'"{digest}-{PARTS}"'


def _client(store: Cluster, number: int) -> Client:
    endpoint = store.endpoints[number % len(store.endpoints)]
    return Client(endpoint, credentials_of(store), timeout_s=ANSWER_S_MAX, patience_s=PATIENCE_S)


def test_slow_uploads_share_memory_fairly(store: Cluster, tally: MakeTally) -> None:
    """They end, or go on for SECONDS: then what was taken of each is compared."""
    uploads = tally("T-R2", variable="QUOIN_TR2_UPLOADS", default=60)
    pids, resident = sorted(store.pids()), 0
    with Senders(RATE) as senders:
        for number in uploads.rounds():
            client = _client(store, number)
            forge = Forge(client.host, client.credentials, BUCKET, f"slow-{number}")
            head = wire(forge.signed(headers=[("Content-Length", str(UPLOAD_MIB << 20))], payload=UNSIGNED))
            senders.join(client.address, head, size=UPLOAD_MIB << 20)
        deadline_s = time.monotonic() + SECONDS
        while senders.going and time.monotonic() < deadline_s:
            senders.step()
            resident = max(resident, *(_resident_bytes(pid) for pid in pids))
        taken = [sender.sent for sender in senders.members]
        statuses = [sender.status for sender in senders.members]
    print(
        f"T-R2: {statuses.count(200)} of {len(taken)} ended; taken {min(taken):,} bytes at least, "
        f"{median(taken):,.0f} in the middle; {resident >> 20} MiB resident at most"
    )
    assert set(statuses) <= {0, 200}
    assert resident <= RESIDENT_BYTES_MAX and sorted(store.pids()) == pids
    assert min(taken) >= FAIR_SHARE * median(taken) > 0
    uploads.held = len(taken)


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
