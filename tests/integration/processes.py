"""Owns what /proc says of the processes of a live cluster; never starts or ends one."""

from pathlib import Path


def children(pid: int) -> list[int]:
    """The processes that this one started and that live; none where it does not live itself."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def command_line(pid: int) -> list[str]:
    """The words of its command; none where it does not live."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def group_lives(group: int) -> bool:
    """Whether a process of the group is more than a zombie that its new parent has not collected yet."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _, found = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            if int(found) == group and state != "Z":
                return True
    return False
