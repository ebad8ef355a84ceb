"""s3fs (FUSE): buckets as folders, one of each gateway; what cp, mv, append and truncate do is in the store."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.cluster import Cluster, wait_until
from tests.integration.programs import program, trees
from tests.integration.programs.conftest import Contents

pytestmark = pytest.mark.cluster

MOUNTED_WITHIN_S = 60.0
Mount = Callable[[int], Path]


@pytest.fixture
def mount(shared_cluster: Cluster, bucket: str, tmp_path: Path) -> Iterator[Mount]:
    """Mounts the bucket as a gateway shows it. A machine without /dev/fuse cannot: skipped there, in CI too."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("NOT TESTED: s3fs (FUSE) needs /dev/fuse")
    found = program.find("s3fs")
    keys = tmp_path / "keys"
    keys.write_text(f"{shared_cluster.access_key}:{shared_cluster.secret_key}")
    keys.chmod(0o600)
    running: dict[Path, subprocess.Popen[bytes]] = {}

    def start(node: int) -> Path:
        folder = tmp_path / f"gateway-{node}"
        folder.mkdir()
        options = f"url={shared_cluster.endpoint(node)},passwd_file={keys},use_path_request_style,retries=1"
        command = [found, bucket, folder, "-f", "-o", options, "-o", "multipart_size=10,stat_cache_expire=0"]
        running[folder] = subprocess.Popen(command)
        wait_until(folder.is_mount, within_s=MOUNTED_WITHIN_S, what="s3fs has mounted the bucket")
        return folder

    yield start
    for folder, process in running.items():
        program.run(["fusermount", "-u", folder])
        assert process.wait(MOUNTED_WITHIN_S) == 0


def test_a_tree_is_copied_changed_and_read_elsewhere(
    mount: Mount, bucket: str, contents: Contents, tmp_path: Path
):
    tree = trees.plant(tmp_path / "here", seed=48, big_bytes=23 * trees.MIB)
    first, second = mount(1), mount(2)
    shutil.copytree(tmp_path / "here", first / "tree")
    assert trees.differences(trees.read(second / "tree"), tree) == []
    with (second / "tree/big.bin").open("r+b") as file:
        file.seek(12_345_678)
        file.write(b"in the middle")
        file.seek(0, os.SEEK_END)
        file.write(b"at the end")
    with (second / "tree/plus+plus").open("r+b") as file:
        file.read(1)  # s3fs 1.90 fills what it has not read with zeros when it truncates
        file.truncate(100)
    (second / "tree/with space").rename(second / "tree/moved")
    shutil.rmtree(second / "tree/deep")
    big = bytearray(tree["big.bin"])
    big[12_345_678 : 12_345_678 + 13] = b"in the middle"
    tree |= {
        "big.bin": bytes(big) + b"at the end",
        "plus+plus": tree["plus+plus"][:100],
        "moved": tree.pop("with space"),
    }
    tree = {name: body for name, body in tree.items() if not name.startswith("deep/")}
    wanted = {f"tree/{name}": body for name, body in tree.items()}
    found = {key: body for key, body in contents(bucket).items() if not key.endswith("/")}
    assert trees.differences(found, wanted) == []
