"""Owns the server's end of a connection: the hello before all else, then one request a stream; never what it asks."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from typing import Protocol

from shardd.contract import hello, wire
from shardd.contract.blobs import NodeId
from shardd.contract.errors import BadRequestError, OverloadedError, ShardError, WrongClusterError
from shardd.contract.hello import PeerName, Role
from shardd.contract.messages import Failure, Reply
from shardd.transport import proof
from shardd.transport.channel import Channel, Link
from shardd.transport.engine import EngineConnection
from shardd.transport.native import Address
from shardd.transport.tls import PeerIdentity

HELLO_DEADLINE_S = 2.0
UNPROVEN_BYTES_MAX = 64 * 1024
HELD_BYTES_MAX = 32 << 20  # of requests that are not answered, on one connection

_CLIENT_BIDIRECTIONAL = 0  # the two low bits of a stream's id (RFC 9000, 2.1)

log = logging.getLogger(__name__)


class Request:
    """One request of a peer that has proved who it is. Answered once, from the loop's thread."""

    __slots__ = ("_session", "_stream", "frame", "peer")

    def __init__(self, session: "Session", stream: int, frame: wire.Frame) -> None:
        self._session = session
        self._stream = stream
        self.frame = frame
        self.peer = session.peer

    def reply(self, body: Reply, payload: Sequence[bytes] = ()) -> None:
        """Sends the answer; a peer that is gone does not hear it."""
        self._session.reply(self._stream, body, payload)

    def fail(self, error: ShardError) -> None:
        """Sends an error as the answer."""
        self.reply(Failure(error.code, str(error)))


Handler = Callable[[Request], None]


class SessionOwner(Protocol):
    """The endpoint of a session: whom it serves as, and who hears of its life."""

    identity: PeerIdentity
    leaf_sha256: bytes
    members: frozenset[NodeId]
    handler: Handler

    def id_issued(self, connection_id: bytes, session: "Session") -> None:
        """Packets may come for `session` under this id."""

    def id_retired(self, connection_id: bytes) -> None:
        """No more packets will come under this id."""

    def proved(self, session: "Session") -> None:
        """The peer is who it says."""

    def over(self, session: "Session") -> None:
        """The session has ended."""


