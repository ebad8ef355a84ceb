"""Connections over TLS: what they carry, what ends them, and a certificate that is renewed under them."""

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from s3d.certificate import Certificate
from s3d.connection import FIRST_BYTE_S, KEEP_ALIVE_S, WRITE_IDLE_S
from s3d.message import BodyError, Message
from s3d.operations.reply import Reply
from shardd.contract.errors import QuoinError
from tests.s3d.talking import HEAD, Talk, echo, reply_of, talking, until
from tests.s3d.test_unread_replies import cut
from tests.s3d.web_certificates import WebAuthority


@pytest.fixture
def authority(tmp_path: Path) -> WebAuthority:
    return WebAuthority(tmp_path)


@asynccontextmanager
async def secure(authority: WebAuthority, answer=echo, **options) -> AsyncIterator[Talk]:
    files = authority.files()
    certificate = Certificate(files.certificate, files.key)
    async with talking(answer, certificate=certificate, **options) as talk:
        yield talk


async def test_requests_and_bodies_go_both_ways(authority: WebAuthority) -> None:
    seen: list[bool] = []

    async def answer(message: Message) -> Reply:
        seen.append(message.secure)
        return await echo(message)

    async with secure(authority, answer) as talk:
        reader, writer = await talk.client(authority.client())
        body = bytes(range(256)) * 20_000
        writer.write(b"PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert (await reply_of(reader))[1] == b"/a" + body
        writer.write(b"".join(HEAD % number for number in range(40)))
        assert [(await reply_of(reader))[1] for _ in range(40)] == [b"/%d" % number for number in range(40)]
        head = b"PUT /c HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        writer.write(head)
        assert await reader.readexactly(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"abc")
        assert (await reply_of(reader))[1] == b"/cabc"
        writer.close()
        await until(lambda: talk.listener.connections == 0)
    assert seen == [True] * 42


async def test_plain_requests_are_not_called_secure() -> None:
    async def answer(message: Message) -> Reply:
        return Reply(body=(b"yes" if message.secure else b"no",))

    async with talking(answer) as talk:
        assert (await talk.say(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")).endswith(b"no")


@pytest.mark.parametrize(
    ("version", "cipher"), [("TLSv1.3", "TLS_"), ("TLSv1.2", "ECDHE-")], ids=lambda each: str(each)
)
async def test_the_two_versions_that_are_spoken(authority: WebAuthority, version: str, cipher: str) -> None:
    context = authority.client()
    context.maximum_version = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}[version]
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with secure(authority) as talk:
        reader, writer = await talk.client(context)
        spoken = writer.get_extra_info("ssl_object")
        assert (spoken.version(), spoken.selected_alpn_protocol()) == (version, "http/1.1")
        assert spoken.cipher()[0].startswith(cipher)
        writer.write(HEAD % 1)
        assert (await reply_of(reader))[1] == b"/1"
        writer.close()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("old", ["version", "cipher"])
async def test_what_is_weak_is_not_spoken(authority: WebAuthority, old: str) -> None:
    context = authority.client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    if old == "version":
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    else:
        context.set_ciphers("ECDHE-ECDSA-AES128-SHA256:AES128-SHA")
    async with secure(authority) as talk:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await talk.client(context)
        await until(lambda: talk.listener.connections == 0)


async def test_plain_http_is_told_and_cut(authority: WebAuthority) -> None:
    async with secure(authority) as talk:
        answered = await talk.say(HEAD % 1)
        assert answered.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert answered.endswith(b"This port speaks https.\n")
        assert talk.seen == []
        await until(lambda: talk.listener.connections == 0)


@pytest.mark.parametrize(
    "data", [b"\0" * 64, b"\x16\x03\x01\x00\x05hello", b"SSH-2.0-x\r\n"], ids=["zeros", "tls", "ssh"]
)
async def test_what_is_no_handshake_is_cut(authority: WebAuthority, data: bytes) -> None:
    async with secure(authority) as talk:
        assert b"HTTP" not in await talk.say(data)
        await until(lambda: talk.listener.connections == 0)
        assert talk.seen == []


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"])
async def test_a_handshake_that_does_not_end_is_counted_and_cut(authority: WebAuthority, said: bytes) -> None:
    async with secure(authority, connections_max=1) as talk:
        reader, writer = await talk.client()
        writer.write(said)
        await until(lambda: talk.listener.connections == 1)
        with pytest.raises((ssl.SSLError, ConnectionError)):  # it takes the one place that there is
            await talk.client(authority.client())
        await talk.later(FIRST_BYTE_S - 1)
        assert talk.listener.connections == 1
        await talk.later(FIRST_BYTE_S + 0.1)
        await until(lambda: talk.listener.connections == 0)
        with pytest.raises(ConnectionError):
            assert await reader.read() == b""
            raise ConnectionError
        writer.close()


async def test_the_end_is_said_and_a_cut_is_not(authority: WebAuthority) -> None:
    """Without its close_notify a client cannot tell the end of a body from a cut."""

    async def answer(message: Message) -> Reply:
        async def rest() -> AsyncGenerator[list[bytes], None]:
            yield [b"x" * 70_000]
            raise QuoinError("a shard is gone")

        if message.target == "/1":
            return Reply(rest=rest(), length=100_000)
        return Reply(body=(b"whole",))

    async with secure(authority, answer) as talk:
        client = authority.client()
        client.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
        for number, ends_well in ((0, True), (1, False)):
            request = b"GET /%d HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" % number
            assert await asyncio.to_thread(_ends_well, talk.port, client, request) == ends_well
        assert await asyncio.to_thread(_ends_well, talk.port, client, b"no request\r\n\r\n")
        await until(lambda: talk.listener.connections == 0)


def _ends_well(port: int, context: ssl.SSLContext, request: bytes) -> bool:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False) as client,
    ):
        client.sendall(request)
        try:
            while client.recv(65_536):
                pass
        except (ssl.SSLError, ConnectionError):
            return False
        return True


