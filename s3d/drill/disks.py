"""Owns small file systems for the nodes of a drill's own store, so that a disk can be full; only root can make them."""

import asyncio
import ctypes
import os
import tempfile
from pathlib import Path
from typing import Final

from shardd.contract.errors import QuoinError

DISK_BYTES: Final = 2 << 30  # of an image with holes: what is not written takes no room
SPARED_BYTES: Final = 1 << 20
BALLAST: Final = "ballast"

_CLONE_NEWNS: Final = 0x20000
_LIBC = ctypes.CDLL(None, use_errno=True)


class DiskError(QuoinError):
    """A file system cannot be made or mounted here; the message says what the system said."""


async def seclude() -> None:
    """From now on what this process mounts is seen by it and its children alone, and gone with the last of them.

    Raises DiskError where that, or a mount, is not possible here.
    """
    if _LIBC.unshare(_CLONE_NEWNS):
        raise DiskError(f"mount: {os.strerror(ctypes.get_errno())}")
    await _run("mount", "--make-rprivate", "/")
    with tempfile.TemporaryDirectory() as folder:
        tried = Path(folder)
        await mount(tried / "image", tried / "mounted")
        await unmount(tried / "mounted")


async def mount(image: Path, folder: Path) -> None:
    """A new ext4 of DISK_BYTES on `folder`. Raises DiskError."""
    _prepare(image, folder)
    await _run("mkfs.ext4", "-q", "-m", "0", str(image))
    await _run("mount", "-o", "loop", str(image), str(folder))


def _prepare(image: Path, folder: Path) -> None:
    with image.open("wb") as file:
        file.truncate(DISK_BYTES)
    folder.mkdir()


async def unmount(folder: Path) -> None:
    """Takes it away again, whatever is open there. Raises DiskError."""
    await _run("umount", "-l", str(folder))


def fill(folder: Path) -> None:
    """Takes nearly all the room that is left."""
    found = os.statvfs(folder)
    with (folder / BALLAST).open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, found.f_bavail * found.f_frsize - SPARED_BYTES))


def empty(folder: Path) -> None:
    """Gives that room back."""
    (folder / BALLAST).unlink()


async def _run(*command: str) -> None:
    try:
        started = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
    except OSError as error:
        raise DiskError(f"{command[0]}: {error.strerror}") from error
    _, said = await started.communicate()
    if started.returncode:
        raise DiskError(f"{' '.join(command)}: {said.decode(errors='replace').strip()}")
