"""Owns which one of a machine's processes leads: a lock on a file (flock), let go with the process."""

import fcntl
import os
from pathlib import Path


class Leadership:
    """One file, one leader. The kernel gives the lock back when its holder dies, however it dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def lead(self) -> bool:
        """Is this process the leader, or does it become it now? Never waits. OSError where the file cannot be made."""
        if self._descriptor is not None:
            return True
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def resign(self) -> None:
        """Let another lead."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
