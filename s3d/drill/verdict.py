"""Owns the verdict on a drill: the store's promises, each with what was seen of it; never measures, never prints."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from s3d.drill.facts import Breach, Operation, Record

ERROR_SHARE_MAX: Final = 0.001
STALL_S_MAX: Final = 3.0
QUIET_S_MAX: Final = STALL_S_MAX  # a store that hangs before any fault is no excuse for one that hangs


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise: what it is called, what was seen, what may be, and whether it held."""

    name: str
    seen: str
    allowed: str
    held: bool


def verdict(record: Record) -> list[Promise]:
    """Every promise, in the order of its weight."""
    found = Counter(finding.breach for finding in record.findings)
    promises = [Promise(breach.value, str(found[breach]), "0", not found[breach]) for breach in Breach]
    share, stall_s = error_share(record), longest_s(record.operations)
    quiet_s = min(quiet_longest_s(record), QUIET_S_MAX)
    slow = (
        f"{STALL_S_MAX:g} s" if not quiet_s else f"{STALL_S_MAX:g} s, + {quiet_s:.2f} s as before any fault"
    )
    promises += [
        Promise("errors", f"{share:.3%}", f"{ERROR_SHARE_MAX:.1%}", share <= ERROR_SHARE_MAX),
        Promise("longest stall", f"{stall_s:.2f} s", slow, stall_s <= STALL_S_MAX + quiet_s),
    ]
    if record.strikes:
        healed = [one.healed_s - one.mended_s for one in record.strikes if one.healed_s and one.mended_s]
        ailing = [one for one in record.strikes if one.ailing]
        whole = len(healed) == len(record.strikes) or (record.interrupted and not ailing)
        seen = f"{max(healed, default=0.0):.1f} s at most, {len(healed)} of {len(record.strikes)}"
        promises.append(Promise("healed", seen, "each", whole))
    return promises


def holds(record: Record) -> bool:
    """Whether no promise broke, of operations that there were."""
    return bool(record.operations) and all(promise.held for promise in verdict(record))


def summary(record: Record) -> dict[str, Any]:
    """The verdict and its numbers for JSON; sizes in bytes, times in seconds since the start."""
    return {
        "held": holds(record),
        "promises": [asdict(promise) for promise in verdict(record)],
        "seed": record.seed,
        "clients": record.clients,
        "interrupted": record.interrupted,
        "remarks": remarks(record),
        "took_s": record.took_s,
        "operations": len(record.operations),
        "bytes": sum(one.size_bytes for one in record.operations),
        "errors": dict(errors(record)),
        "error_share": error_share(record),
        "longest_s": longest_s(record.operations),
        "quiet_longest_s": quiet_longest_s(record),
        "asked_again": record.asked_again,
        "keys_judged": record.keys_judged,
        "findings": [asdict(finding) | {"breach": finding.breach.value} for finding in record.findings],
        "strikes": [asdict(strike) for strike in record.strikes],
    }


def remarks(record: Record) -> list[str]:
    """What did not heal, and what else a reader has to know."""
    said = [
        f"{one.fault} of node {one.node} at {one.began_s:.0f} s did not heal: {one.ailing}"
        for one in record.strikes
        if one.ailing
    ]
    if record.interrupted:
        said.append(
            "interrupted: the verdict is on what was seen until then; no key was read again at the end"
        )
    return said + record.remarks


def error_share(record: Record) -> float:
    """Errors that clients saw, among all operations."""
    return errors(record).total() / max(1, len(record.operations))


def errors(record: Record) -> Counter[str]:
    """What came in place of an answer, how often."""
    return Counter(one.error for one in record.operations if one.error)


def longest_s(operations: Sequence[Operation]) -> float:
    """The longest that any of them took, all its tries together."""
    return max((one.took_s for one in operations), default=0.0)


def quiet_longest_s(record: Record) -> float:
    """The longest before the first fault: what a busy machine does by itself."""
    first_s = min((strike.began_s for strike in record.strikes), default=0.0)
    return longest_s([one for one in record.operations if one.ended_s <= first_s])
