"""Owns what strace does to a running process: calls that fail, come short, wait or kill, and which calls there were."""

import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.cluster import wait_until
from tests.integration.programs.program import find

ATTACHED_WITHIN_S = 10.0
BEGUN = re.compile(r"^(\d+) +[\d.]+ (\w+)\((.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Step:
    """A thread's `number`-th call of this name, from 1, since the tracer came."""

    call: str
    number: int

    @property
    def death(self) -> str:
        """The fault that kills whoever comes to this step, before the kernel does what was asked."""
        return f"{self.call}:signal=KILL:when={self.number}"


@contextmanager
def injecting(
    pid: int, *faults: str, log: Path = Path("/dev/null"), beside: Sequence[str] = ()
) -> Iterator[None]:
    """Until the end of the block these happen to all threads of the process: `fdatasync:error=EIO` (strace(1), inject).

    `log` gets a line of each call, and of those `beside` them, its thread and time in front; those that were tampered
    with say INJECTED.
    """
    calls = ",".join(sorted({*beside, *(fault.partition(":")[0] for fault in faults)}))
    command = [str(find("strace")), "-f", "-qq", "-ttt", "-e", f"trace={calls}", "-o", str(log)]
    for fault in faults:
        command += ["-e", f"inject={fault}"]
    tracer = subprocess.Popen([*command, "-p", str(pid)], stderr=subprocess.PIPE)
    try:
        wait_until(
            lambda: _traced(pid) or tracer.poll() is not None,
            within_s=ATTACHED_WITHIN_S,
            what="strace is attached",
        )
        if tracer.poll() is not None:
            pytest.skip(f"strace may not be used here: {tracer.communicate()[1].decode()}")
        yield
    finally:
        tracer.terminate()
        tracer.communicate()


def _traced(pid: int) -> bool:
    return "TracerPid:\t0" not in Path(f"/proc/{pid}/status").read_text()


def first_injected_s(log: Path) -> float | None:
    """When, in seconds since 1970, the first call was tampered with; None as long as none was."""
    for line in log.read_text().splitlines() if log.exists() else ():
        if "INJECTED" in line:
            return float(line.split()[1])
    return None


def steps_in(log: Path, *, about: str = "") -> list[Step]:
    """The calls that were begun, in order, of whatever thread; only those with `about` in their arguments."""
    counts: Counter[tuple[str, str]] = Counter()
    steps: dict[Step, None] = {}
    for thread, call, arguments in BEGUN.findall(log.read_text()):
        counts[thread, call] += 1
        if about in arguments:
            steps.setdefault(Step(call, counts[thread, call]))
    return list(steps)
