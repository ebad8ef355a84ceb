"""Owns the proof that a cluster without [[auth]] has one administrator's key, made once, for its owner alone."""

import configparser
import stat
import threading
from pathlib import Path

import pytest

from s3d.access import administrator
from shardd.contract.cluster import AuthConfig, Cluster
from shardd.contract.errors import ConfigurationError


def test_the_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    folder = tmp_path / "cluster"
    administrator.make(folder)
    first = administrator.read(folder)
    administrator.make(folder)
    assert administrator.read(folder) == first
    assert stat.S_IMODE((folder / administrator.CREDENTIALS_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [path.name for path in folder.iterdir()] == [administrator.CREDENTIALS_FILE]


def test_it_may_do_everything(tmp_path: Path) -> None:
    administrator.make(tmp_path)
    (policy,) = administrator.read(tmp_path).policy
    assert (policy.bucket, policy.actions) == ("*", ("*",))


def test_two_clusters_have_two_keys(tmp_path: Path) -> None:
    for name in "ab":
        administrator.make(tmp_path / name)
    first, second = administrator.read(tmp_path / "a"), administrator.read(tmp_path / "b")
    assert first.access_key_id != second.access_key_id
    assert first.secret_access_key != second.secret_access_key
    assert len(first.secret_access_key) == 40


def test_of_many_at_once_one_wins_and_all_agree(tmp_path: Path) -> None:
    barrier, seen = threading.Barrier(8), list[AuthConfig]()

    def make() -> None:
        barrier.wait()
        administrator.make(tmp_path)
        seen.append(administrator.read(tmp_path))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8
    assert all(key == seen[0] for key in seen)


def test_tools_of_aws_read_the_file(tmp_path: Path) -> None:
    administrator.make(tmp_path)
    parsed = configparser.ConfigParser()
    parsed.read(tmp_path / administrator.CREDENTIALS_FILE)
    assert parsed["default"]["aws_access_key_id"] == administrator.read(tmp_path).access_key_id


def test_a_file_with_auth_has_no_other_key(tmp_path: Path) -> None:
    alice = AuthConfig("ALICE", secret_access_key="secret-of-alice")
    assert administrator.keys_of(Cluster("1.0", (), auth=(alice,), secrets_path=tmp_path)) == (alice,)


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"admin-credentials: No such file.*first start of s3d makes it"
    ):
        administrator.keys_of(Cluster("1.0", (), secrets_path=tmp_path))
    (tmp_path / administrator.CREDENTIALS_FILE).write_text("[default]\naws_access_key_id = A\n")
    with pytest.raises(ConfigurationError, match="not a file of credentials"):
        administrator.read(tmp_path)
