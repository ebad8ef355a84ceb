"""Owns snapshots as files in folders: whole under their names or not there, the newest N of them; never their bytes."""

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import BinaryIO, Final

from s3d.metadata import damage
from s3d.metadata.snapshot import write_snapshot
from s3d.metadata.state import State, StateDamagedError
from s3d.metadata.view import View
from shardd.contract.folders import sync_folder

FOLDER: Final = "snapshots"  # in each node's
SUFFIX: Final = ".snapshot"
UNFINISHED: Final = ".unfinished"

log = logging.getLogger(__name__)


def save(view: View, folders: Sequence[Path], *, now_us: int, rest: Callable[[], None]) -> list[Path]:
    """A snapshot of a state in each of `folders` that takes it: synced, then named. The files that there are then.

    `rest` is called between pieces, so that the caller may give way to others. Raises RowError where the state is
    damaged, OSError where no folder takes it.
    """
    name = f"{now_us:016d}-{view.applied().index}{SUFFIX}"
    with closing(_Tee(folders, name)) as tee:

        def write(data: bytes) -> None:
            tee.write(data)
            rest()

        write_snapshot(view, write, now_us=now_us)
        return tee.finish()


def stored(folders: Iterable[Path]) -> list[Path]:
    """The snapshots of all folders, newest first: of the highest command, as clocks may have been set back since.

    A disk that cannot be read hides none of the others'.
    """
    found: list[Path] = []
    for folder in folders:
        with suppress(OSError):
            found += folder.glob(f"*{SUFFIX}")
    return sorted(found, key=lambda path: (index(path), path.name, str(path)), reverse=True)


def newest_us(folders: Iterable[Path]) -> int:
    """When the newest snapshot of all folders was made, us since 1970; 0 where there is none."""
    return next(map(made_us, stored(folders)), 0)


def made_us(path: Path) -> int:
    """When a snapshot was made, us since 1970, as its name says; 0 where it says nothing."""
    number = path.name.partition("-")[0]
    return int(number) if number.isdigit() else 0


def index(path: Path) -> int:
    """The last command that is in a snapshot, as its name says; 0 where it says nothing."""
    number = path.stem.partition("-")[2]
    return int(number) if number.isdigit() else 0


def refuse_older(state: State, folders: Iterable[Path]) -> None:
    """Raises StateDamagedError where a snapshot has commands that `state` lacks: it is an older copy of itself.

    They are looked for first: who meets one that another process has just made finds the commands in it, too.
    """
    newest = next(iter(stored(folders)), None)
    if newest is None:
        return
    with state.view() as view:
        stands = view.applied().index
    if index(newest) > stands:
        older = damage.OLDER.format(stands, newest, index(newest))
        raise StateDamagedError(f"the metadata in {state.path} {older}")


def prune(folders: Iterable[Path], *, keep: int) -> None:
    """Leave the newest `keep` snapshots of each folder, and nothing of those that were never finished."""
    for folder in folders:
        try:
            for path in [*folder.glob(f"*{UNFINISHED}"), *stored([folder])[keep:]]:
                path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s keeps what it has of snapshots: %s", folder, error)


class _Tee:
    """The same bytes into a file of each folder; a folder that fails is given up, unless it is the last."""

    def __init__(self, folders: Sequence[Path], name: str) -> None:
        self._name = name
        self._files: dict[Path, BinaryIO] = {}
        self._fault: OSError | None = None
        for folder in folders:
            try:
                folder.mkdir(mode=0o700, exist_ok=True)
                self._files[folder] = (folder / (name + UNFINISHED)).open("wb")
            except OSError as error:
                self._give_up(folder, error)
        self._need_one()

    def write(self, data: bytes) -> None:
        self._each(lambda _, file: file.write(data))

    def finish(self) -> list[Path]:
        self._each(self._name_it)
        return [folder / self._name for folder in self._files]

    def close(self) -> None:
        """Leave nothing of what was not finished: a disk that is full needs the room."""
        for folder in list(self._files):
            self._drop(folder)

    def _name_it(self, folder: Path, file: BinaryIO) -> None:
        file.flush()
        os.fsync(file.fileno())
        (folder / (self._name + UNFINISHED)).replace(folder / self._name)
        sync_folder(folder)

    def _each(self, work: Callable[[Path, BinaryIO], object]) -> None:
        for folder, file in list(self._files.items()):
            try:
                work(folder, file)
            except OSError as error:
                self._give_up(folder, error)
        self._need_one()

    def _give_up(self, folder: Path, error: OSError) -> None:
        log.warning("%s takes no snapshot: %s", folder, error)
        self._fault = error
        self._drop(folder)

    def _drop(self, folder: Path) -> None:
        if (file := self._files.pop(folder, None)) is None:
            return
        for step in (file.close, (folder / (self._name + UNFINISHED)).unlink):
            # The rest of a buffer is refused once more; what is finished has its name.
            with suppress(OSError):
                step()

    def _need_one(self) -> None:
        if not self._files:
            raise self._fault or OSError("there is no folder for a snapshot")
