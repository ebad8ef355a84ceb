"""Owns the audit log: a line for each decision about a request, kept in memory until somebody has time to write it.

What is said is chosen here, field by field: no header, no query, nothing that a signature or a secret could be in.
"""

import os
import threading
from pathlib import Path
from typing import Final

import msgspec

ENTRIES_MAX: Final = 65_536  # in memory: what comes on top, while nothing can be written, is only counted
FILE_BYTES_MAX: Final = 64 << 20
FILES_KEPT: Final = 4


class Entry(msgspec.Struct):
    """One decision. `time_us`: microseconds since 1970; `access_key` "" is nobody."""

    time_us: int
    request_id: str
    remote: str
    access_key: str
    account: str
    operation: str
    action: str
    bucket: str
    object: str
    allowed: bool
    reason: str


class Lost(msgspec.Struct):
    """How many decisions stand nowhere, because they came faster than they could be written."""

    lost: int


class Audit:
    """The decisions of one gateway, as JSON lines in a file that only it writes; nowhere where `path` is None.

    `record` is for the thread of the requests, `flush` for any other.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._entries: list[Entry] = []
        self._lost = 0
        self._encoder = msgspec.json.Encoder()
        self._writing = threading.Lock()

    @property
    def waiting(self) -> bool:
        """Is there anything to write?"""
        return bool(self._entries)

    def record(self, entry: Entry) -> None:
        """Keep a decision for the next flush."""
        if self._path is None:
            return
        if len(self._entries) < ENTRIES_MAX:
            self._entries.append(entry)
        else:
            self._lost += 1

    def flush(self) -> None:
        """Write what was recorded. Raises OSError; what could not be written then is counted as lost."""
        with self._writing:
            entries, self._entries = self._entries, []
            if self._path is None or not entries:
                return
            lines = self._encoder.encode_lines(entries)
            if self._lost:
                lines += self._encoder.encode_lines([Lost(self._lost)])
            try:
                full = _append(self._path, lines)
            except OSError:
                self._lost += len(entries)
                raise
            self._lost = 0
            if full:
                self._rotate(self._path)

    def _rotate(self, path: Path) -> None:
        """audit.jsonl -> audit.jsonl.1 -> ... ; the oldest goes."""
        for number in range(FILES_KEPT - 1, 0, -1):
            older = path.with_name(f"{path.name}.{number}")
            if older.exists():
                older.replace(path.with_name(f"{path.name}.{number + 1}"))
        path.replace(path.with_name(f"{path.name}.1"))


def _append(path: Path, lines: bytes) -> bool:
    """Whether the file is full with `lines` at its end."""
    with open(path, "ab", opener=_private) as file:
        file.write(lines)
        return file.tell() >= FILE_BYTES_MAX


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
