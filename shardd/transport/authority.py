"""Owns the cluster's authority: makes its key, its certificate and those of the peers; never talks to a peer.

The only home of the library `cryptography`. Whoever holds ca.key can name any peer; a machine that only runs nodes
does not need it.
"""

import datetime
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from shardd.contract.blobs import NodeId
from shardd.contract.errors import ConfigurationError
from shardd.contract.folders import sync_folder
from shardd.contract.hello import PeerName, Role, host_name
from shardd.contract.identity_files import AUTHORITY_FILE, AUTHORITY_KEY_FILE, CLUSTER_FILE, file_stem
from shardd.transport import native
from shardd.transport.tls import der_of

AUTHORITY_LIFE = datetime.timedelta(days=20 * 365)
CERTIFICATE_LIFE = datetime.timedelta(days=2 * 365)
CLOCK_SLACK = datetime.timedelta(days=1)

_SUBJECT = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Quoin cluster authority")])


def make_cluster_authority(folder: Path, *, now_s: float | None = None) -> None:
    """Makes cluster.id, ca.key and ca.pem in `folder`, unless ca.pem is there.

    Any number of processes may call at once. `now_s`: seconds since 1970; the clock where None.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(folder):
        if (folder / AUTHORITY_FILE).exists():
            return
        key = Ed25519PrivateKey.generate()
        builder = _builder(key, life=AUTHORITY_LIFE, now_s=_now_s(now_s)).subject_name(_SUBJECT)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        _write(folder / CLUSTER_FILE, secrets.token_bytes(16).hex().encode() + b"\n")
        _write(folder / AUTHORITY_KEY_FILE, _key_pem(key))
        _write(folder / AUTHORITY_FILE, _pem(builder.sign(key, None)))


def issue(folder: Path, *, role: Role | str, node: int = 0, now_s: float | None = None) -> PeerName:
    """Makes key and certificate of a peer, unless they are there and have more than half of their life left.

    Needs what `make_cluster_authority` made; ConfigurationError where that is missing or broken.
    """
    name = PeerName(Role(role), NodeId(node))
    stem, moment_s = file_stem(name), _now_s(now_s)
    with _locked(folder):
        if not _due(folder / f"{stem}.pem", folder / f"{stem}.key", moment_s):
            return name
        try:
            signer = serialization.load_pem_private_key((folder / AUTHORITY_KEY_FILE).read_bytes(), None)
            cluster = bytes.fromhex((folder / CLUSTER_FILE).read_text())
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{folder}: the cluster's authority cannot be read: {error}") from None
        assert isinstance(signer, Ed25519PrivateKey), "the authority's key is one that we made"
        key = Ed25519PrivateKey.generate()
        host = x509.SubjectAlternativeName([x509.DNSName(host_name(cluster, name))])
        builder = _builder(key, life=CERTIFICATE_LIFE, now_s=moment_s).subject_name(x509.Name([]))
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        certificate = builder.add_extension(host, critical=True).sign(signer, None)
        (folder / f"{stem}.pem").unlink(missing_ok=True)  # never a certificate beside the key of another
        _write(folder / f"{stem}.key", _key_pem(key))
        _write(folder / f"{stem}.pem", _pem(certificate))
    return name


def _now_s(now_s: float | None) -> float:
    return time.time() if now_s is None else now_s


def _due(certificate: Path, key: Path, now_s: float) -> bool:
    if not certificate.exists() or not key.exists():
        return True
    left_s = native.valid_until_s(der_of(certificate.read_bytes())) - now_s
    return left_s < CERTIFICATE_LIFE.total_seconds() / 2


def _builder(key: Ed25519PrivateKey, *, life: datetime.timedelta, now_s: float) -> x509.CertificateBuilder:
    now = datetime.datetime.fromtimestamp(now_s, datetime.UTC)
    return (
        x509.CertificateBuilder()
        .issuer_name(_SUBJECT)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SLACK)
        .not_valid_after(now + life)
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, data: bytes) -> None:
    """Puts a file there whole or not at all, for its owner alone."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    draft.replace(path)
    sync_folder(path.parent)
