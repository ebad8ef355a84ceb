"""Which nodes a shard server takes proofs of: those of its file as it is now, whatever becomes of the file."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shardd import members

NODE = '[[nodes]]\nid = {0}\nhost = "127.0.0.1"\nport = 999{0}\npath = "data/node-{0}"\n'
HEAD = 'version = "1.0"\n[rs]\ndata = 1\nparity = 1\n'


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(members, "LOOK_EVERY_S", 0.005)
    yield


def write(path: Path, *nodes: int) -> None:
    path.write_text(HEAD + "".join(map(NODE.format, nodes)))


@pytest.mark.usefixtures("quick")
async def test_the_file_is_followed_and_one_with_a_fault_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, endpoint = tmp_path / "cluster.toml", SimpleNamespace(members=frozenset[int]())
    write(path, 1, 2)
    following = asyncio.create_task(members.follow(_as_any(endpoint), path))
    try:
        await until(lambda: endpoint.members == {1, 2})
        write(path, 1, 2, 3)
        await until(lambda: endpoint.members == {1, 2, 3})
        path.write_text("half of a fi")
        await until(lambda: "stay as they are" in caplog.text)
        assert endpoint.members == {1, 2, 3}
        path.unlink()
        write(path, 1, 3)
        await until(lambda: endpoint.members == {1, 3})
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


def _as_any(value: object) -> Any:
    return value


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)
