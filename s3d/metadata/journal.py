"""Owns the journal: the commands since the snapshots, in files beside the state, version 1; never applies one.

    file  | head | frame | ... |   named by the number of its first command / COMMANDS_PER_FILE, in 16 hex digits
    head  | "QuoinJnl" 8 B | version 1 B | CRC32C 4 B |
    frame | mark "QJf1" 4 B | CRC32C of what follows 4 B | first 8 B | last 8 B | length 4 B | command | ... |
    command | length 4 B | msgpack, as commands.py writes it |

Integers are big endian. A frame is one transaction: it took the state from command first - 1 to `last`. It is written
in that transaction, before the commit, by whichever process has its turn: no sync, as the state itself is synced, and
the journal is for the day on which that is damaged. A frame that was not committed is followed by one with the same
`first`. Where a frame is torn or damaged the next mark is looked for; what is lacking then shows in the numbers.
"""

import logging
import mmap
import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Final

from shardd.contract.blobs import crc32c
from shardd.contract.errors import QuoinError

FOLDER: Final = "journal"  # in the state's
SUFFIX: Final = ".journal"
COMMANDS_PER_FILE: Final = 1 << 16  # 14 MB of PUTs
MAGIC: Final = b"QuoinJnl"
VERSION: Final = 1
MARK: Final = b"QJf1"

_NAME: Final = re.compile("[0-9a-f]{16}")
_HEAD: Final = struct.Struct(">8sBI")
_CRC_AT: Final = len(MARK)
_BODY_AT: Final = _CRC_AT + 4
_SPAN: Final = struct.Struct(">QQI")
_LENGTH: Final = struct.Struct(">I")

log = logging.getLogger(__name__)


class JournalError(QuoinError):
    """A file of the journal cannot be used."""


class JournalForeignError(JournalError):
    """The file is something else."""


class JournalVersionError(JournalError):
    """The file's version is not one that this program reads."""


class JournalTruncatedError(JournalError):
    """The file ends within its head."""


class JournalChecksumError(JournalError):
    """The file's head was changed."""


@dataclass(frozen=True, slots=True)
class Group:
    """The commands of one transaction, encoded, and the numbers that it gave them."""

    first: int
    last: int
    commands: tuple[bytes, ...]


_END: Final = Group(1 << 64, 1 << 64, ())


class Journal:
    """Appends; one process or thread at a time, which the state's turn to write sees to.

    `folder`: the state's; `applied`: a command at which it stood before this is made.
    """

    def __init__(self, folder: Path, applied: int = 0) -> None:
        self._folder = folder / FOLDER
        self._number = -1
        self._descriptor = -1
        self._refused = False  # the last frame was
        self._last, self._frame = 0, b""
        # The last command that is lacking: a snapshot of an earlier one has a gap behind it.
        self._lacks = _begin(self._folder, applied + 1) - 1

    def append(self, group: Group) -> None:
        """Before the commit of what the group did. A disk that refuses is logged once: a snapshot is due then."""
        try:
            number = group.first // COMMANDS_PER_FILE
            if number != self._number:
                self._open(number)
            self._last, self._frame = group.last, encode_group(group)
            if os.write(self._descriptor, self._frame) != len(self._frame):
                raise OSError(f"{self._folder}: a frame was written in part")
            self._refused = False
        except OSError as error:
            if not self._refused:
                log.warning("the journal lacks commands from %d on: %s", group.first, error)
            self._refused, self._lacks = True, group.last
            self.close()

    def withdraw(self, applied: int) -> None:
        """Take the last frame back where it goes beyond command `applied`, at which the state stands now.

        It was not committed, and who waits is told so: a restore must not do it. Raises OSError.
        """
        if self._last <= applied or self._descriptor < 0:
            return
        begin = os.fstat(self._descriptor).st_size - len(self._frame)
        if begin > 0 and os.pread(self._descriptor, len(self._frame), begin) == self._frame:
            os.ftruncate(self._descriptor, begin)

    def behind(self, index: int, applied: int) -> int | None:
        """About how many bytes the commands `index` + 1 to `applied` take; None where this process knows of a gap.

        Of a file that begins before them the share of its commands counts. Raises OSError.
        """
        if self._lacks > index:
            return None
        size_bytes = 0
        for number, path in _files(self._folder):
            before = max(number * COMMANDS_PER_FILE - 1, 0)
            last = min((number + 1) * COMMANDS_PER_FILE - 1, applied)
            if last > index:
                size_bytes += path.stat().st_size * (last - max(before, index)) // (last - before)
        return size_bytes

    def trim(self, index: int) -> None:
        """Remove the files of which every command stands at or before `index`."""
        for number, path in _files(self._folder):
            if (number + 1) * COMMANDS_PER_FILE <= index:
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._number = self._descriptor = -1

    def _open(self, number: int) -> None:
        self.close()
        self._folder.mkdir(mode=0o700, exist_ok=True)
        path = self._folder / f"{number:016x}{SUFFIX}"
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if os.fstat(self._descriptor).st_size < _HEAD.size:  # who began it was killed, or found the disk full
            os.ftruncate(self._descriptor, 0)
            if os.write(self._descriptor, encode_head()) != _HEAD.size:
                raise OSError(f"{path}: its head was written in part")
        self._number = number


