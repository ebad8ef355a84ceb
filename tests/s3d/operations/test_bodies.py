"""What becomes of the shards of a body whose command the log did not take, or may have taken."""

from collections.abc import Awaitable, Callable, Sequence

import pytest

from s3d.metadata.commands import Command, CommandError, Condemn, PutObject, PutPart
from s3d.metadata.log import LogClosedError, LogFailedError
from s3d.metadata.outcomes import Outcome
from s3d.metadata.rows import RowError
from s3d.metadata.state import StateError, StateFullError
from shardd.contract.errors import QuoinError
from tests.s3d.live import Live

BODY = bytes(range(256)) * 1_000


def fail(
    live: Live,
    monkeypatch: pytest.MonkeyPatch,
    error: QuoinError,
    *,
    kinds: tuple[type[Command], ...],
    applied: bool = False,
) -> None:
    """The log answers commands of `kinds` with `error`: before, or where `applied` is true after, it obeyed."""
    append: Callable[[Sequence[Command]], Awaitable[list[Outcome]]] = live.store.log.append

    async def failing(commands: Sequence[Command]) -> list[Outcome]:
        if not isinstance(commands[0], kinds):
            return await append(commands)
        if applied:
            await append(commands)
        raise error

    monkeypatch.setattr(live.store.log, "append", failing)


def stored(live: Live) -> set[bytes]:
    return {blob for node in live.nodes.values() for blob, _ in node.stored}


def condemned(live: Live) -> set[bytes]:
    with live.store.state.view() as view:
        return {row.blob for _, row in view.condemned(live.store.clock_us())}


@pytest.mark.parametrize(
    "error",
    [
        StateFullError("full"),
        StateError("refused"),
        RowError("bad"),
        LogClosedError("closed"),
        CommandError(""),
    ],
)
@pytest.mark.parametrize("part", [False, True])
async def test_what_no_row_will_ever_name_is_condemned(
    live: Live, monkeypatch: pytest.MonkeyPatch, error: QuoinError, part: bool
) -> None:
    query = ""
    if part:
        query = f"partNumber=1&uploadId={(await live.ok('POST', '/bucket/key', query='uploads')).text('UploadId')}"
    fail(live, monkeypatch, error, kinds=(PutObject, PutPart))
    assert (await live.ask("PUT", "/bucket/key", BODY, query=query)).status >= 500
    assert len(stored(live)) == 1
    assert condemned(live) == stored(live)


@pytest.mark.parametrize("applied", [False, True])
async def test_what_a_row_may_name_is_left_alone(
    live: Live, monkeypatch: pytest.MonkeyPatch, applied: bool
) -> None:
    fail(live, monkeypatch, LogFailedError("it ended"), kinds=(PutObject,), applied=applied)
    assert (await live.ask("PUT", "/bucket/key", BODY)).status == 500
    assert condemned(live) == set()
    assert live.shards() == 5
    assert (await live.ask("GET", "/bucket/key")).status == (200 if applied else 404)


async def test_a_full_state_does_not_hide_what_was_wrong(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(live, monkeypatch, StateFullError("full"), kinds=(PutObject, Condemn))
    large, wrong = BODY * 20, {"Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}
    assert (await live.ask("PUT", "/bucket/key", large, headers=wrong)).code == "BadDigest"
    assert (await live.ask("PUT", "/bucket/key", BODY)).code == "StorageFull"
