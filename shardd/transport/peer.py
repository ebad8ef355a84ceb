"""Owns the client's end of a connection: the hello, then requests as futures; never which node or when again."""

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Sequence

from shardd.contract import hello, wire
from shardd.contract.blobs import NodeId
from shardd.contract.errors import DeadlineError, ForbiddenError, ShardError, UnreachableError
from shardd.transport import datagrams, proof
from shardd.transport.channel import Channel
from shardd.transport.engine import DATAGRAM_SIZE_MAX, Engine, EngineSettings
from shardd.transport.native import Address
from shardd.transport.tls import PeerIdentity

HELLO_DEADLINE_S = 2.0
STREAMS_MAX = 96  # requests in flight; engines allow a hundred streams
IN_FLIGHT_BYTES_MAX = 8 << 20  # of payload, asked and answered; more waits here, not at the server
CLOSED = "closed by us"

log = logging.getLogger(__name__)


class _Pending:
    """One request that has no answer yet."""

    __slots__ = ("decoder", "future", "head", "payload", "since_s", "size", "stream", "timer")

    def __init__(
        self, head: bytes, payload: Sequence[bytes], *, size: int, future: "asyncio.Future[wire.Frame]"
    ) -> None:
        self.head = head
        self.payload = payload
        self.size = size
        self.future = future
        self.decoder = wire.Decoder(wire.REPLY)
        self.stream = -1
        self.since_s = 0.0
        self.timer: asyncio.TimerHandle | None = None