def encode_head() -> bytes:
    """The head of a file."""
    return _HEAD.pack(MAGIC, VERSION, crc32c(MAGIC + bytes((VERSION,)), 0))


def encode_group(group: Group) -> bytes:
    """A frame."""
    pieces = chain.from_iterable((_LENGTH.pack(len(raw)), raw) for raw in group.commands)
    payload = b"".join(pieces)
    body = _SPAN.pack(group.first, group.last, len(payload)) + payload
    return MARK + _LENGTH.pack(crc32c(body, 0)) + body


def read_journal(folder: Path, after: int) -> Iterator[Group]:
    """The groups that were committed behind command `after`, in order, from the folder of a state.

    Some may be lacking, as the numbers tell. Raises one of the JournalErrors, OSError.
    """
    groups = chain.from_iterable(
        _groups(path) for number, path in _files(folder / FOLDER) if (number + 1) * COMMANDS_PER_FILE > after
    )
    for group, following in pairwise(chain(groups, (_END,))):
        if group.last > after and following.first > group.last:
            yield group


def _files(folder: Path) -> list[tuple[int, Path]]:
    found = folder.glob(f"*{SUFFIX}")
    return sorted((int(path.stem, 16), path) for path in found if _NAME.fullmatch(path.stem))


def beyond(folder: Path) -> int:
    """A number that no command in the journal of the state in `folder` passes; 0 where there is none."""
    return max(((number + 1) * COMMANDS_PER_FILE for number, _ in _files(folder / FOLDER)), default=0)


def _begin(folder: Path, default: int) -> int:
    """The first command of a journal; `default` where there is none that can be read."""
    try:
        return next((group.first for _, path in _files(folder)[:1] for group in _groups(path)), default)
    except (JournalError, OSError):
        return default


def _groups(path: Path) -> Iterator[Group]:
    size = path.stat().st_size
    if not size:  # whoever made it was killed
        return
    if size < _HEAD.size:
        raise JournalTruncatedError(f"{path} has no whole head")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        _check_head(raw[: _HEAD.size], path)
        at = _HEAD.size
        while (at := raw.find(MARK, at)) >= 0:
            group, end = _decode(raw, at)
            at = end
            if group is not None:
                yield group


def _check_head(raw: bytes, path: Path) -> None:
    magic, version, crc = _HEAD.unpack(raw)
    if magic != MAGIC:
        raise JournalForeignError(f"{path} is no journal")
    if version != VERSION:
        raise JournalVersionError(f"{path} is a journal of version {version}")
    if crc != crc32c(raw[: -_LENGTH.size], 0):
        raise JournalChecksumError(f"the head of {path} fails its checksum")


def _decode(raw: mmap.mmap, at: int) -> tuple[Group | None, int]:
    """The frame at a mark, and where it ends; None, and the byte behind the mark's first, where it is not whole."""
    begin = at + _BODY_AT
    payload_at = begin + _SPAN.size
    if payload_at > len(raw):
        return None, at + 1
    first, last, length = _SPAN.unpack_from(raw, begin)
    end = payload_at + length
    if end > len(raw) or crc32c(raw[begin:end], 0) != _LENGTH.unpack_from(raw, at + _CRC_AT)[0]:
        return None, at + 1
    commands = []
    while payload_at < end:
        (size,) = _LENGTH.unpack_from(raw, payload_at)
        payload_at += _LENGTH.size
        commands.append(raw[payload_at : payload_at + size])
        payload_at += size
    return Group(first, last, tuple(commands)), end
