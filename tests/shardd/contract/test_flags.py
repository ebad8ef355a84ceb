"""Owns the proof that every program reads the same flags, and that a wrong one ends it with status 2."""

from pathlib import Path

import pytest

from shardd.contract import flags
from shardd.contract.cluster_file import load

CLUSTER = Path(__file__).parents[3] / "cluster.toml"


@pytest.mark.parametrize("dashes", ["-", "--"])
def test_one_dash_or_two(dashes: str) -> None:
    found = flags.parser("s3d", "").parse_args([f"{dashes}config", "x.toml", f"{dashes}node", "3"])
    assert (found.config, found.node) == (Path("x.toml"), 3)


def test_the_environment_stands_in_for_flags_and_yields_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONFIG", "y.toml")
    monkeypatch.setenv("NODE", "4")
    parser = flags.parser("s3d", "")
    assert vars(parser.parse_args([])) == {"config": Path("y.toml"), "node": 4}
    assert parser.parse_args(["-node", "5"]).node == 5


def test_without_either_the_file_lies_in_the_working_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONFIG", raising=False)
    monkeypatch.delenv("NODE", raising=False)
    assert vars(flags.parser("s3d", "").parse_args([])) == {"config": Path("cluster.toml"), "node": None}


def test_a_wrong_file_ends_the_program_with_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        flags.load_or_exit(tmp_path / "gone.toml")
    assert caught.value.code == 2
    assert "gone.toml: No such file" in capsys.readouterr().err


def test_a_node_that_is_not_in_the_file_ends_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    cluster = load(CLUSTER)
    assert flags.node_or_exit(cluster, 2, CLUSTER).port == 9992
    with pytest.raises(SystemExit) as caught:
        flags.node_or_exit(cluster, 6, CLUSTER)
    assert caught.value.code == 2
    assert "no node 6; there are 1, 2, 3, 4, 5" in capsys.readouterr().err
