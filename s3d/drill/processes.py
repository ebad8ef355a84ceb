"""Owns what a drill reads of /proc: the children of a process and their command lines; never signals any."""

from collections.abc import Iterator
from pathlib import Path


def descendants(pid: int) -> Iterator[int]:
    """The living children of `pid`, and theirs."""
    try:
        words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for word in words:
        yield int(word)
        yield from descendants(int(word))


def command_line(pid: int) -> list[str]:
    """Its words; none where the process is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []
