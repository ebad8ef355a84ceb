"""The limits of the wire (rule 8 of the security page): how long, how slowly, how many, how large."""

import asyncio
from itertools import count
from typing import Any

import pytest

from s3d.connection import FIRST_BYTE_S, HEAD_S, KEEP_ALIVE_S, LINE_SIZE_MAX
from s3d.listener import network_of
from s3d.message import BODY_IDLE_S, BODY_RATE_MIN, Body, BodyError, BodySilentError, Message
from s3d.operations.reply import Reply
from tests.s3d.talking import HEAD, echo, reply_of, talking, until


def test_the_limits_are_those_that_were_promised() -> None:
    assert (FIRST_BYTE_S, HEAD_S, BODY_IDLE_S, KEEP_ALIVE_S) == (10.0, 10.0, 20.0, 60.0)
    assert (BODY_RATE_MIN, LINE_SIZE_MAX) == (1_024, 16_384)


@pytest.mark.parametrize("size", [LINE_SIZE_MAX - 20, LINE_SIZE_MAX + 1])
@pytest.mark.parametrize("place", ["target", "header"])
async def test_lines_up_to_the_limit(size: int, place: str) -> None:
    long = b"a" * size
    target, header = (b"/" + long, b"") if place == "target" else (b"/", b"A: %b\r\n" % long)
    async with talking(echo) as talk:
        answered = await talk.say(
            b"GET %b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n%b\r\n" % (target, header)
        )
    assert answered.startswith(b"HTTP/1.1 200" if size < LINE_SIZE_MAX else b"HTTP/1.1 400")


async def test_a_head_that_trickles_in_does_not_win_time() -> None:
    async with talking(echo) as talk:
        _reader, writer = await talk.client()
        await until(lambda: talk.listener.connections == 1)
        began_s = asyncio.get_running_loop().time()
        for sign in HEAD[:20]:
            writer.write(bytes([sign]))
            await writer.drain()
            await asyncio.sleep(0.005)  # so that each would move the limit, if any did
        (connection,) = talk.listener.serving
        connection.sweep(began_s + FIRST_BYTE_S - 1)
        assert talk.listener.connections == 1
        connection.sweep(began_s + FIRST_BYTE_S + 0.01)
        await until(lambda: talk.listener.connections == 0)
        writer.close()


class Trickle:
    """A body, and its line, of which a piece of `size` bytes comes every 5 s while it is waited for."""

    def __init__(self, size: int) -> None:
        self._piece = bytes(size)
        self._moments_s = (5.0 * moment for moment in count())

    async def readany(self) -> bytes:
        return self._piece

    def body_awaited(self) -> float:
        return next(self._moments_s)

    def body_came(self) -> float:
        return next(self._moments_s)


@pytest.mark.parametrize(("size", "ends"), [(5_000, True), (5_200, False)])
async def test_a_body_that_comes_too_slowly(size: int, ends: bool) -> None:
    trickle: Any = Trickle(size)
    body, pieces = Body(trickle, trickle, expects_continue=False), 0
    try:
        while pieces < 100:
            await body.piece()
            pieces += 1
    except BodySilentError:
        assert ends and pieces * 5.0 >= BODY_IDLE_S - 5.0
    else:
        assert not ends


async def test_a_connection_that_is_idle_is_ended_after_a_minute() -> None:
    async with talking(echo) as talk:
        reader, writer = await talk.client()
        writer.write(HEAD % 1)
        await reply_of(reader)
        await talk.later(KEEP_ALIVE_S - 1)
        writer.write(HEAD % 2)
        await reply_of(reader)
        await talk.later(KEEP_ALIVE_S + 0.1)
        await until(lambda: talk.listener.connections == 0)
        writer.close()


async def test_a_client_that_says_nothing_at_all() -> None:
    async with talking(echo) as talk:
        _reader, writer = await talk.client()
        await until(lambda: talk.listener.connections == 1)
        await talk.later(FIRST_BYTE_S - 1)
        assert talk.listener.connections == 1
        await talk.later(FIRST_BYTE_S + 0.1)
        await until(lambda: talk.listener.connections == 0)
        writer.close()


async def test_half_a_head_after_a_request() -> None:
    async with talking(echo) as talk:
        reader, writer = await talk.client()
        writer.write(HEAD % 1)
        await reply_of(reader)
        writer.write(b"GET / HT")
        await writer.drain()
        await asyncio.sleep(0.05)  # no event tells that bytes without meaning have arrived
        await talk.later(HEAD_S + 0.1)
        await until(lambda: talk.listener.connections == 0)
        writer.close()


async def test_a_body_that_stops_coming() -> None:
    failed: list[BodyError] = []
    reading = asyncio.Event()

    async def answer(message: Message) -> Reply:
        try:
            while True:
                await message.body.piece()
                reading.set()
        except BodyError as error:
            failed.append(error)
        return Reply(400, body=(b"late",))

    async with talking(answer) as talk:
        reader, writer = await talk.client()
        writer.write(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc")
        await reading.wait()
        await asyncio.sleep(0)
        await talk.later(BODY_IDLE_S - 1)
        assert failed == []
        await talk.later(BODY_IDLE_S + 0.1)
        assert (await reply_of(reader))[1] == b"late"
        assert isinstance(failed[0], BodySilentError)
        writer.close()


async def test_over_the_limit_of_connections_nobody_is_served() -> None:
    async with talking(echo, connections_max=1) as talk:
        reader, writer = await talk.client()
        writer.write(HEAD % 1)
        await reply_of(reader)
        second, other = await talk.client()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            other.write(HEAD % 2)
            await second.readexactly(1)
        other.close()
        writer.write(HEAD % 3)
        assert (await reply_of(reader))[1] == b"/3"
        writer.close()


async def test_one_address_does_not_take_all_connections() -> None:
    async with talking(echo, connections_max=3, connections_per_ip_max=1) as talk:
        reader, writer = await talk.client()
        writer.write(HEAD % 1)
        await reply_of(reader)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            second, other = await talk.client()
            other.write(HEAD % 2)
            await second.readexactly(1)
        other.close()
        elsewhere, third = await asyncio.open_connection("127.0.0.1", talk.port, local_addr=("127.0.0.2", 0))
        third.write(HEAD % 3)
        assert (await reply_of(elsewhere))[1] == b"/3"
        writer.close()
        await until(lambda: talk.listener.connections == 1)
        reader, writer = await talk.client()  # the place is free again
        writer.write(HEAD % 4)
        assert (await reply_of(reader))[1] == b"/4"
        for each in (writer, third):
            each.close()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("", "", True),
    ],
)
def test_whom_connections_are_counted_for(one: str, other: str, same: bool) -> None:
    assert (network_of(one) == network_of(other)) == same
