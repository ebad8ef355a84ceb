"""Owns the order of commands: the Log port, and LocalLog, the log of one machine; never decides an outcome."""

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol

from s3d.metadata import keys, tables
from s3d.metadata.commands import Command, CompleteUpload, DeleteObjects, check_command
from s3d.metadata.journal import Group, Journal
from s3d.metadata.machine import apply
from s3d.metadata.outcomes import Outcome
from s3d.metadata.rows import AppliedRow, RowError, encode_row
from s3d.metadata.state import State, StateError
from s3d.metadata.tables import Tables
from s3d.metadata.view import View
from shardd.contract.errors import QuoinError

BATCH_WEIGHT_MAX = 2_000  # keys, parts or plain commands in one transaction: the others' wait for their turn
DEAD_READERS_EVERY = 1_024  # batches

# What a command may meet that ends it and nothing else: faults of the state, and of this program.
FAULTS = (
    StateError,
    RowError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)

log = logging.getLogger(__name__)


class LogClosedError(QuoinError):
    """The log takes no more commands. None of those given was applied."""


class LogFailedError(QuoinError):
    """The log's writer met a fault of its own. The commands may have been applied."""


class LogMismatchError(QuoinError):
    """The state follows another log."""


class Log(Protocol):
    """Orders commands and has them applied. What it acknowledged is durable and seen by every later view."""

    @property
    def closed(self) -> bool:
        """Whether it takes no commands, by `close` or because its writer ended."""

    def waits_s(self) -> float:
        """For how long the commands that are at their turn have waited for it; 0.0 where none are."""

    async def append(self, commands: Sequence[Command]) -> list[Outcome]:
        """Apply `commands` in order, together, perhaps among others; their outcomes, once durable.

        CommandError and LogClosedError: nothing was applied. StateError, RowError: nothing of them was applied.
        Cancelled, or anything else: they may have been applied.
        """

    async def barrier(self) -> None:
        """Return when a new view sees all that was acknowledged anywhere before the call."""

    async def snapshot(self, folder: Path) -> int:
        """Write a copy of the state, that State.open opens, into the empty `folder`; the index it stands at."""

    async def trim(self, index: int) -> None:
        """Forget the commands up to `index`: a snapshot holds what they did."""

    def behind(self, index: int) -> int | None:
        """About how many bytes of commands are kept behind `index`; None where some are lacking. OSError, StateError.

        A restore from a snapshot of command `index` has to go through them.
        """

    async def close(self) -> None:
        """Finish what was appended, then take no more."""


class _Entry:
    """Commands of one append, `raw` as the journal takes them, and who waits for them."""

    __slots__ = ("commands", "future", "raw", "result", "weight")

    def __init__(
        self,
        commands: Sequence[Command],
        raw: Sequence[bytes],
        future: "asyncio.Future[list[Outcome]]",
    ) -> None:
        self.commands = commands
        self.raw = raw
        self.weight = sum(map(_weight, commands))
        self.future = future
        self.result: list[Outcome] | QuoinError = LogFailedError("the log's writer ended")


