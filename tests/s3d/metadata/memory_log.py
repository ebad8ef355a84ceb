"""Owns a log and a state in memory for tests above them: the same contracts, no disk, no thread."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from s3d.metadata.commands import Command, check_command
from s3d.metadata.log import LogClosedError
from s3d.metadata.machine import apply
from s3d.metadata.outcomes import Outcome
from s3d.metadata.state import State
from s3d.metadata.tables import TABLES, MemoryTables
from s3d.metadata.view import View

SNAPSHOT_BYTES = 1 << 26


class MemoryState:
    """What State gives to readers. A view must end before the next command is applied, which needs an await."""

    def __init__(self) -> None:
        self.tables = MemoryTables()

    @contextmanager
    def view(self) -> Iterator[View]:
        yield View(self.tables)


class MemoryLog:
    """Applies what was appended at the next turn of the loop, in order."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    def waits_s(self) -> float:
        return 0.0

    async def append(self, commands: Sequence[Command]) -> list[Outcome]:
        for command in commands:
            check_command(command)
        if self._closed:
            raise LogClosedError("the log is closed")
        applied = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(self._apply, commands, applied)
        return list(await applied)

    async def barrier(self) -> None:
        """What was acknowledged is in the state."""

    async def snapshot(self, folder: Path) -> int:
        state = State.open(folder, SNAPSHOT_BYTES)
        with state.write() as writes:
            for table in TABLES:
                for key, value in self._state.tables.scan(table, b"", b""):
                    writes.put(table, key, value)
        state.close()
        return View(self._state.tables).applied().index

    async def trim(self, index: int) -> None:
        """It keeps no command."""

    def behind(self, index: int) -> int | None:
        return None

    async def close(self) -> None:
        self._closed = True

    def _apply(self, commands: Sequence[Command], applied: "asyncio.Future[list[Outcome]]") -> None:
        outcomes = [apply(self._state.tables, command) for command in commands]
        if not applied.done():
            applied.set_result(outcomes)
