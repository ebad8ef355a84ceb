"""Owns what a drill writes down: operations, samples of the store, faults, broken promises; never measures."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

FULL: Final = "full"  # for a store whose nodes have disks of their own
FAULT_NAMES: Final = ("kill", "stop", "pause", "wipe", "corrupt", FULL)  # what each does: faults.py


class Breach(Enum):
    """What no store may ever do, whatever fails under it."""

    WRONG = "wrong bytes"
    LOST = "lost"
    BACK = "back from the dead"
    ANSWER = "wrong answers"


@dataclass(frozen=True, slots=True)
class Finding:
    """One breach: which key, and what was seen in place of what."""

    breach: Breach
    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation as its client saw it. `error`: empty, or what came in place of an answer. Times since the start."""

    kind: str
    began_s: float
    took_s: float
    size_bytes: int = 0
    error: str = ""

    @property
    def ended_s(self) -> float:
        """When its last byte came, or nobody waited for it any more."""
        return self.began_s + self.took_s


@dataclass(frozen=True, slots=True)
class Sample:
    """What a gateway said of the store: blobs that await repair, and each node's state, as "ok" or "down"."""

    at_s: float
    degraded: int
    states: dict[int, str]


@dataclass(slots=True)
class Strike:
    """One fault of one node: from `began_s` to `mended_s`; `healed_s` when nothing awaited repair any more.

    `ailing`: empty, or what did not heal in the time that it had.
    """

    fault: str
    node: int
    began_s: float
    mended_s: float | None = None
    healed_s: float | None = None
    ailing: str = ""


@dataclass(slots=True)
class Record:
    """All that one drill saw. `asked_again`: requests that died with their gateway and were asked of another one.

    `planned`: how many faults there will be. `interrupted`: somebody ended it before its time. `remarks`: what else a
    reader of the verdict has to know.
    """

    title: str
    seed: int
    clients: int
    planned: int = 0
    operations: list[Operation] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    strikes: list[Strike] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    asked_again: int = 0
    keys_judged: int = 0
    took_s: float = 0.0
    interrupted: bool = False
    remarks: list[str] = field(default_factory=list)
