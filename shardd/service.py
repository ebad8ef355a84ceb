"""Owns the way of a request: message -> engine -> message; the one door where a fault of ours becomes an answer."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice

import msgspec

from shardd import requests
from shardd.committer import Change, Committer, Outcome
from shardd.contract import messages
from shardd.contract.blobs import BlobId
from shardd.contract.errors import InternalError, ShardError
from shardd.engine.store import Delete, Put, ShardStore
from shardd.promptness import Promptness
from shardd.scrubbing import Scrubbing
from shardd.transport import threads
from shardd.transport.session import Request

READERS = 2
INLINE_BYTES_MAX = 64 << 10  # of one request, and of small writes together: more is a thread's work
FLUSH_INTERVAL_S = 1.0
BUSY_AFTER_S = 0.5  # writes that wait for the disk so long make the node slow, as it says itself

log = logging.getLogger(__name__)

Answer = tuple[messages.Reply, Sequence[bytes]]
Write = tuple[Request, Sequence[Change], int]
_DONE = messages.Done()


class ShardService:
    """Answers the requests of one shard server. `handle` on the loop.

    The store's work is done in threads, but for what is small while the disk is prompt: the way to a thread and back
    costs more than that. A disk that hangs thus makes the node silent, and gateways go round it within a second.
    """

    def __init__(
        self, store: ShardStore, scrubbing: Scrubbing, *, cluster: bytes, give_up: Callable[[], None]
    ) -> None:
        self._store = store
        self._scrubbing = scrubbing
        self._cluster = cluster
        self._give_up = give_up
        self._loop = asyncio.get_running_loop()
        self._readers = threads.running(READERS, "reader")
        self._flush_due_s = 0.0
        self._scrub_due_s = 0.0
        self._prompt = Promptness()
        self._small: list[Write] = []
        self._small_bytes = 0
        self._committer = Committer(self)  # its thread begins at once: all it uses stands above

    def handle(self, request: Request) -> None:
        """Answers `request` now or later; never raises."""
        failure = self._guarded(lambda: self._dispatch(request))
        if failure is not None:
            request.fail(failure)

    async def stop(self) -> None:
        """Ends the threads once what they have is done; the store stays open."""
        await self._committer.stop()
        self._scrubbing.save()
        self._readers.shutdown()

    # The committer's thread: committer.Writer

    def commit(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        """See committer.Writer."""
        outcomes: list[Outcome] = []
        failure = self._guarded(lambda: outcomes.extend(self._store.commit(changes, now_us=_now_us())))
        return outcomes if failure is None else [failure] * len(changes)

    def tend(self) -> float:
        """See committer.Writer."""
        began_s = time.monotonic()
        if began_s >= self._flush_due_s:
            self._guarded(self._store.flush_index)
            self._flush_due_s = began_s + FLUSH_INTERVAL_S
            if self._store.needs_restart:
                self._loop.call_soon_threadsafe(self._give_up)
        busy: list[bool] = []
        self._guarded(lambda: busy.append(self._store.compact_step(_now_us())))
        if busy == [True]:
            return time.monotonic() - began_s
        if began_s >= self._scrub_due_s:
            self._scrub_due_s = began_s + FLUSH_INTERVAL_S  # where the step fails
            self._guarded(self._scrub)
        return min(FLUSH_INTERVAL_S, max(0.0, self._scrub_due_s - time.monotonic()))

    def _scrub(self) -> None:
        self._scrub_due_s = self._scrubbing.step(_now_us()) + time.monotonic()

    # The door

    def _guarded(self, work: Callable[[], object]) -> ShardError | None:
        """Does `work`; gives the error to answer with, where there is one."""
        try:
            work()
        except ShardError as error:
            return error
        except Exception:
            log.exception("a request met a fault of ours")
            return InternalError("the shard server's log says more")
        return None

    def _dispatch(self, request: Request) -> None:
        frame = request.frame
        requests.admit(frame, peer=request.peer, cluster=self._cluster)
        match frame.body:
            case messages.GetUnits():
                self._read(request, lambda: self._get(frame.body), small=frame.body.count == 1)
            case messages.PutExtent():
                change = _put_of(frame.body, frame.payload)
                self._write(request, [change], size_bytes=frame.payload_size)
            case messages.DeleteShards(shards=shards):
                changes = [Delete(BlobId(blob), shard, generation) for blob, shard, generation in shards]
                self._write(request, changes, size_bytes=0)
            case messages.GetStatus():
                request.reply(self._status())
            case messages.StatShard(blob=blob, shard=shard):
                self._read(request, lambda: (self._store.stat(BlobId(blob), shard), ()))
            case messages.ListShards(after=after, limit=limit):
                self._read(request, lambda: (self._store.list(after, limit), ()))

    def _status(self) -> messages.Status:
        status = self._store.status(_now_us())
        busy = status.state == "ok" and self._committer.stands_still_s() > BUSY_AFTER_S
        scrub = self._scrubbing.progress
        return msgspec.structs.replace(
            status,
            state=messages.BUSY if busy else status.state,
            scrub_started_us=scrub.started_us,
            scrub_records=scrub.records,
            scrub_damaged=scrub.damaged,
            scrub_passes=scrub.passes,
            scrub_done_bytes=scrub.done_bytes,
            scrub_total_bytes=scrub.total_bytes,
        )

    def _write(self, request: Request, changes: Sequence[Change], *, size_bytes: int) -> None:
        """Small writes that come in one turn of the loop are one group commit."""
        if self._small_bytes + size_bytes > INLINE_BYTES_MAX or not self._prompt:
            self._submit_write(request, changes, size_bytes=size_bytes)
            return
        if not self._small:
            self._loop.call_soon(self._commit_small)
        self._small.append((request, changes, size_bytes))
        self._small_bytes += size_bytes

    def _commit_small(self) -> None:
        """Here, unless the committer is at work: to wait for its turn could take as long as its largest group."""
        writes, self._small, self._small_bytes = self._small, [], 0
        if self._committer.waiting or not self._committer.turn.acquire(blocking=False):
            for request, changes, size_bytes in writes:
                failure = self._guarded(partial(self._submit_write, request, changes, size_bytes=size_bytes))
                if failure is not None:
                    request.fail(failure)
            return
        try:
            with self._prompt.watched():
                outcomes = self.commit([change for _, changes, _ in writes for change in changes])
        finally:
            self._committer.turn.release()
        rest = iter(outcomes)
        for request, changes, _ in writes:
            _answer_write(request, list(islice(rest, len(changes))))

    def _submit_write(self, request: Request, changes: Sequence[Change], *, size_bytes: int) -> None:
        self._committer.submit(
            changes, size_bytes=size_bytes, done=lambda outcomes: _answer_write(request, outcomes)
        )

    def _read(self, request: Request, work: Callable[[], Answer], *, small: bool = False) -> None:
        if small and self._prompt:
            with self._prompt.watched():
                answer = self._answer(work)
            request.reply(*answer)
        else:
            self._readers.submit(lambda: self._loop.call_soon_threadsafe(request.reply, *self._answer(work)))

    def _answer(self, work: Callable[[], Answer]) -> Answer:
        answer: list[Answer] = []
        failure = self._guarded(lambda: answer.append(work()))
        return answer[0] if failure is None else (messages.Failure(failure.code, str(failure)), ())

    def _get(self, message: messages.GetUnits) -> Answer:
        extent = self._store.read(
            BlobId(message.blob), message.shard, message.extent, first=message.first, count=message.count
        )
        return messages.Units(extent.length, extent.crcs), (extent.units,)


def _put_of(message: messages.PutExtent, payload: Sequence[bytes]) -> Put:
    return Put(
        BlobId(message.blob),
        message.shard,
        message.extent,
        message.generation,
        message.length,
        message.crcs,
        message.last,
        message.identity,
        payload,
    )


def _answer_write(request: Request, outcomes: Sequence[Outcome]) -> None:
    failure = next((outcome for outcome in outcomes if outcome is not None), None)
    if failure is None:
        request.reply(_DONE)
    else:
        request.fail(failure)


def _now_us() -> int:
    return time.time_ns() // 1_000
