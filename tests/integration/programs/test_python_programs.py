"""s3fs, pyarrow and deltalake in an environment of their own: scripts as their users write them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.cluster import Cluster
from tests.integration.programs import program, trees
from tests.integration.programs.conftest import Contents

pytestmark = pytest.mark.cluster

SCRIPTS = Path(__file__).with_name("scripts")
Script = Callable[..., str]


@pytest.fixture
def script(shared_cluster: Cluster) -> Script:
    """Runs a script: its arguments are the endpoints of all gateways, then what is given."""
    found = program.python()

    def run(name: str, *arguments: str | Path) -> str:
        command = [found, SCRIPTS / name, ",".join(shared_cluster.endpoints), *arguments]
        return program.run(command, **program.keys(shared_cluster))

    return run


def test_s3fs(script: Script, bucket: str, contents: Contents, tmp_path: Path):
    tree = trees.plant(tmp_path / "here", seed=47, big_bytes=17 * trees.MIB)
    script("over_s3fs.py", bucket, tmp_path / "here", tmp_path / "back")
    assert trees.differences(trees.read(tmp_path / "back"), tree) == []
    wanted = {f"copied/{name}": body for name, body in tree.items()}
    assert trees.differences(contents(bucket), wanted) == []


def test_pyarrow(script: Script, bucket: str, contents: Contents):
    script("over_pyarrow.py", bucket)
    assert contents(bucket) == {}


def test_no_commit_of_engines_that_race_is_lost(script: Script, bucket: str):
    print(script("race_of_commits.py", bucket))
