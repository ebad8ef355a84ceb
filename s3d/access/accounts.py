"""Owns who is behind an access key: account, name, secret and grants, from [[auth]]; never what they may do."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from s3d.access.policy import Grant, statements_of
from s3d.access.policy_language import Identity, Statement
from shardd.contract.cluster import AuthConfig
from shardd.contract.errors import ConfigurationError


@dataclass(frozen=True, slots=True, eq=False)
class Principal:
    """One access key and the account of 12 digits that it acts for; equal to itself only, so that it hashes fast."""

    access_key: str
    account: str
    display_name: str
    email: str
    grants: tuple[Grant, ...]
    secret: str = field(repr=False)
    identity: Identity = field(init=False, repr=False)
    statements: tuple[Statement, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        arn = f"arn:aws:iam::{self.account}:user/{self.access_key}"
        object.__setattr__(self, "identity", Identity(self.account, arn))
        object.__setattr__(self, "statements", statements_of(self.grants))


class Accounts:
    """The principals of a cluster by access key id."""

    def __init__(self, principals: Iterable[Principal]) -> None:
        self._by_access_key = {principal.access_key: principal for principal in principals}

    @classmethod
    def from_config(cls, entries: Iterable[AuthConfig], environment: Mapping[str, str]) -> "Accounts":
        """Principals of [[auth]], secrets read where the file says. Raises ConfigurationError."""
        return cls(_principal(entry, f"auth[{number}]", environment) for number, entry in enumerate(entries))

    def find(self, access_key: str) -> Principal | None:
        """The principal of an access key id."""
        return self._by_access_key.get(access_key)

    def secret_of(self, access_key: str) -> str | None:
        """The secret of an access key id: what signature.Verifier asks for."""
        principal = self._by_access_key.get(access_key)
        return None if principal is None else principal.secret

    def account_of_email(self, email: str) -> str | None:
        """The account that an e-mail address is of, as grants of ACLs may name it."""
        wanted = email.lower()
        for principal in self._by_access_key.values():
            if principal.email and principal.email.lower() == wanted:
                return principal.account
        return None

    def has_account(self, account: str) -> bool:
        """Whether some key acts for `account`."""
        return any(principal.account == account for principal in self._by_access_key.values())

    def owner_name(self, account: str) -> str:
        """The display name of an account: of its first key that has one, or its number."""
        for principal in self._by_access_key.values():
            if principal.account == account and principal.display_name:
                return principal.display_name
        return account


def _principal(entry: AuthConfig, place: str, environment: Mapping[str, str]) -> Principal:
    return Principal(
        access_key=entry.access_key_id,
        account=entry.account_id,
        display_name=entry.display_name,
        email=entry.email,
        grants=tuple(Grant(policy.bucket, policy.actions) for policy in entry.policy),
        secret=_secret(entry, place, environment),
    )


def _secret(entry: AuthConfig, place: str, environment: Mapping[str, str]) -> str:
    """The secret from the one place of three that the entry names."""
    named = [entry.secret_access_key, entry.secret_access_key_file, entry.secret_access_key_env]
    if sum(1 for each in named if each) != 1:
        raise ConfigurationError(
            f"{place}: exactly one of secret_access_key, secret_access_key_file, secret_access_key_env is needed"
        )
    if entry.secret_access_key_file:
        try:
            secret = Path(entry.secret_access_key_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{place}.secret_access_key_file: {error}") from error
    elif entry.secret_access_key_env:
        secret = environment.get(entry.secret_access_key_env, "")
    else:
        secret = entry.secret_access_key
    if not secret:
        raise ConfigurationError(f"{place}: the secret is empty")
    return secret
