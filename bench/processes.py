"""Owns what /proc says of a server's processes: CPU time and memory of whole trees; never starts or stops one."""

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident (RSS) and proportional (PSS) bytes of all processes together, and the largest PSS of one."""

    rss_bytes: int
    pss_bytes: int
    largest_pss_bytes: int


def tree(roots: Sequence[int]) -> list[int]:
    """These processes and all their living descendants."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = list[int](), list(roots)
    while waiting:
        pid = waiting.pop()
        if pid not in found and (PROC / str(pid)).exists():
            found.append(pid)
            waiting += children.get(pid, [])
    return sorted(found)


def cpu_s(pids: Sequence[int]) -> float:
    """Seconds of CPU, user and system, that these processes have used and, by them, their dead children."""
    ticks = 0
    for pid in pids:
        if fields := _stat(pid):
            ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS_A_SECOND


def memory(pids: Sequence[int]) -> Memory:
    """What they hold now. A process that ends meanwhile counts nothing."""
    resident = [_resident(pid) for pid in pids]
    shares = [_proportional(pid) for pid in pids]
    return Memory(sum(resident), sum(shares), max(shares, default=0))


class PeakMemory:
    """Samples the memory of processes in a thread of its own until it is left; `peak` is the highest of each figure."""

    def __init__(self, pids: Sequence[int], *, interval_s: float = 0.5) -> None:
        self._pids, self._interval_s = pids, interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.peak = memory(pids)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(self._interval_s):
            self.peak = highest(self.peak, memory(self._pids))


def highest(one: Memory, other: Memory) -> Memory:
    """The higher of each figure."""
    return Memory(
        max(one.rss_bytes, other.rss_bytes),
        max(one.pss_bytes, other.pss_bytes),
        max(one.largest_pss_bytes, other.largest_pss_bytes),
    )


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name: state, parent, ...; empty where the process is gone."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _resident(pid: int) -> int:
    try:
        return int((PROC / str(pid) / "statm").read_text().split()[1]) * PAGE_SIZE
    except OSError:
        return 0


def _proportional(pid: int) -> int:
    try:
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
