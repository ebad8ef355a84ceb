"""Owns the bodies of the messages between a gateway and a shard server; wire.py owns their frames.

One request and one reply a stream. Bodies are msgpack arrays, fields in the order below; a field may be added at
the end with a default, never moved. Payload bytes (units) follow the body and are never inside it.
"""

from typing import ClassVar

import msgspec

BUSY = "busy"


class PutExtent(msgspec.Struct, frozen=True, array_like=True):
    """Store one extent of a shard. Payload: its units, one after the other, `length` bytes. Reply: Done."""

    OPERATION: ClassVar[int] = 1
    blob: bytes
    shard: int
    extent: int
    generation: int
    length: int
    crcs: bytes  # 4 bytes a unit, big endian: blobs.unit_crc
    last: bool = False  # the shard ends here
    identity: bytes = b""  # with `last`: what salvage needs to know of the blob, opaque to the shard server


class GetUnits(msgspec.Struct, frozen=True, array_like=True):
    """Read `count` units of one extent from its unit `first` on. Reply: Units, payload: the units."""

    OPERATION: ClassVar[int] = 2
    blob: bytes
    shard: int
    extent: int
    first: int
    count: int


class DeleteShards(msgspec.Struct, frozen=True, array_like=True):
    """Delete shards up to a generation: (blob, shard, generation) each, at most 1,000. Reply: Done."""

    OPERATION: ClassVar[int] = 3
    shards: list[tuple[bytes, int, int]]


class StatShard(msgspec.Struct, frozen=True, array_like=True):
    """What is there of a shard. Reply: Stat; a shard that is not there is an empty one, not an error."""

    OPERATION: ClassVar[int] = 4
    blob: bytes
    shard: int


class ListShards(msgspec.Struct, frozen=True, array_like=True):
    """A page of all shards in order of (blob, shard), after the place `after` (17 bytes: blob, shard). Reply: Page."""

    OPERATION: ClassVar[int] = 5
    after: bytes = b""
    limit: int = 1_000


class GetStatus(msgspec.Struct, frozen=True, array_like=True):
    """How the shard server is. Reply: Status."""

    OPERATION: ClassVar[int] = 6


class Done(msgspec.Struct, frozen=True, array_like=True):
    """It is durable."""


class Units(msgspec.Struct, frozen=True, array_like=True):
    """The units of a GetUnits follow as payload. `crcs` are those of the PUT, as they were stored."""

    length: int
    crcs: bytes


class Stat(msgspec.Struct, frozen=True, array_like=True):
    """(extent, generation, length) of each extent that is there, in order; `last`: the final one carries the mark.

    `identity` is the final one's: a shard that is rebuilt elsewhere takes it along.
    """

    extents: list[tuple[int, int, int]]
    last: bool = False
    identity: bytes = b""


class Page(msgspec.Struct, frozen=True, array_like=True):
    """(blob, shard, generation, extents, bytes, complete) each; `after` continues, empty at the end.

    Damaged extents count for the generation alone: of a shard that is all rot there are none.
    """

    shards: list[tuple[bytes, int, int, int, int, bool]]
    after: bytes


class Status(msgspec.Struct, frozen=True, array_like=True):
    """The health of a shard server.

    `state`: "ok", BUSY (its disk keeps writes waiting), "full" (takes no new shards) or "failed" (its disk refuses).
    """

    state: str
    node: int
    incarnation: bytes
    version: str
    time_us: int
    free_bytes: int
    total_bytes: int
    shards: int
    shard_bytes: int
    segments: int
    quarantined: int
    scrub_started_us: int = 0  # of the pass that is under way
    scrub_records: int = 0  # verified in it so far
    scrub_damaged: int = 0  # stretches of segments that were no records
    scrub_passes: int = 0
    losses: int = 0  # records that were ever found damaged or gone; it grows until the index is made anew
    scrub_done_bytes: int = 0  # of segments, verified in the pass that is under way
    scrub_total_bytes: int = 0  # those and what is left of it


class Failure(msgspec.Struct, frozen=True, array_like=True):
    """An error in place of a reply: its code in errors.py and a sentence."""

    code: int
    message: str


Request = PutExtent | GetUnits | DeleteShards | StatShard | ListShards | GetStatus
Reply = Done | Units | Stat | Page | Status | Failure
