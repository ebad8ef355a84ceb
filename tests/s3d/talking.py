"""Owns a listener on a real socket whose answers the test writes; no app behind it."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp.http_exceptions import HttpProcessingError

from s3d.certificate import Certificate
from s3d.listener import Listener
from s3d.message import Message
from s3d.operations.reply import Reply

HEAD = b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n"


@dataclass
class Talk:
    """A listener whose answers the test writes, and clients of it."""

    answer: Callable[[Message], Awaitable[Reply]]
    listener: Listener = field(init=False)
    port: int = 0
    seen: list[str] = field(default_factory=list)

    @property
    def held(self) -> int:
        """How many bytes the one connection has not yet handed to its socket; 0 where there is none."""
        return sum(
            each.transport.get_write_buffer_size()
            for each in self.listener.serving
            if each.transport is not None
        )

    async def client(
        self, context: ssl.SSLContext | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=context)

    async def say(self, data: bytes) -> bytes:
        """All that comes back for `data`, until the server ends the connection."""
        reader, writer = await self.client()
        writer.write(data)
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        return answer

    async def later(self, seconds: float) -> None:
        """Sweep all connections as if so much time had passed since they were last heard of."""
        now = asyncio.get_running_loop().time()
        for connection in self.listener.serving:
            connection.sweep(now + seconds)


@asynccontextmanager
async def talking(
    answer: Callable[[Message], Awaitable[Reply]],
    *,
    connections_max: int = 8,
    connections_per_ip_max: int | None = None,
    certificate: Certificate | None = None,
) -> AsyncIterator[Talk]:
    talk = Talk(answer)

    async def noted(message: Message) -> Reply:
        talk.seen.append(f"{message.method} {message.target}")
        return await talk.answer(message)

    def refuse(error: HttpProcessingError) -> Reply:
        return Reply(400, body=(b"refused",))

    talk.listener = Listener(
        noted, refuse, connections_max=connections_max, connections_per_ip_max=connections_per_ip_max
    )
    sock = socket.create_server(("127.0.0.1", 0))
    talk.port = sock.getsockname()[1]
    await talk.listener.listen(sock, certificate)
    try:
        yield talk
    finally:
        await talk.listener.close(1.0)


async def echo(message: Message) -> Reply:
    """The target and the body."""
    pieces = [message.target.encode()]
    while piece := await message.body.piece():
        pieces.append(piece)
    return Reply(body=pieces)


async def reply_of(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    async with asyncio.timeout(10):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        return head, await reader.readexactly(int(lines.get("Content-Length", 0)))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.002)
