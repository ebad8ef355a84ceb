"""Owns the proof that bin/environment finds a Python, says what is missing, and is made once by whoever comes first."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("cat", "cut", "dirname", "flock", "mkdir", "rm", "sha256sum")
# An interpreter that has a version and, perhaps, venv; nothing else.
PYTHON = """#!/bin/sh
case "$2" in *ensurepip*) exit {venv} ;; esac
echo {version}
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that needs no library."""
    root = tmp_path / "a checkout"
    (root / "bin").mkdir(parents=True)
    shutil.copy(ROOT / "bin/environment", root / "bin")
    for name in ("requirements.txt", "requirements-dev.txt"):
        (root / name).write_text("")
    for name in ("shardd", "s3d"):
        (root / name).mkdir()
    return root


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A folder of the few tools that the script may use, and no Python yet."""
    folder = tmp_path / "path"
    folder.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        assert found
        (folder / name).symlink_to(found)
    return folder


def python(path: Path, name: str, *, version: str, venv: int) -> None:
    (path / name).write_text(PYTHON.format(version=version, venv=venv))
    (path / name).chmod(0o755)


def start(checkout: Path, kind: str, variables: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["/bin/sh", str(checkout / "bin/environment"), kind],
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def refusal(checkout: Path, path: Path) -> str:
    process = start(checkout, "runtime", {"PATH": str(path)})
    _, said = process.communicate(timeout=120)
    assert process.returncode == 2
    assert not (checkout / ".venv").exists()
    return said


def test_without_python_it_says_which(checkout: Path, path: Path) -> None:
    assert "needs Python 3.11, 3.12 or 3.13" in refusal(checkout, path)


@pytest.mark.parametrize("version", ["2.7", "3.10", "3.14"])
def test_another_version_is_none(checkout: Path, path: Path, version: str) -> None:
    python(path, "python3", version=version, venv=0)
    assert "needs Python 3.11, 3.12 or 3.13" in refusal(checkout, path)


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_python_of_debian_without_venv_names_the_package(checkout: Path, path: Path, version: str) -> None:
    python(path, "python3", version=version, venv=1)
    assert f"apt install python{version}-venv (or python3-venv)" in refusal(checkout, path)


def test_five_at_once_make_it_once(checkout: Path) -> None:
    variables = {"PATH": "/usr/bin:/bin", "PYTHON": sys.executable}
    started = [start(checkout, "runtime", variables) for _ in range(5)]
    ended = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0] * 5, ended
    (made,) = {printed.strip() for printed, _ in ended}
    assert Path(made).is_relative_to(checkout / ".venv")
    assert sum("making the runtime environment" in said for _, said in ended) == 1
    again = start(checkout, "runtime", variables)
    assert again.communicate(timeout=120) == (f"{made}\n", "")
    (checkout / "requirements.txt").write_text("# nothing new\n")
    other, _ = start(checkout, "runtime", variables).communicate(timeout=120)
    assert other.strip() not in ("", made)
    assert Path(made).exists()  # new pins never change what a process runs on


def test_a_try_that_broke_is_not_taken_for_an_environment(checkout: Path) -> None:
    (checkout / "requirements.txt").write_text("this is no requirement\n")
    process = start(checkout, "runtime", {"PATH": "/usr/bin:/bin", "PYTHON": sys.executable})
    printed, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert printed == ""
    assert not list((checkout / ".venv").glob("*/made"))
