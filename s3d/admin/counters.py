"""Owns what one gateway counts, and the file that lets the other gateways of its node add it up.

Each gateway writes its own file, whole and by rename, once a second; whoever is asked for metrics reads all of them.
A gateway that is started again goes on from its file, so that no counter ever falls.
"""

import logging
from pathlib import Path
from typing import Final

import msgspec

COUNTERS_VARIABLE: Final = "QUOIN_COUNTERS"  # the folder in which the gateways of a node keep their counters
SUFFIX: Final = ".db"

log = logging.getLogger(__name__)


class Counts(msgspec.Struct, array_like=True):
    """Counters since the node was started. `requests`: operation and status, as "GetObject 200"."""

    requests: dict[str, int] = {}
    sent_bytes: int = 0
    received_bytes: int = 0
    work: dict[str, int] = {}  # what is done behind requests: name -> how often


class Counters:
    """The counts of this gateway. `folder` is where all gateways of the node keep theirs; None keeps them here."""

    def __init__(self, folder: Path | None, worker: int) -> None:
        self._folder = folder
        self._path = folder / f"gateway-{worker}{SUFFIX}" if folder is not None else None
        self.counts = _read(self._path) if self._path is not None else Counts()
        self._worked_before = dict(self.counts.work)
        self._saved = b""

    def answered(self, operation: str, status: int, *, received_bytes: int, sent_bytes: int) -> None:
        """One request was answered; the sizes are those of its bodies."""
        name = f"{operation} {status}"
        requests = self.counts.requests
        requests[name] = requests.get(name, 0) + 1
        self.counts.sent_bytes += sent_bytes
        self.counts.received_bytes += received_bytes

    def worked(self, **done: int) -> None:
        """How often each thing was done behind requests, since this process began."""
        for name, count in done.items():
            self.counts.work[name] = self._worked_before.get(name, 0) + count

    def save(self) -> None:
        """Write the file, if anything changed. A disk that refuses costs the metrics, not the store."""
        raw = msgspec.msgpack.encode(self.counts)
        if self._path is None or raw == self._saved:
            return
        draft = self._path.with_suffix(".new")
        try:
            draft.write_bytes(raw)
            draft.replace(self._path)
        except OSError as error:
            log.warning("%s: %s", self._path, error.strerror)
        self._saved = raw

    def of_node(self) -> Counts:
        """The sum over all gateways of the node: this one's as of now, the others' at most a second old."""
        total = Counts()
        _add(total, self.counts)
        if self._folder is not None:
            for path in self._folder.glob(f"*{SUFFIX}"):
                if path != self._path:
                    _add(total, _read(path))
        return total


def _read(path: Path) -> Counts:
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=Counts)
    except (OSError, msgspec.MsgspecError):
        return Counts()


def _add(total: Counts, counts: Counts) -> None:
    for mine, theirs in ((total.requests, counts.requests), (total.work, counts.work)):
        for name, count in theirs.items():
            mine[name] = mine.get(name, 0) + count
    total.sent_bytes += counts.sent_bytes
    total.received_bytes += counts.received_bytes
