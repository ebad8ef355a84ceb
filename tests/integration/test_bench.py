"""The bench runs whole, in small, on a live store: every phase has its figure, and none of its requests failed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.listing import ROWS
from tests.integration.cluster import ROOT, Cluster

pytestmark = pytest.mark.cluster

SMALL = ["--scale", "0.01", "--keys", "1500", "--largest", str(1 << 20), "--no-floors"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The bench with these arguments; its status is the caller's to judge."""
    command = [sys.executable, "-m", "bench", *SMALL, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_every_phase_has_a_figure(shared_cluster: Cluster, tmp_path: Path):
    report = tmp_path / "report.json"
    endpoints = [word for url in shared_cluster.endpoints for word in ("--endpoint", url)]
    # A secret may begin with a hyphen.
    keys = [f"--access-key={shared_cluster.access_key}", f"--secret-key={shared_cluster.secret_key}"]
    done = run(*endpoints, *keys, "--json", str(report), "--pids", *map(str, shared_cluster.pids()))
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]
    found = json.loads(report.read_text())
    figures = {figure["name"]: figure for figure in found["figures"]}
    wanted = {f"{verb} {size}" for verb in ("PUT", "GET", "lone GET") for size in ("1 MiB", "4 KiB")}
    wanted |= {"HEAD", "DELETE", "LIST 1,000 keys", "lone PUT 4 KiB", "lone HEAD", "PUT 1 MiB, SHA-256"}
    assert wanted <= figures.keys()
    for figure in figures.values():
        assert figure["failures"] == 0 and figure["operations_s"] > 0
        assert 0 < figure["p50_ms"] <= figure["p99_ms"]
    assert sum(figure["cpu_ms"] for figure in figures.values()) > 0
    assert 0 < found["memory"]["idle"]["pss_bytes"] <= found["memory"]["peak"]["pss_bytes"]


def compared(tmp_path: Path, *arguments: str) -> list[dict[str, Any]]:
    """The rows of a comparison, none of whose requests failed. How they compare is no test's to judge."""
    report = tmp_path / "rows.json"
    done = run(*arguments, "--folder", str(tmp_path), "--json", str(report))
    assert report.exists(), done.stdout[-2_000:] + done.stderr[-2_000:]
    rows: list[dict[str, Any]] = json.loads(report.read_text())
    assert done.returncode == (not all(row["held"] for row in rows))
    for figure in (figure for row in rows for side in ("base", "other") for figure in row[side]):
        assert figure["failures"] == 0 and figure["p50_ms"] > 0
    return rows


def test_pages_of_a_large_bucket_are_held_against_those_of_a_small_one(tmp_path: Path):
    rows = compared(tmp_path, "--listing", "6000", "--scale", "0.05")
    assert [row["name"] for row in rows] == list(ROWS)


def test_an_older_checkout_has_its_turns_beside_this_one(tmp_path: Path):
    rows = compared(tmp_path, "--beside", str(ROOT), "--rounds", "2", "--keys", "20")
    assert {"PUT 4 KiB", "GET 4 KiB", "HEAD", "DELETE", "LIST 1,000 keys"} <= {row["name"] for row in rows}
    assert all(len(row["base"]) == len(row["other"]) == 2 for row in rows)


def test_a_refused_bucket_is_told(shared_cluster: Cluster):
    done = run("--endpoint", shared_cluster.endpoint(), "--access-key", "nobody", "--secret-key", "x")
    assert done.returncode == 1 and "status 403" in done.stderr
