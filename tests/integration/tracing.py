"""Owns the faults of system calls in a running process, by strace: errors, short counts, delays; not their meaning."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.cluster import wait_until
from tests.integration.programs.program import find

ATTACHED_WITHIN_S = 10.0


@contextmanager
def injecting(pid: int, *faults: str, log: Path = Path("/dev/null")) -> Iterator[None]:
    """Until the end of the block these happen to all threads of the process: `fdatasync:error=EIO` (strace(1), inject).

    `log` gets a line of each call, its time in front; those that were tampered with say INJECTED.
    """
    calls = ",".join({fault.partition(":")[0] for fault in faults})
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
