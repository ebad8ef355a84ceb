"""Owns the figures to reach and those of the peer, as data; never measures.

Both were taken on the machine of reference: 2 cores, five nodes, RS(3,2), each PUT synced. The peer is MinIO with five
processes and EC 3+2. Another machine is compared by ratio: `Reference` holds what the same floors read there.
"""

from dataclasses import dataclass
from typing import Literal

Scale = Literal["put", "get", "disk", "none"]


@dataclass(frozen=True, slots=True)
class Reference:
    """The floors of the machine that the targets are from."""

    put_probe_cpu_ms_per_mb: float = 5.0
    get_probe_cpu_ms_per_mb: float = 1.4
    fdatasync_p50_ms: float = 0.12


@dataclass(frozen=True, slots=True)
class Goal:
    """What a phase should need at most (at least, for a rate), what the peer needs, and what floor it scales with."""

    target: float
    peer: float
    scale: Scale
    at_least: bool = False


REFERENCE = Reference()

# CPU milliseconds of all the server's processes: per MB for bodies of 1 MiB and more, else per operation.
CPU_GOALS = {
    "PUT 64 MiB": Goal(6.6, 3.7, "put"),
    "GET 64 MiB": Goal(2.2, 1.3, "get"),
    "PUT 1 MiB": Goal(8.8, 11.7, "put"),
    "GET 1 MiB": Goal(2.9, 3.6, "get"),
    "PUT 4 KiB": Goal(2.4, 6.0, "put"),
    "GET 4 KiB": Goal(0.75, 1.1, "get"),
    "HEAD": Goal(0.43, 0.61, "get"),
    "DELETE": Goal(1.5, 2.4, "put"),
    "LIST 1,000 keys": Goal(11.0, 72.0, "get"),
}
RATE_GOALS = {"PUT 4 KiB": Goal(500.0, 240.0, "put", at_least=True)}
LATENCY_GOALS = {
    "lone PUT 4 KiB": Goal(5.0, 4.2, "disk"),
    "lone HEAD": Goal(1.0, 1.1, "disk"),
    "lone GET 4 KiB": Goal(2.0, 1.4, "disk"),
}
MEMORY_GOALS_MB = {"idle": Goal(500.0, 630.0, "none"), "peak": Goal(1_200.0, 2_400.0, "none")}


@dataclass(frozen=True, slots=True)
class Ratios:
    """How much slower than the reference this machine is in this run; 1 where a floor could not be taken."""

    put: float = 1.0
    get: float = 1.0
    disk: float = 1.0

    def scaled(self, goal: Goal) -> float:
        """The goal's target on this machine."""
        ratio = {"put": self.put, "get": self.get, "disk": self.disk, "none": 1.0}[goal.scale]
        return goal.target / ratio if goal.at_least else goal.target * ratio
