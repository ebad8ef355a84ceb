"""Owns the tie of a process to its parent: the kernel kills it when its parent dies; never starts one."""

import ctypes
import os
import signal
from collections.abc import Callable
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def to_this_process() -> Callable[[], None]:
    """What a child of this process calls between fork and exec (`preexec_fn`), so that it does not outlive it.

    The kernel watches the thread that forks: start such a child in one that lives as long as the process (prctl(2)).
    """
    parent = os.getpid()

    def tie() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the kernel was asked to watch
            os._exit(1)

    return tie
