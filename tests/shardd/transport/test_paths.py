"""Owns the proof of the sockets and of the way between two hosts: small paths, lost and repeated datagrams, silence."""

import asyncio
import random
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from s3d.shards.client import ShardClient
from shardd.contract import messages, wire
from shardd.contract.cluster import NodeConfig, QuicConfig
from shardd.contract.errors import DeadlineError, ShardError, UnreachableError
from shardd.transport import datagrams, peer
from shardd.transport.datagrams import DatagramSocket, Received
from shardd.transport.endpoint import ServerEndpoint, load_engine
from shardd.transport.native import Address
from shardd.transport.peer import Peer
from shardd.transport.session import Request
from shardd.transport.tls import PeerIdentity
from tests.shardd.transport.raw import NODE, make_secrets, serve

STATUS = messages.Status("ok", 1, b"i" * 16, "1", 0, 1, 2, 3, 4, 5, 6)
UNITS = messages.Units(65_536, bytes(4))


class Relay:
    """Stands between one client and the server, and carries what `carries` lets through, `copies` times."""

    def __init__(self, server: Address) -> None:
        self.carries: Callable[[bytes], bool] = lambda datagram: True
        self.copies: Callable[[], int] = lambda: 1
        self.largest = 0
        self._client: Address | None = None
        self._server = server
        self._front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._front.bind(("127.0.0.1", 0))
        for each, forward in ((self._front, self._to_server), (self._back, self._to_client)):
            each.setblocking(False)
            asyncio.get_running_loop().add_reader(each, forward)

    @property
    def port(self) -> int:
        return int(self._front.getsockname()[1])

    def _to_server(self) -> None:
        datagram, self._client = self._front.recvfrom(65_536)
        self._carry(datagram, self._back, self._server)

    def _to_client(self) -> None:
        datagram = self._back.recv(65_536)
        assert self._client
        self._carry(datagram, self._front, self._client)

    def _carry(self, datagram: bytes, sender: socket.socket, to: Address) -> None:
        if self.carries(datagram):
            self.largest = max(self.largest, len(datagram))
            for _ in range(self.copies()):
                sender.sendto(datagram, to)

    def close(self) -> None:
        for each in (self._front, self._back):
            asyncio.get_running_loop().remove_reader(each)
            each.close()


class World:
    """A server that answers anything, a relay, and a client that knows the relay only."""

    def __init__(self, secrets: Path) -> None:
        self.endpoint: ServerEndpoint = serve(secrets, self._answer)
        self.address = self.endpoint.listen("127.0.0.1", 0)
        self.relay = Relay(self.address)
        self.identity = PeerIdentity.load(secrets, "node-1-gateway")
        node = NodeConfig(NODE, "127.0.0.1", self.relay.port, Path("/"))
        self.client = ShardClient(node, identity=self.identity, quic=QuicConfig())

    @staticmethod
    def _answer(request: Request) -> None:
        match request.frame.body:
            case messages.GetUnits():
                request.reply(UNITS, [bytes(65_536)])
            case messages.GetStatus():
                request.reply(STATUS)
            case _:
                request.reply(messages.Done())

    async def close(self) -> None:
        await self.client.close()
        await self.endpoint.close()
        self.relay.close()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(make_secrets(tmp_path))
    yield made
    await made.close()


async def patiently(ask: Callable[[], object], tries: int = 60) -> object:
    for _ in range(tries):
        try:
            return await ask()  # type: ignore[misc]
        except (UnreachableError, DeadlineError):
            await asyncio.sleep(0.05)
    raise AssertionError("the client has not found a way")


@pytest.mark.parametrize("takes", [1_252, 1_452, 4_000])
async def test_a_path_that_takes_less_is_found_out(
    world: World, takes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer, "HELLO_DEADLINE_S", 0.5)
    world.relay.carries = lambda datagram: len(datagram) <= takes
    await patiently(lambda: world.client.status(deadline_s=2))
    payload = [bytes(65_536)] * 16
    message = messages.PutExtent(bytes(16), 0, 0, 1, 1 << 20, bytes(64))
    await world.client.put(message, payload, deadline_s=10)
    await world.client.get(messages.GetUnits(bytes(16), 0, 0, 0, 1), deadline_s=10)
    assert world.relay.largest > 1_000


async def test_loopback_takes_large_datagrams(world: World) -> None:
    await world.client.get(messages.GetUnits(bytes(16), 0, 0, 0, 1), deadline_s=5)
    assert world.relay.largest > 15_000


async def test_loss_and_repetition_change_nothing(world: World) -> None:
    chance = random.Random(5)
    world.relay.carries = lambda datagram: chance.random() > 0.02
    world.relay.copies = lambda: 2 if chance.random() < 0.05 else 1
    await patiently(lambda: world.client.status(deadline_s=5))
    for _ in range(30):
        _, payload = await world.client.get(messages.GetUnits(bytes(16), 0, 0, 0, 1), deadline_s=20)
        assert b"".join(payload) == bytes(65_536)


async def test_a_path_that_goes_dead_ends_the_connection_after_one_deadline(world: World) -> None:
    await world.client.status(deadline_s=5)
    world.relay.carries = lambda datagram: False
    with pytest.raises(DeadlineError):
        await world.client.status(deadline_s=0.3)
    assert not world.client.connected
    world.relay.carries = lambda datagram: True
    await patiently(lambda: world.client.status(deadline_s=5))