class Session:
    """The engine.Sink of one connection. `unproven_bytes_max`: of datagrams, until the peer is proven.

    `received` takes datagrams of an address; it is the channel's own once the peer is proven.
    """

    def __init__(
        self, owner: SessionOwner, connection: EngineConnection, link: Link, *, unproven_bytes_max: int
    ) -> None:
        self.channel = Channel(connection, sink=self, link=link)
        self.received: Callable[[list[bytes], Address], None] = self._received_unproven
        self._unproven_left = unproven_bytes_max
        self.peer = PeerName(Role.SHARD_SERVER, NodeId(0))
        self._owner = owner
        self._connection = connection
        self._streams: dict[int, wire.Decoder] = {}
        self._sizes: dict[int, int] = {}  # bytes that came on each stream that is not answered
        self._refused: set[int] = set()  # answered before their end: the rest is passed over
        self._held = 0
        self._proven = False
        self._nonce = secrets.token_bytes(hello.NONCE_SIZE)
        self._hello_stream = -1
        self._hello = wire.Decoder(wire.HELLO)
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(HELLO_DEADLINE_S, self.close, "no hello in time")

    @property
    def idle(self) -> bool:
        """Nothing waits for an answer."""
        return not self._sizes

    def close(self, reason: str) -> None:
        """Tells the peer, as far as it listens, and ends."""
        self._connection.close(reason)
        self.channel.flush()
        self.terminated(reason)

    def reply(self, stream: int, body: Reply, payload: Sequence[bytes]) -> None:
        """See Request.reply."""
        size = self._sizes.pop(stream, None)
        if size is None:
            return
        self._held -= size
        payload_size = sum(map(len, payload))
        head = wire.encode(body, cluster=self._owner.identity.cluster, payload_size=payload_size)
        self._connection.send(stream, head, end=not payload_size)
        for index, chunk in enumerate(payload, 1):
            self._connection.send(stream, chunk, end=index == len(payload))
        self.channel.flush_soon()

    # What the engine says

    def connected(self) -> None:
        """See engine.Sink."""
        stream = self._connection.open_stream()
        if stream is None:
            self.close("a peer that lets no stream be opened")
            return
        self._hello_stream = stream
        body = wire.encode(hello.Challenge(self._nonce), cluster=self._owner.identity.cluster)
        self._connection.send(stream, body, end=False)

    def stream_received(self, stream: int, data: bytes, *, end: bool) -> None:
        """See engine.Sink."""
        if not self._proven:
            self._hello_received(stream, data)
            return
        if stream & 3 != _CLIENT_BIDIRECTIONAL:
            if data:
                self.close("a second hello" if stream == self._hello_stream else "a stream of no use here")
            return
        if stream in self._refused:
            if end:
                self._refused.discard(stream)
            return
        decoder = self._streams.get(stream)
        if decoder is None:
            decoder = self._streams[stream] = wire.Decoder(wire.REQUEST)
            self._sizes[stream] = 0
        self._sizes[stream] += len(data)
        self._held += len(data)
        try:
            if self._held > HELD_BYTES_MAX:
                raise OverloadedError("too many bytes wait for an answer on this connection")
            decoder.feed(data)
            if end:
                del self._streams[stream]
                self._owner.handler(Request(self, stream, decoder.finish()))
        except ShardError as error:
            self._refuse_request(stream, error, ended=end)

    def stream_refused(self, stream: int) -> None:
        """See engine.Sink."""
        if stream == self._hello_stream:
            return
        self._streams.pop(stream, None)
        self._refused.discard(stream)
        self._held -= self._sizes.pop(stream, 0)
        self._connection.refuse(stream)

    def id_issued(self, connection_id: bytes) -> None:
        """See engine.Sink."""
        self._owner.id_issued(connection_id, self)

    def id_retired(self, connection_id: bytes) -> None:
        """See engine.Sink."""
        self._owner.id_retired(connection_id)

    def terminated(self, reason: str) -> None:
        """See engine.Sink."""
        self.channel.stop()
        self._deadline.cancel()
        self._streams.clear()
        self._sizes.clear()
        self._owner.over(self)

    # The hello

    def _received_unproven(self, datagrams: list[bytes], address: Address) -> None:
        """Engines announce one window for the life of a connection, wide enough for work, and hold what has a gap
        before it: so what may come at all is bounded until the peer is known."""
        self._unproven_left -= sum(map(len, datagrams))
        if self._unproven_left < 0:
            self.close("too many bytes before the hello")
        else:
            self.channel.received(datagrams, address)

    def _hello_received(self, stream: int, data: bytes) -> None:
        if stream != self._hello_stream:
            self.close("a stream before the hello")
            return
        self._held += len(data)
        try:
            if self._held > UNPROVEN_BYTES_MAX:
                raise BadRequestError("too many bytes before the hello")
            frame = self._hello.feed(data)
            if frame is None:
                return
            self.peer = self._checked(frame)
        except ShardError as error:
            log.warning("a peer was refused: %s", error)
            self.close(f"refused: {error}")
            return
        self._proven, self._held = True, 0
        self.received = self.channel.received
        self._deadline.cancel()
        self._owner.proved(self)
        welcome = hello.Welcome(padding=frame.body.padding)
        data = wire.encode(welcome, cluster=self._owner.identity.cluster)
        self._connection.send(self._hello_stream, data, end=True)

    def _checked(self, frame: wire.Frame) -> PeerName:
        owner = self._owner
        if frame.cluster != owner.identity.cluster:
            raise WrongClusterError("the hello is for another cluster")
        return proof.check(
            frame.body,
            identity=owner.identity,
            members=owner.members,
            nonce=self._nonce,
            leaf_sha256=owner.leaf_sha256,
        )

    def _refuse_request(self, stream: int, error: ShardError, *, ended: bool) -> None:
        self._streams.pop(stream, None)
        if not ended:
            self._refused.add(stream)
        self.reply(stream, Failure(error.code, str(error)), ())
