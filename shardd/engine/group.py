"""Owns the decision which changes of a group may be appended, and as what; never writes anything."""

from collections.abc import Callable, Sequence

import msgspec

from shardd.contract.blobs import BLOB_ID_SIZE, EXTENT_SIZE_MAX, SHARDS_MAX, BlobId, units_in
from shardd.contract.errors import (
    BadRequestError,
    ShardConflictError,
    ShardCorruptError,
    ShardError,
    StaleGenerationError,
)
from shardd.engine.index import Index
from shardd.engine.record import METADATA_SIZE_MAX, FormatError, Kind, Record, unit_crcs
from shardd.engine.rows import DamagedRowError, ExtentRow, shard_key
from shardd.engine.segment import Entry

IDENTITY_SIZE_MAX = METADATA_SIZE_MAX - 64
NUMBER_MAX = (1 << 32) - 1


class Metadata(msgspec.Struct, frozen=True, array_like=True):
    """The metadata of an extent's record: when it was appended, and the blob's identity with the last extent."""

    written_us: int
    identity: bytes


_encode = msgspec.msgpack.Encoder().encode


class Put(msgspec.Struct, frozen=True, gc=False):
    """Store one extent. `payload`: its units, `length` bytes in pieces of any size; `crcs`: 4 bytes a unit."""

    blob: BlobId
    shard: int
    extent: int
    generation: int
    length: int
    crcs: bytes
    last: bool
    identity: bytes
    payload: Sequence[bytes]


class Delete(msgspec.Struct, frozen=True, gc=False):
    """Delete everything of a shard up to `generation`, whether it is here or still to come."""

    blob: BlobId
    shard: int
    generation: int


class Group:
    """One group of changes. `entries` is what must be appended; a later change meets what an earlier one did."""

    def __init__(self, index: Index, same_bytes: Callable[[ExtentRow, Put], bool], *, now_us: int) -> None:
        self._index = index
        self._same_bytes = same_bytes
        self._now_us = now_us
        self._puts: dict[tuple[bytes, int], Put] = {}
        self._graves: dict[bytes, int] = {}
        self._waiting: list[tuple[int, bool]] = []  # (number in the group, whether it is a put)
        self.entries: list[Entry] = []

    def admit(self, item: Put | Delete, number: int) -> ShardError | None:
        """Take up change `number` of the group: None where it is in `entries` or durable already, else why not."""
        try:
            if isinstance(item, Put):
                self._admit_put(item)
            else:
                self._admit_delete(item)
        except ShardError as error:
            return error
        except (DamagedRowError, FormatError, OSError) as fault:
            return ShardCorruptError(f"what is here of the extent cannot be read: {fault}")
        self._waiting.append((number, isinstance(item, Put)))
        return None

    def refuse_puts(self, outcomes: list[ShardError | None], error: ShardError) -> list[Entry]:
        """There is no room for puts: they are answered with `error`, and what is left is given."""
        for number, is_put in self._waiting:
            if is_put:
                outcomes[number] = error
        self._waiting = [(number, is_put) for number, is_put in self._waiting if not is_put]
        self.entries = [entry for entry in self.entries if entry.record.kind == Kind.TOMBSTONE]
        return self.entries

    def refuse_all(self, outcomes: list[ShardError | None], error: ShardError) -> None:
        """Nothing of the group became durable."""
        for number, _ in self._waiting:
            outcomes[number] = error
        self.entries = []

    def _admit_put(self, put: Put) -> None:
        _check_layout(put)
        key = shard_key(put.blob, put.shard)
        place = (key, put.extent)
        if put.generation <= self._deleted(key):
            raise StaleGenerationError("this generation of the shard was deleted")
        record = Record(
            kind=Kind.EXTENT,
            blob=put.blob,
            shard=put.shard,
            extent=put.extent,
            generation=put.generation,
            length=put.length,
            crcs=put.crcs,
            metadata=_encode(Metadata(self._now_us, put.identity)),
            last=put.last,
        )
        if unit_crcs(record, put.payload) != put.crcs:
            raise ShardCorruptError("the payload fails its checksums")
        if not self._is_here(put, key):
            self._puts[place] = put
            self.entries.append(Entry.of(record, put.payload))

    def _admit_delete(self, delete: Delete) -> None:
        _check_names(delete.blob, delete.shard, delete.generation)
        key = shard_key(delete.blob, delete.shard)
        if delete.generation <= self._deleted(key):
            return
        self._graves[key] = delete.generation
        for place in [place for place in self._puts if place[0] == key]:
            if self._puts[place].generation <= delete.generation:
                del self._puts[place]
        record = Record(
            kind=Kind.TOMBSTONE,
            blob=delete.blob,
            shard=delete.shard,
            extent=0,
            generation=delete.generation,
        )
        self.entries.append(Entry.of(record, ()))

    def _deleted(self, key: bytes) -> int:
        """The generation up to which the shard is deleted, -1 where it is not."""
        if key in self._graves:
            return self._graves[key]
        grave = self._index.tombstone(key)
        return -1 if grave is None else grave.generation

    def _is_here(self, put: Put, key: bytes) -> bool:
        """Whether the same is here already. Raises StaleGenerationError and ShardConflictError."""
        earlier = self._puts.get((key, put.extent))
        row = self._index.sound_extent(key, put.extent)
        if row is not None and row.generation <= self._graves.get(key, -1):
            row = None  # deleted in this group
        here = earlier.generation if earlier else row.generation if row else -1
        if here != put.generation:
            if here > put.generation:
                raise StaleGenerationError("a later generation of the extent is here")
            return False
        if earlier is not None:
            same = (earlier.length, earlier.crcs) == (put.length, put.crcs)
        else:
            assert row is not None
            if row.quarantined:
                return False
            same = self._same_bytes(row, put)
        if not same:
            raise ShardConflictError("the same generation is here with other bytes")
        return True


def _check_layout(put: Put) -> None:
    _check_names(put.blob, put.shard, put.generation)
    if not 0 <= put.extent <= NUMBER_MAX or not 0 <= put.length <= EXTENT_SIZE_MAX:
        raise BadRequestError(f"extent {put.extent} of {put.length} bytes")
    if sum(map(len, put.payload)) != put.length or len(put.crcs) != 4 * units_in(put.length):
        raise BadRequestError("payload, length and checksums contradict each other")
    if len(put.identity) > IDENTITY_SIZE_MAX:
        raise BadRequestError(f"an identity of {len(put.identity)} bytes")


def _check_names(blob: bytes, shard: int, generation: int) -> None:
    if len(blob) != BLOB_ID_SIZE or not 0 <= shard <= SHARDS_MAX or not 0 <= generation <= NUMBER_MAX:
        raise BadRequestError(f"shard {shard}, generation {generation} of a blob id of {len(blob)} bytes")
