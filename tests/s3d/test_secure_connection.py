"""Connections over TLS: what they carry, what ends them, and a certificate that is renewed under them."""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from s3d.certificate import Certificate
from s3d.connection import FIRST_BYTE_S, KEEP_ALIVE_S, WRITE_IDLE_S
from s3d.message import Message
from s3d.operations.reply import Reply
from shardd.contract.errors import QuoinError
from tests.s3d.talking import HEAD, Talk, echo, reply_of, talking, until
from tests.s3d.test_unread_replies import cut
from tests.s3d.web_certificates import Files, WebAuthority


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


async def test_a_client_that_says_its_end_still_gets_its_answer(authority: WebAuthority) -> None:
    def ask(port: int) -> bytes:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = authority.client().wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
            while True:
                try:
                    session.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    plain.sendall(outgoing.read())
                    incoming.write(plain.recv(65_536))
            session.write(HEAD % 7)
            with pytest.raises(ssl.SSLWantReadError):
                session.unwrap()
            plain.sendall(outgoing.read())
            while piece := plain.recv(65_536):
                incoming.write(piece)
            return session.read(65_536)

    async with secure(authority) as talk:
        assert (await asyncio.to_thread(ask, talk.port)).endswith(b"\r\n\r\n/7")


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


async def test_a_renewed_certificate_is_shown_to_whoever_connects_next(
    authority: WebAuthority, caplog: pytest.LogCaptureFixture
) -> None:
    files = authority.files()
    certificate = Certificate(files.certificate, files.key)
    first = await _serial(authority, certificate)
    async with talking(echo, certificate=certificate) as talk:
        reader, writer = await talk.client(authority.client())
        renewed = authority.issue(files)
        certificate.refresh()
        assert "see the new certificate" in caplog.text
        writer.write(HEAD % 1)
        assert (await reply_of(reader))[1] == b"/1"
        writer.close()
    assert await _serial(authority, certificate) == renewed != first


async def _serial(authority: WebAuthority, certificate: Certificate) -> int:
    async with talking(echo, certificate=certificate) as talk:
        _, writer = await talk.client(authority.client())
        shown = writer.get_extra_info("peercert")
        writer.close()
        return int(shown["serialNumber"], 16)


async def test_half_a_pair_changes_nothing_until_it_is_whole(
    authority: WebAuthority, caplog: pytest.LogCaptureFixture
) -> None:
    files, other = authority.files(), authority.files()
    certificate = Certificate(files.certificate, files.key)
    before, context = await _serial(authority, certificate), certificate.context
    for broken in (other.certificate.read_bytes(), b"", b"-----BEGIN CERTIFICATE-----\nMII"):
        files.certificate.write_bytes(broken)
        certificate.refresh()
        assert certificate.context is context
    files.certificate.unlink()
    certificate.refresh()
    assert [record.message.startswith("the certificate in use stays: ") for record in caplog.records] == [
        True
    ] * 4
    certificate.refresh()
    assert len(caplog.records) == 4  # it is said once
    other.certificate.rename(files.certificate)
    other.key.rename(files.key)
    certificate.refresh()
    assert await _serial(authority, certificate) != before


def test_a_link_to_other_files_is_a_change(authority: WebAuthority, tmp_path: Path) -> None:
    """As the links of certbot and, here, of Kubernetes: the files stay links to a link that points elsewhere."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        authority.issue(Files(tmp_path / name / "cert.pem", tmp_path / name / "key.pem"))
    live, data = Files(tmp_path / "cert.pem", tmp_path / "key.pem"), tmp_path / "data"
    data.symlink_to(tmp_path / "old")
    live.certificate.symlink_to(data / "cert.pem")
    live.key.symlink_to(data / "key.pem")
    certificate = Certificate(live.certificate, live.key)
    context = certificate.context
    certificate.refresh()
    assert certificate.context is context
    data.unlink()
    data.symlink_to(tmp_path / "new")
    certificate.refresh()
    assert certificate.context is not context


def test_a_wrong_pair_is_refused_with_place_and_path(authority: WebAuthority, tmp_path: Path) -> None:
    files, other, gone = authority.files(), authority.files(), tmp_path / "gone"
    locked = Files(tmp_path / "locked.pem", tmp_path / "locked.key")
    authority.issue(locked, passphrase=b"a passphrase")
    for certificate, key, expected in (
        (gone, files.key, f"gateway.tls_certificate: {gone}: No such file or directory"),
        (files.certificate, gone, f"gateway.tls_key: {gone}: No such file or directory"),
        (files.key, files.key, f"gateway.tls_certificate: {files.key}: no certificate in PEM"),
        (files.certificate, files.certificate, f"gateway.tls_key: {files.certificate}: no private key"),
        (
            files.certificate,
            other.key,
            f"gateway.tls_key: {other.key}: is not the key of {files.certificate}",
        ),
        (
            locked.certificate,
            locked.key,
            f"gateway.tls_key: {locked.key}: no private key without a passphrase",
        ),
    ):
        with pytest.raises(QuoinError) as caught:
            Certificate(certificate, key)
        assert str(caught.value).startswith(expected)


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
