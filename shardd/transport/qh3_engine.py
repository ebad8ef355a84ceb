"""Owns the engine that qh3 drives; the only importer of qh3's QUIC."""

import ssl

from qh3._hazmat import Buffer
from qh3.quic import events
from qh3.quic.configuration import QuicConfiguration
from qh3.quic.connection import QuicConnection, QuicConnectionError
from qh3.quic.packet import (
    encode_quic_retry,
    pull_quic_transport_parameters,
    push_quic_transport_parameters,
)
from qh3.quic.tls_bridge import QuicTlsBridge
from qh3.tls import CipherSuite, SignatureAlgorithm

from shardd.contract.hello import PeerName, Role, host_name
from shardd.transport import engine
from shardd.transport.native import Address

PARAMETERS_SIZE_MAX = 4_096
FAILED_POLLS_MAX = 8
# More than qh3 takes: a peer that waits for a busy processor is not taken for lost at once.
ACK_DELAY_MS = 100

_FAULTS = (QuicConnectionError, ValueError)


class _WideTls(QuicTlsBridge):
    """The handshake with transport parameters of ours.

    qh3's client announces that it takes datagrams of 1,472 bytes at most, so a server never sends it more: GET
    costs four times as much. What it should announce is what its path takes.
    """

    def serialize_transport_parameters(self) -> bytes:
        parameters = pull_quic_transport_parameters(Buffer(data=super().serialize_transport_parameters()))
        parameters.max_udp_payload_size = self.configuration.max_datagram_size
        parameters.max_ack_delay = ACK_DELAY_MS
        buffer = Buffer(capacity=PARAMETERS_SIZE_MAX)
        push_quic_transport_parameters(buffer, parameters)
        return bytes(buffer.data)


class _Quic(QuicConnection):
    """qh3's connection with our handshake and without its log, which parses every packet a second time."""

    fault = ""
    handshaken = False
    settled = False  # the handshake was over before what came last

    def _create_tls(self, remote_source_cid: bytes | None) -> QuicTlsBridge:
        assert self._version is not None
        self._tls = _WideTls(
            self._configuration,
            version=self._version,
            local_initial_source_connection_id=self.host_cid,
            remote_initial_source_connection_id=remote_source_cid,
            original_destination_connection_id=self._original_destination_connection_id,
            retry_source_connection_id=self._retry_source_connection_id,
            version_change_handler=self._set_version,
        )
        return self._tls

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Address]]:
        """What may be sent.

        Where a packet was taken for lost and its stream has ended meanwhile, qh3 2.1 fails, and forgets what else was
        to be in the packet: a stream may never end. So the connection ends instead, and says so.
        """
        if self._core is None:
            return []
        datagrams, poll = [], self._core.poll_transmit
        for _ in range(FAILED_POLLS_MAX):
            try:
                while (transmit := poll(now)) is not None:
                    datagrams.append((transmit[0], transmit[1]))
                break
            except (RuntimeError, ValueError) as error:
                self.fault = str(error)
                self.close(engine.REFUSED, reason_phrase=self.fault)
        return datagrams

    def _log_datagram(self, event: str, data: bytes) -> None:
        pass

    def _log_packet(self, event: str, data: bytes, length: int | None = None) -> None:
        pass


