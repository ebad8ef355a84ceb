"""Owns address validation: what a first packet says, and the token that proves its sender's address; never state.

A server answers a first Initial with a Retry and remembers nothing; the client comes again with the token
(RFC 9000, 8.1).
"""

import hmac
import struct
from dataclasses import dataclass

from shardd.transport.native import Address

TOKEN_LIFE_S = 10.0
INITIAL_SIZE_MIN = 1_200
QUIC_VERSION = 1

_LONG, _TYPE, _TYPE_INITIAL = 0x80, 0x30, 0x00
_MAC_SIZE = 16
_ID_SIZE_MAX = 20
_MADE = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class Initial:
    """The cleartext of an Initial packet (RFC 9000, 17.2.2): its version is 1."""

    to_id: bytes
    from_id: bytes
    token: bytes


def destination_id(datagram: bytes, local_id_size: int) -> bytes:
    """The connection id a datagram is for; empty where it is too short to have one."""
    if len(datagram) < 7:
        return b""
    if datagram[0] & _LONG:
        return datagram[6 : 6 + datagram[5]]
    return datagram[1 : 1 + local_id_size]


def parse_initial(datagram: bytes) -> Initial | None:
    """The Initial at the front of a datagram; None for anything else, or where it is malformed."""
    if len(datagram) < INITIAL_SIZE_MIN or datagram[0] & (_LONG | _TYPE) != _LONG | _TYPE_INITIAL:
        return None
    if int.from_bytes(datagram[1:5], "big") != QUIC_VERSION:
        return None
    to_end = 6 + datagram[5]
    from_end = to_end + 1 + datagram[to_end]
    if datagram[5] > _ID_SIZE_MAX or datagram[to_end] > _ID_SIZE_MAX:
        return None
    width = 1 << (datagram[from_end] >> 6)
    size = int.from_bytes(datagram[from_end : from_end + width], "big") & ((1 << (8 * width - 2)) - 1)
    token = datagram[from_end + width : from_end + width + size]
    if len(token) != size:
        return None
    return Initial(datagram[6:to_end], datagram[to_end + 1 : from_end], token)


def make_token(key: bytes, address: Address, *, original_id: bytes, retry_id: bytes, now_s: float) -> bytes:
    """Binds `address`, both connection ids and the moment."""
    made = _MADE.pack(int(now_s * 1_000))
    return made + _mac(key, address, made, original_id, retry_id) + original_id


def check_token(key: bytes, address: Address, *, token: bytes, retry_id: bytes, now_s: float) -> bytes | None:
    """The original connection id that the token holds; None where it is not ours, too old or of another address."""
    made, mac, original_id = token[:8], token[8 : 8 + _MAC_SIZE], token[8 + _MAC_SIZE :]
    if not hmac.compare_digest(mac, _mac(key, address, made, original_id, retry_id)):
        return None
    age_s = now_s - _MADE.unpack(made)[0] / 1_000
    return original_id if age_s <= TOKEN_LIFE_S else None


def _mac(key: bytes, address: Address, made: bytes, *ids: bytes) -> bytes:
    facts = b"\0".join(
        [address[0].encode(), str(address[1]).encode(), made, *(each.hex().encode() for each in ids)]
    )
    return hmac.digest(key, facts, "sha256")[:_MAC_SIZE]
