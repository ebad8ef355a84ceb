"""Owns what we take from qh3's native core beside QUIC: batched sockets, Ed25519, X.509; never a decision.

The core is loaded in every process of ours anyway; the library `cryptography` costs 10 MiB more in each, so it is
only loaded where certificates are made (authority.py).
"""

from typing import Any, NewType

from qh3 import _hazmat

from shardd.contract.errors import ForbiddenError

Address = tuple[str, int] | tuple[str, int, int, int]
PrivateKey = NewType("PrivateKey", object)

_ED25519 = 0x0807  # the code of the signature scheme (RFC 8446, 4.2.3)


def private_key(pem: bytes) -> PrivateKey:
    """The Ed25519 key of a PKCS #8 file in PEM."""
    return PrivateKey(_hazmat.Ed25519PrivateKey(_hazmat.PrivateKeyInfo(pem, None).public_bytes()))


def sign(key: PrivateKey, data: bytes) -> bytes:
    """The Ed25519 signature (RFC 8032) of `data`."""
    holder: Any = key
    return bytes(holder.sign(data))


def verify_signature(certificate: bytes, data: bytes, signature: bytes) -> None:
    """ForbiddenError unless `signature` over `data` was made with the key of `certificate` (DER)."""
    try:
        public = _hazmat.Certificate(certificate).public_key()
        _hazmat.verify_with_public_key(public, _ED25519, data, signature)
    except (_hazmat.SignatureError, _hazmat.CryptoError, ValueError) as error:
        raise ForbiddenError(f"the signature of the hello does not hold: {error}") from None


def verify_certificate(certificate: bytes, authority: bytes, host: str) -> None:
    """ForbiddenError unless `certificate` is `authority`'s (both DER), valid now and made out to `host` (RFC 5280)."""
    try:
        _hazmat.ServerVerifier([authority]).verify(certificate, [], host, b"")
    except (
        _hazmat.SelfSignedCertificateError,
        _hazmat.InvalidNameCertificateError,
        _hazmat.ExpiredCertificateError,
        _hazmat.UnacceptableCertificateError,
        _hazmat.CryptoError,
        ValueError,
    ) as error:
        raise ForbiddenError(f"the certificate is not one of {host}: {error}") from None


def valid_until_s(certificate: bytes) -> int:
    """The last second, since 1970, of a certificate in DER."""
    return int(_hazmat.Certificate(certificate).not_valid_after)


class BatchedSocket:
    """Many datagrams a system call: GSO and sendmmsg out, GRO and recvmmsg in. Wraps an open, unblocking UDP socket."""

    __slots__ = ("receive", "send")

    def __init__(self, descriptor: int) -> None:
        state = _hazmat.UdpSocketState(descriptor)
        # () -> list of (datagram, address), empty or BlockingIOError: no more; OSError
        self.receive = state.recv
        # (datagrams, address) -> how many went; raises OSError with `datagrams_sent`
        self.send = state.send
