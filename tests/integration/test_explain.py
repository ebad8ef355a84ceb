"""`s3ctl explain` on a live cluster: an object whose shards are lost node by node, and its key with strange signs."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cluster import ROOT, Cluster, environment, wait_until

pytestmark = pytest.mark.cluster
KEY = "folder/ö +&=?/key"
BODY = os.urandom(3 << 20)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster.create(tmp_path) as made:
        made.start_all()
        yield made


def run(store: Cluster, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "bin/s3ctl"), "-config", str(store.config), "explain", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment())


def facts(store: Cluster, *words: str) -> dict[str, Any]:
    done = run(store, f"s3://bucket/{KEY}", "--json", *words)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_an_object_is_explained_while_nodes_die(store: Cluster) -> None:
    client = store.client(2)
    client.create_bucket(Bucket="bucket")
    client.put_object(Bucket="bucket", Key=KEY, Body=BODY)
    whole = facts(store, "--read")
    assert (whole["size"], whole["losses"]) == (len(BODY), 2)
    shards = whole["blobs"][0]["shards"]
    assert {shard["node"] for shard in shards} == set(store.nodes)
    store.kill(1)
    dead = wait_until(
        lambda: [s["node"] for s in facts(store)["blobs"][0]["shards"] if s["state"] == "unreachable"],
        within_s=60,
        what="a dead node's shard is unreachable",
    )
    assert dead == [1] and facts(store)["losses"] == 1
    told = run(store, f"s3://bucket/{KEY}")
    assert "survives the loss of any 1 more node" in told.stdout and "unreachable" in told.stdout
    absent = run(store, "s3://bucket/absent")
    assert absent.returncode == 1 and "NoSuchKey" in absent.stderr
    assert run(store, "s3://bucket").returncode == 2
