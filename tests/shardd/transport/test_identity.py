"""Owns the proof of authority.py and tls.py: files, modes, idempotence, races, and what a broken folder says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from shardd.contract.errors import ConfigurationError, ForbiddenError
from shardd.contract.hello import Role, host_name
from shardd.transport import authority, native
from shardd.transport.authority import issue, make_cluster_authority
from shardd.transport.tls import PeerIdentity

NOW_S = 1_800_000_000.0
RACE = (
    "import sys; from pathlib import Path; from shardd.transport.authority import *; d = Path(sys.argv[1])\n"
    + ("make_cluster_authority(d); issue(d, role='gateway', node=1)")
)


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    make_cluster_authority(tmp_path / "cluster")
    return tmp_path / "cluster"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_files_are_their_owners_alone(secrets: Path) -> None:
    issue(secrets, role=Role.GATEWAY, node=3)
    issue(secrets, role="shard server", node=3)
    issue(secrets, role=Role.ADMINISTRATOR)
    names = {"ca.pem", "ca.key", "cluster.id", "admin.pem", "admin.key"}
    names |= {f"node-3-{what}.{kind}" for what in ("gateway", "shard") for kind in ("pem", "key")}
    assert set(contents(secrets)) == names
    assert {path.stat().st_mode & 0o777 for path in secrets.iterdir()} == {0o600}
    assert secrets.stat().st_mode & 0o777 == 0o700


def test_what_is_there_stays_and_only_half_lived_certificates_are_renewed(secrets: Path) -> None:
    issue(secrets, role="gateway", node=1, now_s=NOW_S)
    before = contents(secrets)
    make_cluster_authority(secrets)
    issue(secrets, role="gateway", node=1, now_s=NOW_S + 300 * 86_400)
    assert contents(secrets) == before
    issue(secrets, role="gateway", node=1, now_s=NOW_S + 400 * 86_400)
    after = contents(secrets)
    assert {name for name in after if after[name] != before[name]} == {
        "node-1-gateway.pem",
        "node-1-gateway.key",
    }


def test_a_certificate_without_its_key_is_made_again(secrets: Path) -> None:
    issue(secrets, role="gateway", node=1)
    (secrets / "node-1-gateway.key").unlink()
    issue(secrets, role="gateway", node=1)
    identity = PeerIdentity.load(secrets, "node-1-gateway")
    native.verify_signature(identity.certificate, b"data", identity.sign(b"data"))


def test_a_crash_in_the_middle_leaves_no_half_file(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(authority.os, "fsync", crash)
    with pytest.raises(KeyboardInterrupt):
        issue(secrets, role="gateway", node=1)
    monkeypatch.undo()
    assert not (secrets / "node-1-gateway.key").exists()
    issue(secrets, role="gateway", node=1)
    assert PeerIdentity.load(secrets, "node-1-gateway").name.node == 1


def test_processes_that_start_together_agree(tmp_path: Path) -> None:
    folder = tmp_path / "cluster"
    racers = [subprocess.Popen([sys.executable, "-c", RACE, str(folder)]) for _ in range(5)]
    assert [racer.wait(60) for racer in racers] == [0] * 5
    identity = PeerIdentity.load(folder, "node-1-gateway")
    native.verify_certificate(
        identity.certificate, identity.authority, host_name(identity.cluster, identity.name)
    )
    native.verify_signature(identity.certificate, b"data", identity.sign(b"data"))


def test_a_certificate_names_node_role_and_cluster(secrets: Path) -> None:
    issue(secrets, role="gateway", node=1)
    identity = PeerIdentity.load(secrets, "node-1-gateway")
    right = host_name(identity.cluster, identity.name)
    native.verify_certificate(identity.certificate, identity.authority, right)
    for wrong in (right.replace("node-1", "node-2"), right.replace("gateway", "administrator"), "x" + right):
        with pytest.raises(ForbiddenError):
            native.verify_certificate(identity.certificate, identity.authority, wrong)
    with pytest.raises(ForbiddenError):
        native.verify_certificate(b"noise", identity.authority, right)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("ca.pem", None, "ca.pem"),
        ("node-1-gateway.key", None, "node-1-gateway.key"),
        ("cluster.id", b"00ff", "16 bytes"),
        ("cluster.id", b"not hex", "node-1-gateway"),
        ("node-1-gateway.pem", b"noise", "no certificate"),
    ],
)
def test_a_broken_folder_is_a_configuration_error_that_names_the_file(
    secrets: Path, name: str, content: bytes | None, why: str
) -> None:
    issue(secrets, role="gateway", node=1)
    (secrets / name).unlink() if content is None else (secrets / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=re.escape(why)):
        PeerIdentity.load(secrets, "node-1-gateway")


@pytest.mark.parametrize("name", ["", "admin2", "node-0-gateway", "node-1-admin", "../admin", "node-١-shard"])
def test_only_names_of_peers_are_loaded(secrets: Path, name: str) -> None:
    with pytest.raises(ConfigurationError):
        PeerIdentity.load(secrets, name)


def test_without_the_authoritys_key_nothing_is_issued(secrets: Path) -> None:
    (secrets / "ca.key").unlink()
    with pytest.raises(ConfigurationError, match=r"ca\.key"):
        issue(secrets, role="gateway", node=1)
