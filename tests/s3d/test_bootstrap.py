"""Owns the proof that a cluster's first keys are made once, by whoever comes first, and only where the authority is."""

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from s3d import bootstrap
from shardd.contract.cluster import Cluster
from shardd.contract.cluster_file import load
from shardd.transport.tls import PeerIdentity

ROOT = Path(__file__).parents[2]
NODE = '[[nodes]]\nid = {id}\nhost = "127.0.0.1"\nport = {id}\npath = "node-{id}"\n'
TEXT = 'version = "1.0"\n[rs]\ndata = 1\nparity = 1\n' + NODE.format(id=1) + NODE.format(id=2)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "cluster.toml"
    path.write_text(TEXT)
    return path


@pytest.fixture
def cluster(config: Path) -> Cluster:
    return load(config)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_it_makes_what_is_missing_and_nothing_twice(cluster: Cluster) -> None:
    assert bootstrap.is_due(cluster, time.time())
    bootstrap.prepare(cluster)
    assert not bootstrap.is_due(cluster, time.time())
    made = contents(cluster.secrets_path)
    bootstrap.prepare(cluster)
    assert contents(cluster.secrets_path) == made
    for path in cluster.secrets_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for name in ("node-1-shard", "node-1-gateway", "node-2-shard", "node-2-gateway"):
        assert PeerIdentity.load(cluster.secrets_path, name).cluster == bytes.fromhex(
            made["cluster.id"].decode()
        )


@pytest.mark.parametrize("name", ["cluster.id", "ca.pem", "admin-credentials", "node-2-gateway.pem"])
def test_a_lost_file_is_noticed(cluster: Cluster, name: str) -> None:
    bootstrap.prepare(cluster)
    (cluster.secrets_path / name).unlink()
    assert bootstrap.is_due(cluster, time.time())


def test_an_old_certificate_is_noticed(cluster: Cluster) -> None:
    bootstrap.prepare(cluster)
    assert bootstrap.is_due(cluster, time.time() + bootstrap.RENEW_AFTER_S + 60)


def test_without_the_authoritys_key_nothing_can_be_made(cluster: Cluster) -> None:
    bootstrap.prepare(cluster)
    (cluster.secrets_path / "ca.key").unlink()
    (cluster.secrets_path / "node-1-shard.pem").unlink()
    assert not bootstrap.is_due(cluster, time.time())


def test_five_at_once_agree(config: Path, cluster: Cluster) -> None:
    command = [sys.executable, "-m", "s3d.bootstrap", "-config", str(config)]
    started = [subprocess.Popen(command, env=dict(os.environ) | {"PYTHONPATH": str(ROOT)}) for _ in range(5)]
    assert [process.wait(180) for process in started] == [0] * 5
    assert not bootstrap.is_due(cluster, time.time())
    assert not [name for name in contents(cluster.secrets_path) if name.startswith(".")]
    for name in ("node-1-shard", "node-2-gateway"):
        identity = PeerIdentity.load(cluster.secrets_path, name)
        assert identity.authority_pem == (cluster.secrets_path / "ca.pem").read_bytes()
