"""Owns a server's UDP socket and its many connections: which datagram is whose, and who may begin one."""

import asyncio
import contextlib
import hashlib
import importlib
import logging
import secrets
from typing import Literal, cast

from shardd.contract.blobs import NodeId
from shardd.contract.errors import OverloadedError
from shardd.transport import datagrams, retry
from shardd.transport.engine import CONNECTION_ID_SIZE, Arrival, Engine, EngineSettings
from shardd.transport.native import Address
from shardd.transport.session import UNPROVEN_BYTES_MAX, Handler, Session

SESSIONS_MAX = 256
UNPROVEN_MAX = 64
TOKENS_KEPT_MAX = 1_024
HELLO_TRIES = 3  # a hello fills a datagram, which may be lost
DRAIN_POLL_S = 0.01

_HOMES = {"qh3": ("qh3_engine", "Qh3Engine"), "aioquic": ("aioquic_engine", "AioquicEngine")}


def load_engine(name: Literal["qh3", "aioquic"]) -> Engine:
    """The engine of that name; its library is loaded now and not before."""
    logging.getLogger("quic").setLevel(logging.ERROR)  # both engines tell of every peer that closes
    module, kind = _HOMES[name]
    return cast(Engine, getattr(importlib.import_module(f"shardd.transport.{module}"), kind)())


class ServerEndpoint:
    """Serves until closed. A connection is found by the destination id of its packets: addresses change and repeat."""

    def __init__(
        self, engine: Engine, settings: EngineSettings, *, members: frozenset[NodeId], handler: Handler
    ) -> None:
        self.identity = settings.identity
        self.leaf_sha256 = hashlib.sha256(settings.identity.certificate).digest()
        self.members = members
        self.handler = handler
        self._engine = engine
        self._settings = settings
        self._key = secrets.token_bytes(32)
        self._by_id: dict[bytes, Session] = {}
        self._sessions: set[Session] = set()
        self._unproven: set[Session] = set()
        self._taken: dict[bytes, None] = {}  # the ids of the last Retries whose token has begun a connection
        self._unproven_bytes_max = max(UNPROVEN_BYTES_MAX, HELLO_TRIES * settings.datagram_size_max)
        self._socket: datagrams.DatagramSocket

    def listen(self, host: str, port: int) -> Address:
        """Opens the socket on the running loop and gives its address; OSError where it cannot be had."""
        self._socket = datagrams.DatagramSocket(
            datagrams.bind(host, port), received=self._received, failed=lambda error: None
        )
        return self._socket.address

    @property
    def busy(self) -> bool:
        """Some request waits for its answer."""
        return not all(session.idle for session in self._sessions)

    async def close(self, *, grace_s: float = 0.0) -> None:
        """Answers what is in flight for at most `grace_s`, and nothing new, then ends all connections."""
        self.handler = lambda request: request.fail(OverloadedError("the shard server stops"))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._all_idle()
        for session in list(self._sessions):
            session.close("the server stops")
        self._socket.close()

    async def _all_idle(self) -> None:
        while self.busy:  # noqa: ASYNC110  read once in a life
            await asyncio.sleep(DRAIN_POLL_S)

    # What sessions say: session.SessionOwner

    def id_issued(self, connection_id: bytes, session: Session) -> None:
        """See SessionOwner."""
        self._by_id[connection_id] = session

    def id_retired(self, connection_id: bytes) -> None:
        """See SessionOwner."""
        self._by_id.pop(connection_id, None)

    def proved(self, session: Session) -> None:
        """See SessionOwner."""
        self._unproven.discard(session)

    def over(self, session: Session) -> None:
        """See SessionOwner."""
        self._sessions.discard(session)
        self._unproven.discard(session)
        for connection_id in [key for key, value in self._by_id.items() if value is session]:
            del self._by_id[connection_id]

    # Datagrams

    def _received(self, received: datagrams.Received) -> None:
        """Hands each run of datagrams of one connection and address over together."""
        run: list[bytes] = []
        last: tuple[Session | None, Address | None] = (None, None)
        for datagram, address in received:
            session = self._by_id.get(retry.destination_id(datagram, CONNECTION_ID_SIZE))
            if session is None:
                session = self._begin(datagram, address)
                if session is None:
                    continue
            if last != (session, address):
                self._hand_over(last, run)
                run, last = [], (session, address)
            run.append(datagram)
        self._hand_over(last, run)

    @staticmethod
    def _hand_over(to: tuple[Session | None, Address | None], run: list[bytes]) -> None:
        session, address = to
        if session is not None and address is not None:
            session.received(run, address)

    def _begin(self, datagram: bytes, address: Address) -> Session | None:
        """A new session for an Initial with a token of ours; a Retry for one without; silence for the rest."""
        initial = retry.parse_initial(datagram)
        if initial is None:
            return None
        now_s = asyncio.get_running_loop().time()
        if not initial.token:
            self._send_retry(initial, address, now_s)
            return None
        original_id = retry.check_token(
            self._key, address, token=initial.token, retry_id=initial.to_id, now_s=now_s
        )
        if original_id is None or initial.to_id in self._taken:  # once only (RFC 9000, 8.1.4)
            return None
        if len(self._sessions) >= SESSIONS_MAX or len(self._unproven) >= UNPROVEN_MAX:
            return None
        self._take(initial.to_id)
        connection = self._engine.server(self._settings, Arrival(original_id, initial.to_id))
        session = Session(self, connection, self._socket, unproven_bytes_max=self._unproven_bytes_max)
        self._sessions.add(session)
        self._unproven.add(session)
        self._by_id[initial.to_id] = self._by_id[connection.local_id] = session
        return session

    def _take(self, retry_id: bytes) -> None:
        """The token of this Retry begins no second connection; so many others would have to, to let it be forgotten."""
        self._taken[retry_id] = None
        if len(self._taken) > TOKENS_KEPT_MAX:
            del self._taken[next(iter(self._taken))]

    def _send_retry(self, initial: retry.Initial, address: Address, now_s: float) -> None:
        arrival = Arrival(initial.to_id, secrets.token_bytes(CONNECTION_ID_SIZE))
        token = retry.make_token(
            self._key, address, original_id=arrival.original_id, retry_id=arrival.retry_id, now_s=now_s
        )
        packet = self._engine.retry_packet(
            version=retry.QUIC_VERSION, to_id=initial.from_id, arrival=arrival, token=token
        )
        self._socket.send([packet], address)
