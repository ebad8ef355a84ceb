"""Replies that nobody reads, or slowly: what a gateway holds of them, and when the client is cut."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest

from s3d.connection import SETTLE_S, WRITE_IDLE_S
from s3d.listener import SWEEP_S
from s3d.message import Message
from s3d.operations.reply import Reply
from tests.s3d.talking import HEAD, Talk, reply_of, talking, until


async def test_a_client_that_reads_nothing_holds_one_reply() -> None:
    held: list[int] = []

    async def answer(message: Message) -> Reply:
        held.append(talk.held)
        return Reply(body=(b"x" * 1_000_000,))

    async with talking(answer) as talk:
        reader, writer = await talk.client()
        writer.write(b"".join(HEAD % number for number in range(40)))
        await until(lambda: talk.held > 0)
        for _ in range(40):
            assert (await reply_of(reader))[1] == b"x" * 1_000_000
        assert held == [0] * 40
        writer.close()


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_client_may_read_slowly_but_not_stop(streamed: bool) -> None:
    async def rest() -> AsyncGenerator[list[bytes], None]:
        yield [b"x" * 40_000_000]

    async def answer(message: Message) -> Reply:
        if streamed:
            return Reply(rest=rest(), length=40_000_000)
        return Reply(body=(b"x" * 40_000_000,))

    async with talking(answer) as talk:
        loop = asyncio.get_running_loop()
        with socket.socket() as client:
            client.setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536
            )  # its kernel takes little ahead of it
            client.setblocking(False)
            await loop.sock_connect(client, ("127.0.0.1", talk.port))
            await loop.sock_sendall(client, HEAD % 1)
            await until(lambda: talk.held > 0)
            for _ in range(20):  # 8 times the least rate
                left = 500_000
                while left:
                    left -= len(await loop.sock_recv(client, left))
                await talk.later(WRITE_IDLE_S + 0.1)
                await asyncio.sleep(0)
                assert talk.listener.connections == 1 and talk.held > 0
            await cut(talk, lambda: loop.sock_recv(client, 1_000))


async def test_a_last_reply_that_nobody_reads_is_counted_and_cut() -> None:
    async def answer(message: Message) -> Reply:
        return Reply(body=(b"x" * 40_000_000,))

    async with talking(answer, connections_max=1) as talk:
        with socket.create_connection(("127.0.0.1", talk.port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            await until(lambda: talk.held > 0)
            await talk.later(SETTLE_S + 0.1)
            await talk.later(WRITE_IDLE_S - 1)
            assert talk.listener.connections == 1
            await cut(talk, lambda: asyncio.sleep(0))


async def test_what_was_on_its_way_is_not_taken_for_reading() -> None:
    async def answer(message: Message) -> Reply:
        return Reply(body=(b"x" * 40_000_000,))

    async with talking(answer) as talk:
        loop = asyncio.get_running_loop()
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            client.setblocking(False)
            await loop.sock_connect(client, ("127.0.0.1", talk.port))
            await loop.sock_sendall(client, HEAD % 1)
            await until(lambda: talk.held > 0)
            left = 300_000  # as a network would take it, though nobody reads
            while left:
                left -= len(await loop.sock_recv(client, left))
            passed_s = 0.0
            for limit_s in (SETTLE_S, WRITE_IDLE_S):
                assert talk.listener.connections == 1
                await talk.later(limit_s + 0.1)
                passed_s += limit_s + SWEEP_S
            await until(lambda: not talk.listener.connections)
            assert passed_s < 60.0 - 7.0  # for a machine that is late


async def cut(talk: Talk, each_minute: Callable[[], Awaitable[object]]) -> None:
    """The one connection is ended, however little of its reply the client takes each minute."""
    for _ in range(50):
        await talk.later(WRITE_IDLE_S + 0.1)
        await asyncio.sleep(0.002)
        if not talk.listener.connections:
            return
        await each_minute()
    raise AssertionError("the connection lives")