class _Connection:
    """engine.EngineConnection over `_Quic`."""

    __slots__ = ("_quic",)

    def __init__(self, quic: _Quic) -> None:
        self._quic = quic

    @property
    def local_id(self) -> bytes:
        return bytes(self._quic.host_cid)

    @property
    def peer_certificate(self) -> bytes:
        certificate = self._quic.get_peercert()
        assert certificate is not None
        return bytes(certificate.public_bytes())

    def connect(self, address: Address, now_s: float) -> None:
        self._quic.connect(address, now=now_s)

    def receive(self, datagrams: list[bytes], address: Address, now_s: float) -> None:
        self._quic.settled = self._quic.handshaken
        try:
            self._quic.receive_many_datagrams(datagrams, address, now=now_s)
        except _FAULTS as error:
            self._quic.fault = str(error)

    def deliver(self, sink: engine.Sink) -> None:
        next_event = self._quic.next_event
        while (event := next_event()) is not None:
            if type(event) is events.StreamDataReceived:
                sink.stream_received(event.stream_id, event.data, end=event.end_stream)
            else:
                if type(event) is events.HandshakeCompleted:
                    self._quic.handshaken = True
                engine.deliver_rare(events, event, sink)
        if self._quic.fault:
            sink.terminated(self._quic.fault)

    def outgoing(self, now_s: float) -> list[tuple[bytes, Address]]:
        return self._quic.datagrams_to_send(now_s)

    @property
    def quiet(self) -> bool:
        return self._quic.settled and self._quic.get_send_buffer_size() == 0

    def timer_s(self) -> float | None:
        timer: float | None = self._quic.get_timer()
        return timer

    def expire(self, now_s: float) -> None:
        try:
            self._quic.handle_timer(now=now_s)
        except _FAULTS as error:
            self._quic.fault = str(error)

    def open_stream(self) -> int | None:
        stream = self._quic.get_next_available_stream_id()
        return stream if stream >> 2 < self._quic.max_concurrent_bidi_streams else None

    def send(self, stream: int, data: bytes | memoryview, *, end: bool) -> None:
        try:
            self._quic.send_stream_data(stream, data, end)
        except _FAULTS:
            return  # the stream is gone

    def refuse(self, stream: int) -> None:
        for give_up in (self._quic.reset_stream, self._quic.stop_stream):
            try:
                give_up(stream, engine.REFUSED)
            except _FAULTS:
                continue  # this direction is over already

    def close(self, reason: str) -> None:
        self._quic.close(error_code=engine.REFUSED if reason else 0, reason_phrase=reason)


def _configuration(settings: engine.EngineSettings, *, is_client: bool) -> QuicConfiguration:
    identity = settings.identity
    configuration = QuicConfiguration(
        is_client=is_client,
        alpn_protocols=[engine.ALPN],
        connection_id_length=engine.CONNECTION_ID_SIZE,
        idle_timeout=engine.IDLE_TIMEOUT_S,
        initial_rtt=engine.INITIAL_RTT_S,
        max_data=engine.CONNECTION_WINDOW_BYTES,
        max_stream_data=engine.STREAM_WINDOW_BYTES,
        max_datagram_size=settings.datagram_size_max,
        probe_datagram_size=False,  # it probes for 1,452 bytes only, and sends max_datagram_size unproved
        cipher_suites=[CipherSuite.AES_128_GCM_SHA256],
    )
    if is_client:
        configuration.verify_mode = ssl.CERT_REQUIRED
        configuration.cadata = identity.authority_pem
        configuration.server_name = host_name(identity.cluster, PeerName(Role.SHARD_SERVER, settings.server))
        configuration.signature_algorithms = [SignatureAlgorithm.ED25519]
    else:
        configuration.load_cert_chain(identity.certificate_pem, identity.key_pem)
    return configuration


class Qh3Engine:
    """engine.Engine on qh3."""

    def client(self, settings: engine.EngineSettings) -> engine.EngineConnection:
        """See engine.Engine."""
        return _Connection(_Quic(configuration=_configuration(settings, is_client=True)))

    def server(self, settings: engine.EngineSettings, arrival: engine.Arrival) -> engine.EngineConnection:
        """See engine.Engine."""
        return _Connection(
            _Quic(
                configuration=_configuration(settings, is_client=False),
                original_destination_connection_id=arrival.original_id,
                retry_source_connection_id=arrival.retry_id,
            )
        )

    def retry_packet(self, *, version: int, to_id: bytes, arrival: engine.Arrival, token: bytes) -> bytes:
        """See engine.Engine."""
        return bytes(
            encode_quic_retry(
                version=version,
                source_cid=arrival.retry_id,
                destination_cid=to_id,
                original_destination_cid=arrival.original_id,
                retry_token=token,
            )
        )
