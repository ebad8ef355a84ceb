"""One connection on the wire: order, limits, ends; over real sockets, with an answer of the test's own."""

import asyncio
import gzip
import socket
from collections.abc import AsyncGenerator

import pytest

from s3d.connection import Waiting
from s3d.message import BodyError, BodySilentError, Message, head_bytes
from s3d.operations.reply import Reply
from shardd.contract.errors import QuoinError
from tests.s3d.talking import HEAD, echo, reply_of, talking, until


async def test_requests_are_answered_in_order_on_one_connection() -> None:
    async with talking(echo) as talk:
        reader, writer = await talk.client()
        writer.write(b"".join(HEAD % number for number in range(40)))
        bodies = [(await reply_of(reader))[1] for _ in range(40)]
        assert bodies == [b"/%d" % number for number in range(40)]
        writer.close()


async def test_a_body_in_pieces_and_in_chunks() -> None:
    async with talking(echo) as talk:
        reader, writer = await talk.client()
        writer.write(b"PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc")
        await writer.drain()
        writer.write(b"def")
        assert (await reply_of(reader))[1] == b"/aabcdef"
        writer.write(b"PUT /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\n\r\n")
        assert (await reply_of(reader))[1] == b"/bxyz"
        writer.close()


async def test_a_trailer_is_no_header_of_the_next_request() -> None:
    async def answer(message: Message) -> Reply:
        await message.body.discard()
        return Reply(body=(b"forged" if b"X-Of" in dict(message.raw_headers) else b"sound",))

    async with talking(answer) as talk:
        head = b"PUT /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        came = await talk.say(head + b"1\r\nx\r\n0\r\nX-Of: trailer\r\n\r\n" + HEAD % 1)
        assert b"forged" not in came and came.count(b"sound") == 1
        assert talk.seen == ["PUT /b"]


async def test_a_compressed_body_is_not_inflated() -> None:
    async with talking(echo) as talk:
        reader, writer = await talk.client()
        body = gzip.compress(b"a" * 1_000)
        head = b"PUT /a HTTP/1.1\r\nHost: h\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % len(body) + body)
        assert (await reply_of(reader))[1] == b"/a" + body
        writer.close()


