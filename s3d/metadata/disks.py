"""Owns steps of work on several disks at once, of which any may hang and is given up then; never what the work is."""

import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

PATIENCE_S: Final = 60.0  # with one step, which is to be one of some MiB
LOOK_S: Final = 0.1

Work = Callable[[Path], object]


class Disks:
    """One thread a folder at most, also where a step hangs for good: no other begins there until it is over.

    The threads are daemons: what hangs keeps no process from its end, as far as the kernel lets it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._steps: dict[Path, _Step] = {}

    def each(
        self,
        folders: Iterable[Path],
        work: Work,
        *,
        rest: Callable[[], None] = lambda: None,
        patience_s: float = PATIENCE_S,
    ) -> dict[Path, OSError]:
        """Do `work` in each folder, at once: the faults of those where it failed, or took longer than `patience_s`.

        `rest` is called while it waits, and may raise; what is under way goes on by itself then.
        """
        folders = list(folders)
        faults = {folder: fault for folder in folders if (fault := self._begin(folder, work)) is not None}
        due_s = self._clock() + patience_s
        for folder in folders:
            if (
                folder not in faults
                and (fault := self._outcome(self._steps[folder], due_s, rest)) is not None
            ):
                faults[folder] = fault
        return faults

    def free(self, folders: Iterable[Path]) -> list[Path]:
        """Those in which nothing is under way."""
        return [folder for folder in folders if not self._is_busy(folder)]

    def _outcome(self, step: "_Step", due_s: float, rest: Callable[[], None]) -> OSError | None:
        while True:
            is_late = self._clock() >= due_s  # before the look, for it may have ended in time
            if step.is_over():
                return step.fault
            if is_late:
                return TimeoutError("it hangs")
            rest()

    def _is_busy(self, folder: Path) -> bool:
        return folder in self._steps and self._steps[folder].is_alive()

    def _begin(self, folder: Path, work: Work) -> OSError | None:
        if self._is_busy(folder):
            return TimeoutError("what was begun there hangs")
        step = self._steps[folder] = _Step(folder, work)
        try:
            step.start()
        except RuntimeError as error:
            return OSError(f"there is no thread for it: {error}")
        return None


class _Step(threading.Thread):
    """A step in one folder; `fault` is None once it came to its end."""

    def __init__(self, folder: Path, work: Work) -> None:
        super().__init__(name=f"a step in {folder}", daemon=True)
        self.fault: OSError | None = OSError("a step broke off")
        self._folder = folder
        self._work = work

    def run(self) -> None:
        try:
            self._work(self._folder)
            self.fault = None
        except OSError as error:
            self.fault = error

    def is_over(self) -> bool:
        """Waits for it a little."""
        self.join(LOOK_S)
        return not self.is_alive()
