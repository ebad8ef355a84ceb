"""Owns the order of commands: the Log port, and LocalLog, the log of one machine; never decides an outcome."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from s3d.metadata.commands import Command, Outcome


class Log(Protocol):
    """Orders commands and has them applied. What it acknowledged is durable and seen by every later view."""

    async def append(self, commands: Sequence[Command]) -> list[Outcome]:
        """Apply `commands` in order, perhaps among others; their outcomes, once durable. LogClosedError."""

    async def barrier(self) -> None:
        """Return when a new view sees all that was acknowledged anywhere before the call."""

    async def snapshot(self, folder: Path) -> int:
        """Write a copy of the state, that a State opens, into the empty `folder`; the index it stands at."""

    async def trim(self, index: int) -> None:
        """Forget the commands up to `index`: a snapshot holds what they did."""

    async def close(self) -> None:
        """Finish what was appended, then take no more."""
