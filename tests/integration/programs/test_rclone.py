"""rclone: trees copied, synced and compared between a disk and gateways, in parts, and from one gateway to another."""

import json
import random
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.cluster import Cluster
from tests.integration.programs import program, trees
from tests.integration.programs.conftest import Contents

pytestmark = pytest.mark.cluster

Rclone = Callable[..., str]


@pytest.fixture
def rclone(shared_cluster: Cluster, tmp_path: Path) -> Rclone:
    """Runs rclone; the remote gN is the gateway of node N."""
    found = program.find("rclone")
    own = {"RCLONE_CONFIG": str(tmp_path / "none"), "HOME": str(tmp_path)}
    for node in shared_cluster.nodes:
        settings = {
            "TYPE": "s3",
            "PROVIDER": "Other",
            "ENDPOINT": shared_cluster.endpoint(node),
            "REGION": program.REGION,
            "ACCESS_KEY_ID": shared_cluster.access_key,
            "SECRET_ACCESS_KEY": shared_cluster.secret_key,
        }
        own |= {f"RCLONE_CONFIG_G{node}_{name}": value for name, value in settings.items()}

    def run(*arguments: str | Path, status: int = 0, stdin: bytes = b"") -> str:
        limits = (
            "--s3-upload-cutoff",
            "5M",
            "--s3-chunk-size",
            "5M",
            "--retries",
            "1",
            "--low-level-retries",
            "1",
        )
        return program.run([found, *arguments, *limits], status=status, stdin=stdin, **own)

    return run


def test_trees_are_synced_and_checked(rclone: Rclone, bucket: str, contents: Contents, tmp_path: Path):
    here = tmp_path / "here"
    tree = trees.plant(here, seed=42, big_bytes=17 * trees.MIB)
    rclone("sync", here, f"g1:{bucket}")
    assert trees.differences(contents(bucket), tree) == []
    rclone("check", here, f"g2:{bucket}")
    rclone("check", "--download", here, f"g3:{bucket}")
    rclone("check", f"g4:{bucket}", f"g5:{bucket}")
    (here / "plain").unlink()
    (here / "dir/file").write_bytes(b"another")
    rclone("check", here, f"g1:{bucket}", status=1)
    rclone("sync", here, f"g1:{bucket}")
    assert trees.differences(contents(bucket), trees.read(here)) == []
    rclone("copy", f"g2:{bucket}", tmp_path / "back")
    assert trees.differences(trees.read(tmp_path / "back"), trees.read(here)) == []
    times = {entry["Path"]: entry["ModTime"] for entry in json.loads(rclone("lsjson", "-R", f"g3:{bucket}"))}
    assert times["big.bin"].startswith("2023-11-14T22:13:20")  # its own, kept in metadata


def test_a_bucket_is_copied_on_the_server_streamed_into_and_purged(
    rclone: Rclone, bucket: str, contents: Contents, tmp_path: Path
):
    tree = trees.plant(tmp_path / "here", seed=43, big_bytes=6 * trees.MIB)
    rclone("copy", tmp_path / "here", f"g1:{bucket}/a")
    rclone("sync", f"g2:{bucket}/a", f"g2:{bucket}/b", "--s3-copy-cutoff", "5M")
    rclone("move", f"g3:{bucket}/a", f"g4:{bucket}/c")
    stream = random.Random(52).randbytes(12_800_000)
    rclone("rcat", f"g5:{bucket}/streamed", stdin=stream)
    wanted = {f"{folder}/{name}": body for folder in "bc" for name, body in tree.items()}
    assert trees.differences(contents(bucket), wanted | {"streamed": stream}) == []
    assert json.loads(rclone("size", "--json", f"g1:{bucket}"))["count"] == len(wanted) + 1
    rclone("purge", f"g2:{bucket}")
    assert bucket not in rclone("lsd", "g3:")


def test_versions_are_listed_read_and_cleaned_away(
    rclone: Rclone, shared_cluster: Cluster, bucket: str, tmp_path: Path
):
    shared_cluster.client().put_bucket_versioning(
        Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
    )
    for node, body in ((1, b"first"), (2, b"second")):
        rclone("rcat", f"g{node}:{bucket}/dir/file.txt", stdin=body)
    rclone("copy", "--s3-versions", f"g3:{bucket}", tmp_path / "all")
    read = trees.read(tmp_path / "all")
    assert read.pop("dir/file.txt") == b"second"
    ((name, old),) = read.items()
    assert (name[:10], old) == ("dir/file-v", b"first")
    rclone("backend", "cleanup-hidden", f"g4:{bucket}")
    listed = shared_cluster.client().list_object_versions(Bucket=bucket)["Versions"]
    assert [(version["Key"], version["IsLatest"]) for version in listed] == [("dir/file.txt", True)]
    rclone("deletefile", f"g5:{bucket}/dir/file.txt")
    assert rclone("lsf", "-R", "--files-only", f"g1:{bucket}") == ""


def test_a_link_is_a_presigned_url(rclone: Rclone, bucket: str):
    rclone("rcat", f"g1:{bucket}/a b", stdin=b"hello")
    with urllib.request.urlopen(rclone("link", "--expire", "1h", f"g2:{bucket}/a b").strip()) as reply:
        assert reply.read() == b"hello"
