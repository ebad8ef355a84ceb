"""Owns continuation tokens: where a list goes on, in a form that only its own bucket takes back.

base64url | CRC32C 4 B, of the bucket's incarnation and the place | place |
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from typing import Final

from s3d.protocol.errors import S3Error
from shardd.contract.blobs import crc32c

TOKEN_LENGTH_MAX: Final = 2_048
_CHECKSUM_SIZE: Final = 4


def write_token(place: bytes, incarnation: int) -> str:
    """The token that goes on behind `place` in a bucket (incarnation 0: in the list of buckets)."""
    return urlsafe_b64encode(_checksum(place, incarnation) + place).decode("ascii")


def read_token(token: str, incarnation: int) -> bytes:
    """The place of a token. Raises InvalidArgument for one that was not given out here."""
    try:
        raw = urlsafe_b64decode(token.encode("ascii")) if len(token) <= TOKEN_LENGTH_MAX else b""
        place = raw[_CHECKSUM_SIZE:]
        place.decode()
    except (UnicodeError, Error):
        raise _refused() from None
    if not place or raw[:_CHECKSUM_SIZE] != _checksum(place, incarnation):
        raise _refused()
    return place


def _checksum(place: bytes, incarnation: int) -> bytes:
    return crc32c(place, crc32c(incarnation.to_bytes(8, "big"))).to_bytes(_CHECKSUM_SIZE, "big")


def _refused() -> S3Error:
    return S3Error(
        "InvalidArgument", "The continuation token provided is incorrect", ArgumentName="continuation-token"
    )
