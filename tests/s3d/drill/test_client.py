"""A request of the drill is sent once, and what its end proves of it is told right: nothing sent, or nobody knows."""

import asyncio
import socket

import pytest

from s3d.drill.client import Client, LostError, UnsentError
from s3d.protocol.sigv4 import Key

KEY = Key("AN-ID", "a secret of nobody", "us-east-1")


@pytest.mark.parametrize("body", [b"", bytes(100_000)])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
async def test_a_gateway_that_dies_with_a_request_may_have_done_it(method: str, body: bytes):
    taken = 0

    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        taken += 1
        server.close()  # who asks again finds nobody: that proves nothing about the first request
        await reader.read(1)
        writer.transport.abort()

    server = await asyncio.start_server(die, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with Client(KEY) as client:
        with pytest.raises(LostError) as caught:
            await client.request(method, f"http://{host}:{port}/bucket/key", body=body)
    assert not isinstance(caught.value, UnsentError)
    assert taken == 1


async def test_where_no_gateway_listens_nothing_was_sent():
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        host, port = unheard.getsockname()
        async with Client(KEY) as client:
            with pytest.raises(UnsentError):
                await client.request("PUT", f"http://{host}:{port}/bucket/key", body=b"some")
