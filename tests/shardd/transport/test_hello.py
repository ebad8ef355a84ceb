"""Owns the proof that nobody is served who has not proved who they are: every row of security.md's cluster channel."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from shardd.contract import messages, wire
from shardd.contract.blobs import NodeId
from shardd.contract.hello import PeerName, Role
from shardd.transport import retry, session
from shardd.transport.authority import issue, make_cluster_authority
from shardd.transport.endpoint import ServerEndpoint
from shardd.transport.native import Address
from shardd.transport.session import Request
from shardd.transport.tls import PeerIdentity
from tests.shardd.transport.raw import RawClient, make_secrets, serve


class Server:
    """An endpoint that answers every request with Done and notes who asked."""

    def __init__(self, secrets: Path) -> None:
        self.asked: list[PeerName] = []
        self.secrets = secrets
        self.endpoint: ServerEndpoint = serve(secrets, self._handle)
        self.address: Address = self.endpoint.listen("127.0.0.1", 0)
        self.clients: list[RawClient] = []

    def _handle(self, request: Request) -> None:
        self.asked.append(request.peer)
        request.reply(messages.Done())

    def client(self, name: str = "node-1-gateway", *, secrets: Path | None = None) -> RawClient:
        client = RawClient(PeerIdentity.load(secrets or self.secrets, name), self.address)
        self.clients.append(client)
        return client


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    made = Server(make_secrets(tmp_path))
    yield made
    for client in made.clients:
        client.close()
    await made.endpoint.close()


def question() -> bytes:
    return wire.encode(messages.GetStatus(), cluster=bytes(16))


@pytest.mark.parametrize(
    ("name", "peer"),
    [
        ("node-1-gateway", PeerName(Role.GATEWAY, NodeId(1))),
        ("node-2-gateway", PeerName(Role.GATEWAY, NodeId(2))),
        ("node-2-shard", PeerName(Role.SHARD_SERVER, NodeId(2))),
        ("admin", PeerName(Role.ADMINISTRATOR, NodeId(0))),
    ],
)
async def test_who_proves_itself_is_served_by_its_name(server: Server, name: str, peer: PeerName) -> None:
    client = server.client(name)
    await client.admitted()
    await client.ask(question())
    assert server.asked == [peer]


@pytest.mark.parametrize(
    "changes",
    [
        {"server": NodeId(2)},
        {"cluster": b"another cluster!"},
        {"leaf": bytes(32)},
        {"name": PeerName(Role.GATEWAY, NodeId(2))},
        {"name": PeerName(Role.ADMINISTRATOR, NodeId(0))},
        {"name": PeerName(Role.SHARD_SERVER, NodeId(1))},
        {"name": PeerName(Role.GATEWAY, NodeId(7))},
        {"mine": b"short"},
        {"mine": b"n" * 33},
    ],
)
async def test_a_proof_of_anything_else_is_refused(server: Server, changes: dict[str, object]) -> None:
    client = server.client()
    client.prove(client.proof(await client.challenged(), **changes))
    await refused(client, server, "refused")


async def test_a_certificate_of_ours_whose_node_is_no_member_is_refused(server: Server) -> None:
    client = server.client("node-7-gateway")
    client.prove(client.proof(await client.challenged()))
    await refused(client, server, "not a member")


async def test_a_replayed_proof_is_refused(server: Server) -> None:
    first, second = server.client(), server.client()
    proof = first.proof(await first.challenged())
    first.prove(proof)
    await second.challenged()
    second.prove(proof)
    await refused(second, server, "signature")


@pytest.mark.parametrize("field", ["signature", "certificate", "nonce"])
async def test_a_flipped_bit_of_a_proof_is_refused(server: Server, field: str) -> None:
    client = server.client()
    proof = client.proof(await client.challenged())
    flipped = bytearray(getattr(proof, field))
    flipped[len(flipped) // 2] ^= 1
    client.prove(msgspec.structs.replace(proof, **{field: bytes(flipped)}))
    await refused(client, server, "refused")


async def test_a_certificate_of_a_foreign_authority_is_refused(server: Server, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    make_cluster_authority(foreign)
    (foreign / "cluster.id").write_bytes((server.secrets / "cluster.id").read_bytes())
    issue(foreign, role=Role.GATEWAY, node=1)
    client = server.client()
    nonce = await client.challenged()
    client.identity = PeerIdentity.load(foreign, "node-1-gateway")
    client.prove(client.proof(nonce))
    await refused(client, server, "certificate")


async def test_an_expired_certificate_is_refused(server: Server) -> None:
    (server.secrets / "node-1-gateway.pem").unlink()
    issue(server.secrets, role=Role.GATEWAY, node=1, now_s=1_000_000_000.0)
    client = server.client()
    client.prove(client.proof(await client.challenged()))
    await refused(client, server, "certificate")


async def test_a_stream_before_the_proof_ends_the_connection(server: Server) -> None:
    client = server.client()
    await client.challenged()
    client.send(client.open(), question(), end=True)
    await refused(client, server, "before the hello")


async def test_a_second_hello_ends_the_connection(server: Server) -> None:
    client = server.client()
    proof = client.proof(await client.challenged())
    client.send(1, wire.encode(proof, cluster=client.identity.cluster))
    await client.until(lambda: 1 in client.ended)
    client.send(1, wire.encode(proof, cluster=client.identity.cluster))
    await refused(client, server, "second hello")


async def test_a_proof_is_not_a_request(server: Server) -> None:
    client = server.client()
    await client.admitted()
    proof = client.proof(bytes(32))
    frame = await client.ask(wire.encode(proof, cluster=client.identity.cluster))
    assert isinstance(frame.body, messages.Failure) and not server.asked


@pytest.mark.parametrize("drip", [b"", b"\x93"])
async def test_silence_ends_the_connection(
    server: Server, drip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "HELLO_DEADLINE_S", 0.2)
    client = server.client()
    await client.challenged()
    if drip:
        client.send(1, drip)
    await refused(client, server, "no hello in time")


async def test_a_long_hello_ends_the_connection(server: Server) -> None:
    """By its announced size where there is one; by what came of it otherwise."""
    client = server.client()
    await client.challenged()
    head = wire.encode(messages.PutExtent(bytes(16), 0, 0, 1, 0, b""), cluster=client.identity.cluster)
    client.send(1, head + bytes(session.UNPROVEN_BYTES_MAX))
    await refused(client, server, "refused")


async def test_what_a_stranger_may_send_at_all_is_bounded(server: Server) -> None:
    """An engine keeps what it cannot deliver yet, and its windows are as wide as work needs."""
    client = server.client()
    await client.challenged()
    (issued, *_) = server.endpoint._by_id
    packets = [b"\x40" + issued + bytes(16_000)] * (session.UNPROVEN_BYTES_MAX // 16_000 + 1)
    client._socket.send(packets, server.address)
    await refused(client, server, "too many bytes before the hello")


async def test_who_has_proved_who_it_is_may_send_more(server: Server) -> None:
    client = server.client()
    await client.admitted()
    head = wire.encode(messages.PutExtent(bytes(16), 0, 0, 1, 0, b""), cluster=client.identity.cluster)
    await client.ask(head + bytes(4 * session.UNPROVEN_BYTES_MAX))


async def test_a_token_begins_one_connection(server: Server) -> None:
    """Whoever saw the token on its way could begin others with it as long as it lives."""
    client = server.client()
    sent: list[bytes] = []
    send = client._socket.send
    client._socket.send = lambda packets, address: (sent.extend(packets), send(packets, address))  # type: ignore[method-assign, assignment, func-returns-value]
    await client.admitted()
    (first, *_) = [each for each in sent if (initial := retry.parse_initial(each)) and initial.token]
    for session_ in list(server.endpoint._sessions):
        session_.close("")
    assert server.endpoint._begin(first, client_address(client)) is None
    server.endpoint._taken.clear()
    assert server.endpoint._begin(first, client_address(client)) is not None


async def test_unproven_connections_are_bounded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shardd.transport.endpoint.UNPROVEN_MAX", 3)
    idle = [server.client() for _ in range(3)]
    for client in idle:
        await client.challenged()
    late = server.client()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await late.until(lambda: late.is_connected)
    await idle[0].admitted()
    await late.until(lambda: late.is_connected)


async def test_noise_before_the_proof_never_passes(server: Server) -> None:
    chance = random.Random(7)
    for _ in range(30):
        client = server.client()
        nonce = await client.challenged()
        data = bytearray(wire.encode(client.proof(nonce), cluster=client.identity.cluster))
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        client.send(1, bytes(data), end=True)
        await refused(client, server, "")
        client.close()


def client_address(client: RawClient) -> Address:
    """Where its packets come from, as the server's socket tells it."""
    host, port = client._socket.address[:2]
    return (host, port)


async def refused(client: RawClient, server: Server, why: str) -> None:
    await client.until(lambda: client.reason is not None)
    assert why in (client.reason or "")
    assert not server.asked
