"""Owns the clients whose history is checked: many at once on few keys through all gateways, each call with its ends."""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import md5
from typing import Final

from s3d.drill.client import (
    Client,
    DisorderError,
    LostError,
    Pairs,
    RefusedError,
    Reply,
    UnsentError,
    list_keys,
)
from s3d.drill.linearizability import Act, Call, Outcome, Value

BODY_BYTES: Final = 64
PREFIX: Final = "k/"
PAUSE_S: Final = 0.05  # after an error
CONFLICT: Final = 409  # ConditionalRequestConflict: not done, and nothing is said of the key
ABSENT: Final = "*"

WEIGHTS: Final = {"GET": 40, "PUT": 22, "DELETE": 8, "if-none-match": 10, "if-match": 10, "LIST": 10}


@dataclass(slots=True)
class History:
    """What all clients saw.

    `wrong`: bodies that are not those of their ETag, lists out of order. `unknown`: outcomes that nobody knows.
    """

    calls: list[Call] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    lists: int = 0
    operations: int = 0
    unknown: int = 0


@dataclass(slots=True)
class Recording:
    """What the clients share: `bucket` is theirs alone, and empty when they begin."""

    client: Client
    endpoints: Sequence[str]
    bucket: str
    keys: int
    seed: int
    history: History = field(default_factory=History)
    stop: asyncio.Event = field(default_factory=asyncio.Event)


class Recorder:
    """One client, one call after the other until `stop`. Nothing is asked again: each call is in the history once."""

    def __init__(self, recording: Recording, number: int) -> None:
        self._shared, self._number = recording, number
        self._chance = random.Random(f"{recording.seed}/{number}")  # noqa: S311 - a history, not a secret
        self._serial = 0
        self._known: dict[str, str] = {}  # the ETag last seen, for conditions that may hold

    async def run(self) -> None:
        """Until asked to stop."""
        kinds, weights = list(WEIGHTS), list(WEIGHTS.values())
        while not self._shared.stop.is_set():
            (kind,) = self._chance.choices(kinds, weights)
            key = f"{PREFIX}{self._chance.randrange(self._shared.keys)}"
            self._shared.history.operations += 1
            try:
                await (self._list() if kind == "LIST" else self._call(kind, key))
            except (LostError, RefusedError):
                await asyncio.sleep(PAUSE_S)

    async def _call(self, kind: str, key: str) -> None:
        if kind == "GET":
            await self._get(key)
        elif kind == "DELETE":
            await self._change(
                "DELETE", Call(key, Act.WRITE, None, time.monotonic(), 0.0, client=self._number)
            )
        else:
            await self._put(kind, key)

    async def _get(self, key: str) -> None:
        began_s = time.monotonic()
        reply = await self._ask("GET", key)
        ended_s = time.monotonic()
        if reply.status not in (200, 404):
            raise RefusedError(f"GET {reply.status} {reply.code}")
        value = reply.etag if reply.status == 200 else None
        if value is not None and value != _etag(reply.body):
            self._shared.history.wrong.append(f"{key}: {len(reply.body)} bytes are not those of ETag {value}")
        self._learn(key, value)
        self._shared.history.calls.append(Call(key, Act.READ, value, began_s, ended_s, client=self._number))

    async def _put(self, kind: str, key: str) -> None:
        self._serial += 1
        body = f"{self._number}/{self._serial}/".encode().ljust(BODY_BYTES, b".")
        act, expected, headers = Act.WRITE, None, list[tuple[str, str]]()
        if kind == "if-none-match":
            act, headers = Act.SWAP, [(kind, ABSENT)]
        elif kind == "if-match" and (known := self._known.get(key)):
            act, expected, headers = Act.SWAP, known, [(kind, f'"{known}"')]
        call = Call(key, act, _etag(body), time.monotonic(), 0.0, expected=expected, client=self._number)
        await self._change("PUT", call, headers=headers, body=body)

    async def _change(self, method: str, call: Call, *, headers: Pairs = (), body: bytes = b"") -> None:
        """Adds the call with what became of it."""
        calls = self._shared.history.calls
        try:
            reply = await self._ask(method, call.key, headers=headers, body=body)
        except UnsentError:
            raise
        except LostError:
            self._doubt(call)
            raise
        ended_s, refused = time.monotonic(), call.act is Act.SWAP and reply.status in (404, 412)
        if reply.status in (200, 204) or refused:
            outcome = Outcome.REFUSED if refused else Outcome.DONE
            calls.append(replace(call, ended_s=ended_s, outcome=outcome))
            self._learn(call.key, None if refused else call.value)
        elif reply.status != CONFLICT:
            self._doubt(call)
            raise RefusedError(f"{method} {reply.status} {reply.code}")

    async def _list(self) -> None:
        """A list is one read of each key."""
        began_s = time.monotonic()
        try:
            listed = await list_keys(lambda query: self._ask("GET", "", query=query), PREFIX)
        except DisorderError as error:
            self._shared.history.wrong.append(str(error))
            return
        ended_s = time.monotonic()
        self._shared.history.lists += 1
        self._shared.history.calls += reads_of(
            listed, self._shared.keys, Call("", Act.READ, None, began_s, ended_s, client=self._number)
        )

    async def _ask(
        self, method: str, key: str, *, query: Pairs = (), headers: Pairs = (), body: bytes = b""
    ) -> Reply:
        path = f"/{self._shared.bucket}/{key}" if key else f"/{self._shared.bucket}"
        endpoint = self._chance.choice(self._shared.endpoints)
        return await self._shared.client.request(
            method, endpoint + path, query=query, headers=headers, body=body
        )

    def _doubt(self, call: Call) -> None:
        self._shared.history.unknown += 1
        self._shared.history.calls.append(replace(call, ended_s=time.monotonic(), outcome=Outcome.UNKNOWN))

    def _learn(self, key: str, value: Value) -> None:
        if value is None:
            self._known.pop(key, None)
        else:
            self._known[key] = value


def reads_of(listed: Mapping[str, str], keys: int, call: Call) -> list[Call]:
    """What a list says of each of the `keys`: that it holds this ETag, or nothing. What nobody wrote is read, too."""
    names = {f"{PREFIX}{number}" for number in range(keys)} | listed.keys()
    return [replace(call, key=name, value=listed.get(name)) for name in sorted(names)]


def _etag(body: bytes) -> str:
    return md5(body, usedforsecurity=False).hexdigest()


async def record(recording: Recording, *, clients: int, seconds: float) -> History:
    """The history of so many clients in that time."""
    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(Recorder(recording, number).run(), name=f"client {number}")
        await asyncio.sleep(seconds)
        recording.stop.set()
    return recording.history
