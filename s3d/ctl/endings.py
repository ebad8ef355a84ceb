"""Owns how a command ends that somebody interrupts: by which signals, with which status."""

import asyncio
import signal
from typing import Final

INTERRUPTED: Final = 130  # as shells say it of Ctrl-C


def end_with_signals() -> None:
    """SIGTERM and SIGHUP end the running task as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
