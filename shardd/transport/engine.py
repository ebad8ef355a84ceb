"""Owns the port to a QUIC engine (RFC 9000): bytes and time in, bytes and facts out; never a socket, never a clock.

Two homes implement it, qh3_engine.py and aioquic_engine.py, and one contract suite holds both to it, also crosswise.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from shardd.contract.blobs import NodeId
from shardd.transport.native import Address
from shardd.transport.tls import PeerIdentity

ALPN = "quoin/1"
CONNECTION_ID_SIZE = 8
IDLE_TIMEOUT_S = 30.0
DATAGRAM_SIZE_MAX = 48_000  # a batch of them, and a hello that is padded to one, have limits of 64 KiB
CONNECTION_WINDOW_BYTES = 32 << 20  # a peer may have so much under way; our own limits are narrower and count
STREAM_WINDOW_BYTES = 2 << 20  # a whole message, so that no stream waits for a window
INITIAL_RTT_S = 0.1
REFUSED = 0x51  # the application error code with which we give up a stream or a connection


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What every connection of an endpoint shares. `server`: the node that it is, or that a client asks for.

    `datagram_size_max`: what the path takes, as far as this side knows; a peer is told, and sends no more either.
    """

    identity: PeerIdentity
    datagram_size_max: int
    server: NodeId


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a client came to a server: the connection ids that its transport parameters must confirm (RFC 9000, 7.3)."""

    original_id: bytes
    retry_id: bytes


class Sink(Protocol):
    """Whoever owns a connection hears from it here, in the order of events, out of `EngineConnection.deliver` only."""

    def connected(self) -> None:
        """The handshake is complete: the server's certificate holds."""

    def stream_received(self, stream: int, data: bytes, *, end: bool) -> None:
        """The next bytes of a stream, in order; `end`: there are no more."""

    def stream_refused(self, stream: int) -> None:
        """The peer reset the stream or asks us to stop sending on it."""

    def id_issued(self, connection_id: bytes) -> None:
        """Packets may come under this id from here on."""

    def id_retired(self, connection_id: bytes) -> None:
        """No more packets will come under this id."""

    def terminated(self, reason: str) -> None:
        """The connection is over; nothing else will be heard."""


class EngineConnection(Protocol):
    """One connection. After `receive` and `expire`: `deliver`; after anything: `outgoing`, `deliver`, `timer_s`."""

    @property
    def local_id(self) -> bytes:
        """The first connection id that is ours."""

    @property
    def peer_certificate(self) -> bytes:
        """The server's leaf certificate in DER, once connected; clients only."""

    def connect(self, address: Address, now_s: float) -> None:
        """Begins the handshake; clients only, once."""

    def receive(self, datagrams: list[bytes], address: Address, now_s: float) -> None:
        """Takes datagrams that came from `address`, in order."""

    def deliver(self, sink: Sink) -> None:
        """Tells `sink` all that has happened."""

    def outgoing(self, now_s: float) -> list[tuple[bytes, Address]]:
        """The datagrams that may be sent now."""

    @property
    def quiet(self) -> bool:
        """Only acknowledgements could leave now: the handshake is over, and no stream has bytes queued."""

    def timer_s(self) -> float | None:
        """When `expire` wants to be called, on the clock of `now_s`."""

    def expire(self, now_s: float) -> None:
        """The time of `timer_s` has come."""

    def open_stream(self) -> int | None:
        """The id of a new bidirectional stream, to `send` on next; None as long as the peer allows no more."""

    def send(self, stream: int, data: bytes | memoryview, *, end: bool) -> None:
        """Queues bytes; a stream that is gone swallows them."""

    def refuse(self, stream: int) -> None:
        """Gives up both directions of a stream, with the code REFUSED."""

    def close(self, reason: str) -> None:
        """Ends the connection, with the code REFUSED where there is a reason."""


class Engine(Protocol):
    """Makes connections. `client` and `server` never do I/O."""

    def client(self, settings: EngineSettings) -> EngineConnection:
        """A connection that verifies the server's certificate: authority, date, node, role; ALPN and TLS 1.3 too."""

    def server(self, settings: EngineSettings, arrival: Arrival) -> EngineConnection:
        """A connection for a client whose address was validated. It issues no session tickets and takes no 0-RTT."""

    def retry_packet(self, *, version: int, to_id: bytes, arrival: Arrival, token: bytes) -> bytes:
        """A Retry (RFC 9000, 17.2.5) that asks the client with id `to_id` to come again with `token`."""


def deliver_rare(events: Any, event: Any, sink: Sink) -> None:
    """Tells `sink` of an event that is no data of a stream. `events`: the library's; both have these names."""
    match event:
        case events.HandshakeCompleted():
            sink.connected()
        case events.StreamReset(stream_id=stream) | events.StopSendingReceived(stream_id=stream):
            sink.stream_refused(stream)
        case events.ConnectionIdIssued(connection_id=connection_id):
            sink.id_issued(connection_id)
        case events.ConnectionIdRetired(connection_id=connection_id):
            sink.id_retired(connection_id)
        case events.ConnectionTerminated(error_code=code, reason_phrase=reason):
            sink.terminated(f"{reason or 'closed'} (code {code:#x})")
