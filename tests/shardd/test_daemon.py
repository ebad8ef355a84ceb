"""Owns the proof of the shard server's process: what it says and how it ends where something is wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

from shardd.transport.authority import make_cluster_authority
from tests.s3d.shards.test_client import ShardProcess


def run(config: Path, node: str = "1") -> tuple[int, str]:
    command = [sys.executable, "-m", "shardd.daemon", "-config", str(config), "-node", node]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert not done.stdout
    return done.returncode, done.stderr


@pytest.fixture
def server(tmp_path: Path) -> ShardProcess:
    return ShardProcess(tmp_path)


def test_a_node_that_is_not_in_the_file(server: ShardProcess) -> None:
    status, said = run(server.config, "9")
    assert status == 2 and "no node 9" in said


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    status, said = run(tmp_path / "none.toml")
    assert status == 2 and "none.toml" in said


def test_a_certificate_that_is_not_there(server: ShardProcess) -> None:
    (server.secrets / "node-1-shard.pem").unlink()
    status, said = run(server.config)
    assert status == 2 and "node-1-shard.pem" in said and "Traceback" not in said


def test_a_second_start_says_what_is_taken(server: ShardProcess) -> None:
    server.start()
    try:
        status, said = run(server.config)
        assert status == 2 and "in use" in said and "Traceback" not in said
    finally:
        server.kill()


def test_a_folder_of_another_cluster_is_refused(server: ShardProcess) -> None:
    server.start()
    server.kill()
    for path in server.secrets.iterdir():
        path.unlink()
    make_cluster_authority(server.secrets)
    ShardProcess.issue(server.secrets)
    status, said = run(server.config)
    assert status == 2 and "Traceback" not in said
    assert f"{server.config}: nodes[0].path: " in said and "holds the shards of" in said


def test_an_idle_server_is_small(server: ShardProcess) -> None:
    server.start()
    try:
        assert server.process
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        resident_kib = int(status.split("VmRSS:")[1].split()[0])
        assert resident_kib < 45 * 1024
    finally:
        server.kill()
