"""Owns the audit log: a line for each decision about a request, kept in memory until somebody has time to write it.

What is said is chosen here, field by field: no header, no query, nothing that a signature or a secret could be in.
"""

import os
from pathlib import Path
from typing import Final

import msgspec

ENTRIES_MAX: Final = 10_000  # in memory; one more, and they are written by whoever came
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


class Audit:
    """The decisions of one gateway, as JSON lines in a file that only it writes; nowhere where `path` is None."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._entries: list[Entry] = []
        self._encoder = msgspec.json.Encoder()

    def record(self, entry: Entry) -> None:
        """Keep a decision for the next flush."""
        self._entries.append(entry)
        if len(self._entries) >= ENTRIES_MAX:
            self.flush()

    def flush(self) -> None:
        """Write what was recorded. Raises OSError; what could not be written is given up, and service goes on."""
        entries, self._entries = self._entries, []
        if self._path is None or not entries:
            return
        with open(self._path, "ab", opener=_private) as file:
            file.write(self._encoder.encode_lines(entries))
            full = file.tell() >= FILE_BYTES_MAX
        if full:
            self._rotate(self._path)

    def _rotate(self, path: Path) -> None:
        """audit.jsonl -> audit.jsonl.1 -> ... ; the oldest goes."""
        for number in range(FILES_KEPT - 1, 0, -1):
            older = path.with_name(f"{path.name}.{number}")
            if older.exists():
                older.replace(path.with_name(f"{path.name}.{number + 1}"))
        path.replace(path.with_name(f"{path.name}.1"))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
