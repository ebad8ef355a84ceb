"""Owns the phases: what is asked of a server, how often, how many at once, and the figure that comes of it."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.drive import Driver, Job, Run
from bench.processes import cpu_s, tree
from bench.requests import Body, Target

MB = 1e6
MIB = 1 << 20
KIB = 1 << 10
PAGE_KEYS = 1_000


@dataclass(frozen=True, slots=True)
class Size:
    """Bodies of one size: how many are in flight, and how many are measured at scale 1."""

    label: str
    bytes: int
    workers: int
    count: int


SIZES = (Size("64 MiB", 64 * MIB, 4, 24), Size("1 MiB", MIB, 8, 400), Size("4 KiB", 4 * KIB, 16, 4_000))
SMALL = SIZES[-1]
SMALL_WORKERS = SMALL.workers


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. CPU is of all the server's processes, per MB of bodies of 1 MiB and more, else per
    operation; `client_cpu_ms` is what the bench itself used in the same unit."""

    name: str
    workers: int
    operations: int
    failures: int
    mb_s: float
    operations_s: float
    p50_ms: float
    p99_ms: float
    first_byte_p50_ms: float
    cpu_ms: float
    cpu_unit: str
    client_cpu_ms: float

    def __str__(self) -> str:
        rate = f"{self.mb_s:.1f} MB/s" if self.mb_s else f"{self.operations_s:.0f}/s"
        return f"{self.name}: {rate}, p50 {self.p50_ms:.2f} ms, CPU {self.cpu_ms:.2f} ms/{self.cpu_unit}"


@dataclass(frozen=True, slots=True)
class Server:
    """A server under measurement and the processes that its CPU is read from."""

    target: Target
    pids: Sequence[int]


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of CPU in one run: of the server's processes, and of the bench itself."""

    server_s: float
    client_s: float


