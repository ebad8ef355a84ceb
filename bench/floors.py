"""Owns the machine's own floors: what hashing, HTTP, the disk and QUIC cost here with no store; never meets one."""

import hashlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.drive import Driver, Job
from bench.http1 import request_head
from bench.measure import MB, percentile
from bench.processes import cpu_s

PROBE = Path(__file__).resolve().parents[2] / "shared" / "tools" / "datapath_probe.py"
PROBE_S_MAX = 120.0
SYNCS = 300
HASHED_BYTES = 64 << 20
PROBE_LINE = re.compile(
    r"(?P<rate>[0-9]+)(?: MB)?/s, gateway (?P<gateway>[0-9.]+) \+ servers (?P<servers>[0-9.]+) ms"
)


@dataclass(frozen=True, slots=True)
class Floor:
    """One floor: CPU milliseconds per MB or operation (0 where it is a latency), its rate, and in words of what."""

    name: str
    cpu_ms: float
    rate: float
    unit: str

    def __str__(self) -> str:
        return f"{self.name}: {self.rate:,.2f} {self.unit}, CPU {self.cpu_ms:.2f} ms"


def hashes() -> Iterator[Floor]:
    """MD5 and SHA-256 of one big buffer, on one core."""
    data = os.urandom(HASHED_BYTES)
    for name in ("md5", "sha256"):
        start = time.process_time()
        hashlib.new(name, data, usedforsecurity=False).digest()
        took_s = time.process_time() - start
        yield Floor(name.upper(), took_s / (len(data) / MB) * 1e3, len(data) / MB / took_s, "MB/s")


def disk(folder: Path) -> Floor:
    """The p50 of a synced 4 KiB append to a preallocated file in `folder`, as milliseconds in `rate`."""
    path, block, took_s = folder / "floor", os.urandom(4096), list[float]()
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, SYNCS * len(block))
        for at in range(SYNCS):
            start = time.perf_counter()
            os.pwrite(descriptor, block, at * len(block))
            os.fdatasync(descriptor)
            took_s.append(time.perf_counter() - start)
    finally:
        os.close(descriptor)
        path.unlink()
    return Floor("4 KiB write + fdatasync, p50", 0.0, percentile(took_s, 50) * 1e3, "ms")


def loopback() -> Iterator[Floor]:
    """HTTP/1.1 over loopback with the bench's own client: bodies of 64 MiB and of 4 KiB from a bare server."""
    for label, size, workers, count in (("64 MiB", 64 << 20, 4, 24), ("4 KiB", 4096, 16, 4_000)):
        command = [sys.executable, "-m", "bench.loopback", str(size)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            try:
                address = ("127.0.0.1", int(server.stdout.readline()))
                job = Job(0, (request_head("GET", "/", [("Host", "floor")]),))
                with Driver([address], workers) as driver:
                    before_s = cpu_s([server.pid])
                    run = driver.run([job] * count)
                    spent_s = cpu_s([server.pid]) - before_s
            finally:
                server.kill()
        whole = size >= 1 << 20
        amount = count * size / MB if whole else count
        name = f"loopback HTTP GET {label}"
        yield Floor(name, spent_s / amount * 1e3, amount / run.wall_s, "MB/s" if whole else "/s")


def probe() -> Iterator[Floor]:
    """The same path without the store's logic, where the probe is at hand; nothing where it is not."""
    if not PROBE.exists():
        return
    for what, name in (
        ("get", "probe GET"),
        ("put", "probe PUT"),
        ("small", "probe PUT 4 KiB, five synced shards"),
    ):
        done = subprocess.run(
            [sys.executable, PROBE, what, "192"],
            capture_output=True,
            text=True,
            timeout=PROBE_S_MAX,
            check=False,
        )
        found = list(PROBE_LINE.finditer(done.stdout))
        if not found:
            print(f"the probe said nothing of {what}: {done.stderr.strip()[-300:]}", file=sys.stderr)
            continue
        last = found[-1]  # the first pass warms it up
        cpu_ms = float(last["gateway"]) + float(last["servers"])
        yield Floor(name, cpu_ms, float(last["rate"]), "/s" if what == "small" else "MB/s")


def every(folder: Path) -> Iterator[Floor]:
    """All floors, in the order of the table."""
    yield from hashes()
    yield disk(folder)
    yield from loopback()
    yield from probe()
