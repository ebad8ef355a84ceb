"""Owns a file system that fails when it is told to, around any other; never changes what it lets through."""

import errno
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shardd.engine.filesystem import DiskFilesystem, File, Filesystem, Lock, Room

FOREVER = 1 << 30


@dataclass
class Fault:
    """The next `times` calls of `call` fail with `code`; a "write" with code 0 writes only `part` bytes."""

    call: str
    code: int = errno.EIO
    times: int = 1
    part: int = 0


@dataclass
class FaultyFilesystem:
    """The port, with `faults` armed by a test; `calls` counts what came through."""

    inner: Filesystem = field(default_factory=DiskFilesystem)
    faults: list[Fault] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    forced_room: Room | None = None
    bad_block: range = range(0)  # bytes that no file gives back

    def meet(self, call: str) -> Fault | None:
        """Raise the fault that waits for this call; give it where it is a short write."""
        self.calls[call] += 1
        for fault in self.faults:
            if fault.call == call and fault.times > 0:
                fault.times -= 1
                if fault.code:
                    raise OSError(fault.code, f"injected into {call}")
                return fault
        return None

    def create(self, path: Path) -> File:
        self.meet("create")
        return FaultyFile(self, self.inner.create(path))

    def open(self, path: Path) -> File:
        self.meet("open")
        return FaultyFile(self, self.inner.open(path))

    def names(self, folder: Path) -> list[str]:
        return self.inner.names(folder)

    def make_folder(self, folder: Path) -> None:
        self.inner.make_folder(folder)

    def rename(self, old: Path, new: Path) -> None:
        self.meet("rename")
        self.inner.rename(old, new)

    def unlink(self, path: Path) -> None:
        self.meet("unlink")
        self.inner.unlink(path)

    def sync_folder(self, folder: Path) -> None:
        self.meet("sync_folder")
        self.inner.sync_folder(folder)

    def room(self, folder: Path) -> Room:
        return self.forced_room or self.inner.room(folder)

    def lock(self, path: Path) -> Lock:
        return self.inner.lock(path)


@dataclass
class FaultyFile:
    """A file of a FaultyFilesystem. `synced` counts syncs that came through after the first that failed."""

    filesystem: FaultyFilesystem
    inner: Any
    refused: bool = False

    def size(self) -> int:
        return int(self.inner.size())

    def read(self, size: int, offset: int) -> bytes:
        self.filesystem.meet("read")
        bad = self.filesystem.bad_block
        if offset < bad.stop and bad.start < offset + size:
            raise OSError(errno.EIO, f"a bad block at {bad.start}")
        return bytes(self.inner.read(size, offset))

    def write(self, data: memoryview, offset: int) -> int:
        assert not self.refused, "a file whose sync failed is written again"
        fault = self.filesystem.meet("write")
        return int(self.inner.write(data[: fault.part] if fault else data, offset))

    def allocate(self, size: int) -> None:
        self.filesystem.meet("allocate")
        self.inner.allocate(size)

    def truncate(self, size: int) -> None:
        self.filesystem.meet("truncate")
        self.inner.truncate(size)

    def datasync(self) -> None:
        assert not self.refused, "a sync is tried again on the same file"
        try:
            self.filesystem.meet("datasync")
        except OSError:
            self.refused = True
            raise
        self.inner.datasync()
