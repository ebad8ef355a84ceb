"""Owns the proof of what a launcher says, and of what it gives its children; its life is in tests/integration."""

import os
from pathlib import Path

import pytest

from s3d import daemon
from shardd.contract.cluster_file import load
from shardd.transport import holds, readiness

CLUSTER = Path(__file__).parents[2] / "cluster.toml"


def test_the_greeting_is_pasted_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CLUSTER.parent)
    cluster = load(CLUSTER)
    lines = daemon.greeting(cluster, cluster.nodes, Path("cluster.toml"))
    assert lines[0] == "Quoin: 5 of 5 nodes here, RS(3,2)"
    assert lines[1].endswith("http://127.0.0.1:8084 http://127.0.0.1:8085")
    assert lines[2].endswith('eval "$(bin/s3ctl env)"')
    assert lines[3].endswith(' aws --endpoint-url "$AWS_ENDPOINT_URL" s3 mb s3://first')
    assert lines[4:] == ["ready"]


def test_the_greeting_of_another_file_and_folder_names_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cluster = load(CLUSTER)
    lines = daemon.greeting(cluster, cluster.nodes[:1], tmp_path / "other.toml")
    assert lines[0] == "Quoin: 1 of 5 nodes here, RS(3,2)"
    assert lines[2].endswith(f'eval "$({daemon.BIN}/s3ctl -config other.toml env)"')


def test_children_know_who_listens_who_holds_and_where_they_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_ARENA_MAX", "7")
    cluster = load(CLUSTER)
    environment = daemon.child_environment(cluster.nodes[2], "@somebody")
    assert environment[readiness.SOCKET_VARIABLE] == "@somebody"
    assert environment[holds.HELD_VARIABLE] == "1"
    assert environment["QUOIN_COUNTERS"] == str(cluster.nodes[2].path / "metrics")
    assert environment["MALLOC_ARENA_MAX"] == "7"  # whoever knows better is listened to
    assert environment["MALLOC_TRIM_THRESHOLD_"] == daemon.ALLOCATOR["MALLOC_TRIM_THRESHOLD_"]
    assert environment["PATH"] == os.environ["PATH"]
