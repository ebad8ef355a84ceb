"""Owns a peer's identity: the files of the cluster's authority and certificates, read; never makes a key."""

import base64
import re
from dataclasses import dataclass
from pathlib import Path

from shardd.contract.errors import ConfigurationError
from shardd.contract.hello import PeerName
from shardd.contract.identity_files import AUTHORITY_FILE, CLUSTER_FILE, parse_stem
from shardd.contract.wire import CLUSTER_SIZE
from shardd.transport import native

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)


def der_of(pem: bytes) -> bytes:
    """The first certificate of a PEM file (RFC 7468) as DER; ValueError where there is none."""
    match = _PEM.search(pem)
    if not match:
        raise ValueError("no certificate in this file")
    return base64.b64decode(match[1])


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """Who this process is in the cluster, and whom it believes: the cluster's own authority, never the system's."""

    name: PeerName
    cluster: bytes
    authority_pem: bytes
    certificate_pem: bytes
    key_pem: bytes

    @classmethod
    def load(cls, folder: Path, name: str) -> "PeerIdentity":
        """Reads the files of `name` (see `file_stem`) in `folder`; ConfigurationError where one is wrong."""
        try:
            identity = cls(
                name=parse_stem(name),
                cluster=bytes.fromhex((folder / CLUSTER_FILE).read_text()),
                authority_pem=(folder / AUTHORITY_FILE).read_bytes(),
                certificate_pem=(folder / f"{name}.pem").read_bytes(),
                key_pem=(folder / f"{name}.key").read_bytes(),
            )
            der_of(identity.authority_pem)
            der_of(identity.certificate_pem)
        except OSError as error:
            raise ConfigurationError(f"{error.filename}: {error.strerror}") from None
        except ValueError as error:
            raise ConfigurationError(f"{folder}, files of {name}: {error}") from None
        if len(identity.cluster) != CLUSTER_SIZE:
            raise ConfigurationError(
                f"{folder / CLUSTER_FILE}: not a cluster's id of {CLUSTER_SIZE} bytes in hex"
            )
        return identity

    @property
    def authority(self) -> bytes:
        """The authority's certificate, DER."""
        return der_of(self.authority_pem)

    @property
    def certificate(self) -> bytes:
        """This peer's certificate, DER."""
        return der_of(self.certificate_pem)

    def sign(self, data: bytes) -> bytes:
        """The Ed25519 signature of `data` with this peer's key."""
        return native.sign(native.private_key(self.key_pem), data)
