"""Conformance: ceph's s3-tests, core profile, on a live store; what once passed must go on passing."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.integration.cluster import ROOT, Cluster

TOOLS = ROOT.parent / "shared" / "tools"
MUST_PASS = ROOT / "tests" / "conformance" / "must-pass.txt"
PASSED_MIN = 301
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(0)]

# Keys that the suite's own sample of a configuration has.
USERS = (
    (
        "0555b35654ad1656d804",
        "h7GhxuBLTrlhVUyxSPUKUV8r/2EI4ngqJxD7iBdBYLhwluN30JaT3Q==",
        "M. Tester",
        "tester@ceph.com",
    ),
    ("NOPQRSTUVWXYZABCDEFG", "nopqrstuvwxyzabcdefghijklmnabcdefghijklm", "john.doe", "john.doe@example.com"),
    (
        "HIJKLMNOPQRSTUVWXYZA",
        "opqrstuvwxyzabcdefghijklmnopqrstuvwxyzab",
        "tenanteduser",
        "tenanteduser@example.com",
    ),
    ("ABCDEFGHIJKLMNOPQRST", "abcdefghijklmnopqrstuvwxyzabcdefghijklmn", "youruseridhere", "s3@example.com"),
    ("AAAAAAAAAAAAAAAAAAaa", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "root1", "account1@ceph.com"),
    ("BBBBBBBBBBBBBBBBBBbb", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "root2", "account2@ceph.com"),
)
USERS_NAMED = (
    "MAIN",
    "ALT",
    "TENANT",
    "IAM",
    "ROOT",
    "ALTROOT",
)  # as the suite's variables have them, in order
SETTING = """
[[auth]]
access_key_id = "{}"
secret_access_key = "{}"
account_id = "{:012}"
display_name = "{}"
email = "{}"
policy = [{{ bucket = "*", actions = ["*"] }}]
"""


def test_core_profile(tmp_path: Path):
    if not os.environ.get("S3T_MIRROR") or not TOOLS.is_dir():
        pytest.skip("CONFORMANCE NOT MEASURED: set S3T_MIRROR to a bare clone of ceph/s3-tests")
    settings, users = "", {}
    for number, (access, secret, name, email) in enumerate(USERS):
        account = 100_000_000_000 + number
        settings += SETTING.format(access, secret, account, name, email)
        users[f"S3T_{USERS_NAMED[number]}"] = f"{access} {secret} {account} {email} {name}"
    folder = tmp_path / "store"
    folder.mkdir()
    with Cluster.create(folder, together=True, settings=settings) as store:
        store.start_all()
        done = subprocess.run(
            [
                *(str(TOOLS / "s3tests.sh"), "-p", "core", "-o", str(tmp_path / "out")),
                *("-u", str(TOOLS / "s3tests-leave-out.txt"), "-x", str(MUST_PASS)),
            ],
            env=os.environ | users | {"S3T_PORT": str(store.s3_ports[1])},
            capture_output=True,
            text=True,
            check=False,
        )
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-2_000:]
    passed = int(done.stdout.rsplit("passed ", 1)[1].split()[0])
    assert passed >= PASSED_MIN
