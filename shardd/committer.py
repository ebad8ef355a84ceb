"""Owns group commit: one thread that drains a queue in groups, and the way back to the loop; never the store."""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from shardd.contract.errors import OverloadedError, ShardError
from shardd.engine.store import Delete, Put

GROUP_BYTES_MAX = 4 << 20
GROUP_WAIT_S = 0.002
QUEUE_BYTES_MAX = 64 << 20
QUEUE_LENGTH_MAX = 4_096
STOP_POLL_S = 0.005

Change = Put | Delete
Outcome = ShardError | None


class Writer(Protocol):
    """What the thread does. Neither may raise: there is nobody above the thread who would hear it."""

    def commit(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        """Makes a group durable; one outcome each, in order."""

    def tend(self) -> float:
        """What must be done between groups; gives the seconds after which it wants to be called again."""


@dataclass(frozen=True, slots=True)
class _Entry:
    changes: Sequence[Change]
    size_bytes: int
    done: Callable[[Sequence[Outcome]], None]


class Committer:
    """The one writer of a store. `submit` on the loop; each `done` is called on the loop, a whole group at a time.

    `turn` is held while the thread writes: who gets it may write in its place.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._waiting_bytes = 0
        self._waiting = 0
        self._moved_s = 0.0  # when a group was answered last, or the first of those that wait came
        self.turn = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many submissions have no answer yet."""
        return self._waiting

    def stands_still_s(self) -> float:
        """For how long nothing was answered, though something waits."""
        return time.monotonic() - self._moved_s if self._waiting else 0.0

    def submit(
        self, changes: Sequence[Change], *, size_bytes: int, done: Callable[[Sequence[Outcome]], None]
    ) -> None:
        """Queues changes that stay together; OverloadedError where too much waits already."""
        if self._waiting >= QUEUE_LENGTH_MAX or self._waiting_bytes + size_bytes > QUEUE_BYTES_MAX:
            raise OverloadedError("too many writes wait for the disk")
        if not self._waiting:
            self._moved_s = time.monotonic()
        self._waiting += 1
        self._waiting_bytes += size_bytes
        self._queue.put(_Entry(changes, size_bytes, done))

    async def stop(self) -> None:
        """Commits what is queued and ends the thread. Idempotent."""
        self._queue.put(None)
        while self._thread.is_alive():  # noqa: ASYNC110  once in a life
            await asyncio.sleep(STOP_POLL_S)

    def _run(self) -> None:
        due_s = time.monotonic()
        ended = False
        while not ended:
            group, ended = self._next_group(max(0.0, due_s - time.monotonic()))
            if group:
                with self.turn:
                    outcomes = self._writer.commit([change for entry in group for change in entry.changes])
                self._loop.call_soon_threadsafe(self._finish, group, outcomes)
            if time.monotonic() >= due_s:
                with self.turn:
                    due_s = self._writer.tend() + time.monotonic()

    def _next_group(self, patience_s: float) -> tuple[list[_Entry], bool]:
        """What waits, up to the group's limits, and whether it is the last; nothing where none came in time."""
        group: list[_Entry] = []
        size_bytes, deadline_s = 0, 0.0
        try:
            while size_bytes < GROUP_BYTES_MAX:
                entry = self._queue.get_nowait() if group else self._queue.get(timeout=patience_s)
                if entry is None:
                    return group, True
                group.append(entry)
                size_bytes += entry.size_bytes
                deadline_s = deadline_s or time.monotonic() + GROUP_WAIT_S
                if time.monotonic() > deadline_s:
                    break
        except queue.Empty:
            pass
        return group, False

    def _finish(self, group: list[_Entry], outcomes: Sequence[Outcome]) -> None:
        at, self._moved_s = 0, time.monotonic()
        for entry in group:
            self._waiting -= 1
            self._waiting_bytes -= entry.size_bytes
            entry.done(outcomes[at : at + len(entry.changes)])
            at += len(entry.changes)