class LocalLog:
    """The log of one machine: every process applies its commands itself, and LMDB's one writer is their order.

    All that waits when the writer's turn comes is one transaction and one sync. Any process may be killed at any
    instant: what it had not committed did not happen, and LMDB hands its turn on. A log belongs to one event loop.
    What it commits is in the journal too, until a snapshot holds it.
    """

    def __init__(self, state: State, uuid: bytes = b"") -> None:
        """`uuid`: of the cluster's log, or empty for whatever the state follows. Raises LogMismatchError."""
        self._state = state
        with state.view() as view:
            self._journal = Journal(state.path, view.applied().index)
        self._queue: SimpleQueue[_Entry | None] = SimpleQueue()
        self._closed = False
        self._began_s = 0.0  # when the batch that is not done yet was begun
        self._closing = threading.Lock()  # so that nothing is queued behind the last look of the writer
        self._adopt(uuid)
        self._thread = threading.Thread(target=self._write, name="metadata-log", daemon=True)
        self._thread.start()

    def _adopt(self, uuid: bytes) -> None:
        with self._state.view() as view:
            if not uuid or view.applied().log == uuid:
                return
        with self._state.write() as writes:
            applied = View(writes).applied()
            if applied.log not in (b"", uuid):
                raise LogMismatchError("the state follows another log")
            row = AppliedRow(uuid, applied.index)
            writes.put(tables.APPLIED, keys.APPLIED, encode_row(keys.APPLIED, row))

    @property
    def closed(self) -> bool:
        return self._closed

    def waits_s(self) -> float:
        began_s = self._began_s
        return time.monotonic() - began_s if began_s else 0.0

    async def append(self, commands: Sequence[Command]) -> list[Outcome]:
        raw = [check_command(command) for command in commands]
        entry = _Entry(commands, raw, asyncio.get_running_loop().create_future())
        with self._closing:
            if self._closed:
                raise LogClosedError("the log is closed")
            self._queue.put(entry)
        return await entry.future

    async def barrier(self) -> None:
        """Nothing to wait for: an acknowledged commit is in the one state that all processes share."""

    async def snapshot(self, folder: Path) -> int:
        return await asyncio.to_thread(self._state.copy, folder)

    async def trim(self, index: int) -> None:
        await asyncio.to_thread(self._journal.trim, index)

    def behind(self, index: int) -> int | None:
        with self._state.view() as view:
            applied = view.applied().index
        return self._journal.behind(index, applied)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _write(self) -> None:
        """The writer thread: until the log is closed, everything that waits in one transaction."""
        batches = 0
        try:
            while entry := self._queue.get():
                self._commit(entry)
                batches += 1
                if batches % DEAD_READERS_EVERY == 0:
                    self._forget_dead_readers()
        finally:
            with self._closing:
                self._closed = True
            self._journal.close()
            self._fail_waiting()

    def _commit(self, first: _Entry) -> None:
        batch = [first]
        self._began_s = time.monotonic()
        try:
            with self._state.write() as writes:
                self._take(batch)
                results = self._apply(writes, batch)
            # Not before the commit: a fault in any entry undoes them all.
            for entry, result in zip(batch, results, strict=True):
                entry.result = result
        except FAULTS:
            self._take_back()
            for entry in batch:
                self._commit_alone(entry)
        finally:
            self._began_s = 0.0
            first.future.get_loop().call_soon_threadsafe(_resolve, batch)

    def _apply(self, writes: Tables, batch: Sequence[_Entry]) -> list[list[Outcome]]:
        """In the journal as in the state: what is not committed is undone in both by whoever has the next turn."""
        before = View(writes).applied().index
        results = [[apply(writes, command) for command in entry.commands] for entry in batch]
        last = max((outcome.index for result in results for outcome in result), default=0)
        if last > before:
            self._journal.append(Group(before + 1, last, tuple(raw for entry in batch for raw in entry.raw)))
        return results

    def _take(self, batch: list[_Entry]) -> None:
        """Add what has come while this process waited for its turn."""
        weight = batch[0].weight
        for _ in range(self._queue.qsize()):
            if weight >= BATCH_WEIGHT_MAX:
                return
            entry = self._queue.get_nowait()
            if entry is None:  # the log is being closed: the sentinel is met again after this batch
                self._queue.put(None)
                return
            batch.append(entry)
            weight += entry.weight

    def _commit_alone(self, entry: _Entry) -> None:
        """A transaction of its own for one append, so that its fault is not its neighbours'."""
        try:
            with self._state.write() as writes:
                [result] = self._apply(writes, [entry])
            entry.result = result
        except (StateError, RowError) as error:
            self._take_back()
            entry.result = error
        except FAULTS as error:
            self._take_back()
            log.exception(
                "a command was not applied: %s", ", ".join(type(c).__name__ for c in entry.commands)
            )
            entry.result = LogFailedError(f"the log met a fault of its own: {error!r}")

    def _take_back(self) -> None:
        """What the journal has of a commit that failed, in a turn of its own: nobody appends to it meanwhile."""
        try:
            with self._state.write() as writes:
                self._journal.withdraw(View(writes).applied().index)
        except (StateError, RowError, OSError) as error:
            log.warning("the journal may have commands that were refused: %s", error)

    def _forget_dead_readers(self) -> None:
        try:
            self._state.forget_dead_readers()
        except StateError as error:  # the pages of the dead are kept a while longer
            log.warning("dead readers are not forgotten: %s", error)

    def _fail_waiting(self) -> None:
        batch = [entry for _ in range(self._queue.qsize()) if (entry := self._queue.get_nowait())]
        if batch:
            batch[0].future.get_loop().call_soon_threadsafe(_resolve, batch)


def _weight(command: Command) -> int:
    if isinstance(command, DeleteObjects):
        return len(command.keys)
    return len(command.parts) if isinstance(command, CompleteUpload) else 1


def _resolve(batch: list[_Entry]) -> None:
    for entry in batch:
        if entry.future.done():  # its caller was cancelled
            continue
        if isinstance(entry.result, QuoinError):
            entry.future.set_exception(entry.result)
        else:
            entry.future.set_result(entry.result)
