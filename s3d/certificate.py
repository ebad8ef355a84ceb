"""Owns the certificate that clients see: read, checked, read again when its files change; never a connection."""

import logging
import ssl
from pathlib import Path
from typing import Final

from shardd.contract.cluster import GatewayConfig
from shardd.contract.errors import ConfigurationError

# Forward secrecy and authenticated encryption alone; TLS 1.3 has nothing else (RFC 9325, 4.2).
CIPHERS_OF_TLS_1_2: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
PROTOCOL: Final = "http/1.1"

_Stamp = tuple[tuple[int, int, int], ...]

log = logging.getLogger(__name__)


class Certificate:
    """A certificate chain and its key, in two PEM files that somebody may replace at any time.

    `context` is for the next connection; those that are open keep the one they began with.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises ConfigurationError, which names key of the file and path, where the two are no pair."""
        self._certificate, self._key = certificate, key
        self._stamp = self._look()
        self.context = _context(certificate, key)

    @classmethod
    def from_config(cls, config: GatewayConfig) -> "Certificate | None":
        """The certificate that [gateway] names, if it names one. Raises ConfigurationError."""
        if config.tls_certificate is None or config.tls_key is None:
            return None
        return cls(config.tls_certificate, config.tls_key)

    def refresh(self) -> None:
        """Take the files if they have changed since they were looked at last.

        Half of a new pair, or a broken one, changes nothing but the log: the pair that is in use stays until the files
        are a pair again. Opens files, so it is called off the event loop.
        """
        stamp = self._look()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self.context = _context(self._certificate, self._key)
        except ConfigurationError as error:
            log.warning("the certificate in use stays: %s", error)
        else:
            log.warning("clients that connect from now on see the new certificate %s", self._certificate)

    def _look(self) -> _Stamp:
        """What changes with the files, were they replaced, written to, or linked to others."""
        return tuple(map(_stamp_of, (self._certificate, self._key)))


def _stamp_of(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS_OF_TLS_1_2)
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols([PROTOCOL])
    _check(certificate)
    try:
        # A key with a passphrase would ask for it on the terminal of whoever started the store.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            reason = f"is not the key of {certificate}"
        else:
            reason = f"no private key without a passphrase, in PEM ({error.reason})"
        raise ConfigurationError(f"gateway.tls_key: {key}: {reason}") from error
    except OSError as error:
        raise ConfigurationError(f"gateway.tls_key: {key}: {error.strerror}") from error
    return context


def _check(certificate: Path) -> None:
    """Raises ConfigurationError where the file holds no certificate."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(certificate)
    except ssl.SSLError as error:
        raise ConfigurationError(
            f"gateway.tls_certificate: {certificate}: no certificate in PEM ({error.reason})"
        ) from error
    except OSError as error:
        raise ConfigurationError(f"gateway.tls_certificate: {certificate}: {error.strerror}") from error
