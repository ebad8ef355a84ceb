"""Owns the model that a store is drilled against: what each key may hold, and what any answer proves; never asks."""

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass

from s3d.drill.facts import Breach, Finding


@dataclass(frozen=True, slots=True)
class Content:
    """One object: its number and seed give all its bytes. `etag` is without quotes."""

    number: int
    size_bytes: int
    etag: str


class Bodies:
    """Bodies of chance, different for every number and at every place in it, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def bytes_of(self, number: int, size_bytes: int) -> bytes:
        """The body with this number."""
        return random.Random(f"{self._seed}/{number}").randbytes(size_bytes)  # noqa: S311 - not a secret

    def object_of(self, number: int, size_bytes: int) -> tuple[Content, bytes]:
        """The object that is this body, sent at once, and the body."""
        body = self.bytes_of(number, size_bytes)
        return Content(number, size_bytes, etag_of(body)), body


class Model:
    """What each key may hold: one state once acknowledged, more after an unknown outcome; None stands for no object.

    A key with an unknown outcome is spent: a late request could still change it, so nobody writes to it any more, and
    any of its states is right.
    """

    def __init__(self, bodies: Bodies) -> None:
        self.bodies = bodies
        self._states: dict[str, set[Content | None]] = {}
        self._past: dict[str, list[Content]] = {}
        self._spent: set[str] = set()

    def settle(self, key: str, state: Content | None, *, spent: bool = False) -> None:
        """The store acknowledged that the key holds this. `spent`: an earlier request for it may still be under way."""
        self._remember(key, state)
        self._states[key] = {state}
        if spent:
            self._spent.add(key)

    def doubt(self, key: str, wanted: Content | None) -> None:
        """No answer, or an error: the key holds what it held, or what was wanted."""
        self._remember(key, wanted)
        self._states.setdefault(key, {None}).add(wanted)
        self._spent.add(key)

    def retire(self, key: str) -> None:
        """Nobody may write to the key any more."""
        self._spent.add(key)

    def spent(self, key: str) -> bool:
        """Whether nobody may write to the key any more."""
        return key in self._spent

    def known(self, key: str) -> Content | None:
        """What the key holds if that is certain and something; None otherwise."""
        states = self._states.get(key, set())
        return next(iter(states)) if len(states) == 1 else None

    def keys(self, prefix: str = "") -> list[str]:
        """Every key under `prefix` that was ever written, in order."""
        return sorted(key for key in list(self._states) if key.startswith(prefix))

    def judge_read(
        self, key: str, body: bytes | None, *, first: int = 0, whole: bool = True
    ) -> Finding | None:
        """What is wrong with this answer to a GET; None where it is right.

        `body` None: not found. Unless `whole`, it is the part of the object from byte `first` on.
        """
        states = self._states.get(key, {None})
        if body is None:
            return None if None in states else Finding(Breach.LOST, key, f"not found; it may hold {states}")
        if any(state and self._fits(state, body, first, whole) for state in states):
            return None
        if any(self._fits(content, body, first, whole) for content in self._past.get(key, ())):
            return Finding(Breach.BACK, key, f"holds what it held before; it may hold {states}")
        if states == {None}:
            return Finding(Breach.BACK, key, f"{len(body)} bytes, where nothing may be")
        return Finding(Breach.WRONG, key, f"{len(body)} bytes from {first} on are not those of {states}")

    def judge_head(self, key: str, found: tuple[str, int] | None) -> Finding | None:
        """What is wrong with this ETag (without quotes) and size, or with None for not found."""
        states = self._states.get(key, {None})
        if found is None:
            return None if None in states else Finding(Breach.LOST, key, f"not found; it may hold {states}")
        if any(state and (state.etag, state.size_bytes) == found for state in states):
            return None
        past = any((content.etag, content.size_bytes) == found for content in self._past.get(key, ()))
        breach = Breach.BACK if past or states == {None} else Breach.WRONG
        return Finding(breach, key, f"ETag and size {found}; it may hold {states}")

    def judge_list(self, listed: Mapping[str, str], prefix: str) -> list[Finding]:
        """What is wrong with a whole list under `prefix`: keys with their ETags, without quotes."""
        findings = [
            Finding(Breach.ANSWER, key, "listed, and nobody wrote it")
            for key in listed
            if key not in self._states or not key.startswith(prefix)
        ]
        for key in self.keys(prefix):
            states = self._states[key]
            if key not in listed:
                if None not in states:
                    findings.append(Finding(Breach.LOST, key, f"not listed; it may hold {states}"))
            elif listed[key] not in {state.etag for state in states if state}:
                findings.append(Finding(Breach.BACK, key, f"listed as {listed[key]}; it may hold {states}"))
        return findings

    def _fits(self, content: Content, body: bytes, first: int, whole: bool) -> bool:
        expected = self.bodies.bytes_of(content.number, content.size_bytes)
        return body == (expected if whole else expected[first : first + len(body)])

    def _remember(self, key: str, state: Content | None) -> None:
        if state is not None:
            self._past.setdefault(key, []).append(state)


def etag_of(*parts: bytes) -> str:
    """The ETag of an object sent at once (one part), or in an upload of several parts, as S3 makes it."""
    digests = [hashlib.md5(part, usedforsecurity=False) for part in parts]
    if len(digests) == 1:
        return digests[0].hexdigest()
    whole = hashlib.md5(b"".join(digest.digest() for digest in digests), usedforsecurity=False)
    return f"{whole.hexdigest()}-{len(digests)}"
