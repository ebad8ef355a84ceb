"""Owns the proof that children are watched: heard, started again with longer pauses, ended in time, never left over."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from s3d.children import PAUSE_LAST_S, STEADY_AFTER_S, Children, Program, pause_s
from tests.integration.cluster import wait_until

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0  # of a machine that does other things as well
LONG = "import signal; signal.pause()"
DEAF = "import signal, os; signal.signal(15, signal.SIG_IGN); print(os.getpid(), flush=True); signal.pause()"


def program(code: str, name: str = "child") -> Program:
    return Program(name, ("-c", code), dict(os.environ))


@pytest.fixture
def children() -> Iterator[Children]:
    made = Children()
    yield made
    made.stop(grace_s=0)


def pid_of(children: Children) -> int:
    process = children._children[0].process
    assert process
    return process.pid


def tend_until(children: Children, now_s: float) -> list[str]:
    return list(wait_until(lambda: children.tend(now_s), within_s=PATIENCE_S, what="a child ended"))


def test_pauses_grow_to_a_limit() -> None:
    assert [pause_s(ends) for ends in (1, 2, 3, 4)] == [0.25, 0.5, 1.0, 2.0]
    assert pause_s(100) == PAUSE_LAST_S


def test_a_child_is_ready_once_it_says_so(children: Children) -> None:
    assert children.all_ready()  # of nobody
    children.start(program(LONG), 0.0)
    assert not children.all_ready()
    children.heard(1)
    assert not children.all_ready()
    children.heard(pid_of(children))
    assert children.all_ready()


def test_a_killed_child_is_told_and_started_again_after_its_pause(children: Children) -> None:
    children.start(program(LONG, "node 1: gateway 0"), 0.0)
    first = pid_of(children)
    children.heard(first)
    os.kill(first, signal.SIGKILL)
    assert tend_until(children, 1.0) == [
        "node 1: gateway 0 was killed by signal 9; starting it again in 0.25 s"
    ]
    assert not children.all_ready()
    assert children.next_due_s() == 1.25
    assert children.tend(1.2) == []
    assert children.tend(1.25) == ["node 1: gateway 0 is started again"]
    assert pid_of(children) != first
    assert children.next_due_s() is None


def test_one_that_ends_again_and_again_waits_longer_and_is_forgiven(children: Children) -> None:
    children.start(program("raise SystemExit(7)"), 0.0)
    assert tend_until(children, 0.0) == ["child ended with status 7; starting it again in 0.25 s"]
    children.tend(0.25)
    assert tend_until(children, 0.25) == ["child ended with status 7; starting it again in 0.5 s"]
    children.tend(0.75)
    steady_s = 0.75 + STEADY_AFTER_S
    assert tend_until(children, steady_s) == ["child ended with status 7; starting it again in 0.25 s"]


def test_a_refused_configuration_is_not_tried_again(children: Children) -> None:
    children.start(program("raise SystemExit(2)"), 0.0)
    with pytest.raises(SystemExit) as caught:
        tend_until(children, 0.0)
    assert caught.value.code == 2


def test_one_that_has_served_is_started_again_even_then(children: Children) -> None:
    """Somebody edits cluster.toml while it runs: that must not take down the nodes that still serve."""
    children.start(program("import time; time.sleep(0.2); raise SystemExit(2)"), 0.0)
    children.heard(pid_of(children))
    assert tend_until(children, 0.0) == ["child ended with status 2; starting it again in 0.25 s"]


def test_stop_asks_then_kills(children: Children) -> None:
    children.start(program(LONG, "willing"), 0.0)
    assert children.stop(grace_s=PATIENCE_S) == []
    children.start(program(DEAF.replace("print", "(lambda *_, **__: None)"), "deaf"), 0.0)
    deaf = children._children[0].process
    assert deaf
    wait_until(lambda: ignores_term(deaf.pid), within_s=PATIENCE_S, what="the deaf child is deaf")
    started_s = time.monotonic()
    assert children.stop(grace_s=0.2) == ["deaf"]
    assert time.monotonic() - started_s < PATIENCE_S
    assert children.tend(0.0) == []


def ignores_term(pid: int) -> bool:
    """Whether the bit of SIGTERM is set in the ignored signals of a process: proc(5)."""
    words = Path(f"/proc/{pid}/status").read_text().split()
    return bool(int(words[words.index("SigIgn:") + 1], 16) >> (signal.SIGTERM - 1) & 1)


def test_children_end_with_a_parent_that_is_killed() -> None:
    launcher = f"""
import os, time
from s3d.children import Children, Program
children = Children()
children.start(Program("child", ("-c", {DEAF!r}), dict(os.environ)), 0.0)
time.sleep(100)
"""
    environment = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", launcher], env=environment, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        parent.kill()
    wait_until(
        lambda: not Path(f"/proc/{child}").exists() or is_zombie(child),
        within_s=PATIENCE_S,
        what="the child is gone",
    )


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_child_that_found_damage_ends_all_of_it_though_it_has_served(children: Children) -> None:
    children.start(program("raise SystemExit(3)"), 0.0)
    children.heard(pid_of(children))
    with pytest.raises(SystemExit) as ended:
        tend_until(children, 1.0)
    assert ended.value.code == 3
