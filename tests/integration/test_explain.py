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
PATIENCE_S = 180.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster.create(tmp_path) as made:
        made.start_all()
        yield made


def run(store: Cluster, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "bin/s3ctl"), "-config", str(store.config), "explain", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment())


def facts(store: Cluster, *words: str) -> dict[str, Any]:
    done = run(store, f"s3://bucket/{KEY}", "--json", *words)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def unreachable(found: dict[str, Any]) -> tuple[list[int], int]:
    """The nodes whose shards are, and how many more may be lost."""
    shards = found["blobs"][0]["shards"]
    return [shard["node"] for shard in shards if shard["state"] == "unreachable"], found["losses"]


def test_an_object_is_explained_while_nodes_die(store: Cluster) -> None:
    client = store.client(2)
    client.create_bucket(Bucket="bucket")
    client.put_object(Bucket="bucket", Key=KEY, Body=BODY)
    # A machine that does other things as well may have written less at first, and hear a node late.
    whole = wait_until(
        lambda: found if (found := facts(store, "--read"))["losses"] == 2 else None,
        within_s=PATIENCE_S,
        what="any two nodes may be lost",
    )
    assert whole["size"] == len(BODY)
    shards = whole["blobs"][0]["shards"]
    assert {shard["node"] for shard in shards} == set(store.nodes)
    store.kill(1)
    wait_until(
        lambda: unreachable(facts(store)) == ([1], 1),
        within_s=PATIENCE_S,
        what="a dead node's shard is unreachable, and one more node may be lost",
    )

    def is_told() -> bool:
        told = run(store, f"s3://bucket/{KEY}").stdout
        return "survives the loss of any 1 more node" in told and "unreachable" in told

    wait_until(is_told, within_s=PATIENCE_S, what="it is told")
    absent = run(store, "s3://bucket/absent")
    assert absent.returncode == 1 and "NoSuchKey" in absent.stderr
    assert run(store, "s3://bucket").returncode == 2
