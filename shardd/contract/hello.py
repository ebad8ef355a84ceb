"""Owns how peers prove who they are: the bodies of the hello and the bytes that are signed; never a key.

client                                server
   | --------- TLS 1.3 handshake ------- |     the client knows the server: its certificate names node and role
   | <-- Challenge(server nonce) ------- |     on the server's first stream, before any other is read
   | --- Proof(who, nonce, signature) -> |
   | <-- Welcome ----------------------- |     from here on the client opens streams, one a request
"""

import struct
from enum import StrEnum
from typing import ClassVar

import msgspec

from shardd.contract.blobs import NodeId

NONCE_SIZE = 32
CERTIFICATE_SIZE_MAX = 4_096

_LABEL = b"quoin hello 1\0"
_FACTS = struct.Struct(">16s16sII32s32s32s")


class Role(StrEnum):
    """What a certificate lets its holder do."""

    GATEWAY = "gateway"
    SHARD_SERVER = "shard server"
    ADMINISTRATOR = "administrator"


class PeerName(msgspec.Struct, frozen=True):
    """Who a peer is: its role and node. An administrator belongs to no node: 0."""

    role: Role
    node: NodeId


class Challenge(msgspec.Struct, frozen=True, array_like=True):
    """The server's fresh nonce of 32 bytes. Reply: Proof."""

    OPERATION: ClassVar[int] = 0x4001
    nonce: bytes


class Proof(msgspec.Struct, frozen=True, array_like=True):
    """Who the client says it is, its certificate (DER) and the Ed25519 signature of `transcript`. Reply: Welcome.

    `padding` is as long as the client's datagrams, so that a path that takes less shows in the hello, when it is
    easy to come again with less, and not under the requests.
    """

    OPERATION: ClassVar[int] = 0x4002
    role: Role
    node: int
    nonce: bytes
    certificate: bytes
    signature: bytes
    padding: bytes = b""


class Welcome(msgspec.Struct, frozen=True, array_like=True):
    """The proof holds. `padding`: as much as the proof's, for the way back."""

    OPERATION: ClassVar[int] = 0x4003
    padding: bytes = b""


def host_name(cluster: bytes, name: PeerName) -> str:
    """The DNS name in a peer's certificate: it binds node, role and cluster, and TLS checks it like any other."""
    return f"node-{name.node}.{name.role.replace(' ', '-')}.{cluster.hex()}.quoin"


def transcript(
    cluster: bytes, *, client: PeerName, server: NodeId, nonces: tuple[bytes, bytes], leaf_sha256: bytes
) -> bytes:
    """What a client signs. `nonces` are (server's, client's); `leaf_sha256` is of the server's certificate in DER.

    The server's node and certificate make a hello worthless at another server; its nonce, at another time.
    """
    role = client.role.value.encode()
    return _LABEL + _FACTS.pack(cluster, role, client.node, server, *nonces, leaf_sha256)