class Peer:
    """A connection to one shard server; the engine.Sink of it. Once `over` it stays so: make another."""

    def __init__(self, engine: Engine, identity: PeerIdentity, *, server: NodeId, address: Address) -> None:
        loop = asyncio.get_running_loop()
        opened = datagrams.connect(address)
        self.over = False
        self._loop = loop
        self._identity = identity
        self._server = server
        self._socket = datagrams.DatagramSocket(
            opened, received=self._received, failed=lambda error: self._end(error.strerror or "socket failed")
        )
        self._address = address
        self._welcome: asyncio.Future[None] = loop.create_future()
        self._hello = wire.Decoder(wire.HELLO)
        self._pending: dict[int, _Pending] = {}
        self._waiting: deque[_Pending] = deque()
        self._in_flight = 0
        self._heard_s = loop.time()
        self._engine = engine
        self._path_max = datagrams.path_payload_max(opened)
        self.channel: Channel

    async def connect(self, datagram_size_max: int) -> None:
        """Handshake and hello; UnreachableError, or DeadlineError where the server is silent."""
        self._datagram_size = min(datagram_size_max, self._path_max, DATAGRAM_SIZE_MAX)
        settings = EngineSettings(self._identity, self._datagram_size, self._server)
        self._connection = self._engine.client(settings)
        self.channel = Channel(self._connection, sink=self, link=self._socket)
        self._connection.connect(self._address, self._loop.time())
        self.channel.flush()
        try:
            async with asyncio.timeout(HELLO_DEADLINE_S):
                await self._welcome
        except TimeoutError:
            self._end("no hello in time")
            raise DeadlineError(f"node {self._server}: no hello in time") from None
        except asyncio.CancelledError:
            self._end("cancelled")
            raise

    def request(
        self, head: bytes, payload: Sequence[bytes], *, deadline_s: float, size_bytes: int
    ) -> "asyncio.Future[wire.Frame]":
        """Sends a request (wire.encode and its payload); the future gives the reply's frame or a ShardError.

        `size_bytes`: of the payload, or of the one that the reply will bring. Whoever cancels the future gives the
        request up.
        """
        pending = _Pending(head, payload, size=size_bytes, future=self._loop.create_future())
        if self.over:
            pending.future.set_exception(UnreachableError(f"node {self._server}: the connection is over"))
            return pending.future
        pending.since_s = self._loop.time()
        pending.timer = self._loop.call_later(deadline_s, self._expire, pending)
        pending.future.add_done_callback(lambda future: self._drop(pending) if future.cancelled() else None)
        self._waiting.append(pending)
        self._start_waiting()
        return pending.future

    def close(self, reason: str = "") -> None:
        """Ends the connection; what is in flight fails with UnreachableError. Idempotent."""
        if not self.over:
            self._connection.close(reason)
            self.channel.flush()
            self._end(reason or CLOSED)

    # What the engine says

    def connected(self) -> None:
        """See engine.Sink."""

    def stream_received(self, stream: int, data: bytes, *, end: bool) -> None:
        """See engine.Sink."""
        pending = self._pending.get(stream)
        if pending is not None:
            try:
                pending.decoder.feed(data)
                if end:
                    self._finish(pending, pending.decoder.finish())
            except ShardError as error:
                self._finish(pending, error)
                self._connection.refuse(stream)
        elif not self._welcome.done() and stream & 3 == 1:
            self._hello_received(stream, data)

    def stream_refused(self, stream: int) -> None:
        """See engine.Sink."""
        pending = self._pending.get(stream)
        if pending is not None:
            self._finish(pending, UnreachableError(f"node {self._server} refused the request's stream"))

    def id_issued(self, connection_id: bytes) -> None:
        """See engine.Sink."""

    def id_retired(self, connection_id: bytes) -> None:
        """See engine.Sink."""

    def terminated(self, reason: str) -> None:
        """See engine.Sink."""
        self._end(reason)

    def _received(self, received: datagrams.Received) -> None:
        self._heard_s = self._loop.time()
        self.channel.received([datagram for datagram, _ in received], self._address)
        if self._waiting:
            self._start_waiting()

    def _hello_received(self, stream: int, data: bytes) -> None:
        try:
            frame = self._hello.feed(data)
            if frame is None:
                return
            if frame.cluster != self._identity.cluster:
                raise ForbiddenError("the server is of another cluster")
        except ShardError as error:
            self._end(str(error))
            return
        match frame.body:
            case hello.Challenge(nonce=nonce):
                self._hello = wire.Decoder(wire.HELLO)
                self._connection.send(stream, self._prove(nonce), end=True)
            case hello.Welcome():
                self._welcome.set_result(None)
            case _:
                self._end("the server's hello is not ours")

    def _prove(self, server_nonce: bytes) -> bytes:
        made = proof.make(
            self._identity,
            server=self._server,
            nonce=server_nonce,
            leaf_sha256=hashlib.sha256(self._connection.peer_certificate).digest(),
            padding=self._datagram_size,
        )
        return wire.encode(made, cluster=self._identity.cluster)

    # Requests

    def _has_room(self, pending: _Pending) -> bool:
        """A lone request always has: the limits bound what is beside others."""
        if not self._pending:
            return True
        return len(self._pending) < STREAMS_MAX and self._in_flight + pending.size <= IN_FLIGHT_BYTES_MAX

    def _start_waiting(self) -> None:
        """Lets go what waits, in order, as far as there is room and the server allows."""
        while self._waiting and not self.over and self._has_room(self._waiting[0]):
            stream = self._connection.open_stream()
            if stream is None:
                return
            self._start(self._waiting.popleft(), stream)

    def _start(self, pending: _Pending, stream: int) -> None:
        connection = self._connection
        pending.stream = stream
        self._pending[stream] = pending
        self._in_flight += pending.size
        connection.send(stream, pending.head, end=not pending.payload)
        for index, chunk in enumerate(pending.payload, 1):
            connection.send(stream, chunk, end=index == len(pending.payload))
        pending.payload = ()
        self.channel.flush_soon()

    def _finish(self, pending: _Pending, outcome: wire.Frame | ShardError) -> None:
        """Takes the request off the books, tells its owner, and lets the next ones go."""
        if pending.timer is not None:
            pending.timer.cancel()
        if self._pending.pop(pending.stream, None) is not None:
            self._in_flight -= pending.size
        if not pending.future.done():
            if isinstance(outcome, ShardError):
                pending.future.set_exception(outcome)
            else:
                pending.future.set_result(outcome)
        self._start_waiting()

    def _drop(self, pending: _Pending) -> None:
        """Its owner gave the request up."""
        if pending.stream >= 0 and not self.over:
            self._connection.refuse(pending.stream)
            self.channel.flush_soon()
        elif pending.stream < 0 and pending in self._waiting:
            self._waiting.remove(pending)
        self._finish(pending, DeadlineError("given up"))

    def _expire(self, pending: _Pending) -> None:
        """The deadline is here. A server that was silent all the while is gone, whatever its kernel says.

        Where it is this process that was late, the answer may be in the socket already.
        """
        self._socket.drain()
        if pending.future.done():
            return
        silent = self._heard_s < pending.since_s and pending.stream >= 0
        pending.future.set_exception(DeadlineError(f"node {self._server} did not answer in time"))
        self._drop(pending)
        if silent:
            self.close("silent")

    def _end(self, reason: str) -> None:
        if self.over:
            return
        self.over = True
        self.channel.stop()
        self._socket.close()
        error = f"node {self._server}: {reason}"
        if self._welcome.done() and reason != CLOSED:
            log.warning("the connection is over: %s", error)
        if not self._welcome.done():
            self._welcome.set_exception(UnreachableError(error))
        everything = [*self._pending.values(), *self._waiting]
        self._waiting.clear()
        for pending in everything:
            self._finish(pending, UnreachableError(error))
