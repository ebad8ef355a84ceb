"""What /proc says of processes that the test starts itself."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from bench.processes import Memory, PeakMemory, cpu_s, highest, memory, tree
from bench.targets import CPU_GOALS, RATE_GOALS, Goal, Ratios

MB = 1_000_000
CHILD = "import sys; data = bytearray(b'x' * 50_000_000); sum(range(5_000_000)); print(flush=True); sys.stdin.read()"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"


@pytest.fixture
def parent() -> Iterator[int]:
    """A process with one busy child of 50 MB; both end when the pipe does."""
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid


def test_a_tree_has_the_children_and_their_cpu_and_memory(parent: int):
    pids = tree([parent])
    assert len(pids) == 2 and parent in pids
    assert cpu_s(pids) > cpu_s([parent])
    held = memory(pids)
    assert held.rss_bytes > 50 * MB and held.rss_bytes >= held.pss_bytes > held.largest_pss_bytes > 50 * MB


def test_processes_that_are_gone_count_nothing(parent: int):
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    assert tree([gone.pid]) == [] and cpu_s([gone.pid]) == 0 and memory([gone.pid]) == Memory(0, 0, 0)


def test_the_peak_is_never_below_what_was_there(parent: int):
    with PeakMemory([parent], interval_s=0.01) as watch:
        before = memory([parent])
    assert watch.peak.rss_bytes >= before.rss_bytes
    assert highest(Memory(1, 5, 2), Memory(3, 4, 1)) == Memory(3, 5, 2)


def test_targets_scale_with_the_machine():
    slow = Ratios(put=2.0, get=1.5, disk=3.0)
    assert slow.scaled(CPU_GOALS["PUT 64 MiB"]) == pytest.approx(13.2)
    assert slow.scaled(CPU_GOALS["GET 4 KiB"]) == pytest.approx(1.125)
    assert slow.scaled(RATE_GOALS["PUT 4 KiB"]) == 250.0
    assert slow.scaled(Goal(5.0, 4.0, "disk")) == 15.0
