"""Owns the listening socket of one gateway and all its connections: how many, the sweep, the orderly end."""

import asyncio
import logging
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from ipaddress import IPv6Address
from typing import Final

from s3d.certificate import Certificate
from s3d.connection import Connection
from s3d.http_parser import HttpProcessingError
from s3d.message import Message
from s3d.operations.reply import Reply
from s3d.secure_connection import SecureConnection

SWEEP_S: Final = 1.0
SWEPT_AT_ONCE: Final = 10  # a body that is given up costs a reply: some ms for all of them
BACKLOG: Final = 1_024

_log = logging.getLogger(__name__)


class Listener:
    """One HTTP port. `answer` gives the reply to a request and raises nothing; `refuse` that to broken HTTP.

    `clock_s`: seconds since 1970, for the Date of replies.
    """

    def __init__(
        self,
        answer: Callable[[Message], Awaitable[Reply]],
        refuse: Callable[[HttpProcessingError], Reply],
        *,
        connections_max: int,
        connections_per_ip_max: int | None = None,
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        self.answer = answer
        self.refuse = refuse
        self._connections_max = connections_max
        self._connections_per_ip_max = connections_per_ip_max or connections_max
        self._by_network: Counter[str] = Counter()
        self._clock_s = clock_s
        self._serving: dict[Connection, asyncio.Task[None]] = {}
        self._server: asyncio.Server | None = None
        self._common = b""
        self._common_s = -1

    async def listen(self, sock: socket.socket, certificate: Certificate | None = None) -> None:
        """Accept clients of the bound socket `sock` from now on, over TLS alone where there is a certificate."""
        self._loop = loop = asyncio.get_running_loop()

        def accepted() -> Connection:
            if certificate is None:
                return Connection(self, loop)
            return SecureConnection(self, loop, certificate.context)

        self._server = await loop.create_server(accepted, sock=sock, backlog=BACKLOG)

    @property
    def serving(self) -> list[Connection]:
        """The connections that are open now."""
        return list(self._serving)

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._serving)

    def common_head(self) -> bytes:
        """Date and Server of every reply, made anew when the second changes: no Last-Modified may be later."""
        now_s = int(self._clock_s())
        if now_s != self._common_s:
            self._common = f"Date: {formatdate(now_s, usegmt=True)}\r\nServer: Quoin\r\n".encode()
            self._common_s = now_s
        return self._common

    def opened(self, connection: Connection) -> None:
        """Serve one more client, in a task that is held here until it ends; over a limit it is cut."""
        network = network_of(connection.remote)
        if (
            len(self._serving) >= self._connections_max
            or self._by_network[network] >= self._connections_per_ip_max
        ):
            connection.abort()
            return
        self._by_network[network] += 1
        task = self._loop.create_task(connection.serve())
        self._serving[connection] = task
        task.add_done_callback(lambda done: self._closed(connection, done))

    def _closed(self, connection: Connection, task: asyncio.Task[None]) -> None:
        del self._serving[connection]
        network = network_of(connection.remote)
        self._by_network[network] -= 1
        if not self._by_network[network]:
            del self._by_network[network]
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a connection failed", exc_info=error)

    async def sweep(self) -> None:
        """Once a second, end every connection whose client has been silent for too long. Runs until cancelled."""
        # It may run long before there is a client: nodes are waited for first.
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            now = loop.time()
            for number, connection in enumerate(self.serving, 1):
                connection.sweep(now)
                if number % SWEPT_AT_ONCE == 0:
                    await asyncio.sleep(0)  # thousands that end in the same second keep no request waiting

    async def close(self, grace_s: float) -> None:
        """Accept nothing more, let requests in flight finish for `grace_s` at most, then cut what is left."""
        if self._server is not None:
            self._server.close()
        for connection in self._serving:
            connection.finish()
        if self._serving:
            await asyncio.wait(list(self._serving.values()), timeout=grace_s)
        for connection, task in list(self._serving.items()):
            connection.abort()
            task.cancel()
        await asyncio.gather(*self._serving.values(), return_exceptions=True)


def network_of(address: str) -> str:
    """Whom connections are counted for: an IPv4 address, or the network of 64 bits that an IPv6 client is in."""
    if ":" not in address:
        return address
    whole = IPv6Address(address.partition("%")[0])
    return str(whole.ipv4_mapped or whole.packed[:8].hex())