async def test_connections_behind_one_address_do_not_mix(world: World) -> None:
    """By address both would be one: the relay shows the server a single one for both clients."""
    twins = [Peer(load_engine("qh3"), world.identity, server=NODE, address=("127.0.0.1", world.relay.port))]
    await twins[0].connect(16_000)
    first_port = world.relay._client
    twins.append(Peer(load_engine("qh3"), world.identity, server=NODE, address=world.address))
    await twins[1].connect(16_000)
    head = wire.encode(messages.GetUnits(bytes(16), 0, 0, 0, 1), cluster=world.identity.cluster)
    for _ in range(20):
        asked = [twin.request(head, (), deadline_s=5, size_bytes=65_536) for twin in twins]
        for frame in await asyncio.gather(*asked):
            assert frame.body == UNITS
    assert world.relay._client == first_port
    for twin in twins:
        twin.close()


async def test_what_the_socket_does_not_take_waits_its_turn() -> None:
    """More than a socket's buffer at once: everything leaves, in order."""
    got, failures = list[bytes](), list[OSError]()

    def received(batch: Received) -> None:
        got.extend(datagram for datagram, _ in batch)

    receiver = DatagramSocket(datagrams.bind("127.0.0.1", 0), received=received, failed=failures.append)
    opened = datagrams.connect(receiver.address)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    sender = DatagramSocket(opened, received=received, failed=failures.append)
    sent = [b"%08d" % number * 50 for number in range(2_000)]
    for at in range(0, len(sent), 20):
        sender.send(sent[at : at + 20], receiver.address)
    until_s = time.monotonic() + 5
    while len(got) < len(sent) and time.monotonic() < until_s:
        await asyncio.sleep(0)
    assert got == sent and not failures
    sender.close()
    sender.close()
    receiver.close()


async def test_a_refusal_is_heard_by_a_connected_socket() -> None:
    gone = datagrams.bind("127.0.0.1", 0)
    address: Address = gone.getsockname()
    gone.close()
    failed = asyncio.get_running_loop().create_future()
    sender = DatagramSocket(
        datagrams.connect(address),
        received=lambda batch: None,
        failed=lambda error: None if failed.done() else failed.set_result(error),
    )
    sender.send([b"anybody?"], address)
    assert isinstance(await asyncio.wait_for(failed, 5), ConnectionRefusedError)
    sender.close()


async def test_an_oversized_datagram_falls_and_the_rest_goes() -> None:
    got = list[bytes]()
    receiver = DatagramSocket(
        datagrams.bind("127.0.0.1", 0),
        received=lambda batch: got.extend(datagram for datagram, _ in batch),
        failed=lambda error: None,
    )
    sender = DatagramSocket(
        datagrams.connect(receiver.address), received=lambda batch: None, failed=lambda error: None
    )
    sender.send([bytes(65_530), b"fits"], receiver.address)
    until_s = time.monotonic() + 5
    while not got and time.monotonic() < until_s:
        await asyncio.sleep(0)
    assert got == [b"fits"]
    sender.close()
    receiver.close()


def test_the_kernel_knows_what_loopback_takes() -> None:
    opened = datagrams.connect(("127.0.0.1", 9))
    assert datagrams.path_payload_max(opened) > 60_000
    opened.close()


def test_a_taken_port_is_an_error() -> None:
    first = datagrams.bind("127.0.0.1", 0)
    with pytest.raises(OSError, match="in use"):
        datagrams.bind("127.0.0.1", first.getsockname()[1])
    first.close()


def test_errors_of_the_way_may_be_tried_again() -> None:
    assert all(kind.retryable and issubclass(kind, ShardError) for kind in (UnreachableError, DeadlineError))


class Gate:
    """Stands for the socket's way out: takes nothing until it is opened."""

    def __init__(self) -> None:
        self.opened = False
        self.taken: list[bytes] = []

    def send(self, batch: list[bytes], address: Address) -> int:
        if not self.opened:
            raise BlockingIOError
        self.taken += batch[:3]
        return len(batch[:3])


async def test_what_waits_for_the_socket_is_counted_by_datagrams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagrams, "SEND_QUEUE_MAX", 10)
    sender = DatagramSocket(
        datagrams.connect(("127.0.0.1", 9)), received=lambda batch: None, failed=lambda error: None
    )
    gate = Gate()
    monkeypatch.setattr(sender, "_batched", gate)
    told = [b"%d" % number for number in range(24)]
    for at in range(0, 24, 4):
        sender.send(told[at : at + 4], ("127.0.0.1", 9))
    gate.opened = True
    while len(gate.taken) < 10:
        await asyncio.sleep(0)
    assert gate.taken == told[:10]
    sender.send(told[10:20], ("127.0.0.1", 9))
    assert gate.taken == told[:20]
    gate.opened = False
    for _ in range(3):
        sender.send(told[:6], ("127.0.0.1", 9))
    gate.opened = True
    while len(gate.taken) < 30:
        await asyncio.sleep(0)
    assert gate.taken[20:] == [*told[:6], *told[:4]], "what was sent makes room"
    sender.close()
