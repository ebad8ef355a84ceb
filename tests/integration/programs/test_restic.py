"""restic: a repository in the store, through several gateways; what it holds is checked, thinned out and restored."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.cluster import Cluster
from tests.integration.programs import program, trees

pytestmark = pytest.mark.cluster

Restic = Callable[..., str]


@pytest.fixture
def restic(shared_cluster: Cluster, bucket: str, tmp_path: Path) -> Restic:
    """Runs restic on one repository, at any gateway; it keeps no cache, so that all it knows is in the store."""
    found = program.find("restic")
    own = program.keys(shared_cluster) | {"RESTIC_PASSWORD": "sesame", "HOME": str(tmp_path)}

    def run(node: int, *arguments: str | Path, status: int = 0) -> str:
        repository = f"s3:{shared_cluster.endpoint(node)}/{bucket}/backups"
        command = [found, "--no-cache", "--json", "--repo", repository, *arguments]
        return program.run(command, status=status, folder=tmp_path, **own)

    return run


def test_a_backup_is_made_checked_thinned_out_and_restored(restic: Restic, tmp_path: Path):
    home = tmp_path / "home"
    first = trees.plant(home, seed=43, big_bytes=23 * trees.MIB)
    restic(1, "init")
    restic(2, "backup", "home")
    (home / "big.bin").unlink()
    second = trees.plant(home, seed=44)
    restic(3, "backup", "home")
    snapshots = [one["id"] for one in json.loads(restic(4, "snapshots"))]
    restic(5, "check", "--read-data")
    for node, snapshot, tree in ((1, snapshots[0], first), (2, snapshots[1], second)):
        target = tmp_path / snapshot
        restic(node, "restore", snapshot, "--target", target)
        assert trees.differences(trees.read(target / "home"), tree) == []
    restic(3, "forget", "--keep-last", "1", "--prune")
    restic(4, "check", "--read-data")
    assert [one["id"] for one in json.loads(restic(5, "snapshots"))] == snapshots[1:]
    restic(1, "restore", "latest", "--target", tmp_path / "again")
    assert trees.differences(trees.read(tmp_path / "again/home"), second) == []


def test_two_backups_at_once_share_a_repository(restic: Restic, tmp_path: Path):
    from concurrent.futures import ThreadPoolExecutor

    planted = {
        name: trees.plant(tmp_path / name, seed=45 + at, big_bytes=6 * trees.MIB)
        for at, name in enumerate("ab")
    }
    restic(1, "init")
    with ThreadPoolExecutor() as pool:
        list(pool.map(restic, (2, 3), ("backup", "backup"), planted))
    restic(4, "check", "--read-data")
    for name, tree in planted.items():
        restic(5, "restore", "latest", "--path", tmp_path / name, "--target", tmp_path / f"{name}-back")
        assert trees.differences(trees.read(tmp_path / f"{name}-back" / name), tree) == []
