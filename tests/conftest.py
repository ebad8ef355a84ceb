"""Owns what every test may ask for: a live cluster of its own, or the one that a whole run shares."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cluster import Cluster

MakeCluster = Callable[..., Cluster]

# Nothing of the developer's own AWS set-up reaches the clients of the tests.
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]
os.environ |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "NO_PROXY": "*"}


@pytest.fixture
def make_cluster(tmp_path: Path) -> Iterator[MakeCluster]:
    """Makes clusters (see Cluster) that are not started yet; every process of theirs ends with the test."""
    made: list[Cluster] = []

    def make(**options: Any) -> Cluster:
        folder = tmp_path / f"cluster-{len(made)}"
        folder.mkdir()
        made.append(Cluster(folder, **options))
        return made[-1]

    yield make
    for cluster in made:
        cluster.close()


@pytest.fixture
def cluster(make_cluster: MakeCluster) -> Cluster:
    """Five nodes, RS(3,2), under one launcher, running; this test's own."""
    made = make_cluster(together=True)
    made.start_all()
    return made


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Five running nodes for all tests that only use the API. Use buckets of your own; kill nothing."""
    with Cluster.create(tmp_path_factory.mktemp("shared"), together=True) as made:
        made.start_all()
        yield made


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Drills do as many rounds as a variable says: the run tells how many that were, and what it could not test."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            facts = [fact for fact in getattr(report, "user_properties", ()) if report.when == "teardown"]
            for (_, row), (_, held), (_, asked) in zip(facts[::3], facts[1::3], facts[2::3], strict=False):
                terminalreporter.write_line(f"{row}: held {held} of {asked}")
    skipped = (report.longrepr[2] for report in terminalreporter.stats.get("skipped", ()))
    for reason in sorted({reason.removeprefix("Skipped: ") for reason in skipped if "NOT TESTED" in reason}):
        terminalreporter.write_line(reason, yellow=True)
