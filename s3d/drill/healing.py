"""Owns when a store is whole again after a fault, by what its status page says; never asks for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

RECONCILE = "reconcile/{}"


class Damage(Enum):
    """What a fault leaves on the node: all that it had, nothing, or rotten bytes that only scrub can find."""

    AWAY = "away"
    EMPTY = "empty"
    ROTTEN = "rotten"


@dataclass(frozen=True, slots=True)
class Before:
    """The node as it was when the fault struck, `at_us` microseconds since 1970."""

    at_us: int
    scrub_passes: int = 0
    quarantined: int = 0


def before(status: Mapping[str, Any] | None, node: int, at_us: int) -> Before:
    """What is_healed compares with, from the status page; None where nobody answers."""
    entry = _entry(status, node) if status else {}
    scrub = entry.get("scrub") or {}
    return Before(at_us, scrub.get("passes", 0), entry.get("quarantined") or 0)


def is_healed(status: Mapping[str, Any], node: int, damage: Damage, since: Before) -> bool:
    """Whether nothing ails, and `node` was looked over where only that finds the damage.

    After EMPTY a pass of reconcile has to begin and end. After ROTTEN one of scrub, beside the one that was under way,
    and one of reconcile if scrub found something.
    """
    if ailing(status):
        return False
    if damage is Damage.EMPTY:
        return _reconciled(status, node, since)
    if damage is Damage.ROTTEN:
        entry = _entry(status, node)
        found = entry["quarantined"] != since.quarantined
        scrubbed = entry["scrub"]["passes"] >= since.scrub_passes + 2
        return scrubbed and (not found or _reconciled(status, node, since))
    return True


def ailing(status: Mapping[str, Any]) -> str:
    """Which nodes are not well, and how much awaits repair; empty where all is well."""
    said = [f"node {node} is {state}" for node, state in states(status).items() if state != "ok"]
    if count := status["degraded_blobs"]:
        said.append(f"{count} blobs await repair")
    return ", ".join(said)


def states(status: Mapping[str, Any]) -> dict[int, str]:
    """Each node's state, as "ok", "slow" or "down"."""
    return {entry["id"]: entry["state"] or "ok" for entry in status["nodes"]}


def _entry(status: Mapping[str, Any], node: int) -> Mapping[str, Any]:
    return next(entry for entry in status["nodes"] if entry["id"] == node)


def _reconciled(status: Mapping[str, Any], node: int, since: Before) -> bool:
    return any(
        job["name"] == RECONCILE.format(node) and job["finished"] and job["started_us"] > since.at_us
        for job in status["jobs"]
    )
