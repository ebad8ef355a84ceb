"""Owns what strace does to a running process: calls that fail, come short, wait or kill, and which calls there were."""

import os
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pytest

from s3d.drill.processes import command_line
from tests.integration.cluster import wait_until
from tests.integration.programs.program import find

ATTACHED_WITHIN_S = 60.0
DETACHED_WITHIN_S, DETACHED_FROM_DEAD_WITHIN_S = 30.0, 2.0
ABSENT = "No such process"
SAID_MAX = 1 << 20  # bytes, of what strace says about itself
BEGUN = re.compile(r"^(\d+) +[\d.]+ (\w+)\(", re.MULTILINE)


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
    pids: int | Sequence[int],
    *faults: str,
    log: Path = Path("/dev/null"),
    beside: Sequence[str] = (),
) -> Iterator[None]:
    """Until the end of the block these happen to all threads of the processes: `fdatasync:error=EIO` (strace, inject).

    `log` gets a line of each call, and of those `beside` them, its thread and time in front; those that were tampered
    with say INJECTED.
    """
    calls = ",".join(sorted({*beside, *(fault.partition(":")[0] for fault in faults)}))
    command = [str(find("strace")), "-f", "--quiet=exit", "-ttt", "-e", f"trace={calls}", "-o", str(log)]
    for fault in faults:
        command += ["-e", f"inject={fault}"]
    victims = [pids] if isinstance(pids, int) else pids
    for pid in victims:
        command += ["-p", str(pid)]
    with tempfile.TemporaryFile() as file:
        tracer = subprocess.Popen(command, stderr=file)
        try:
            said = wait_until(
                lambda: _said(file, victims, is_over=tracer.poll() is not None),
                within_s=ATTACHED_WITHIN_S,
                what="strace is attached",
            )
            if tracer.poll() and ABSENT not in said:
                pytest.skip(f"strace may not be used here: {said}")
            yield
        finally:
            _end(tracer, victims)


def _said(file: BinaryIO, victims: Sequence[int], *, is_over: bool) -> str:
    """What the tracer said once it has come to all of them, or ended; nothing before.

    The kernel names it as theirs a moment before it stops them: what they do in between it would not see.
    """
    said = os.pread(file.fileno(), SAID_MAX, 0).decode()
    has_come = (f"Process {pid} attached" in said or f" {pid}): {ABSENT}" in said for pid in victims)
    return (said or "nothing") if is_over or all(has_come) else ""


def _end(tracer: subprocess.Popen[bytes], victims: Sequence[int]) -> None:
    """It may wait for ever for a thread of a process that it killed, which is no whole corpse as long as it does.

    One that lives would see a call fail that was tampered with, had the tracer no time to let go of it in order.
    """
    tracer.terminate()
    try:
        live = all(map(command_line, victims))
        tracer.wait(DETACHED_WITHIN_S if live else DETACHED_FROM_DEAD_WITHIN_S)
    except subprocess.TimeoutExpired:
        tracer.kill()
        tracer.wait()


def first_injected_s(log: Path) -> float | None:
    """When, in seconds since 1970, the first call was tampered with; None as long as none was."""
    for line in log.read_text().splitlines() if log.exists() else ():
        if "INJECTED" in line:
            return float(line.split()[1])
    return None


def steps_in(log: Path, *, until: str = "") -> list[Step]:
    """The calls that were begun, in order, of whatever thread; up to the first whose line has `until` in it."""
    counts: Counter[tuple[str, str]] = Counter()
    steps: dict[Step, None] = {}
    before, found, last = log.read_text().partition(until) if until else (log.read_text(), "", "")
    for thread, call in BEGUN.findall(before + found + last.partition("\n")[0]):
        counts[thread, call] += 1
        steps.setdefault(Step(call, counts[thread, call]))
    return list(steps)
