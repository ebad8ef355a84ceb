"""Owns a file system in memory that forgets what was not synced; never more durable than the worst real one.

`Disk` is the state: what is durable, and what is pending on top of it, in order. `Disk.after_power_cut` gives one of
the states that a cut may leave: any part of the pending writes, torn between sectors, any of the pending changes of
size, any of the pending names. `SimFilesystem` is the engine's port over a disk and keeps the log of its calls, so
that a test can cut the power after each of them.
"""

import errno
import mmap
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from shardd.engine.filesystem import Room

SECTOR = 512
BLOCK = 4_096


@dataclass(slots=True)
class Inode:
    """One file: its durable bytes, and the writes and sizes since the last sync, in order."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes] | int] = field(default_factory=list)  # (offset, data), or a new size
    now: bytearray = field(default_factory=bytearray)

    def write(self, offset: int, data: bytes) -> None:
        _write(self.now, offset, data)
        self.pending.append((offset, data))

    def resize(self, size: int) -> None:
        _resize(self.now, size)
        self.pending.append(size)

    def sync(self) -> None:
        self.durable = bytearray(self.now)
        self.pending.clear()

    def after_power_cut(self, chance: Random) -> "Inode":
        left = bytearray(self.durable)
        mood = chance.random()
        for change in self.pending:
            kept = chance.random() < mood
            if isinstance(change, int):
                if kept:
                    _resize(left, change)
                continue
            offset, data = change
            for start in _sectors_left(len(data), chance, mood):
                piece = data[start : start + SECTOR]
                if offset + start + len(piece) <= len(left):
                    _write(left, offset + start, piece)
        return Inode(left, [], bytearray(left))


@dataclass(frozen=True, slots=True)
class NameChange:
    """A pending change of a folder: `new` names what `old` named, or a new file; `new` None: `old` is gone."""

    old: str | None
    new: str | None
    inode: Inode


class Disk:
    """Folders of named files; the state that a power cut hits."""

    def __init__(self) -> None:
        self.durable: dict[str, Inode] = {}
        self.now: dict[str, Inode] = {}
        self.pending: list[NameChange] = []
        self.folders: set[str] = set()

    def change_name(self, old: str | None, new: str | None, inode: Inode) -> None:
        change = NameChange(old, new, inode)
        _apply(self.now, change)
        self.pending.append(change)

    def sync_folder(self, folder: str) -> None:
        def inside(change: NameChange) -> bool:
            return str(Path(change.new or change.old or "").parent) == folder

        for change in self.pending:
            if inside(change):
                _apply(self.durable, change)
        self.pending = [change for change in self.pending if not inside(change)]

    def after_kill(self) -> "Disk":
        """What a new process finds when only the old one died: everything, durable or not."""
        copies: dict[int, Inode] = {}

        def copy(inode: Inode) -> Inode:
            if id(inode) not in copies:
                twin = Inode(bytearray(inode.durable), list(inode.pending), bytearray(inode.now))
                copies[id(inode)] = twin
            return copies[id(inode)]

        disk = Disk()
        disk.folders = set(self.folders)
        disk.durable = {name: copy(inode) for name, inode in self.durable.items()}
        disk.now = {name: copy(inode) for name, inode in self.now.items()}
        disk.pending = [NameChange(change.old, change.new, copy(change.inode)) for change in self.pending]
        return disk

    def after_power_cut(self, chance: Random) -> "Disk":
        """One of the states that may be found when the power is back; everything in it is durable."""
        names = dict(self.durable)
        mood = chance.random()
        in_order = chance.random() < 0.5  # as a journaling file system would: a prefix
        for change in self.pending:
            if chance.random() < mood:
                _apply(names, change)
            elif in_order:
                break
        survivors = {id(inode): inode.after_power_cut(chance) for inode in names.values()}
        disk = Disk()
        disk.folders = set(self.folders)
        disk.durable = {name: survivors[id(inode)] for name, inode in names.items()}
        disk.now = dict(disk.durable)
        return disk


class SimFile:
    """An open file of a simulated disk. Writes must be whole blocks in page-aligned memory, as O_DIRECT wants it."""

    def __init__(self, filesystem: "SimFilesystem", inode: Inode) -> None:
        self._filesystem = filesystem
        self._inode = inode

    def size(self) -> int:
        return len(self._inode.now)

    def read(self, size: int, offset: int) -> bytes:
        return bytes(self._inode.now[offset : offset + size])

    def write(self, data: memoryview, offset: int) -> int:
        assert isinstance(data.obj, mmap.mmap), "the memory of a write comes from area()"
        assert offset % BLOCK == 0, offset
        assert len(data) % BLOCK == 0, len(data)
        content = bytes(data)
        growth = max(0, offset + len(content) - len(self._inode.now))
        self._filesystem.take_room(growth)
        self._filesystem.call("write", lambda: self._inode.write(offset, content))
        return len(content)

    def allocate(self, size: int) -> None:
        if size > len(self._inode.now):
            self._filesystem.take_room(size - len(self._inode.now))
            self._filesystem.call("allocate", lambda: self._inode.resize(size))

    def truncate(self, size: int) -> None:
        self._filesystem.call("truncate", lambda: self._inode.resize(size))

    def datasync(self) -> None:
        self._filesystem.call("datasync", self._inode.sync)


class SimLock:
    """A name that one holder has."""

    def __init__(self, held: set[str], name: str) -> None:
        self._held, self._name = held, name

    def close(self) -> None:
        self._held.discard(self._name)


class SimFilesystem:
    """The engine's file system port over a `Disk`. `after_call` is called after each call that changes anything."""

    def __init__(self, disk: Disk | None = None, *, capacity_bytes: int = 1 << 40) -> None:
        self.disk = Disk() if disk is None else disk
        self.calls = 0
        self.counted: Counter[str] = Counter()
        self.after_call: Callable[[str], None] = lambda name: None
        self.capacity_bytes = capacity_bytes
        self._held: set[str] = set()

    def call(self, name: str, change: Callable[[], None]) -> None:
        change()
        self.calls += 1
        self.counted[name] += 1
        self.after_call(name)

    def take_room(self, size: int) -> None:
        if size > self._free():
            raise OSError(errno.ENOSPC, "the simulated disk is full")

    def create(self, path: Path) -> SimFile:
        if str(path) in self.disk.now:
            raise FileExistsError(path)
        inode = Inode()
        self.call("create", lambda: self.disk.change_name(None, str(path), inode))
        return SimFile(self, inode)

    def open(self, path: Path) -> SimFile:
        return SimFile(self, self._inode(path))

    def names(self, folder: Path) -> list[str]:
        return sorted(Path(name).name for name in self.disk.now if Path(name).parent == folder)

    def make_folder(self, folder: Path) -> None:
        self.disk.folders.add(str(folder))

    def rename(self, old: Path, new: Path) -> None:
        inode = self._inode(old)
        self.call("rename", lambda: self.disk.change_name(str(old), str(new), inode))

    def unlink(self, path: Path) -> None:
        inode = self._inode(path)
        self.call("unlink", lambda: self.disk.change_name(str(path), None, inode))

    def sync_folder(self, folder: Path) -> None:
        self.call("sync_folder", lambda: self.disk.sync_folder(str(folder)))

    def room(self, folder: Path) -> Room:
        return Room(self._free(), self.capacity_bytes)

    def lock(self, path: Path) -> SimLock:
        if str(path) in self._held:
            raise BlockingIOError(errno.EWOULDBLOCK, "held")
        self._held.add(str(path))
        return SimLock(self._held, str(path))

    def _inode(self, path: Path) -> Inode:
        try:
            return self.disk.now[str(path)]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, str(path)) from None

    def _free(self) -> int:
        return self.capacity_bytes - sum(len(inode.now) for inode in self.disk.now.values())


def _write(content: bytearray, offset: int, data: bytes) -> None:
    if offset > len(content):
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _resize(content: bytearray, size: int) -> None:
    if size > len(content):
        content.extend(bytes(size - len(content)))
    else:
        del content[size:]


def _apply(names: dict[str, Inode], change: NameChange) -> None:
    if change.old is not None and names.get(change.old) is change.inode:
        del names[change.old]
    if change.new is not None:
        names[change.new] = change.inode


def _sectors_left(size: int, chance: Random, mood: float) -> list[int]:
    """Offsets of the sectors of one write that reached the disk: all, none, a prefix, a suffix or any."""
    sectors = list(range(0, size, SECTOR))
    way = chance.randrange(5)
    if way == 0:
        return sectors
    if way == 1:
        return []
    if way == 2:
        return sectors[: chance.randrange(len(sectors) + 1)]
    if way == 3:
        return sectors[chance.randrange(len(sectors) + 1) :]
    return [sector for sector in sectors if chance.random() < mood]
