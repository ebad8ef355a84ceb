"""A shard server says itself that its disk keeps writes waiting, as long as it does."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shardd import service
from shardd.contract import messages
from tests.shardd.test_service import Server, ask, put


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    made = Server(tmp_path)
    yield made
    await made.close()


async def test_it_is_busy_while_a_write_waits_and_no_longer(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "BUSY_AFTER_S", 0.05)
    client, writer = await server.client(), await server.client()
    assert await state(client) == "ok"
    turn = server.service._committer.turn
    await asyncio.to_thread(turn.acquire)
    try:
        writing = asyncio.create_task(ask(writer, put([b"unit"]), b"unit"))
        async with asyncio.timeout(5):
            while await state(client) != messages.BUSY:
                await asyncio.sleep(0.01)
    finally:
        turn.release()
    assert await writing == messages.Done()
    assert await state(client) == "ok" and server.service._committer.stands_still_s() == 0.0


async def state(client: object) -> str:
    status = await ask(client, messages.GetStatus())  # type: ignore[arg-type]
    assert isinstance(status, messages.Status)
    return status.state
