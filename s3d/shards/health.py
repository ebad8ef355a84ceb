"""Owns what is known of one node, and the times by which nodes are judged; never asks, never judges."""

import asyncio
from dataclasses import dataclass, field

from s3d.shards.verdict import Verdict
from shardd.contract.messages import Status


@dataclass(frozen=True, slots=True)
class FleetLimits:
    """The times by which the fleet judges its nodes, in seconds."""

    heartbeat_s: float = 0.5
    status_life_s: float = 2.0  # a node that answers other requests is asked how it is no oftener
    silence_s: float = 1.0  # no answer to anything for so long: down
    quiet_s: float = 0.25  # none for so long, while others answer: slow
    lateness_s: float = 0.2  # a heartbeat that ends so much later than it should tells nothing of the node
    stall_s: float = 1.0  # puts of a node stand still for so long while another's move: given up
    standstill_s: float = 4.0  # nobody's puts move, or none can be spared, for so long: given up too
    slow_s: float = 15.0  # the same for nodes whose disk is busy, as they say, where none can be spared
    trial_s: float = 0.5  # the same for puts of a node that was slow until now
    watch_s: float = 0.1  # how often a batch of puts looks for such nodes
    put_deadline_s: float = 30.0
    near_full: float = 0.85  # of a disk


@dataclass(slots=True)
class Health:
    """One node, as its answers and its silence show it; what it says of itself is `status`."""

    up: bool = False
    status: Status | None = None
    heard_s: float = 0.0
    status_s: float = 0.0  # when the status came; 0.0 where it is worth nothing any more
    put_s: float = 0.0  # when a put of ours was last answered
    read_s: float = 0.0  # when a get of ours was
    quiet: bool = False  # its status is late, while others answer
    busy: int = 0  # for so many statuses in a row it has said that its disk keeps writes waiting
    verdict: Verdict = field(default_factory=Verdict)
    hurry: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def prompt(self) -> bool:
        """It answers, and soon."""
        return self.up and not self.quiet and not self.verdict.slow

    def has_state(self, *states: str) -> bool:
        """Does it say that it is in one of these?"""
        return self.status is not None and self.status.state in states

    @property
    def used(self) -> float:
        """The part of its disk that is not free."""
        if self.status is None or not self.status.total_bytes:
            return 0.0
        return 1 - self.status.free_bytes / self.status.total_bytes
