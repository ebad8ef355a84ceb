"""A docker registry (Go) that keeps its images in the store: pushed in pieces, pulled elsewhere, collected."""

import json
import random
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from itertools import cycle
from pathlib import Path
from socket import SOCK_STREAM
from typing import Any

import httpx
import pytest

from tests.integration.cluster import Cluster, environment, wait_until
from tests.integration.ports import free_ports
from tests.integration.programs import program
from tests.integration.programs.conftest import Contents

pytestmark = pytest.mark.cluster

MIB = 1 << 20
UP_WITHIN_S = 180.0
ENDED_WITHIN_S = 60.0
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = """
version: 0.1
log: {{level: warn}}
storage:
  s3:
    region: us-east-1
    regionendpoint: {endpoint}
    accesskey: {access}
    secretkey: {secret}
    bucket: {bucket}
    secure: false
    chunksize: 5242880
    multipartcopychunksize: 5242880
    multipartcopythresholdsize: 10485760
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:{port}", secret: shared}}
"""


@pytest.fixture
def configs(shared_cluster: Cluster, bucket: str, tmp_path: Path) -> dict[str, Path]:
    """Two registries that share a bucket, each at a gateway of its own: URL -> configuration."""
    made = {}
    for node, port in zip((1, 2), free_ports(SOCK_STREAM, 2), strict=True):
        path = made[f"http://127.0.0.1:{port}"] = tmp_path / f"registry-{node}.yml"
        keys = {"access": shared_cluster.access_key, "secret": shared_cluster.secret_key}
        path.write_text(
            CONFIG.format(endpoint=shared_cluster.endpoint(node), bucket=bucket, port=port, **keys)
        )
    return made


@pytest.fixture
def registries(configs: dict[str, Path]) -> Iterator[list[httpx.Client]]:
    """Clients of the two, which run."""
    found = program.find("docker-registry")
    running = [
        subprocess.Popen([found, "serve", path], env=environment(), stdout=subprocess.DEVNULL)
        for path in configs.values()
    ]
    clients = [
        httpx.Client(base_url=url, follow_redirects=True, timeout=30, trust_env=False) for url in configs
    ]

    def up() -> bool:
        try:
            return all(client.get("/v2/").status_code == 200 for client in clients)
        except httpx.TransportError:
            return False

    try:
        wait_until(up, within_s=UP_WITHIN_S, what="both registries answer")
        yield clients
    finally:
        for client in clients:
            client.close()
        for process in running:
            process.terminate()
            process.wait(ENDED_WITHIN_S)


def digest(body: bytes) -> str:
    return f"sha256:{sha256(body).hexdigest()}"


def push(registries: list[httpx.Client], body: bytes, pieces: list[int]) -> dict[str, Any]:
    """Uploads a blob in pieces of these sizes, each by the next registry; how a manifest names it."""
    turns = cycle(registries)
    reply = next(turns).post("/v2/an/image/blobs/uploads/")
    start = 0
    for size in pieces:
        where = httpx.URL(reply.headers["location"])
        piece = body[start : start + size]
        ranged = {
            "Content-Range": f"{start}-{start + len(piece) - 1}",
            "Content-Type": "application/octet-stream",
        }
        reply = next(turns).patch(where.raw_path.decode(), content=piece, headers=ranged)
        assert reply.status_code == 202, reply.text
        start += len(piece)
    where = httpx.URL(reply.headers["location"]).copy_merge_params({"digest": digest(body)})
    reply = next(turns).put(where.raw_path.decode(), content=body[start:])
    assert reply.status_code == 201, reply.text
    return {"mediaType": "application/octet-stream", "size": len(body), "digest": digest(body)}


def test_an_image_is_pushed_pulled_and_collected(
    registries: list[httpx.Client], configs: dict[str, Path], contents: Contents, bucket: str
):
    chance = random.Random(49)
    layers = [chance.randbytes(size) for size in (1, 5 * MIB, 23 * MIB + 5, 700_000)]
    pieces = [[1], [5 * MIB], [3 * MIB, 7 * MIB, 11 * MIB + 1, 100], []]
    named = [push(registries, layer, cut) for layer, cut in zip(layers, pieces, strict=True)]
    manifest = json.dumps(
        {"schemaVersion": 2, "mediaType": MANIFEST, "config": named[0], "layers": named[1:]}
    ).encode()
    typed = {"Content-Type": MANIFEST, "Accept": MANIFEST}
    reply = registries[0].put("/v2/an/image/manifests/new", content=manifest, headers=typed)
    assert reply.status_code == 201, reply.text
    assert registries[1].get("/v2/_catalog").json() == {"repositories": ["an/image"]}
    assert registries[1].get("/v2/an/image/tags/list").json()["tags"] == ["new"]
    for registry in registries:
        assert registry.get("/v2/an/image/manifests/new", headers=typed).content == manifest
        for layer in layers:
            pulled = registry.get(f"/v2/an/image/blobs/{digest(layer)}")
            assert pulled.history and pulled.content == layer  # by a presigned URL of the store
    assert registries[1].delete(f"/v2/an/image/manifests/{digest(manifest)}").status_code == 202
    program.run([program.find("docker-registry"), "garbage-collect", next(iter(configs.values()))])
    held = contents(bucket).values()
    assert not {digest(body) for body in held} & {digest(body) for body in (*layers, manifest)}
