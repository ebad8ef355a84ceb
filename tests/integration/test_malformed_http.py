"""T-F1, malformed HTTP/1.1: what the gateway does is what a strict second reader finds, or it is refused."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from s3d.message import Message
from s3d.operations.reply import Reply
from tests.integration.malformed import BUCKET, Forger
from tests.integration.tally import Tally, seed
from tests.s3d import strict_http
from tests.s3d.live import Live, gateway
from tests.s3d.protocol.signing import SECRET, signed

BY_DESIGN = (501, 503)
PATIENCE_S = 30.0
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LENGTH = re.compile(rb"^Content-Length: ([0-9]+)\r?$", re.MULTILINE)


@dataclass(slots=True)
class Done:
    """One request that the gateway carried out, what it read of its body, and how it went."""

    method: str
    target: str
    body: bytearray = field(default_factory=bytearray)
    status: int = 0


class Spy:
    """Stands in front of the app: notes each request that gets so far."""

    def __init__(self, live: Live) -> None:
        self.done: list[Done] = []
        self._answer = live.app.answer
        live.listener.answer = self.answer

    async def answer(self, message: Message) -> Reply:
        done = Done(message.method, message.target)
        self.done.append(done)
        message.body = _Heard(message.body, done.body)  # type: ignore[assignment]
        reply = await self._answer(message)
        done.status = reply.status
        return reply


class _Heard:
    """A body whose bytes are noted as they are read."""

    def __init__(self, body: Any, heard: bytearray) -> None:
        self._body, self._heard = body, heard

    async def piece(self) -> bytes:
        piece: bytes = await self._body.piece()
        self._heard += piece
        return piece

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    async with gateway(tmp_path) as made:
        await made.ok("PUT", BUCKET)
        yield made


async def test_what_is_malformed_is_refused_and_nothing_hidden_is_done(
    live: Live, tally: Callable[..., Tally], caplog: pytest.LogCaptureFixture
) -> None:
    counted = tally("T-F1", variable="QUOIN_TF1_CASES", default=10_000)
    chance = Random(seed())
    forger = Forger(chance, lambda method, path, body: signed(method, path, body=body).headers)
    spy, held = Spy(live), dict[str, int]()
    for _ in counted.rounds():
        data, tricks = forger.stream()
        spy.done.clear()
        replied, cut = await _exchange(live.port, data, chance, ends=not tricks)
        _judge(data, tricks, spy.done, replied, cut)
        _follow(spy.done, held)
        counted.hold()
    listed = await live.ok("GET", BUCKET)
    sizes = map(int, listed.texts("Contents/Size"))
    assert dict(zip(listed.texts("Contents/Key"), sizes, strict=True)) == held
    for secret in (SECRET, "Signature=", "AWS4-HMAC"):
        assert secret not in caplog.text


def _follow(done: list[Done], held: dict[str, int]) -> None:
    """What the bucket must hold after these requests: the sizes of its objects."""
    for one in done:
        bucket, _, key = one.target[1:].partition("/")
        if one.status in (200, 204) and one.method in ("PUT", "DELETE"):
            assert f"/{bucket}" == BUCKET and key, one
            held.pop(key, None)
            if one.method == "PUT":
                held[key] = len(one.body)


async def _exchange(port: int, data: bytes, chance: Random, *, ends: bool) -> tuple[bytes, bool]:
    """All that comes back for `data`, sent in some pieces, until the gateway ends the connection; whether it cut it.

    `ends`: the last request asks for that; otherwise the client says that no more will come.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(PATIENCE_S):
            at = 0
            while at < len(data):
                size = chance.choice((1, 50, 1_000, len(data), len(data)))
                writer.write(data[at : at + size])
                at += size
                await asyncio.sleep(0)
            with suppress(OSError):  # it may have ended the connection by now
                if not ends:
                    writer.write_eof()
            return await _all(reader)
    finally:
        writer.transport.abort()


async def _all(reader: asyncio.StreamReader) -> tuple[bytes, bool]:
    came = bytearray()
    try:
        while piece := await reader.read(65_536):
            came += piece
    except ConnectionError:  # the gateway may cut what it was sent for nothing, with its last words
        return bytes(came), True
    return bytes(came), False


def _judge(data: bytes, tricks: list[str], done: list[Done], replied: bytes, cut: bool) -> None:
    strict, right = strict_http.read(data)
    about = f"{tricks}\n{data[:6_000]!r}\n{done}\n{strict}\n{replied[:2_000]!r}"
    meant = [(request.method, request.target) for request in strict]
    assert [(one.method, one.target) for one in done] == meant[: len(done)], about
    for one, request in zip(done, strict, strict=False):
        assert request.body.startswith(one.body), about
        if one.method == "PUT" and one.status == 200:
            assert request.whole and request.body == one.body, about
    statuses, whole = _statuses(replied, [one.method for one in done])
    assert cut or (whole and len(done) <= len(statuses)), about
    assert len(statuses) <= len(done) + 1, about
    assert all(status < 500 or status in BY_DESIGN for status in statuses), about
    if not tricks:
        assert right and len(done) == len(meant) == len(statuses), about


def _statuses(replied: bytes, methods: list[str]) -> tuple[list[int], bool]:
    """The statuses of the replies in order, and whether the last one is whole."""
    found = list[int]()
    while replied:
        if replied.startswith(CONTINUE):
            replied = replied[len(CONTINUE) :]
            continue
        size = _size(replied, head_only=methods[len(found) : len(found) + 1] == ["HEAD"])
        if size is None or size > len(replied):
            return found, False
        found.append(int(replied[9:12]))
        replied = replied[size:]
    return found, True


def _size(replied: bytes, *, head_only: bool) -> int | None:
    """How long the first reply is."""
    head, end, _ = replied.partition(b"\r\n\r\n")
    assert replied.startswith(b"HTTP/1.1 ")
    lengths = LENGTH.findall(head)
    return len(head) + 4 + (int(lengths[0]) if lengths and not head_only else 0) if end else None
