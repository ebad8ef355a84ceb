"""Owns which processes of this machine have the state open, and which of those stand still; never stops one.

One that stands still may hold its writer's turn; as long as there is one, the state is not replaced.
"""

from pathlib import Path

STOPPED = ("T", "t")  # proc(5): stopped by a signal, or by a debugger


def stopped_holders(state: Path, proc: Path = Path("/proc")) -> list[int]:
    """The ids of stopped processes that have a file of the folder `state` open. Looks at every process: not often."""
    return _holders(state, proc, runs=STOPPED)


def holders(state: Path, proc: Path = Path("/proc")) -> list[int]:
    """The ids of all processes that have a file of the folder `state` open, however they run."""
    return _holders(state, proc, runs=())


def _holders(state: Path, proc: Path, *, runs: tuple[str, ...]) -> list[int]:
    found, state = [], state.resolve()  # as the kernel names what is open
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            run = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            if (not runs or run in runs) and any(
                Path(link).parent == state for link in map(_target, (entry / "fd").iterdir())
            ):
                found.append(int(entry.name))
        except OSError:  # it has ended, or is somebody else's
            continue
    return sorted(found)


def _target(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except OSError:
        return ""