class Client:
    """A client whose ciphertext the test sees: `plain` is its socket, `session` its TLS."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = context.wrap_bio(self.incoming, self.outgoing, server_hostname="127.0.0.1")
        self.plain = socket.create_connection(("127.0.0.1", port), timeout=10)
        while True:
            try:
                self.session.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.plain.sendall(self.outgoing.read())
                self.incoming.write(self.plain.recv(65_536))

    def say(self, data: bytes) -> bytes:
        """The ciphertext of `data`, not sent yet."""
        self.session.write(data)
        return self.outgoing.read()

    def rest(self) -> bytes:
        """All plaintext up to the end of the connection."""
        with self.plain:
            while piece := self.plain.recv(65_536):
                self.incoming.write(piece)
        return self.session.read(65_536)


async def test_a_client_that_says_its_end_still_gets_its_answer(authority: WebAuthority) -> None:
    def ask(port: int) -> bytes:
        client = Client(port, authority.client())
        client.plain.sendall(client.say(HEAD % 7))
        with pytest.raises(ssl.SSLWantReadError):
            client.session.unwrap()
        client.plain.sendall(client.outgoing.read())
        return client.rest()

    async with secure(authority) as talk:
        assert (await asyncio.to_thread(ask, talk.port)).endswith(b"\r\n\r\n/7")


async def test_a_record_that_was_changed_on_the_way_is_never_part_of_a_body(authority: WebAuthority) -> None:
    bodies: list[bytes | BodyError] = []
    begun = threading.Event()

    async def answer(message: Message) -> Reply:
        try:
            while piece := await message.body.piece():
                bodies.append(piece)
                begun.set()
        except BodyError as error:
            bodies.append(error)
        return Reply()

    def ask(port: int) -> None:
        client = Client(port, authority.client())
        client.plain.sendall(client.say(b"PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc"))
        assert begun.wait(10)
        changed = bytearray(client.say(b"def"))
        changed[-1] ^= 1
        client.plain.sendall(changed)
        with pytest.raises((ConnectionError, ssl.SSLError)):
            client.rest()
            raise ConnectionResetError

    async with secure(authority, answer) as talk:
        await asyncio.to_thread(ask, talk.port)
        await until(lambda: talk.listener.connections == 0)
    assert bodies[0] == b"abc" and isinstance(bodies[1], BodyError) and len(bodies) == 2


async def test_silence_after_a_reply_ends_the_connection(authority: WebAuthority) -> None:
    async with secure(authority) as talk:
        reader, writer = await talk.client(authority.client())
        writer.write(HEAD % 1)
        await reply_of(reader)
        await talk.later(KEEP_ALIVE_S - 1)
        writer.write(HEAD % 2)
        await reply_of(reader)
        await talk.later(KEEP_ALIVE_S + 0.1)
        await until(lambda: talk.listener.connections == 0)
        writer.close()


async def test_a_reply_is_with_the_socket_before_the_next_request_is_taken(authority: WebAuthority) -> None:
    held: list[int] = []

    async def answer(message: Message) -> Reply:
        held.append(talk.held)
        return Reply(body=(b"x" * 1_000_000,))

    async with secure(authority, answer) as talk:
        reader, writer = await talk.client(authority.client())
        writer.write(b"".join(HEAD % number for number in range(40)))
        await until(lambda: talk.held > 0)
        for _ in range(40):
            assert (await reply_of(reader))[1] == b"x" * 1_000_000
        assert held == [0] * 40
        writer.close()


async def test_a_stream_waits_for_its_reader_and_a_reader_that_stops_is_cut(authority: WebAuthority) -> None:
    made: list[int] = []

    async def rest() -> AsyncGenerator[list[bytes], None]:
        for number in range(200):
            made.append(number)
            yield [b"x" * 1_000_000]

    async def answer(message: Message) -> Reply:
        return Reply(rest=rest(), length=200_000_000)

    async with secure(authority, answer) as talk:
        reader, writer = await talk.client(authority.client())
        writer.write(HEAD % 1)
        await reader.readexactly(1_000)
        await until(lambda: talk.held > 0)
        assert len(made) < 30 and talk.held < 1_200_000
        await talk.later(WRITE_IDLE_S - 1)
        assert talk.listener.connections == 1
        await cut(talk, lambda: asyncio.sleep(0))
        writer.transport.abort()


@pytest.mark.parametrize(
    "proof",
    [
        test_requests_and_bodies_go_both_ways,
        test_plain_http_is_told_and_cut,
        test_the_end_is_said_and_a_cut_is_not,
        test_a_client_that_says_its_end_still_gets_its_answer,
        test_silence_after_a_reply_ends_the_connection,
        test_a_reply_is_with_the_socket_before_the_next_request_is_taken,
        test_a_stream_waits_for_its_reader_and_a_reader_that_stops_is_cut,
    ],
    ids=lambda proof: proof.__name__,
)
def test_the_same_on_the_event_loop_of_a_gateway(
    authority: WebAuthority, proof: Callable[[WebAuthority], Coroutine[Any, Any, None]]
) -> None:
    """Its transports are not those of asyncio."""
    uvloop.run(proof(authority))
