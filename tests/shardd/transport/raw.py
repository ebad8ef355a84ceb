"""Owns a client that keeps no rule: a real connection over a real socket whose streams a test fills as it likes."""

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path

from shardd.contract import hello, wire
from shardd.contract.blobs import NodeId
from shardd.contract.hello import PeerName, Role
from shardd.transport import datagrams
from shardd.transport.authority import issue, make_cluster_authority
from shardd.transport.channel import Channel
from shardd.transport.endpoint import ServerEndpoint, load_engine
from shardd.transport.engine import EngineSettings
from shardd.transport.native import Address
from shardd.transport.session import Handler
from shardd.transport.tls import PeerIdentity

NODE = NodeId(1)
MEMBERS = frozenset({NodeId(1), NodeId(2)})
PATIENCE_S = 60.0  # of a machine that does other things as well


def make_secrets(folder: Path) -> Path:
    """An authority; shard servers and gateways 1, 2 and 7 (no member); an administrator."""
    make_cluster_authority(folder)
    for node in (1, 2, 7):
        issue(folder, role=Role.SHARD_SERVER, node=node)
        issue(folder, role=Role.GATEWAY, node=node)
    issue(folder, role=Role.ADMINISTRATOR)
    return folder


def serve(
    secrets: Path, handler: Handler, *, engine: str = "qh3", name: str = "node-1-shard"
) -> ServerEndpoint:
    """A server of node 1 that is not listening yet."""
    identity = PeerIdentity.load(secrets, name)
    settings = EngineSettings(identity, 16_000, identity.name.node)
    return ServerEndpoint(load_engine(engine), settings, members=MEMBERS, handler=handler)  # type: ignore[arg-type]


class RawClient:
    """An engine.Sink that writes down what it hears and wakes whoever waits for it."""

    def __init__(self, identity: PeerIdentity, address: Address, *, server: NodeId = NODE) -> None:
        self.identity = identity
        self.streams: dict[int, bytearray] = {}
        self.ended: set[int] = set()
        self.refused: set[int] = set()
        self.reason: str | None = None
        self.is_connected = False
        self._changed = asyncio.Event()
        self._address = address
        self.connection = load_engine("qh3").client(EngineSettings(identity, 16_000, server))
        self._socket = datagrams.DatagramSocket(
            datagrams.connect(address),
            received=self._received,
            failed=lambda error: self.terminated(str(error)),
        )
        self.channel = Channel(self.connection, sink=self, link=self._socket)
        self.connection.connect(address, asyncio.get_running_loop().time())
        self.channel.flush()

    def _received(self, received: datagrams.Received) -> None:
        self.channel.received([datagram for datagram, _ in received], self._address)
        self._changed.set()

    def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        self.connection.send(stream, data, end=end)
        self.channel.flush()

    def open(self) -> int:
        stream = self.connection.open_stream()
        assert stream is not None
        return stream

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def close(self) -> None:
        self.channel.stop()
        self._socket.close()

    async def challenged(self) -> bytes:
        """The server's nonce."""
        decoder = wire.Decoder(wire.HELLO)
        await self.until(lambda: 1 in self.streams or self.reason)
        decoder.feed(bytes(self.streams[1]))
        return bytes(decoder.finish().body.nonce)

    def proof(self, nonce: bytes, **changes: object) -> hello.Proof:
        """What this client should answer. `changes`: `name`, `server`, `cluster`, `leaf`, `mine` of the transcript."""
        name: PeerName = changes.get("name", self.identity.name)  # type: ignore[assignment]
        mine = bytes(changes.get("mine", b"n" * hello.NONCE_SIZE))  # type: ignore[call-overload]
        signed = hello.transcript(
            changes.get("cluster", self.identity.cluster),  # type: ignore[arg-type]
            client=name,
            server=changes.get("server", NODE),  # type: ignore[arg-type]
            nonces=(nonce, mine),
            leaf_sha256=changes.get("leaf", hashlib.sha256(self.connection.peer_certificate).digest()),  # type: ignore[arg-type]
        )
        signature = self.identity.sign(signed)
        return hello.Proof(name.role, name.node, mine, self.identity.certificate, signature)

    def prove(self, proof: hello.Proof) -> None:
        self.send(1, wire.encode(proof, cluster=self.identity.cluster), end=True)

    async def admitted(self) -> None:
        self.prove(self.proof(await self.challenged()))
        await self.until(lambda: 1 in self.ended or self.reason)
        assert self.reason is None, self.reason

    async def ask(self, data: bytes) -> wire.Frame:
        """Sends bytes as one request, ends the stream and gives the reply."""
        stream = self.open()
        self.send(stream, data, end=True)
        await self.until(lambda: stream in self.ended or self.reason)
        assert self.reason is None, self.reason
        decoder = wire.Decoder(wire.REPLY)
        decoder.feed(bytes(self.streams[stream]))
        return decoder.finish()

    # engine.Sink

    def connected(self) -> None:
        self.is_connected = True

    def stream_received(self, stream: int, data: bytes, *, end: bool) -> None:
        self.streams.setdefault(stream, bytearray()).extend(data)
        if end:
            self.ended.add(stream)

    def stream_refused(self, stream: int) -> None:
        self.refused.add(stream)

    def id_issued(self, connection_id: bytes) -> None:
        pass

    def id_retired(self, connection_id: bytes) -> None:
        pass

    def terminated(self, reason: str) -> None:
        self.reason = reason
        self._changed.set()
