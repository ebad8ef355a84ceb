"""Owns the proof that a shard server of ours gone wrong cannot do worse than fail a request (T-P4)."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from s3d.shards.client import ShardClient
from shardd.contract import messages, wire
from shardd.contract.blobs import UNIT_SIZE
from shardd.contract.cluster import NodeConfig, QuicConfig
from shardd.contract.errors import (
    BadRequestError,
    DeadlineError,
    InternalError,
    OverloadedError,
    ShardError,
    UnreachableError,
    UnsupportedVersionError,
    WrongClusterError,
)
from shardd.transport.session import Request
from shardd.transport.tls import PeerIdentity
from tests.shardd.transport.raw import NODE, make_secrets, serve

GET = messages.GetUnits(bytes(16), 0, 0, 0, 1)
UNITS = messages.Units(UNIT_SIZE, bytes(4))
STATUS = messages.Status("ok", 1, b"i" * 16, "1", 0, 1, 2, 3, 4, 5, 6)


class Hostile:
    """A server that answers STATUS as it should, and GET with whatever `answer` sends."""

    def __init__(self, secrets: Path) -> None:
        self.identity = PeerIdentity.load(secrets, "node-1-shard")
        self.answer: Callable[[Hostile, Request], None] = lambda server, request: None
        self.endpoint = serve(secrets, self._handle)
        port = self.endpoint.listen("127.0.0.1", 0)[1]
        self.client = ShardClient(
            NodeConfig(NODE, "127.0.0.1", port, Path("/")),
            identity=PeerIdentity.load(secrets, "node-1-gateway"),
            quic=QuicConfig(),
        )

    def _handle(self, request: Request) -> None:
        if isinstance(request.frame.body, messages.GetUnits):
            self.answer(self, request)
        else:
            request.reply(STATUS)

    def send(self, request: Request, data: bytes, *, end: bool = True) -> None:
        """Raw bytes as the reply."""
        session = request._session
        session._connection.send(request._stream, data, end=end)
        session.channel.flush_soon()

    def head(self, body: object, **facts: object) -> bytes:
        return wire.encode(body, **{"cluster": self.identity.cluster, **facts})  # type: ignore[arg-type]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Hostile]:
    made = Hostile(make_secrets(tmp_path))
    yield made
    await made.client.close()
    await made.endpoint.close()


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 2]) + data[at + 1 :]


ANSWERS: dict[str, tuple[Callable[[Hostile, Request], None], type[ShardError]]] = {
    "stall": (lambda server, request: None, DeadlineError),
    "stall in mid-body": (
        lambda server, request: server.send(
            request, server.head(UNITS, payload_size=UNIT_SIZE) + bytes(1_000), end=False
        ),
        DeadlineError,
    ),
    "truncated": (
        lambda server, request: server.send(
            request, server.head(UNITS, payload_size=UNIT_SIZE) + bytes(1_000)
        ),
        BadRequestError,
    ),
    "oversized": (
        lambda server, request: server.send(
            request, server.head(UNITS, payload_size=UNIT_SIZE) + bytes(UNIT_SIZE + 1)
        ),
        BadRequestError,
    ),
    "endless": (
        lambda server, request: server.send(request, b"\x93" * (4 << 20), end=False),
        BadRequestError,
    ),
    "empty": (lambda server, request: server.send(request, b""), BadRequestError),
    "garbage": (
        lambda server, request: server.send(request, random.Random(1).randbytes(500)),
        BadRequestError,
    ),
    "a later version": (
        lambda server, request: server.send(request, flipped(server.head(UNITS), 4)),
        UnsupportedVersionError,
    ),
    "another kind": (lambda server, request: request.reply(messages.Done()), BadRequestError),
    "a question": (lambda server, request: server.send(request, server.head(GET)), BadRequestError),
    "another cluster": (
        lambda server, request: server.send(request, server.head(UNITS, cluster=b"another cluster!")),
        WrongClusterError,
    ),
    "an unknown failure": (lambda server, request: request.reply(messages.Failure(999, "?")), InternalError),
    "a failure": (lambda server, request: request.reply(messages.Failure(12, "full")), OverloadedError),
    "a reset": (
        lambda server, request: (
            request._session._connection.refuse(request._stream),
            request._session.channel.flush_soon(),
        )[-1],
        UnreachableError,
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_a_hostile_answer_fails_its_request_alone(server: Hostile, name: str) -> None:
    server.answer, error = ANSWERS[name]
    beside = asyncio.ensure_future(server.client.status(deadline_s=5))
    with pytest.raises(error):
        await server.client.get(GET, deadline_s=0.5)
    assert (await beside).state == "ok"
    assert (await server.client.status(deadline_s=5)).state == "ok"


async def test_the_end_of_the_connection_is_unreachable_and_not_the_end(server: Hostile) -> None:
    server.answer = lambda server, request: request._session.close("bye")
    with pytest.raises(UnreachableError, match="bye"):
        await server.client.get(GET, deadline_s=5)
    assert (await server.client.status(deadline_s=5)).state == "ok"


async def test_a_request_whose_connection_broke_goes_once_more(server: Hostile) -> None:
    asked: list[Request] = []

    def answer(server: Hostile, request: Request) -> None:
        asked.append(request)
        if len(asked) == 1:
            request._session.close("bye")
        else:
            request.reply(UNITS, [bytes(UNIT_SIZE)])

    server.answer = answer
    units, _ = await server.client.get(GET, deadline_s=5)
    assert units == UNITS and len(asked) == 2


async def test_a_drip_is_a_deadline_and_holds_nothing_up(server: Hostile) -> None:
    async def drip(request: Request) -> None:
        for each in server.head(UNITS, payload_size=UNIT_SIZE) + bytes(1_000):
            server.send(request, bytes([each]), end=False)
            await asyncio.sleep(0.002)

    dripping: list[asyncio.Task[None]] = []
    server.answer = lambda server, request: dripping.append(asyncio.ensure_future(drip(request)))
    with pytest.raises(DeadlineError):
        await server.client.get(GET, deadline_s=0.5)
    assert (await server.client.status(deadline_s=5)).state == "ok"
    for task in dripping:
        task.cancel()


async def test_more_requests_than_streams_are_answered_in_turn(server: Hostile) -> None:
    server.answer = lambda server, request: request.reply(UNITS, [bytes(UNIT_SIZE)])
    asked = [server.client.get(GET, deadline_s=20) for _ in range(500)]
    for units, payload in await asyncio.gather(*asked):
        assert units == UNITS and sum(map(len, payload)) == UNIT_SIZE
