"""Owns the child processes of a launcher: started, heard, started again after a pause, stopped in time.

Nothing here outlives the launcher: the kernel kills each child when its parent dies.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from shardd.contract.flags import EXIT_CONFIGURATION, EXIT_DAMAGED
from shardd.transport import ties

PAUSE_FIRST_S: Final = 0.25
PAUSE_LAST_S: Final = 10.0
STEADY_AFTER_S: Final = 30.0  # a child that lived this long is forgiven its earlier ends
POLL_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Program:
    """What a child runs. `holds` are descriptors that it keeps until its end."""

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    holds: tuple[int, ...] = ()


@dataclass(slots=True)
class Child:
    """One program and its process, if it has one now."""

    program: Program
    process: subprocess.Popen[bytes] | None = None
    ready: bool = False
    has_served: bool = False
    ends: int = 0
    started_s: float = 0.0
    due_s: float = field(default=0.0)


def pause_s(ends: int) -> float:
    """How long to wait before a program is started again after it ended `ends` times in a row."""
    return float(min(PAUSE_FIRST_S * 2 ** (ends - 1), PAUSE_LAST_S))


class Children:
    """All children of a launcher. Times are seconds of the monotonic clock, given by the caller."""

    def __init__(self) -> None:
        self._children: list[Child] = []

    def start(self, program: Program, now_s: float) -> None:
        """Starts `program`, and again whenever it ends, until `stop`."""
        child = Child(program)
        self._children.append(child)
        _spawn(child, now_s)

    def heard(self, process: int) -> None:
        """The child with this process id says that it serves."""
        for child in self._children:
            if child.process and child.process.pid == process:
                child.ready = child.has_served = True

    def all_ready(self) -> bool:
        """Whether each child serves now."""
        return all(child.ready for child in self._children)

    def tend(self, now_s: float) -> list[str]:
        """Takes note of children that ended, starts again those whose pause is over; gives a line for each event.

        Raises SystemExit with the child's status where one that never served refused its configuration, or one found
        the state damaged: it would again.
        """
        lines = []
        for child in self._children:
            if child.process and child.process.poll() is not None:
                lines.append(_bury(child, now_s))
            elif child.process is None and child.due_s <= now_s:
                _spawn(child, now_s)
                lines.append(f"{child.program.name} is started again")
        return lines

    def next_due_s(self) -> float | None:
        """When `tend` has something to start, if that is known."""
        return min((child.due_s for child in self._children if child.process is None), default=None)

    def stop(self, *, grace_s: float) -> list[str]:
        """Asks all children to end, waits at most `grace_s`, then kills; gives the names of those it killed."""
        running = [child for child in self._children if child.process]
        self._children = []
        return _stop(running, grace_s)


def _spawn(child: Child, now_s: float) -> None:
    program, tie = child.program, ties.to_this_process()

    def tie_to_launcher() -> None:
        """Runs in the child before its program does. Ctrl-C is for the launcher, which asks in the right order."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        tie()

    child.ready = False
    child.started_s = now_s
    child.process = subprocess.Popen(  # noqa: S603 - our own programs
        [sys.executable, *program.arguments],
        env=program.environment,
        pass_fds=program.holds,
        stdin=subprocess.DEVNULL,
        preexec_fn=tie_to_launcher,
    )


def _bury(child: Child, now_s: float) -> str:
    assert child.process is not None
    status = child.process.returncode
    if status == EXIT_DAMAGED or (status == EXIT_CONFIGURATION and not child.has_served):
        raise SystemExit(status)
    child.process, child.ready = None, False
    child.ends = child.ends + 1 if now_s - child.started_s < STEADY_AFTER_S else 1
    child.due_s = now_s + pause_s(child.ends)
    how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    return f"{child.program.name} {how}; starting it again in {pause_s(child.ends):g} s"


def _stop(children: Iterable[Child], grace_s: float) -> list[str]:
    left = [(child.program.name, child.process) for child in children if child.process]
    for _, process in left:
        process.terminate()
    deadline_s = time.monotonic() + grace_s
    while left and time.monotonic() < deadline_s:
        left = [(name, process) for name, process in left if process.poll() is None]
        time.sleep(POLL_S)
    for _, process in left:
        process.kill()
        process.wait()
    return [name for name, _ in left]
