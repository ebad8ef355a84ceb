"""Owns the clients of a drill: what each does next, how it goes on when a gateway is gone, what it learns from it."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from s3d.drill.facts import Breach, Finding, Operation, Record
from s3d.drill.model import Content, Model, etag_of

GATEWAYS_TRIED: Final = 3
PAUSE_AFTER_ERROR_S: Final = 0.05
PART_BYTES_MIN: Final = 5 << 20

READS: Final = ("GET", "range", "HEAD", "LIST")


@dataclass(frozen=True, slots=True)
class Mix:
    """What clients do: each kind of operation how often, with objects of what sizes, on how many keys a client.

    `size_bits`: from 2**low to 2**high bytes, as many between 1 and 2 KiB as between 4 and 8 MiB.
    """

    weights: Mapping[str, int]
    size_bits: tuple[float, float] = (10.0, 23.0)
    keys: int = 12


# 70 reads to 30 writes.
DRILL: Final = Mix(
    {
        "GET": 52,
        "range": 8,
        "HEAD": 6,
        "LIST": 4,
        "PUT": 21,
        "DELETE": 4,
        "upload": 1,
        "copy": 2,
        "conditional": 2,
    }
)


@dataclass(frozen=True, slots=True)
class Order:
    """One request about a key, "" being the bucket. `again`: asked of the next gateway where one cuts its reply."""

    method: str
    key: str
    query: Pairs = ()
    headers: Pairs = ()
    body: bytes = b""
    again: bool = True


@dataclass(slots=True)
class Traffic:
    """What all clients of one drill share. `origin_s`: when the drill began, by the monotonic clock."""

    client: Client
    endpoints: Sequence[str]
    bucket: str
    model: Model
    record: Record
    origin_s: float
    mix: Mix = DRILL
    stop: asyncio.Event = field(default_factory=asyncio.Event)


class Worker:
    """One client with keys of its own, one operation after the other until `stop` is set."""

    def __init__(self, traffic: Traffic, number: int) -> None:
        self._traffic, self._number = traffic, number
        self._chance = random.Random(f"{traffic.record.seed}/{number}")  # noqa: S311 - a drill, not a secret
        self._slots = range(traffic.mix.keys)
        self._lives = [0] * traffic.mix.keys
        self._serial = number << 32
        self._cut = 0  # requests of this client that were asked again
        self._acts: dict[str, Callable[[], Awaitable[int]]] = {
            "GET": self._get,
            "range": self._range,
            "HEAD": self._head,
            "LIST": self._list,
            "PUT": self._put,
            "DELETE": self._delete,
            "upload": self._upload,
            "copy": self._copy,
            "conditional": self._conditional,
        }

    async def run(self) -> None:
        """Until asked to stop, at the end of an operation."""
        weights = self._traffic.mix.weights
        while not self._traffic.stop.is_set():
            (kind,) = self._chance.choices([*weights], [*weights.values()])
            if kind in READS and self._full_key() is None:
                kind = "PUT"
            await self._operate(kind)

    async def _operate(self, kind: str) -> None:
        began_s, size_bytes, error = time.monotonic(), 0, ""
        try:
            size_bytes = await self._acts[kind]()
        except (LostError, RefusedError) as fault:
            error = str(fault)
        finally:
            # Where somebody ends the drill, what has no answer yet is written down too: it hung for that long.
            at_s, took_s = began_s - self._traffic.origin_s, time.monotonic() - began_s
            self._traffic.record.operations.append(Operation(kind, at_s, took_s, size_bytes, error))
        if error:
            await asyncio.sleep(PAUSE_AFTER_ERROR_S)

    def _key(self, slot: int) -> str:
        return f"c{self._number:02}/{slot:02}.{self._lives[slot]}"

    def _slot_to_write(self) -> str:
        """A key that may be written to: one whose outcome is unknown gets a successor."""
        slot = self._chance.choice(self._slots)
        if self._traffic.model.spent(self._key(slot)):
            self._lives[slot] += 1
        return self._key(slot)

    def _full_key(self) -> str | None:
        """A key that certainly holds something."""
        full = [key for key in map(self._key, self._slots) if self._traffic.model.known(key)]
        return self._chance.choice(full) if full else None

    def _any_key(self) -> str:
        """A key to read: mostly one that holds something, sometimes one that does not, or nobody knows."""
        full = self._full_key()
        if full is not None and self._chance.random() < 0.9:
            return full
        return self._key(self._chance.choice(self._slots))

    def _object(self, low_bytes: int = 0) -> tuple[Content, bytes]:
        self._serial += 1
        size_bytes = max(low_bytes, int(2 ** self._chance.uniform(*self._traffic.mix.size_bits)))
        return self._traffic.model.bodies.object_of(self._serial, size_bytes)

    async def _get(self) -> int:
        key = self._any_key()
        reply = await self._read(Order("GET", key))
        self._note(self._traffic.model.judge_read(key, reply.body if reply.status == 200 else None))
        return len(reply.body)

    async def _range(self) -> int:
        key = self._full_key()
        known = self._traffic.model.known(key) if key else None
        if key is None or known is None or not known.size_bytes:
            return await self._get()
        first = self._chance.randrange(known.size_bytes)
        last = self._chance.randrange(first, known.size_bytes)
        reply = await self._read(Order("GET", key, headers=(("range", f"bytes={first}-{last}"),)))
        model = self._traffic.model
        if reply.status == 206:
            self._note(model.judge_read(key, reply.body, first=first, whole=False))
            if len(reply.body) != last - first + 1:
                self._note(Finding(Breach.WRONG, key, f"{len(reply.body)} bytes of range {first}-{last}"))
        else:
            self._note(model.judge_read(key, reply.body if reply.status == 200 else None))
        return len(reply.body)

    async def _head(self) -> int:
        key = self._any_key()
        reply = await self._read(Order("HEAD", key))
        found = (reply.etag, int(reply.headers["content-length"])) if reply.status == 200 else None
        self._note(self._traffic.model.judge_head(key, found))
        return 0

    async def _list(self) -> int:
        prefix = f"c{self._number:02}/"
        try:
            listed = await list_keys(lambda query: self._ask(Order("GET", "", query=query)), prefix)
        except DisorderError as error:
            self._note(Finding(Breach.ANSWER, prefix, str(error)))
            return 0
        for finding in self._traffic.model.judge_list(listed, prefix):
            self._note(finding)
        return 0

    async def _put(self) -> int:
        key, (wanted, body) = self._slot_to_write(), self._object()
        await self._write(Order("PUT", key, body=body), wanted)
        return len(body)

    async def _delete(self) -> int:
        await self._write(Order("DELETE", self._slot_to_write()), None)
        return 0

    async def _copy(self) -> int:
        source, target = self._full_key(), self._slot_to_write()
        known = self._traffic.model.known(source) if source else None
        if source is None or known is None or "-" in known.etag or source == target:
            return await self._put()
        where = (("x-amz-copy-source", f"/{self._traffic.bucket}/{source}"),)
        try:
            await self._write(Order("PUT", target, headers=where, again=False), known)
        except LostError:
            self._traffic.model.retire(source)  # what a late request copies must be what was there
            raise
        return known.size_bytes

    async def _conditional(self) -> int:
        """A PUT whose condition holds, or one whose condition does not: the model knows which."""
        key, (wanted, body) = self._slot_to_write(), self._object()
        known, condition = self._traffic.model.known(key), ("if-none-match", "*")
        if known is not None and self._chance.random() < 0.7:
            condition = ("if-match", f'"{known.etag}"')
        holds = known is None or condition[0] == "if-match"
        order = Order("PUT", key, headers=(condition,), body=body, again=False)
        status = await self._write(order, wanted, refusals=(412,))
        if (status == 200) != holds:
            self._note(Finding(Breach.ANSWER, key, f"{condition}: {status}, and it holds {known}"))
        return len(body)

    async def _upload(self) -> int:
        """A multipart upload of two parts. Until it is completed the key holds what it held."""
        key, (whole, body) = self._slot_to_write(), self._object(PART_BYTES_MIN + 1)
        started = await self._ask(Order("POST", key, query=(("uploads", ""),)))
        if started.status != 200:
            raise RefusedError(f"POST uploads {started.status} {started.code}")
        (upload,) = started.texts("UploadId")
        parts, lines = (body[:PART_BYTES_MIN], body[PART_BYTES_MIN:]), ""
        for part, piece in enumerate(parts, 1):
            query = (("partNumber", str(part)), ("uploadId", upload))
            sent = await self._ask(Order("PUT", key, query=query, body=piece))
            if sent.status != 200:
                raise RefusedError(f"PUT part {sent.status} {sent.code}")
            lines += f"<Part><PartNumber>{part}</PartNumber><ETag>{sent.etag}</ETag></Part>"
        document = f"<CompleteMultipartUpload>{lines}</CompleteMultipartUpload>".encode()
        order = Order("POST", key, query=(("uploadId", upload),), body=document)
        await self._write(order, replace(whole, etag=etag_of(*parts)))
        return len(body)

    async def _read(self, order: Order) -> Reply:
        reply = await self._ask(order)
        if reply.status not in (200, 206, 404):
            raise RefusedError(f"{order.method} {reply.status} {reply.code}")
        return reply

    async def _write(self, order: Order, wanted: Content | None, *, refusals: Sequence[int] = ()) -> int:
        """The status; the model learns what the key holds now. A status of `refusals` says that nothing changed."""
        model, cut = self._traffic.model, self._cut
        try:
            reply = await self._ask(order)
        except UnsentError:
            raise
        except LostError:
            model.doubt(order.key, wanted)
            raise
        if reply.status in refusals:
            return reply.status
        if reply.status not in (200, 204) or b"<Error>" in reply.body:
            model.doubt(order.key, wanted)
            raise RefusedError(f"{order.method} {reply.status} {reply.code}")
        model.settle(order.key, wanted, spent=self._cut > cut)
        return reply.status

    async def _ask(self, order: Order) -> Reply:
        """The reply of the first gateway, in an order of chance, that gives one.

        Raises UnsentError where no gateway was reached, LostError where any of them may have done it.
        """
        traffic = self._traffic
        lost: LostError | None = None
        path = f"/{traffic.bucket}/{order.key}" if order.key else f"/{traffic.bucket}"
        tried = self._chance.sample(traffic.endpoints, min(GATEWAYS_TRIED, len(traffic.endpoints)))
        for endpoint in tried:
            try:
                return await traffic.client.request(
                    order.method, endpoint + path, query=order.query, headers=order.headers, body=order.body
                )
            except UnsentError as error:
                lost = lost or error
            except LostError as error:
                lost = error
                if not order.again:
                    break
                self._cut += 1
                traffic.record.asked_again += 1
        assert lost is not None
        raise lost

    def _note(self, finding: Finding | None) -> None:
        if finding is not None:
            self._traffic.record.findings.append(finding)
