"""Owns the programs of other people: where they are and how they are run; never what they are asked to do."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import pytest

from tests.integration.cluster import ROOT, Cluster, environment

RUN_WITHIN_S = 240
REGION = "us-east-1"


def find(name: str, *, says: str = "") -> Path:
    """The first program of this name in PATH whose --version has `says` in it; without one the test ends here."""
    for folder in os.get_exec_path():
        found = shutil.which(name, path=folder)
        if found and (not says or says in run([found, "--version"])):
            return Path(found)
    return absent(f"{name} {says}".strip())


def python() -> Path:
    """The Python that has s3fs, pyarrow and deltalake; without one the test ends here."""
    made = subprocess.run([ROOT / "bin/environment", "programs"], capture_output=True, text=True, check=False)
    return Path(made.stdout.strip()) if made.returncode == 0 else absent("the environment of Python programs")


def absent(what: str) -> NoReturn:
    """Ends a test for which something is missing: skipped, and said, but never so in CI."""
    reason = f"NOT TESTED: {what} is not here, bin/programs gets it"
    if os.environ.get("CI") == "true" or os.environ.get("QUOIN_PROGRAMS") == "all":
        pytest.fail(reason)
    pytest.skip(reason)


def run(
    command: list[str | Path], *, status: int = 0, stdin: bytes = b"", folder: Path | None = None, **own: str
) -> str:
    """What a program prints, once it has ended with `status`; `own` is added to its environment."""
    done = subprocess.run(
        command, env=environment() | own, input=stdin, cwd=folder, capture_output=True, timeout=RUN_WITHIN_S
    )
    said = done.stdout.decode(errors="replace")
    assert done.returncode == status, (command, done.returncode, said, done.stderr.decode(errors="replace"))
    return said


def keys(store: Cluster) -> dict[str, str]:
    """The administrator's key and the region, in the variables that most programs read; they ask once, and for all."""
    return {
        "AWS_ACCESS_KEY_ID": store.access_key,
        "AWS_SECRET_ACCESS_KEY": store.secret_key,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_MAX_ATTEMPTS": "1",
    }


def address(store: Cluster, node: int) -> str:
    """Host and port of a gateway."""
    return urlsplit(store.endpoint(node)).netloc
