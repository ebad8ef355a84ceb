"""Owns the proof of who a peer is: how a client makes it and how a server checks it; never a stream.

Client certificates are not usable in either QUIC engine, so the proof is made in-band, on the first stream.
"""

import secrets

from shardd.contract import hello
from shardd.contract.blobs import NodeId
from shardd.contract.errors import ForbiddenError
from shardd.contract.hello import PeerName, Role
from shardd.transport import native
from shardd.transport.tls import PeerIdentity


def make(
    identity: PeerIdentity, *, server: NodeId, nonce: bytes, leaf_sha256: bytes, padding: int
) -> hello.Proof:
    """The client's answer to a Challenge with `nonce`. `leaf_sha256`: of the certificate that the server showed."""
    mine, name = secrets.token_bytes(hello.NONCE_SIZE), identity.name
    signed = hello.transcript(
        identity.cluster, client=name, server=server, nonces=(nonce, mine), leaf_sha256=leaf_sha256
    )
    return hello.Proof(
        name.role, name.node, mine, identity.certificate, identity.sign(signed), padding=bytes(padding)
    )


def check(
    proof: object, *, identity: PeerIdentity, members: frozenset[NodeId], nonce: bytes, leaf_sha256: bytes
) -> PeerName:
    """Who has made `proof` for the server that is `identity`; ForbiddenError where it proves nothing."""
    if not isinstance(proof, hello.Proof):
        raise ForbiddenError("this is not a proof")
    if len(proof.nonce) != hello.NONCE_SIZE or not 0 <= proof.node < 1 << 32:
        raise ForbiddenError("the proof has other sizes than ours")
    if len(proof.certificate) > hello.CERTIFICATE_SIZE_MAX:
        raise ForbiddenError("the certificate is too long")
    name = PeerName(proof.role, NodeId(proof.node))
    if name.role is not Role.ADMINISTRATOR and name.node not in members:
        raise ForbiddenError(f"node {name.node} is not a member of this cluster")
    host = hello.host_name(identity.cluster, name)
    native.verify_certificate(proof.certificate, identity.authority, host)
    signed = hello.transcript(
        identity.cluster,
        client=name,
        server=identity.name.node,
        nonces=(nonce, proof.nonce),
        leaf_sha256=leaf_sha256,
    )
    native.verify_signature(proof.certificate, signed, proof.signature)
    return name
