"""Owns which processes of this machine have the state open and stand still: one of them may hold its writer's turn."""

from pathlib import Path

STOPPED = ("T", "t")  # proc(5): stopped by a signal, or by a debugger


def stopped_holders(state: Path, proc: Path = Path("/proc")) -> list[int]:
    """The ids of stopped processes that have a file of the folder `state` open. Looks at every process: not often."""
    found = []
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            run = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            if run in STOPPED and any(
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
