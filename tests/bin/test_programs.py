"""Owns the proof that bin/programs installs what is missing, once, and says so where it cannot."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = "awscli docker-registry rclone restic s3cmd s3fs strace"
# Packages are files of a folder; the calls of apt-get are noted.
DPKG_QUERY = """#!/bin/sh
eval "package=\\${$#}"
[ ! -e "$INSTALLED/$package" ] || echo installed
"""
APT_GET = """#!/bin/sh
echo "$*" >>"$INSTALLED/../calls"
[ -z "${OFFLINE:-}" ] || exit 100
case " $* " in *" install "*) for word in "$@"; do case $word in -*) ;; *) : >"$INSTALLED/$word" ;; esac; done ;; esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of just this script, with the programs that it calls."""
    for folder in ("bin", "path", "installed"):
        (tmp_path / folder).mkdir()
    shutil.copy(ROOT / "bin/programs", tmp_path / "bin")
    scripts = {"bin/environment": "#!/bin/sh\n", "path/dpkg-query": DPKG_QUERY, "path/apt-get": APT_GET}
    scripts |= {"path/id": "#!/bin/sh\necho 0\n"}
    for name, text in scripts.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "calls").touch()
    return tmp_path


def said(checkout: Path, **variables: str) -> str:
    own = {"PATH": f"{checkout / 'path'}:/usr/bin:/bin", "INSTALLED": str(checkout / "installed")}
    done = subprocess.run(
        [checkout / "bin/programs"], env=own | variables, capture_output=True, text=True, timeout=180
    )
    assert (done.returncode, done.stdout) == (0, "")
    return done.stderr


def test_what_is_missing_is_installed_once(checkout: Path) -> None:
    (checkout / "installed/rclone").touch()
    assert said(checkout) == "programs: installing awscli docker-registry restic s3cmd s3fs strace ...\n"
    updated, installed = (checkout / "calls").read_text().splitlines()
    assert updated.endswith(" update")
    assert installed.endswith(
        " install --yes --no-install-recommends awscli docker-registry restic s3cmd s3fs strace"
    )
    assert said(checkout) == ""
    assert len((checkout / "calls").read_text().splitlines()) == 2


def test_without_a_way_to_the_packages_it_says_so(checkout: Path) -> None:
    loud = f"programs: NOT ALL PROGRAMS ARE TESTED: as root, apt-get install --no-install-recommends {PACKAGES}\n"
    assert said(checkout, OFFLINE="1").endswith(loud)


def test_who_is_not_root_installs_nothing(checkout: Path) -> None:
    (checkout / "path/id").write_text("#!/bin/sh\necho 1000\n")
    assert "NOT ALL PROGRAMS ARE TESTED" in said(checkout)
    assert (checkout / "calls").read_text() == ""


def test_without_the_python_programs_it_says_so(checkout: Path) -> None:
    (checkout / "bin/environment").write_text("#!/bin/sh\nexit 1\n")
    assert "NO PYTHON PROGRAM IS TESTED" in said(checkout)
