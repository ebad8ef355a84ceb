"""Owns when a put that has no answer stands still, beside what else moves; never sends one, never gives one up."""

from collections.abc import Mapping
from dataclasses import dataclass

from s3d.shards.health import FleetLimits, Health
from shardd.contract.blobs import NodeId

Healths = Mapping[NodeId, Health]


@dataclass(slots=True)
class Wait:
    """A put that is waited for: since when its node's puts stand still, and how much of that time we saw."""

    node: NodeId
    since_s: float
    still_s: float = 0.0


def late(
    waits: Mapping[int, Wait], healths: Healths, limits: FleetLimits, *, now_s: float, passed_s: float
) -> set[int]:
    """Which of the puts that are waited for should be done without, if they can be.

    `passed_s`: since the last look at them; it is noted in them. A node that says nothing is asked how it is.
    """
    found = set()
    # Time in which this process did not run says nothing about the nodes.
    seen_s = min(passed_s, 2 * limits.watch_s)
    for number, wait in waits.items():
        health = healths[wait.node]
        if health.put_s > wait.since_s:
            wait.since_s, wait.still_s = now_s, 0.0
        wait.still_s += seen_s
        if wait.still_s > limits.quiet_s and health.heard_s < wait.since_s:
            health.hurry.set()
        if wait.still_s > _standstill_s(wait, healths, limits) or not health.up:
            found.add(number)
    return found


def patience_s(health: Health, limits: FleetLimits) -> float:
    """How long to wait for a put that cannot be done without: longer where the node says why."""
    return limits.slow_s if health.up and health.busy else limits.standstill_s


def others_moved(wait: Wait, healths: Healths) -> bool:
    """Was a put of any node answered since?"""
    return any(other.put_s > wait.since_s for other in healths.values())


def _standstill_s(wait: Wait, healths: Healths, limits: FleetLimits) -> float:
    """How long puts of a node may stand still, if they can be done without."""
    if not others_moved(wait, healths):
        return limits.standstill_s
    return limits.trial_s if healths[wait.node].verdict.on_trial else limits.stall_s
