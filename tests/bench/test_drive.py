"""The timed client against servers that behave, that fail, that hang up and that are slow to read."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from bench.drive import Driver, Job
from bench.http1 import request_head
from bench.loopback import serve
from bench.measure import Spent, figure, percentile

HEAD = request_head("GET", "/", [("Host", "h")])


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[tuple[str, int]]:
    """A server whose every connection is given to `answer`, in a thread of its own."""
    listener, threads, stack = socket.create_server(("127.0.0.1", 0)), list[threading.Thread](), ExitStack()

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            stack.callback(connection.close)
            threads.append(threading.Thread(target=answer, args=(connection,)))
            threads[-1].start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield listener.getsockname()
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join()
        for thread in threads:
            thread.join()
        stack.close()


def replying(body: bytes) -> Callable[[socket.socket], None]:
    reply = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    return lambda connection: serve(connection, reply)


def test_every_job_is_answered_and_spread_over_the_endpoints():
    jobs = [Job(i % 2, (HEAD,), body_size=10 + 10 * (i % 2)) for i in range(101)]
    with (
        listening(replying(b"a" * 10)) as one,
        listening(replying(b"b" * 20)) as two,
        Driver([one, two], workers=3) as driver,
    ):
        run = driver.run(jobs)
    assert len(run.samples) == 101 and run.failures == 0
    assert sum(sample.body_size for sample in run.samples) == 51 * 10 + 50 * 20
    assert all(0 < sample.first_byte_s <= sample.whole_s for sample in run.samples)


def test_another_status_or_size_is_a_failure():
    with listening(replying(b"a")) as address, Driver([address], workers=2) as driver:
        run = driver.run([Job(0, (HEAD,), expected=204), Job(0, (HEAD,), body_size=2), Job(0, (HEAD,))])
    assert run.failures == 2


def test_a_broken_connection_is_a_failure_and_the_next_job_has_a_new_one():
    def answer_once(connection: socket.socket) -> None:
        with connection:
            if connection.recv(65_536):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")

    with listening(answer_once) as address, Driver([address], workers=1) as driver:
        run = driver.run([Job(0, (HEAD,))] * 3)
    assert [sample.status for sample in run.samples] == [0, 0, 0]


def test_a_large_body_is_sent_whole_in_many_pieces():
    pieces = (HEAD, *(bytes([i % 251]) * 10_000 for i in range(1_500)))
    received = list[int]()

    def swallow(connection: socket.socket) -> None:
        with connection:
            size = 0
            while size < sum(map(len, pieces)):
                size += len(connection.recv(65_536))
            received.append(size)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            connection.recv(1)

    with listening(swallow) as address, Driver([address], workers=1) as driver:
        assert driver.run([Job(0, pieces)]).failures == 0
    assert received == [sum(map(len, pieces))]


@pytest.mark.parametrize(("percent", "expected"), [(1, 1.0), (50, 50.0), (99, 99.0), (100, 100.0)])
def test_percentiles_are_by_nearest_rank(percent: int, expected: float):
    assert percentile([float(i) for i in range(100, 0, -1)], percent) == expected
    assert percentile([7.0], percent) == 7.0


def test_a_figure_is_per_mb_for_large_bodies_and_per_operation_for_small():
    with listening(replying(b"a" * 100)) as address, Driver([address], workers=1) as driver:
        run = driver.run([Job(0, (HEAD,))] * 4)
    large = figure("x", run, Spent(8.0, 4.0), workers=1, body_bytes=2_000_000)
    small = figure("x", run, Spent(8.0, 4.0), workers=1, body_bytes=0)
    assert (large.cpu_ms, large.client_cpu_ms, large.cpu_unit) == (1_000.0, 500.0, "MB")
    assert (small.cpu_ms, small.client_cpu_ms, small.cpu_unit) == (2_000.0, 1_000.0, "op")
