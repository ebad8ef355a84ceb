"""Sizes: every boundary of unit, stripe and extent, single and multipart, whole and by random ranges; memory held."""

import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from bench.http1 import request_head
from bench.processes import PeakMemory
from bench.signing import STREAMING, chunked_body, chunked_length, encode_path, sign
from s3d.drill.model import Bodies
from tests.integration.client import PATIENCE_S, Client, credentials_of
from tests.integration.cluster import Cluster
from tests.integration.tally import Tally, seed

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(0)]

UNIT, STRIPE, EXTENTS, MIB = 65_536, 3 * 65_536, 3 << 20, 1 << 20
EDGES = (UNIT, 2 * UNIT, STRIPE, 2 * STRIPE, 5 * STRIPE, 16 * UNIT, EXTENTS, 2 * EXTENTS, 3 * EXTENTS)
SIZES = sorted({0, 1, 2, 3, 4_095, 4_096, *(edge + step for edge in EDGES for step in (-1, 0, 1))})
BODIES = Bodies(23)
COPY_PSS_MAX, UPLOADS_PSS_MAX = 200 * MIB, 350 * MIB
MakeTally = Callable[..., Tally]


@pytest.mark.parametrize("size", SIZES)
def test_every_boundary_comes_back_whole(clients: list[Client], bucket: str, size: int):
    body = BODIES.bytes_of(size, size)
    writer, reader = clients[size % 5], clients[(size + 1) % 5]
    stored = put_chunked(writer, bucket, "k", body) if size % 2 else writer.put(bucket, "k", body).status
    assert stored == 200
    reply = reader.get(bucket, "k")
    assert reply.status == 200 and reply.body == body and int(reply.headers["content-length"]) == size
    for start, stop in ((0, 1), (size - 1, size), (size // 2, size // 2 + UNIT + 1)):
        check_range(reader, bucket, "k", body, start, stop)


def test_a_thousand_random_ranges(clients: list[Client], bucket: str, tally: MakeTally):
    ranges, chance = tally("Random ranges", variable="QUOIN_RANGES", default=1_000), random.Random(seed())
    whole = {"single": BODIES.bytes_of(1, 7 * MIB + 13), "parts": b""}
    assert clients[0].put(bucket, "single", whole["single"]).status == 200
    parts = [BODIES.bytes_of(2, 5 * MIB), BODIES.bytes_of(3, 5 * MIB + 1), b"tail"]
    put_parts(clients, bucket, "parts", parts)
    whole["parts"] = b"".join(parts)
    for number in ranges.rounds():
        key = chance.choice(sorted(whole))
        start = chance.randrange(len(whole[key]))
        length = chance.choice((1, chance.randrange(1, 1_000), chance.randrange(1, 400_000), 4 * MIB))
        check_range(clients[number % 5], bucket, key, whole[key], start, start + length)
        ranges.hold()


def test_a_large_single_put(clients: list[Client], bucket: str):
    size = megabytes("QUOIN_PUT_MIB", 20) * MIB
    body = BODIES.bytes_of(4, size)
    assert put_chunked(clients[0], bucket, "large", body) == 200
    assert sha256(clients[1].get(bucket, "large").body).digest() == sha256(body).digest()


def test_a_large_file_by_the_command_line(mortal: Cluster, tmp_path: Path):
    size = megabytes("QUOIN_COPY_MIB", 64) * MIB
    source, copy = tmp_path / "source", tmp_path / "copy"
    with source.open("wb") as file:
        for number in range(size // MIB):
            file.write(BODIES.bytes_of(number, MIB))
    assert mortal.aws("s3", "mb", "s3://large").returncode == 0
    with PeakMemory(mortal.pids()) as watch:
        for arguments in ((str(source), "s3://large/file"), ("s3://large/file", str(copy))):
            done = mortal.aws("s3", "cp", "--no-progress", *arguments, node=2)
            assert done.returncode == 0, done.stderr
    print(f"{size // MIB} MiB there and back: largest PSS {watch.peak.largest_pss_bytes / MIB:.0f} MiB")
    assert digest(source) == digest(copy)
    assert watch.peak.largest_pss_bytes <= COPY_PSS_MAX


def test_many_uploads_at_once(mortal: Cluster):
    count, size = megabytes("QUOIN_UPLOADS", 16), megabytes("QUOIN_UPLOAD_MIB", 16) * MIB
    body, keys = BODIES.bytes_of(5, size), credentials_of(mortal)
    with Client(mortal.endpoint(), keys, patience_s=PATIENCE_S) as client:
        assert client.request("PUT", "/uploads").status == 200

    def upload(number: int) -> int:
        endpoint = mortal.endpoints[number % 5]
        with Client(endpoint, keys, timeout_s=300.0, patience_s=PATIENCE_S) as client:
            return put_chunked(client, "uploads", str(number), body)

    with PeakMemory(mortal.pids()) as watch, ThreadPoolExecutor(count) as pool:
        statuses = list(pool.map(upload, range(count)))
    print(f"{count} uploads of {size // MIB} MiB: largest PSS {watch.peak.largest_pss_bytes / MIB:.0f} MiB")
    assert statuses == [200] * count
    assert watch.peak.largest_pss_bytes <= UPLOADS_PSS_MAX
    with Client(mortal.endpoints[-1], keys, patience_s=PATIENCE_S) as client:
        assert all(client.get("uploads", str(number)).body == body for number in range(0, count, 5))


def megabytes(variable: str, default: int) -> int:
    """The number that a campaign asks for, or CI's."""
    return int(os.environ.get(variable, default))


def digest(path: Path) -> bytes:
    whole = sha256()
    with path.open("rb") as file:
        while piece := file.read(MIB):
            whole.update(piece)
    return whole.digest()


def check_range(client: Client, bucket: str, key: str, body: bytes, start: int, stop: int) -> None:
    """The bytes from `start` to before `stop`, as far as there are any; else S3's 416."""
    if start < 0:
        return
    reply = client.get(bucket, key, [("Range", f"bytes={start}-{stop - 1}")])
    if start >= len(body):
        assert (reply.status, reply.code) == (416, "InvalidRange")
        return
    stop = min(stop, len(body))
    assert reply.status == 206 and reply.body == body[start:stop], (
        key,
        start,
        stop,
        reply.status,
        reply.code,
    )
    assert reply.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(body)}"


def put_chunked(client: Client, bucket: str, key: str, body: bytes) -> int:
    """A PUT in signed 64 KiB chunks; its status."""
    headers = [
        ("Host", client.host),
        ("Content-Encoding", "aws-chunked"),
        ("Content-Length", str(chunked_length(len(body)))),
        ("x-amz-decoded-content-length", str(len(body))),
    ]
    path, keys = encode_path(f"/{bucket}/{key}"), client.credentials
    signed = sign(keys, "PUT", path, headers=headers, when=datetime.now(UTC), payload=STREAMING)
    head = request_head("PUT", path, signed.headers)
    return client.exchange(b"".join([head, *chunked_body(signed, body)])).status


def put_parts(clients: list[Client], bucket: str, key: str, parts: list[bytes]) -> None:
    """A multipart upload whose requests go to one gateway after the other."""
    (upload,) = clients[0].request("POST", f"/{bucket}/{key}", query=[("uploads", "")]).texts("UploadId")
    listed = ""
    for number, body in enumerate(parts, 1):
        query = [("partNumber", str(number)), ("uploadId", upload)]
        reply = clients[number % 5].request("PUT", f"/{bucket}/{key}", query=query, body=body)
        assert reply.status == 200, reply
        listed += f"<Part><PartNumber>{number}</PartNumber><ETag>{reply.headers['etag']}</ETag></Part>"
    document = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
    reply = clients[4].request("POST", f"/{bucket}/{key}", query=[("uploadId", upload)], body=document)
    assert reply.status == 200 and b"<Error>" not in reply.body, reply