class Bench:
    """Runs the phases against one server. `scale` multiplies how often; `keys` are in the list, 1,000 a page; bodies of
    more than `largest_bytes` are left out."""

    def __init__(self, server: Server, *, scale: float, keys: int, largest_bytes: int) -> None:
        self._server, self._target = server, server.target
        self._scale, self._keys = scale, keys
        self._sizes = [size for size in SIZES if size.bytes <= largest_bytes]
        self._seed = os.urandom(64 * MIB)

    def whole(self) -> Iterator[Figure]:
        """Every phase with all nodes up, in an order in which each finds what it needs."""
        for size in self._sizes:
            yield self.put(size, chunked=True)
            yield self.put(size, chunked=False)
            yield self.get(size)
        yield self._operations(
            "HEAD", [self._target.head(i, _key(SMALL, i)) for i in range(self._count(SMALL))]
        )
        yield from self.lone()
        self._fill_list()
        yield self._list()
        doomed = [self._target.delete(i, _key(SMALL, i)) for i in range(self._count(SMALL))]
        yield self._operations("DELETE", doomed)

    def short_of_nodes(self, label: str) -> Iterator[Figure]:
        """PUT and GET of each size; the objects to be read were written by `whole` or by the PUT before."""
        for size in self._sizes:
            if size is not SMALL:
                yield self.get(size, label)
            yield self.put(size, chunked=True, label=label)
            if size is SMALL:
                yield self.get(size, label)

    def put(self, size: Size, *, chunked: bool, label: str = "") -> Figure:
        """PUT of distinct objects, by signed chunks or with the whole body's SHA-256."""
        body = self._body(size)
        name = f"PUT {size.label}{label}" + ("" if chunked else ", SHA-256")
        jobs = [self._target.put(i, _key(size, i), body, chunked=chunked) for i in range(self._count(size))]
        return self._measured(name, jobs, size.workers, size.bytes)

    def get(self, size: Size, label: str = "") -> Figure:
        """GET of what `put` wrote, each once."""
        jobs = [self._target.get(i, _key(size, i), size.bytes) for i in range(self._count(size))]
        return self._measured(f"GET {size.label}{label}", jobs, size.workers, size.bytes)

    def lone(self) -> Iterator[Figure]:
        """One request at a time: what a single user waits for."""
        count, body = max(20, int(300 * self._scale)), self._body(SMALL)
        yield self._alone(
            "lone PUT 4 KiB", [self._target.put(i, f"lone/{i}", body, chunked=True) for i in range(count)]
        )
        yield self._alone("lone HEAD", [self._target.head(i, f"lone/{i}") for i in range(count)])
        yield self._alone(
            "lone GET 4 KiB", [self._target.get(i, f"lone/{i}", SMALL.bytes) for i in range(count)]
        )
        large, few = self._sizes[0], max(2, int(10 * self._scale))
        jobs = [self._target.get(i, _key(large, i % self._count(large)), large.bytes) for i in range(few)]
        yield self._measured(f"lone GET {large.label}", jobs, 1, large.bytes)

    def _fill_list(self) -> None:
        body = Body(b"")
        jobs = [self._target.put(i, _listed(i), body, chunked=False) for i in range(self._keys)]
        with Driver(self._target.addresses, SMALL_WORKERS) as driver:
            run = driver.run(jobs)
        assert not run.failures, f"{run.failures} of {self._keys} keys for the list could not be made"

    def _list(self) -> Figure:
        rounds = max(1, int(5 * self._scale))
        afters = ["", *(_listed(at - 1) for at in range(PAGE_KEYS, self._keys, PAGE_KEYS))]
        jobs = [self._target.page(i, "list/", after) for i, after in enumerate(afters * rounds)]
        return self._alone("LIST 1,000 keys", jobs)

    def _operations(self, name: str, jobs: Sequence[Job]) -> Figure:
        return self._measured(name, jobs, SMALL_WORKERS, 0)

    def _alone(self, name: str, jobs: Sequence[Job]) -> Figure:
        return self._measured(name, jobs, 1, 0)

    def _measured(self, name: str, jobs: Sequence[Job], workers: int, body_bytes: int) -> Figure:
        return measured(self._server, name, jobs, workers=workers, body_bytes=body_bytes)

    def _count(self, size: Size) -> int:
        return max(size.workers, int(size.count * self._scale))

    def _body(self, size: Size) -> Body:
        return Body(self._seed[: size.bytes])


def measured(server: Server, name: str, jobs: Sequence[Job], *, workers: int, body_bytes: int) -> Figure:
    """Runs the jobs over as many connections; bodies of `body_bytes` each, 0 where they do not count."""
    pids = tree(server.pids)
    with Driver(server.target.addresses, workers) as driver:
        server_s, client_s = cpu_s(pids), time.process_time()
        run = driver.run(jobs)
        spent = Spent(cpu_s(pids) - server_s, time.process_time() - client_s)
    return figure(name, run, spent, workers=workers, body_bytes=body_bytes)


def figure(name: str, run: Run, spent: Spent, *, workers: int, body_bytes: int) -> Figure:
    """The line of one run: rates over its wall time, percentiles over its jobs."""
    count = len(run.samples)
    per_mb = body_bytes >= MIB
    amount = count * body_bytes / MB if per_mb else count
    return Figure(
        name=name,
        workers=workers,
        operations=count,
        failures=run.failures,
        mb_s=count * body_bytes / MB / run.wall_s,
        operations_s=count / run.wall_s,
        p50_ms=percentile([s.whole_s for s in run.samples], 50) * 1e3,
        p99_ms=percentile([s.whole_s for s in run.samples], 99) * 1e3,
        first_byte_p50_ms=percentile([s.first_byte_s for s in run.samples], 50) * 1e3,
        cpu_ms=spent.server_s / amount * 1e3,
        cpu_unit="MB" if per_mb else "op",
        client_cpu_ms=spent.client_s / amount * 1e3,
    )


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that `percent` of them do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, -(-len(ordered) * percent // 100) - 1)]


def _key(size: Size, number: int) -> str:
    return f"{size.label.replace(' ', '')}/{number:06}"


def _listed(number: int) -> str:
    return f"list/{number:08}"