async def test_a_body_larger_than_all_buffers() -> None:
    async with talking(echo) as talk:
        body = bytes(range(256)) * 20_000
        reader, writer = await talk.client()
        writer.write(b"PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert (await reply_of(reader))[1] == b"/a" + body
        writer.close()


async def test_many_requests_behind_bodies_that_came_late() -> None:
    async with talking(echo) as talk:
        reader, writer = await talk.client()
        for _ in range(17):
            writer.write(b"PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
            assert await reader.readexactly(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"abc")
            assert (await reply_of(reader))[1] == b"/aabc"
            writer.write(b"".join(HEAD % number for number in range(20)))
            assert [(await reply_of(reader))[1] for _ in range(20)] == [
                b"/%d" % number for number in range(20)
            ]
        writer.close()


async def test_head_has_no_body() -> None:
    async def answer(message: Message) -> Reply:
        return Reply(headers=(("ETag", '"e"'),), length=12_345)

    async with talking(answer) as talk:
        answered = await talk.say(b"HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert b"Content-Length: 12345\r\n" in answered
        assert answered.endswith(b"\r\n\r\n")


async def test_the_client_is_told_to_continue_only_when_its_body_is_wanted() -> None:
    async def answer(message: Message) -> Reply:
        return await echo(message) if message.target == "/yes" else Reply(403, body=(b"no",))

    async with talking(answer) as talk:
        head = b"PUT %s HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        reader, writer = await talk.client()
        writer.write(head % b"/yes")
        assert await reader.readexactly(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"abc")
        assert (await reply_of(reader))[1] == b"/yesabc"
        writer.write(head % b"/no")
        refused, _body = await reply_of(reader)
        assert refused.startswith("HTTP/1.1 403") and "Connection: close" in refused
        assert await reader.read() == b""
        writer.close()


async def test_who_waits_for_leave_to_send_nothing_gets_it_too() -> None:
    """botocore takes a reply that comes without it for the status of its next request as well: a reply without ETag."""

    async def answer(message: Message) -> Reply:
        return await echo(message) if message.target == "/yes" else Reply(412, body=(b"no",))

    async with talking(answer) as talk:
        head = b"PUT %s HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n"
        reader, writer = await talk.client()
        for _ in range(2):
            writer.write(head % b"/yes")
            assert await reader.readexactly(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
            assert (await reply_of(reader))[1] == b"/yes"
        writer.write(head % b"/no")
        refused, _body = await reply_of(reader)
        assert refused.startswith("HTTP/1.1 412") and "Connection: close" in refused
        assert await reader.read() == b""
        writer.close()


async def test_a_body_that_nobody_read_does_not_become_the_next_request() -> None:
    async def answer(message: Message) -> Reply:
        return Reply(body=(message.target.encode(),))

    async with talking(answer) as talk:
        reader, writer = await talk.client()
        smuggled = (HEAD % 1) * 50_000  # more than the buffers take
        writer.write(
            b"PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(smuggled) + smuggled + HEAD % 2
        )
        assert [(await reply_of(reader))[1] for _ in range(2)] == [b"/a", b"/2"]
        assert talk.seen == ["PUT /a", "GET /2"]
        writer.close()


@pytest.mark.parametrize(
    "data",
    [
        b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\nabc",
        b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: \r\n\r\nabc",
        b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\nContent-Length: 3\r\n\r\nabc",
        b"PUT / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/0.9\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n folded\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /" + b"a" * 17_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"a" * 102_400 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n"
        + b"".join(b"A%d: b\r\n" % number for number in range(129))
        + b"\r\n",
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_what_is_no_http_gets_a_refusal_and_the_end(data: bytes) -> None:
    async with talking(echo) as talk:
        reader, writer = await talk.client()
        writer.write(data + HEAD % 9)
        async with asyncio.timeout(10):
            answered = await reader.read()
        assert answered.startswith(b"HTTP/1.1 400")
        assert answered.endswith(b"refused")
        assert "GET /9" not in talk.seen
        writer.close()


async def test_a_client_that_goes_away_in_its_body() -> None:
    failed: asyncio.Future[BodyError] = asyncio.get_running_loop().create_future()

    async def answer(message: Message) -> Reply:
        try:
            while await message.body.piece():
                pass
        except BodyError as error:
            failed.set_result(error)
        return Reply(400)

    async with talking(answer) as talk:
        _, writer = await talk.client()
        writer.write(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc")
        await writer.drain()
        writer.close()
        async with asyncio.timeout(5):
            assert not isinstance(await failed, BodySilentError)


async def test_a_client_that_closed_its_side_still_gets_its_answer() -> None:
    async with talking(echo) as talk:
        reader, writer = await talk.client()
        writer.write(HEAD % 7)
        writer.write_eof()
        assert (await reply_of(reader))[1] == b"/7"
        writer.close()


async def test_requests_that_wait_when_the_client_closes_its_side_are_answered_too() -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def answer(message: Message) -> Reply:
        begun.set()
        await go.wait()
        return await echo(message)

    async with talking(answer) as talk:
        reader, writer = await talk.client()
        writer.write(b"".join(HEAD % number for number in range(4)))
        writer.write(b"PUT /4 HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc")
        await begun.wait()
        writer.write_eof()
        (connection,) = talk.listener.serving
        await until(lambda: connection._heard_all)
        go.set()
        replies = [await reply_of(reader) for _ in range(4)]
        assert [body for _, body in replies] == [b"/%d" % number for number in range(4)]
        assert ["Connection: close" in head for head, _ in replies] == [False] * 4
        async with asyncio.timeout(5):
            assert await reader.read() == b"", "a body that will never be whole has no answer of the test's"
        writer.close()


async def test_who_still_reads_when_its_time_to_ask_again_is_over_gets_the_rest() -> None:
    body = b"x" * 1_200_000

    async def answer(message: Message) -> Reply:
        return Reply(body=(body,))

    async with talking(answer) as talk:
        loop = asyncio.get_running_loop()
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            slow.setblocking(False)
            await loop.sock_connect(slow, ("127.0.0.1", talk.port))
            await loop.sock_sendall(slow, HEAD % 1)
            await loop.sock_recv(slow, 1)
            (connection,) = talk.listener.serving
            await until(lambda: connection._waiting is Waiting.IDLE)
            left = len(body)
            while left > 500_000:
                await talk.later(61)
                assert talk.listener.connections == 1
                for _ in range(100):
                    left -= len(await loop.sock_recv(slow, 4_096))
            await talk.later(61)
            await talk.later(61)
            await until(lambda: talk.listener.connections == 0)
            with pytest.raises(ConnectionResetError):
                while await loop.sock_recv(slow, 65_536):
                    pass


async def test_a_stream_comes_whole_and_one_that_fails_is_cut() -> None:
    async def pieces(fails: bool) -> AsyncGenerator[list[bytes], None]:
        for _ in range(50):
            yield [b"x" * 70_000, b"y" * 30_000]
        if fails:
            raise QuoinError("a shard is gone")
        yield [b"z"]

    async def answer(message: Message) -> Reply:
        return Reply(body=(b"first",), rest=pieces(message.target == "/1"), length=5 + 5_000_000 + 1)

    async with talking(answer) as talk:
        reader, writer = await talk.client()
        writer.write(HEAD % 0 + HEAD % 1)
        _, body = await reply_of(reader)
        assert body == b"first" + (b"x" * 70_000 + b"y" * 30_000) * 50 + b"z"
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reply_of(reader)
        writer.close()


async def test_a_reader_that_leaves_stops_the_stream() -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncGenerator[list[bytes], None]:
        try:
            while True:
                yield [b"x" * 1_000_000]
        finally:
            closed.set()

    async def answer(message: Message) -> Reply:
        return Reply(body=(), rest=endless(), length=1 << 40)

    async with talking(answer) as talk:
        reader, writer = await talk.client()
        writer.write(HEAD % 0)
        await reader.readexactly(100)
        writer.transport.abort()
        async with asyncio.timeout(5):
            await closed.wait()
        await until(lambda: talk.listener.connections == 0)


async def test_the_end_lets_requests_finish_and_cuts_what_does_not() -> None:
    started, go = asyncio.Event(), asyncio.Event()

    async def answer(message: Message) -> Reply:
        started.set()
        await (go if message.target == "/1" else asyncio.Event()).wait()
        return Reply(body=(b"done",))

    async with talking(answer) as talk:
        reader, writer = await talk.client()
        _, stuck = await talk.client()
        idle, third = await talk.client()
        writer.write(HEAD % 1)
        stuck.write(HEAD % 2)
        await started.wait()
        await until(lambda: len(talk.seen) == 2)
        closing = asyncio.create_task(talk.listener.close(0.5))
        assert await idle.read() == b""
        go.set()
        head, body = await reply_of(reader)
        assert (body, "Connection: close" in head) == (b"done", True)
        async with asyncio.timeout(5):
            await closing
        assert talk.listener.connections == 0
        for each in (writer, stuck, third):
            each.close()


def test_a_header_cannot_make_another() -> None:
    for value in ("a\r\nx: y", "a\ny", "a\ry"):
        with pytest.raises(ValueError, match="line break"):
            head_bytes(Reply(headers=(("A", value),)), b"", keep=True)
    assert head_bytes(Reply(204, length=-1), b"D: e\r\n", keep=False) == (
        b"HTTP/1.1 204 No Content\r\nConnection: close\r\nD: e\r\n\r\n"
    )
