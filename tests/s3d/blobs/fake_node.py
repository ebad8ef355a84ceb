"""Owns a shard server in memory, behind the port of a node's client, with faults to be switched on; never a socket."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from shardd.contract.blobs import UNIT_SIZE, NodeId, unit_crc
from shardd.contract.errors import (
    BadRequestError,
    DeadlineError,
    ShardConflictError,
    ShardCorruptError,
    ShardNotFoundError,
    StaleGenerationError,
    StorageFullError,
    UnreachableError,
)
from shardd.contract.messages import GetUnits, Page, PutExtent, Stat, Status, Units

CHUNK = 16_000  # replies come in datagrams, which know nothing of units


@dataclass(slots=True)
class FakeNode:
    """One shard server. `dead` refuses, `silent` never answers, `full` takes no shards, `slow_s` waits first.

    `busy` only says so. Once `lists_max` pages were listed, further lists find it dead.
    """

    node: NodeId
    dead: bool = False
    silent: bool = False
    silent_puts: bool = False
    full: bool = False
    busy: bool = False
    slow_s: float = 0.0
    slow_gets_s: float = 0.0
    incarnation: bytes = bytes(16)
    gets: int = 0
    puts: int = 0
    units_read: int = 0
    lists: int = 0
    lists_max: int | None = None
    stored: dict[tuple[bytes, int], dict[int, tuple[PutExtent, bytes]]] = field(default_factory=dict)
    deleted: dict[tuple[bytes, int], int] = field(default_factory=dict)
    says: dict[str, int] = field(default_factory=dict)  # fields of its status

    async def put(self, message: PutExtent, payload: Sequence[bytes], *, deadline_s: float) -> None:
        self.puts += 1
        data = b"".join(payload)
        await self._answer(deadline_s, silent=self.silent or self.silent_puts)
        if self.full:
            raise StorageFullError("full")
        self._check(message, data)
        place = (message.blob, message.shard)
        extents = self.stored.setdefault(place, {})
        here = extents[message.extent][0] if message.extent in extents else None
        newest = max(self.deleted.get(place, 0) + 1, here.generation if here is not None else 0)
        if message.generation < newest:
            raise StaleGenerationError("stale")
        if (
            here is not None
            and here.generation == message.generation
            and (here.length, here.crcs) != (message.length, message.crcs)
        ):
            raise ShardConflictError("other bytes")
        extents[message.extent] = (message, data)

    async def get(self, message: GetUnits, *, deadline_s: float) -> tuple[Units, list[bytes]]:
        self.gets += 1
        await asyncio.sleep(self.slow_gets_s)
        await self._answer(deadline_s, silent=self.silent)
        try:
            stored, data = self.stored[message.blob, message.shard][message.extent]
        except KeyError:
            raise ShardNotFoundError("nothing here") from None
        self.units_read += message.count
        stop = message.first + message.count
        if stop * 4 > len(stored.crcs):
            raise BadRequestError("no such units")
        data = data[message.first * UNIT_SIZE : stop * UNIT_SIZE]
        chunks = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
        return Units(len(data), stored.crcs[message.first * 4 : stop * 4]), chunks

    async def delete(self, shards: list[tuple[bytes, int, int]], *, deadline_s: float) -> None:
        await self._answer(deadline_s, silent=self.silent)
        for blob, shard, generation in shards:
            place = (blob, shard)
            self.deleted[place] = max(generation, self.deleted.get(place, 0))
            extents = self.stored.get(place, {})
            left = {number: one for number, one in extents.items() if one[0].generation > generation}
            self.stored[place] = left
            if not left:
                del self.stored[place]

    async def stat(self, blob: bytes, shard: int, *, deadline_s: float) -> Stat:
        await self._answer(deadline_s, silent=self.silent)
        extents = sorted(self.stored.get((blob, shard), {}).items())
        listed = [(number, message.generation, message.length) for number, (message, _) in extents]
        if not extents:
            return Stat(listed)
        final = extents[-1][1][0]
        return Stat(listed, final.last, final.identity)

    async def list(self, after: bytes, limit: int, *, deadline_s: float) -> Page:
        await self._answer(deadline_s, silent=self.silent)
        if self.lists_max is not None and self.lists >= self.lists_max:
            raise UnreachableError(f"node {self.node} dies of lists")
        self.lists += 1
        places = sorted(place for place in self.stored if place[0] + bytes([place[1]]) > after)
        shards = []
        for place in places[:limit]:
            messages = [message for message, _ in self.stored[place].values()]
            size = sum(message.length for message in messages)
            shards.append(
                (*place, messages[0].generation, len(messages), size, any(one.last for one in messages))
            )
        more = len(places) > limit
        return Page(shards, places[limit - 1][0] + bytes([places[limit - 1][1]]) if more else b"")

    async def status(self, *, deadline_s: float) -> Status:
        await self._answer(deadline_s, silent=self.silent)
        state = "full" if self.full else "busy" if self.busy else "ok"
        size = sum(len(data) for extents in self.stored.values() for _, data in extents.values())
        status = Status(
            state, self.node, self.incarnation, "fake", 0, 1 << 39, 1 << 40, len(self.stored), size, 1, 0
        )
        return msgspec.structs.replace(status, **self.says)

    async def close(self) -> None:
        """It holds no connection."""

    def flip(self, blob: bytes, shard: int, *, extent: int = 0, at: int = 0) -> None:
        """Damage one byte of what is stored, behind everybody's back."""
        message, data = self.stored[blob, shard][extent]
        self.stored[blob, shard][extent] = (message, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])

    async def _answer(self, deadline_s: float, *, silent: bool) -> None:
        if self.dead:
            raise UnreachableError(f"node {self.node} is dead")
        if silent:
            await asyncio.sleep(deadline_s)
            raise DeadlineError(f"node {self.node} is silent")
        await asyncio.sleep(self.slow_s)
        if self.dead:
            raise UnreachableError(f"node {self.node} died")

    def _check(self, message: PutExtent, data: bytes) -> None:
        """What a shard server checks on receipt: the length, and each unit's checksum."""
        units = [data[at : at + UNIT_SIZE] for at in range(0, len(data), UNIT_SIZE)]
        first = message.extent * 16
        crcs = b"".join(
            unit_crc(message.blob, message.shard, number, unit).to_bytes(4, "big")
            for number, unit in enumerate(units, first)
        )
        if len(data) != message.length:
            raise BadRequestError("the length is wrong")
        if crcs != message.crcs:
            raise ShardCorruptError("the checksums are wrong")
