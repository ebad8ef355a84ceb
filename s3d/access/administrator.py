"""Owns the administrator's key of a cluster whose file has no [[auth]]: made once at random, 0600, read by all.

The file is one that AWS tools read too (AWS_SHARED_CREDENTIALS_FILE).
"""

import os
import re
import secrets
from pathlib import Path

from shardd.contract.cluster import AuthConfig, Cluster, PolicyConfig
from shardd.contract.errors import ConfigurationError

CREDENTIALS_FILE = "admin-credentials"

_LINE = re.compile(r"^aws_(access_key_id|secret_access_key) *= *(\S+)$", re.MULTILINE)
_EVERYTHING = (PolicyConfig(bucket="*", actions=("*",)),)


def make(folder: Path) -> None:
    """Makes the key in `folder` unless it is there; of several processes at once, one wins and all see its key."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / CREDENTIALS_FILE
    if path.exists():
        return
    draft = folder / f".{CREDENTIALS_FILE}.{secrets.token_hex(8)}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(
            "[default]\n"
            f"aws_access_key_id = QN{secrets.token_hex(9).upper()}\n"
            f"aws_secret_access_key = {secrets.token_urlsafe(30)}\n"
        )
        file.flush()
        os.fsync(descriptor)
    try:
        path.hardlink_to(draft)  # unlike a rename, this refuses where somebody else was first
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def read(folder: Path) -> AuthConfig:
    """The key in `folder`, allowed everything; ConfigurationError where there is none or it cannot be read."""
    path = folder / CREDENTIALS_FILE
    try:
        found = dict(_LINE.findall(path.read_text()))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}; the first start of s3d makes it") from error
    if len(found) != 2:
        raise ConfigurationError(f"{path}: not a file of credentials")
    return AuthConfig(**found, display_name="administrator", policy=_EVERYTHING)


def keys_of(cluster: Cluster) -> tuple[AuthConfig, ...]:
    """Whom the cluster knows: its [[auth]], or the administrator alone where the file has none."""
    return cluster.auth or (read(cluster.secrets_path),)
