"""Owns the way of a request: message -> engine -> message; the one door where a fault of ours becomes an answer."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from shardd import requests
from shardd.committer import Change, Committer, Outcome
from shardd.contract import messages
from shardd.contract.blobs import BlobId
from shardd.contract.errors import InternalError, ShardError
from shardd.engine.store import Delete, Put, ShardStore
from shardd.transport.session import Request

READERS = 2
SMALL_READS_MAX = 16  # that share a thread's turn
QUICK_READ_S_MAX = 0.005
SLOW_DISK_S = 1.0  # how long small reads go to the threads after one that was not quick
FLUSH_INTERVAL_S = 1.0

log = logging.getLogger(__name__)

Answer = tuple[messages.Reply, Sequence[bytes]]
Read = tuple[Request, Callable[[], Answer]]
_DONE = messages.Done()


class ShardService:
    """Answers the requests of one shard server. `handle` on the loop; the store's work is done in threads."""

    def __init__(self, store: ShardStore, *, cluster: bytes) -> None:
        self._store = store
        self._cluster = cluster
        self._loop = asyncio.get_running_loop()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="reader")
        self._flush_due_s = 0.0
        self._small: list[Read] = []
        self._quick_from_s = 0.0
        self._committer = Committer(self)  # its thread begins at once: all it uses stands above

    def handle(self, request: Request) -> None:
        """Answers `request` now or later; never raises."""
        failure = self._guarded(lambda: self._dispatch(request))
        if failure is not None:
            request.fail(failure)

    async def stop(self) -> None:
        """Ends the threads once what they have is done; the store stays open."""
        await self._committer.stop()
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
        busy: list[bool] = []
        self._guarded(lambda: busy.append(self._store.compact_step(_now_us())))
        return time.monotonic() - began_s if busy == [True] else FLUSH_INTERVAL_S

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
                request.reply(self._store.status(_now_us()))
            case messages.StatShard(blob=blob, shard=shard):
                self._read(request, lambda: (self._store.stat(BlobId(blob), shard), ()))
            case messages.ListShards(after=after, limit=limit):
                self._read(request, lambda: (self._store.list(after, limit), ()))

    def _write(self, request: Request, changes: Sequence[Change], *, size_bytes: int) -> None:
        self._committer.submit(
            changes, size_bytes=size_bytes, done=lambda outcomes: _answer_write(request, outcomes)
        )

    def _read(self, request: Request, work: Callable[[], Answer], *, small: bool = False) -> None:
        if not small:
            self._submit([(request, work)])
        elif time.monotonic() >= self._quick_from_s:
            self._read_here(request, work)
        else:
            self._small.append((request, work))
            if len(self._small) == 1:
                self._loop.call_soon(self._submit_small)

    def _read_here(self, request: Request, work: Callable[[], Answer]) -> None:
        """On the loop itself, as long as the disk is quick: the way to a thread and back costs more than the read."""
        began_s = time.monotonic()
        body, payload = self._answer(work)
        ended_s = time.monotonic()
        if ended_s - began_s > QUICK_READ_S_MAX:
            self._quick_from_s = ended_s + SLOW_DISK_S
        request.reply(body, payload)

    def _submit_small(self) -> None:
        """On a slow disk, small reads that came in one turn of the loop share one way to a thread and back."""
        for at in range(0, len(self._small), SMALL_READS_MAX):
            self._submit(self._small[at : at + SMALL_READS_MAX])
        self._small = []

    def _submit(self, reads: Sequence[Read]) -> None:
        def run() -> None:
            answers = [(request, self._answer(work)) for request, work in reads]
            self._loop.call_soon_threadsafe(_reply_all, answers)

        self._readers.submit(run)

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


def _reply_all(answers: Sequence[tuple[Request, Answer]]) -> None:
    for request, (body, payload) in answers:
        request.reply(body, payload)


def _answer_write(request: Request, outcomes: Sequence[Outcome]) -> None:
    failure = next((outcome for outcome in outcomes if outcome is not None), None)
    if failure is None:
        request.reply(_DONE)
    else:
        request.fail(failure)


def _now_us() -> int:
    return time.time_ns() // 1_000
