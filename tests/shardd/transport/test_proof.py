"""Owns the proof of proof.py without a socket: any change of any part is refused, in ten thousand ways (T-F5)."""

import os
import random
from pathlib import Path

import pytest

from shardd.contract import hello, wire
from shardd.contract.blobs import NodeId
from shardd.contract.errors import ForbiddenError, ShardError
from shardd.contract.hello import PeerName, Role
from shardd.transport import proof
from shardd.transport.tls import PeerIdentity
from tests.shardd.transport.raw import MEMBERS, NODE, make_secrets

FUZZ_CASES = int(os.environ.get("QUOIN_TF5_CASES", "10000"))
NONCE = b"s" * hello.NONCE_SIZE
LEAF = b"l" * 32


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_secrets(tmp_path_factory.mktemp("secrets"))


def made(secrets: Path, name: str = "node-1-gateway", *, padding: int = 0) -> hello.Proof:
    identity = PeerIdentity.load(secrets, name)
    return proof.make(identity, server=NODE, nonce=NONCE, leaf_sha256=LEAF, padding=padding)


def check(secrets: Path, given: object, *, nonce: bytes = NONCE, leaf: bytes = LEAF) -> PeerName:
    server = PeerIdentity.load(secrets, "node-1-shard")
    return proof.check(given, identity=server, members=MEMBERS, nonce=nonce, leaf_sha256=leaf)


def test_a_proof_holds_for_its_server_nonce_and_certificate_only(secrets: Path) -> None:
    assert check(secrets, made(secrets)) == PeerName(Role.GATEWAY, NodeId(1))
    assert check(secrets, made(secrets, "admin")) == PeerName(Role.ADMINISTRATOR, NodeId(0))
    for changes in ({"nonce": bytes(32)}, {"leaf": bytes(32)}):
        with pytest.raises(ForbiddenError):
            check(secrets, made(secrets), **changes)


def test_two_proofs_are_never_the_same(secrets: Path) -> None:
    assert made(secrets).signature != made(secrets).signature


def test_what_is_no_proof_is_refused(secrets: Path) -> None:
    for given in (None, hello.Welcome(), hello.Challenge(NONCE)):
        with pytest.raises(ForbiddenError):
            check(secrets, given)


def test_hostile_hellos_never_pass(secrets: Path) -> None:
    seed = int(os.environ.get("QUOIN_SEED", random.randrange(1 << 32)))
    print(f"T-F5: {FUZZ_CASES} frames before the hello, QUOIN_SEED={seed}")
    chance, cluster = random.Random(seed), PeerIdentity.load(secrets, "node-1-shard").cluster
    good = wire.encode(made(secrets, padding=16), cluster=cluster)
    signed_until = len(good) - 16  # the padding proves nothing and is nobody's
    for _ in range(FUZZ_CASES):
        data = bytearray(good)
        for _ in range(chance.randint(1, 5)):
            data[chance.randrange(wire.HEADER_SIZE, signed_until)] ^= chance.randrange(1, 256)
        if data == good:
            continue
        if chance.random() < 0.3:
            data = data[: chance.randrange(len(data))]
        decoder = wire.Decoder(wire.HELLO)
        with pytest.raises(ShardError):
            frame = decoder.feed(bytes(data))
            check(secrets, (frame or decoder.finish()).body)
            pytest.fail(f"seed {seed}: a changed proof has passed: {data.hex()}")
