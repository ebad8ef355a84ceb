"""Owns the model that drills are checked against: what was acknowledged, and what each key may hold; never asks."""

import hashlib
import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass

POOL_SIZE = 1 << 22


@dataclass(frozen=True, slots=True)
class Content:
    """One body by its number: the same number and size give the same bytes in every process."""

    number: int
    size: int


class Bodies:
    """Bodies of any size out of one pool of chance, different for every number."""

    def __init__(self, seed: int) -> None:
        self._pool = random.Random(seed).randbytes(POOL_SIZE)

    def bytes_of(self, content: Content) -> bytes:
        """Its bytes: the number first, as far as it fits, then the pool from a place that depends on the number."""
        name = b"%016x" % content.number
        at = int.from_bytes(hashlib.sha256(name).digest()[:4]) % POOL_SIZE
        body = name + self._pool[at:] + self._pool[:at]
        while len(body) < content.size:
            body += body
        return body[: content.size]


class Ledger:
    """What each key may hold: exactly one state once acknowledged, old or new after an unknown outcome.

    A state is a Content, or None for no object. A key whose outcome is unknown is retired: a late request could still
    change it, so no more is written to it, and any of its states is right.
    """

    def __init__(self, bodies: Bodies) -> None:
        self.bodies = bodies
        self._states: dict[str, set[Content | None]] = {}
        self._lock = threading.Lock()

    def acknowledge(self, key: str, state: Content | None) -> None:
        """The store said that the key now holds this."""
        with self._lock:
            self._states[key] = {state}

    def doubt(self, key: str, wanted: Content | None) -> None:
        """No answer, or an error: the key holds what it held, or what was wanted."""
        with self._lock:
            self._states.setdefault(key, {None}).add(wanted)

    def retired(self, key: str) -> bool:
        """Whether the key's outcome is unknown."""
        with self._lock:
            return len(self._states.get(key, ())) > 1

    def keys(self, prefix: str = "") -> list[str]:
        """Every key that was ever written, under `prefix`."""
        with self._lock:
            return sorted(key for key in self._states if key.startswith(prefix))

    def fault_of_read(self, key: str, body: bytes | None) -> str:
        """What is wrong with reading `body` (None: not found); empty where it is right."""
        with self._lock:
            states = set(self._states.get(key, {None}))
        for state in states:
            if (body is None) if state is None else (body == self.bodies.bytes_of(state)):
                return ""
        found = "nothing" if body is None else f"{len(body)} bytes starting with {body[:16]!r}"
        return f"{key}: found {found}, allowed are {states}"

    def faults_of_list(self, listed: Mapping[str, str], prefix: str = "") -> list[str]:
        """What is wrong with a whole list under `prefix`: missing, come back, unknown, or with another ETag."""
        with self._lock:
            states = {key: set(may) for key, may in self._states.items() if key.startswith(prefix)}
        faults = [f"listed {key!r}, which nobody wrote" for key in listed.keys() - states.keys()]
        for key, may in states.items():
            etags = {self._etag(state) for state in may if state}
            if key not in listed:
                faults += [] if None in may else [f"not listed: {key!r}, allowed are {may}"]
            elif listed[key].strip('"') not in etags:
                faults.append(f"listed {key!r} with {listed[key]}, allowed are {may}")
        return faults

    def _etag(self, content: Content) -> str:
        return hashlib.md5(self.bodies.bytes_of(content), usedforsecurity=False).hexdigest()
