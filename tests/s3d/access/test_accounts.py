"""Accounts: whom an access key stands for, and where its secret comes from."""

from pathlib import Path

import pytest

from s3d.access.accounts import Accounts
from s3d.access.policy import Grant
from s3d.access.policy_language import Identity
from shardd.contract.cluster import AuthConfig, PolicyConfig
from shardd.contract.errors import ConfigurationError

ENTRY = AuthConfig(
    access_key_id="AK1",
    secret_access_key="s1",
    account_id="111111111111",
    display_name="Ann",
    email="ann@example.com",
    policy=(PolicyConfig(bucket="photos", actions=("s3:*",)),),
)


def test_principal_of_a_key() -> None:
    accounts = Accounts.from_config((ENTRY,), {})
    ann = accounts.find("AK1")
    assert ann is not None
    assert (ann.account, ann.display_name, ann.email) == ("111111111111", "Ann", "ann@example.com")
    assert ann.grants == (Grant("photos", ("s3:*",)),)
    assert accounts.secret_of("AK1") == "s1"
    assert "s1" not in repr(ann)


def test_unknown_keys_and_accounts() -> None:
    accounts = Accounts.from_config((ENTRY,), {})
    assert accounts.find("AK2") is None
    assert accounts.secret_of("AK2") is None
    assert accounts.owner_name("111111111111") == "Ann"
    assert accounts.owner_name("222222222222") == "222222222222"


def test_whom_a_grant_may_name() -> None:
    accounts = Accounts.from_config((ENTRY, AuthConfig(access_key_id="AK2", secret_access_key="s2")), {})
    assert accounts.account_of_email("ANN@example.com") == "111111111111"
    assert accounts.account_of_email("") is accounts.account_of_email("bob@example.com") is None
    assert accounts.has_account("111111111111") and not accounts.has_account("222222222222")


def test_how_policies_name_a_key() -> None:
    ann = Accounts.from_config((ENTRY,), {}).find("AK1")
    assert ann is not None
    assert ann.identity == Identity("111111111111", "arn:aws:iam::111111111111:user/AK1")
    assert [statement.buckets for statement in ann.statements] == [("photos",)]


def test_secrets_from_a_file_and_from_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("from file\n")
    accounts = Accounts.from_config(
        (
            AuthConfig(access_key_id="A", secret_access_key_file=str(file)),
            AuthConfig(access_key_id="B", secret_access_key_env="SECRET_B"),
        ),
        {"SECRET_B": "from environment"},
    )
    assert (accounts.secret_of("A"), accounts.secret_of("B")) == ("from file", "from environment")


@pytest.mark.parametrize(
    "entry",
    [
        AuthConfig(access_key_id="A"),
        AuthConfig(access_key_id="A", secret_access_key="s", secret_access_key_env="E"),
        AuthConfig(access_key_id="A", secret_access_key_file="/nowhere/secret"),
        AuthConfig(access_key_id="A", secret_access_key_file="/dev/null"),
        AuthConfig(access_key_id="A", secret_access_key_env="E"),
    ],
)
def test_secrets_that_are_not_there(entry: AuthConfig) -> None:
    with pytest.raises(ConfigurationError, match=r"auth\[0\]"):
        Accounts.from_config((entry,), {})
