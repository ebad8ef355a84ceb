"""Owns an authority that signs certificates for tests of https, and the files that it writes."""

import datetime
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem(key: ec.EllipticCurvePrivateKey, passphrase: bytes) -> bytes:
    encryption = (
        serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    )
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


@dataclass(frozen=True)
class Files:
    """Where a certificate and its key are."""

    certificate: Path
    key: Path


class WebAuthority:
    """Signs certificates; `path` is its own, the bundle that clients are told of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._count = 0
        made = self._builder("tests' authority", self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        made = made.add_extension(usage, critical=True)
        made = made.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False
        )
        self.path = folder / "authority.pem"
        self.path.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def issue(self, files: Files, *names: str, passphrase: bytes = b"") -> int:
        """Writes a new certificate for these names and addresses, and its key; gives its serial number."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = names or ("127.0.0.1", "localhost")
        shown = x509.SubjectAlternativeName([_general_name(name) for name in names])
        made = self._builder(names[0], key).add_extension(shown, critical=False)
        made = made.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
        )
        signed = made.sign(self._key, hashes.SHA256())
        files.key.write_bytes(_pem(key, passphrase))
        files.certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        return signed.serial_number

    def files(self, *names: str) -> Files:
        """The files of a new certificate."""
        self._count += 1
        made = Files(self.folder / f"web-{self._count}.pem", self.folder / f"web-{self._count}.key")
        self.issue(made, *names)
        return made

    def client(self) -> ssl.SSLContext:
        """What a client that believes this authority alone connects with."""
        return ssl.create_default_context(cafile=str(self.path))

    def _builder(self, subject: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(_name(subject))
            .issuer_name(_name("tests' authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + 30 * DAY)
        )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
