"""Owns the port between the engine and a file system, and its real implementation; never knows what is in a file.

The contract (tests/contract_suites/filesystem.py runs it on every implementation):
- bytes written are durable after `datasync`, names after `sync_folder`; before that a power cut may leave any part;
- `write` takes whole blocks at block offsets from the memory of an `area`, and may write fewer bytes than it was given;
- `allocate` makes the file at least so long, zeros where nothing was written: writes in there need no more room;
- `read` gives what was written last, also before it is durable, and less than asked at the end of the file;
- errors of the disk are OSError, with ENOSPC where it is full.
"""

import errno
import fcntl
import mmap
import os
import threading
from pathlib import Path
from typing import NamedTuple, Protocol

from shardd.contract.folders import sync_folder

DIRECT_READ_SIZE = 128 << 10
PAGE_SIZE = mmap.PAGESIZE
_DIRECT = getattr(os, "O_DIRECT", 0)


class Room(NamedTuple):
    """Bytes of a file system that an ordinary user may still take, and how many there are in all."""

    free_bytes: int
    total_bytes: int

    @property
    def full(self) -> float:
        """The part that is taken, 0 to 1."""
        return 1.0 - self.free_bytes / self.total_bytes if self.total_bytes else 1.0


class File(Protocol):
    """One open file."""

    def size(self) -> int: ...
    def read(self, size: int, offset: int) -> bytes: ...
    def write(self, data: memoryview, offset: int) -> int: ...
    def allocate(self, size: int) -> None: ...
    def truncate(self, size: int) -> None: ...
    def datasync(self) -> None: ...


class Lock(Protocol):
    """A name that one process holds."""

    def close(self) -> None: ...


class Filesystem(Protocol):
    """Names and files. Folders are absolute paths."""

    def create(self, path: Path) -> File:
        """A new, empty file to write and read; FileExistsError where the name is taken."""

    def open(self, path: Path) -> File:
        """An existing file, to read and truncate."""

    def names(self, folder: Path) -> list[str]: ...
    def make_folder(self, folder: Path) -> None: ...
    def rename(self, old: Path, new: Path) -> None: ...
    def unlink(self, path: Path) -> None: ...
    def sync_folder(self, folder: Path) -> None: ...
    def room(self, folder: Path) -> Room: ...
    def lock(self, path: Path) -> Lock:
        """Held until it is closed or the process is gone; BlockingIOError where another holds it."""


def area(size: int) -> mmap.mmap:
    """Memory that `File.write` takes: it begins at a page, as O_DIRECT asks for."""
    return mmap.mmap(-1, size)


class _Scratch(threading.local):
    """Aligned memory to read into, one a thread: memory that is touched for the first time costs more than a copy."""

    memory: mmap.mmap | None = None

    def of(self, size: int) -> mmap.mmap:
        if self.memory is None or len(self.memory) < size:
            self.memory = area(size)
        return self.memory


_scratch = _Scratch()


class DiskFile:
    """A file of the operating system: written past the page cache where that is possible, read through it if small.

    Reads of DIRECT_READ_SIZE and more go past it too: they would fill it with bytes that are read once. Measured on
    a virtual machine, 1 MiB each: 0.15 ms/MB of CPU so, 0.05 where the page cache has it, 1.7 where it has to grow.
    The descriptors are closed with the last reference, so a reader never meets the number of another file.
    """

    __slots__ = ("_cached", "_direct")

    def __init__(self, cached: int, direct: int) -> None:
        self._cached = cached
        self._direct = direct

    def __del__(self) -> None:
        os.close(self._direct)
        os.close(self._cached)

    def size(self) -> int:
        return os.fstat(self._cached).st_size

    def read(self, size: int, offset: int) -> bytes:
        if size < DIRECT_READ_SIZE:
            return os.pread(self._cached, size, offset)
        skip = offset % PAGE_SIZE
        span = -(-(skip + size) // PAGE_SIZE) * PAGE_SIZE
        memory = _scratch.of(span)
        count = os.preadv(self._direct, [memoryview(memory)[:span]], offset - skip)
        return memory[skip : min(skip + size, count)]

    def write(self, data: memoryview, offset: int) -> int:
        return os.pwrite(self._direct, data, offset)

    def allocate(self, size: int) -> None:
        try:
            os.posix_fallocate(self._direct, 0, size)
        except OSError as fault:
            if fault.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
            os.ftruncate(self._direct, size)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._direct, size)

    def datasync(self) -> None:
        os.fdatasync(self._direct)


class DiskLock:
    """flock(2) on a file, which stays: to unlink it would let two hold the name."""

    __slots__ = ("_handle",)

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def close(self) -> None:
        os.close(self._handle)


class DiskFilesystem:
    """The operating system's."""

    def create(self, path: Path) -> DiskFile:
        return _open(path, os.O_CREAT | os.O_EXCL)

    def open(self, path: Path) -> DiskFile:
        return _open(path, 0)

    def names(self, folder: Path) -> list[str]:
        return sorted(os.listdir(folder))  # noqa: PTH208 - names are wanted, not paths

    def make_folder(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)

    def rename(self, old: Path, new: Path) -> None:
        old.rename(new)

    def unlink(self, path: Path) -> None:
        path.unlink()

    def sync_folder(self, folder: Path) -> None:
        sync_folder(folder)

    def room(self, folder: Path) -> Room:
        facts = os.statvfs(folder)
        # Blocks that are kept for root are no room for us, and no part of what can be full.
        return Room(
            facts.f_bavail * facts.f_frsize,
            (facts.f_blocks - facts.f_bfree + facts.f_bavail) * facts.f_frsize,
        )

    def lock(self, path: Path) -> DiskLock:
        handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            raise
        return DiskLock(handle)


def _open(path: Path, flags: int) -> DiskFile:
    cached = -1
    flags |= os.O_RDWR | os.O_CLOEXEC
    try:
        direct = os.open(path, flags | _DIRECT, 0o600)
    except OSError as fault:
        if fault.errno != errno.EINVAL:
            raise
        direct = os.open(path, flags & ~os.O_EXCL, 0o600)  # no O_DIRECT there; the name may be made already
    try:
        cached = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        os.posix_fadvise(cached, 0, 0, os.POSIX_FADV_RANDOM)  # what lies beside a small shard is another's
    finally:
        if cached < 0:
            os.close(direct)
    return DiskFile(cached, direct)
