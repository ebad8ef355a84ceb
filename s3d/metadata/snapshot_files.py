"""Owns snapshots as files in folders: whole under their names or not there, the newest N of them; never their bytes."""

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

from s3d.metadata import damage
from s3d.metadata.disks import Disks
from s3d.metadata.snapshot import write_snapshot
from s3d.metadata.state import State, StateDamagedError
from s3d.metadata.view import View
from shardd.contract.folders import sync_folder

FOLDER: Final = "snapshots"  # in each node's
SUFFIX: Final = ".snapshot"
UNFINISHED: Final = ".unfinished"
PIECE_BYTES: Final = 1 << 20  # of one step
SYNC_BYTES: Final = 64 << 20  # after which a file is synced, so that the last step is no longer than others
LET_GO_S: Final = 10.0  # in which what is not finished goes from each folder, or stays for the next time

Rest = Callable[[], None]

log = logging.getLogger(__name__)


def save(
    view: View, folders: Sequence[Path], *, now_us: int, rest: Rest, disks: Disks | None = None
) -> list[Path]:
    """A snapshot of a state in each of `folders` that takes it: synced, then named. The files that there are then.

    `rest` is called between pieces and while a disk keeps it waiting, so that the caller may give way to others. Raises
    RowError where the state is damaged, OSError where no folder takes it.
    """
    name = f"{now_us:016d}-{view.applied().index}{SUFFIX}"
    with closing(_Tee(folders, name, disks=disks or Disks(), rest=rest)) as tee:
        tee.open()

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


def prune(
    folders: Iterable[Path], *, keep: int, rest: Rest = lambda: None, disks: Disks | None = None
) -> None:
    """Leave the newest `keep` snapshots of each folder, and nothing of those that were never finished."""
    faults = (disks or Disks()).each(folders, partial(_prune, keep=keep), rest=rest)
    for folder, error in faults.items():
        log.warning("%s keeps what it has of snapshots: %s", folder, error)


def _prune(folder: Path, *, keep: int) -> None:
    for path in [*folder.glob(f"*{UNFINISHED}"), *stored([folder])[keep:]]:
        path.unlink(missing_ok=True)


class _Copy:
    """The file of one folder; each step of it in one thread. Of one that is `given_up` the last step cleans up."""

    def __init__(self, folder: Path, name: str) -> None:
        self._named = folder / name
        self._unfinished = folder / (name + UNFINISHED)
        self._file: BinaryIO | None = None
        self._unsynced_bytes = 0
        self.given_up = False

    def open(self) -> None:
        self._named.parent.mkdir(mode=0o700, exist_ok=True)
        self._file = self._unfinished.open("wb")

    def write(self, data: bytes) -> None:
        assert self._file is not None
        self._file.write(data)
        self._unsynced_bytes += len(data)
        if self._unsynced_bytes >= SYNC_BYTES:
            self._sync(self._file)

    def finish(self) -> None:
        assert self._file is not None
        self._sync(self._file)
        self._unfinished.replace(self._named)
        sync_folder(self._named.parent)

    def drop(self) -> None:
        """Close it, and leave nothing of what was not finished."""
        if self._file is None:
            return
        for step in (self._file.close, self._unfinished.unlink):
            # The rest of a buffer is refused once more; what is finished has its name.
            with suppress(OSError):
                step()
        self._file = None

    def _sync(self, file: BinaryIO) -> None:
        file.flush()
        os.fsync(file.fileno())
        self._unsynced_bytes = 0


class _Tee:
    """The same bytes into a file of each folder; a folder that fails or hangs is given up, unless it is the last."""

    def __init__(self, folders: Sequence[Path], name: str, *, disks: Disks, rest: Rest) -> None:
        self._name = name
        self._disks = disks
        self._rest = rest
        self._copies = {folder: _Copy(folder, name) for folder in folders}
        self._pieces: list[bytes] = []
        self._size_bytes = 0
        self._fault: OSError | None = None

    def open(self) -> None:
        self._each(_Copy.open)

    def write(self, data: bytes) -> None:
        self._pieces.append(data)
        self._size_bytes += len(data)
        if self._size_bytes >= PIECE_BYTES:
            self._flush()

    def finish(self) -> list[Path]:
        self._flush()
        self._each(_Copy.finish)
        return [folder / self._name for folder in self._copies]

    def close(self) -> None:
        """Leave nothing of what was not finished: a disk that is full needs the room."""
        self._drop(list(self._copies))

    def _flush(self) -> None:
        data = b"".join(self._pieces)
        self._pieces, self._size_bytes = [], 0
        self._each(lambda copy: copy.write(data))

    def _each(self, step: Callable[[_Copy], None]) -> None:
        copies = self._copies.copy()

        def do(folder: Path) -> None:
            try:
                step(copies[folder])
            finally:
                if copies[folder].given_up:
                    copies[folder].drop()

        faults = self._disks.each(copies, do, rest=self._rest)
        for folder, error in faults.items():
            log.warning("%s takes no snapshot: %s", folder, error)
            self._fault = error
        self._drop(faults)
        if not self._copies:
            raise self._fault or OSError("there is no folder for a snapshot")

    def _drop(self, folders: Iterable[Path]) -> None:
        copies = {folder: self._copies.pop(folder) for folder in folders}
        for copy in copies.values():
            copy.given_up = True
        self._disks.each(copies, lambda folder: copies[folder].drop(), patience_s=LET_GO_S)
