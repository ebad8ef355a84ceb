"""Owns the timed client: many prepared requests over kept-alive connections, from one thread; never signs or checks.

Each worker has one connection to each endpoint. Jobs name their endpoint (a signature covers the host), stand in one
queue in round robin over the endpoints, and the next free worker takes the next job: every gateway gets its share.
"""

import select
import socket
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from bench.http1 import BrokenReplyError, ReplyReader

RECEIVE_SIZE = 1 << 20
PIECES_A_CALL = 512  # sendmsg takes at most 1,024
SILENCE_S_MAX = 60.0

Address = tuple[str, int]


class StalledError(Exception):
    """No connection made progress for SILENCE_S_MAX."""


@dataclass(frozen=True, slots=True)
class Job:
    """One request, ready to be sent to the endpoint of that index, and the status and size of body that it must get."""

    endpoint: int
    pieces: tuple[bytes | memoryview, ...]
    expected: int = 200
    head_only: bool = False
    body_size: int | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """How one job went, in seconds since it was begun. `status` 0: the connection broke."""

    right: bool
    status: int
    first_byte_s: float
    whole_s: float
    body_size: int


@dataclass(frozen=True, slots=True)
class Run:
    """All jobs of one phase."""

    samples: tuple[Sample, ...]
    wall_s: float

    @property
    def failures(self) -> int:
        """How many jobs got another status or size of body than the expected one, or none."""
        return sum(not sample.right for sample in self.samples)


@dataclass(slots=True)
class _Lane:
    """One worker's connection to one endpoint."""

    worker: "_Worker"
    address: Address
    connection: socket.socket
    writing: bool = False


@dataclass(slots=True)
class _Worker:
    lanes: list[_Lane] = field(default_factory=list)
    job: Job | None = None
    unsent: deque[bytes | memoryview] = field(default_factory=deque)
    reader: ReplyReader = field(default_factory=ReplyReader)
    begun: float = 0.0
    first: float = 0.0


class Driver:
    """Drives jobs over `workers` times `addresses` connections, which stay open from one run to the next."""

    def __init__(self, addresses: Sequence[Address], workers: int) -> None:
        self._poll = select.epoll()
        self._lanes: dict[int, _Lane] = {}
        self._buffer = memoryview(bytearray(RECEIVE_SIZE))
        self._workers = [_Worker() for _ in range(workers)]
        for worker in self._workers:
            for address in addresses:
                lane = _Lane(worker, address, _connect(address))
                worker.lanes.append(lane)
                self._watch(lane)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for lane in self._lanes.values():
            lane.connection.close()
        self._poll.close()

    def run(self, jobs: Sequence[Job]) -> Run:
        """Runs them all; StalledError when nothing moves any more."""
        queue, samples = deque(jobs), list[Sample]()
        start = time.perf_counter()
        for worker in self._workers[: len(jobs)]:
            self._begin(worker, queue.popleft())
        while len(samples) < len(jobs):
            events = self._poll.poll(SILENCE_S_MAX)
            if not events:
                raise StalledError(
                    f"{len(jobs) - len(samples)} requests to go, none moved for {SILENCE_S_MAX:.0f} s"
                )
            for descriptor, event in events:
                lane = self._lanes.get(descriptor)
                sample = self._advance(lane, event) if lane else None
                if lane and sample:
                    samples.append(sample)
                    if queue:
                        self._begin(lane.worker, queue.popleft())
        return Run(tuple(samples), time.perf_counter() - start)

    def _begin(self, worker: _Worker, job: Job) -> None:
        worker.job, worker.reader = job, ReplyReader(job.head_only, keep=False)
        worker.unsent.extend(job.pieces)
        worker.begun, worker.first = time.perf_counter(), 0.0
        self._send(worker.lanes[job.endpoint])

    def _advance(self, lane: _Lane, event: int) -> Sample | None:
        worker = lane.worker
        if worker.job is None or worker.lanes[worker.job.endpoint] is not lane:
            if event & (select.EPOLLIN | select.EPOLLHUP):
                self._reconnect(lane)  # the server closed a connection that was idle
            return None
        try:
            if event & select.EPOLLOUT:
                self._send(lane)
            if event & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                self._receive(lane)
        except (OSError, BrokenReplyError):
            worker.reader.status, worker.reader.closes, worker.reader.done = 0, True, True
        return self._finish(lane) if worker.reader.done else None

    def _send(self, lane: _Lane) -> None:
        unsent = lane.worker.unsent
        try:
            while unsent:
                some = [unsent[i] for i in range(min(len(unsent), PIECES_A_CALL))]
                _drop(unsent, lane.connection.sendmsg(some))
        except BlockingIOError:
            pass
        except OSError:
            unsent.clear()  # the reply, or the end of the connection, says why
        if bool(unsent) != lane.writing:
            lane.writing = bool(unsent)
            self._poll.modify(lane.connection, select.EPOLLIN | (select.EPOLLOUT if unsent else 0))

    def _receive(self, lane: _Lane) -> None:
        reader = lane.worker.reader
        while not reader.done:
            try:
                size = lane.connection.recv_into(self._buffer)
            except BlockingIOError:
                return
            if not lane.worker.first:
                lane.worker.first = time.perf_counter()
            if size:
                reader.feed(self._buffer[:size])
            else:
                reader.end()

    def _finish(self, lane: _Lane) -> Sample:
        worker, now = lane.worker, time.perf_counter()
        job, reader = worker.job, worker.reader
        assert job is not None
        worker.job = None
        if reader.closes or worker.unsent:
            worker.unsent.clear()
            self._reconnect(lane)
        first_s = (worker.first or now) - worker.begun
        right = reader.status == job.expected and job.body_size in (None, reader.body_size)
        return Sample(right, reader.status, first_s, now - worker.begun, reader.body_size)

    def _watch(self, lane: _Lane) -> None:
        lane.writing = False
        self._lanes[lane.connection.fileno()] = lane
        self._poll.register(lane.connection, select.EPOLLIN)

    def _reconnect(self, lane: _Lane) -> None:
        del self._lanes[lane.connection.fileno()]
        lane.connection.close()
        lane.connection = _connect(lane.address)
        self._watch(lane)


def _connect(address: Address) -> socket.socket:
    connection = socket.create_connection(address, timeout=SILENCE_S_MAX)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setblocking(False)
    return connection


def _drop(unsent: deque[bytes | memoryview], sent: int) -> None:
    while sent:
        piece = unsent.popleft()
        if sent < len(piece):
            unsent.appendleft(memoryview(piece)[sent:])
            return
        sent -= len(piece)
