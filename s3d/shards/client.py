"""Owns one node as a gateway sees it: a connection that comes back, requests with deadlines; never which to ask."""

import asyncio
import contextlib
import socket
from collections.abc import Sequence

from shardd.contract import wire
from shardd.contract.blobs import UNIT_SIZE, NodeId
from shardd.contract.cluster import NodeConfig, QuicConfig
from shardd.contract.errors import (
    BY_CODE,
    BadRequestError,
    DeadlineError,
    InternalError,
    ShardError,
    UnreachableError,
    WrongClusterError,
)
from shardd.contract.messages import (
    DeleteShards,
    Done,
    Failure,
    GetStatus,
    GetUnits,
    ListShards,
    Page,
    PutExtent,
    Stat,
    StatShard,
    Status,
    Units,
)
from shardd.transport.endpoint import load_engine
from shardd.transport.engine import Engine
from shardd.transport.native import Address
from shardd.transport.peer import Peer
from shardd.transport.retry import INITIAL_SIZE_MIN
from shardd.transport.tls import PeerIdentity

BACK_OFF_FIRST_S = 0.05
BACK_OFF_MAX_S = 2.0


class ShardClient:
    """One node. Connects at the first request, and again after a loss, with back-off.

    While the back-off lasts, requests fail at once with UnreachableError. Every method raises errors of the
    ShardError tree only.
    """

    def __init__(self, node: NodeConfig, *, identity: PeerIdentity, quic: QuicConfig) -> None:
        self.node = node.id
        self._config = node
        self._identity = identity
        self._quic = quic
        self._engine: Engine = load_engine(quic.engine)
        self._peer: Peer | None = None
        self._connecting: asyncio.Task[Peer] | None = None
        self._closed = False
        self._back_off_s = BACK_OFF_FIRST_S
        self._rests_until_s = 0.0
        self._small = False  # the last hello was lost: the next one goes in datagrams that every path takes

    @property
    def connected(self) -> bool:
        """There is a connection, as far as we know."""
        return self._peer is not None and not self._peer.over

    async def put(self, message: PutExtent, payload: Sequence[bytes], *, deadline_s: float) -> None:
        """Returns once the extent is durable on the node. `payload`: its units in chunks, `message.length` bytes."""
        await self._ask(message, payload, deadline_s=deadline_s, expected=Done)

    async def get(self, message: GetUnits, *, deadline_s: float) -> tuple[Units, list[bytes]]:
        """The units' stored checksums, and their bytes in the chunks they came in. Nothing is verified here."""
        frame = await self._ask(
            message, deadline_s=deadline_s, expected=Units, reply_size=message.count * UNIT_SIZE
        )
        return frame.body, frame.payload

    async def delete(self, shards: list[tuple[bytes, int, int]], *, deadline_s: float) -> None:
        """Deletes (blob, shard, generation): that generation and those before it, at most 1,000 a call."""
        await self._ask(DeleteShards(shards), deadline_s=deadline_s, expected=Done)

    async def stat(self, blob: bytes, shard: int, *, deadline_s: float) -> Stat:
        """The extents that are there of a shard."""
        stat: Stat = (await self._ask(StatShard(blob, shard), deadline_s=deadline_s, expected=Stat)).body
        return stat

    async def list(self, after: bytes, limit: int, *, deadline_s: float) -> Page:
        """A page of the shards that are there, after a place of 17 bytes or from the start."""
        page: Page = (await self._ask(ListShards(after, limit), deadline_s=deadline_s, expected=Page)).body
        return page

    async def status(self, *, deadline_s: float) -> Status:
        """How the node is."""
        status: Status = (await self._ask(GetStatus(), deadline_s=deadline_s, expected=Status)).body
        return status

    async def close(self) -> None:
        """Ends the connection; requests in flight fail. Idempotent."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError, ShardError):
                await self._connecting
        if self._peer is not None:
            self._peer.close()

    async def _ask(
        self,
        message: object,
        payload: Sequence[bytes] = (),
        *,
        deadline_s: float,
        expected: type,
        reply_size: int = 0,
    ) -> wire.Frame:
        size = sum(map(len, payload))
        head = wire.encode(message, cluster=self._identity.cluster, payload_size=size)
        loop = asyncio.get_running_loop()
        until_s = loop.time() + deadline_s
        try:
            frame = await self._send(head, payload, until_s=until_s, size=size or reply_size)
        except UnreachableError:
            if loop.time() < self._rests_until_s or self._closed:
                raise  # it is not there
            # The connection broke. Every request may be repeated: the same put again is a success.
            frame = await self._send(head, payload, until_s=until_s, size=size or reply_size)
        if frame.cluster != self._identity.cluster:
            raise WrongClusterError(f"node {self.node} answered for another cluster")
        body = frame.body
        if type(body) is expected:
            return frame
        if isinstance(body, Failure):
            raise BY_CODE.get(body.code, InternalError)(f"node {self.node}: {body.message}")
        raise BadRequestError(f"node {self.node} answered with {type(body).__name__}")

    async def _send(self, head: bytes, payload: Sequence[bytes], *, until_s: float, size: int) -> wire.Frame:
        peer, loop = self._peer, asyncio.get_running_loop()
        if peer is None or peer.over:
            peer = await self._connected(until_s - loop.time())
        return await peer.request(head, payload, deadline_s=until_s - loop.time(), size_bytes=size)

    async def _connected(self, deadline_s: float) -> Peer:
        """The one attempt that all requests of the moment share."""
        loop = asyncio.get_running_loop()
        if self._closed:
            raise UnreachableError(f"node {self.node}: the client is closed")
        if self._connecting is None:
            if loop.time() < self._rests_until_s:
                raise UnreachableError(f"node {self.node}: not reachable a moment ago")
            self._connecting = loop.create_task(self._connect(), name=f"connect to node {self.node}")
            self._connecting.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            async with asyncio.timeout(deadline_s):
                return await asyncio.shield(self._connecting)
        except TimeoutError:
            raise DeadlineError(f"node {self.node}: no connection in time") from None

    async def _connect(self) -> Peer:
        loop = asyncio.get_running_loop()
        try:
            address = await self._resolve()
            peer = Peer(self._engine, self._identity, server=NodeId(self.node), address=address)
            await peer.connect(INITIAL_SIZE_MIN if self._small else self._quic.max_datagram_size)
        except (ShardError, OSError) as error:
            self._small = isinstance(error, DeadlineError) and not self._small
            self._rests_until_s = loop.time() + self._back_off_s
            self._back_off_s = min(2 * self._back_off_s, BACK_OFF_MAX_S)
            raise UnreachableError(f"node {self.node}: {error}") from error
        finally:
            self._connecting = None
        self._back_off_s = BACK_OFF_FIRST_S
        self._peer = peer
        return peer

    async def _resolve(self) -> Address:
        infos = await asyncio.get_running_loop().getaddrinfo(
            self._config.host, self._config.port, type=socket.SOCK_DGRAM
        )
        address: Address = infos[0][4]  # type: ignore[assignment]
        return address
