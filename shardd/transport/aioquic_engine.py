"""Owns the engine that aioquic drives; the only importer of aioquic.

It is slow beside qh3 and does not probe its path, so it sends what every path takes. It is here because two engines
that understand each other prove more than one, and to have a second when the first fails us.
"""

import ssl
from typing import Any

from aioquic import tls
from aioquic._buffer import Buffer
from aioquic.quic import events
from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE, QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import (
    QuicProtocolVersion,
    encode_quic_retry,
    pull_quic_transport_parameters,
    push_quic_transport_parameters,
)
from cryptography.hazmat.primitives.serialization import Encoding

from shardd.contract.hello import PeerName, Role, host_name
from shardd.transport import engine
from shardd.transport.native import Address

PARAMETERS_SIZE_MAX = 4_096


class _Quic(QuicConnection):
    """aioquic's connection, announcing the largest datagram that its path takes: its peer may have larger ones."""

    announced_size = SMALLEST_MAX_DATAGRAM_SIZE

    def _serialize_transport_parameters(self) -> bytes:
        parameters = pull_quic_transport_parameters(Buffer(data=super()._serialize_transport_parameters()))
        parameters.max_udp_payload_size = self.announced_size
        buffer = Buffer(capacity=PARAMETERS_SIZE_MAX)
        push_quic_transport_parameters(buffer, parameters)
        return bytes(buffer.data)


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
        certificate: Any = self._quic.tls._peer_certificate
        return bytes(certificate.public_bytes(Encoding.DER))

    def connect(self, address: Address, now_s: float) -> None:
        self._quic.connect(address, now=now_s)

    def receive(self, datagrams: list[bytes], address: Address, now_s: float) -> None:
        for datagram in datagrams:
            self._quic.receive_datagram(datagram, address, now=now_s)

    def deliver(self, sink: engine.Sink) -> None:
        next_event = self._quic.next_event
        while (event := next_event()) is not None:
            if type(event) is events.StreamDataReceived:
                sink.stream_received(event.stream_id, event.data, end=event.end_stream)
            else:
                engine.deliver_rare(events, event, sink)

    def outgoing(self, now_s: float) -> list[tuple[bytes, Address]]:
        return list(self._quic.datagrams_to_send(now_s))

    @property
    def quiet(self) -> bool:
        return False  # it does not tell what is queued

    def timer_s(self) -> float | None:
        return self._quic.get_timer()

    def expire(self, now_s: float) -> None:
        self._quic.handle_timer(now=now_s)

    def open_stream(self) -> int | None:
        # It holds a stream back until the peer allows it.
        return int(self._quic.get_next_available_stream_id())

    def send(self, stream: int, data: bytes | memoryview, *, end: bool) -> None:
        try:
            self._quic.send_stream_data(stream, data, end)  # type: ignore[arg-type]
        except (ValueError, RuntimeError):
            return  # the stream is gone; aioquic complains of who writes to it

    def refuse(self, stream: int) -> None:
        for give_up in (self._quic.reset_stream, self._quic.stop_stream):
            try:
                give_up(stream, engine.REFUSED)
            except (ValueError, RuntimeError):
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
        max_datagram_size=min(settings.datagram_size_max, SMALLEST_MAX_DATAGRAM_SIZE),
        cipher_suites=[tls.CipherSuite.AES_128_GCM_SHA256],
        supported_versions=[QuicProtocolVersion.VERSION_1],
    )
    if is_client:
        configuration.verify_mode = ssl.CERT_REQUIRED
        configuration.cadata = identity.authority_pem
        configuration.server_name = host_name(identity.cluster, PeerName(Role.SHARD_SERVER, settings.server))
    else:
        configuration.certificate = tls.load_pem_x509_certificates(identity.certificate_pem)[0]
        configuration.private_key = tls.load_pem_private_key(identity.key_pem)
    return configuration


def _made(quic: _Quic, settings: engine.EngineSettings) -> _Connection:
    quic.announced_size = settings.datagram_size_max
    return _Connection(quic)


class AioquicEngine:
    """engine.Engine on aioquic."""

    def client(self, settings: engine.EngineSettings) -> engine.EngineConnection:
        """See engine.Engine."""
        return _made(_Quic(configuration=_configuration(settings, is_client=True)), settings)

    def server(self, settings: engine.EngineSettings, arrival: engine.Arrival) -> engine.EngineConnection:
        """See engine.Engine."""
        quic = _Quic(
            configuration=_configuration(settings, is_client=False),
            original_destination_connection_id=arrival.original_id,
            retry_source_connection_id=arrival.retry_id,
        )
        return _made(quic, settings)

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
