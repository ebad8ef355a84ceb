"""Owns what /proc says of a group of processes; never starts or ends one."""

from pathlib import Path


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
