"""Owns the making of puts and stores for the engine's tests; never asserts."""

import struct
from collections.abc import Sequence
from pathlib import Path

from shardd.contract.blobs import (
    EXTENT_UNITS_MAX,
    UNIT_SIZE,
    BlobId,
    NodeId,
    crc32c,
    shard_seed,
    unit_crc,
    units_in,
)
from shardd.contract.cluster import StorageConfig
from shardd.engine.filesystem import DiskFilesystem, Filesystem
from shardd.engine.store import Put, ShardStore

CLUSTER = b"cluster-of-tests"
NODE = NodeId(3)
NOW_US = 1_750_000_000_000_000
KIB = 1 << 10


def blob(number: int) -> BlobId:
    return BlobId(number.to_bytes(16, "big"))


def content(size: int, number: int) -> bytes:
    """`size` bytes that no other number gives."""
    word = struct.pack(">Q", 0x9E3779B97F4A7C15 * (number + 1) % (1 << 64))
    return (word * (size // 8 + 1))[:size]


def crcs_of(blob_id: BlobId, shard: int, extent: int, data: bytes) -> bytes:
    first = extent * EXTENT_UNITS_MAX
    return b"".join(
        unit_crc(blob_id, shard, first + unit, data[unit * UNIT_SIZE : (unit + 1) * UNIT_SIZE]).to_bytes(
            4, "big"
        )
        for unit in range(units_in(len(data)))
    )


def put(
    number: int,
    data: bytes = b"data",
    *,
    shard: int = 0,
    extent: int = 0,
    generation: int = 1,
    last: bool = True,
    identity: bytes = b"",
    piece: int = 1 << 20,
) -> Put:
    name = blob(number)
    pieces = [data[at : at + piece] for at in range(0, len(data), piece)]
    crcs = crcs_of(name, shard, extent, data)
    return Put(name, shard, extent, generation, len(data), crcs, last, identity, pieces)


def open_store(
    folder: Path,
    *,
    filesystem: Filesystem | None = None,
    cluster: bytes = CLUSTER,
    node: NodeId = NODE,
    segment_bytes: int = 256 * KIB,
    refuse_above_full: float = 1.0,
    compact_above_full: float = 1.0,
) -> ShardStore:
    limits = StorageConfig(
        segment_bytes=segment_bytes,
        refuse_above_full=refuse_above_full,
        compact_above_full=compact_above_full,
    )
    return ShardStore.open(
        folder, cluster=cluster, node=node, filesystem=filesystem or DiskFilesystem(), limits=limits
    )


def commit(store: ShardStore, *batch: object) -> list[str]:
    """The names of the errors that each change met, "ok" where there was none."""
    outcomes = store.commit(batch, now_us=NOW_US)  # type: ignore[arg-type]
    return ["ok" if outcome is None else type(outcome).__name__ for outcome in outcomes]


def read_all(store: ShardStore, number: int, *, shard: int = 0, extent: int = 0) -> bytes:
    """The bytes of an extent as a gateway would take them: AssertionError where a unit fails its checksum."""
    name = blob(number)
    stat = {found: length for found, _, length in store.stat(name, shard).extents}
    count = units_in(stat.get(extent, 0))
    got = store.read(name, shard, extent, first=0, count=count)
    assert is_verified(name, shard, extent, got.units, got.crcs)
    return got.units


def is_verified(name: BlobId, shard: int, extent: int, units: bytes, crcs: bytes) -> bool:
    first = extent * EXTENT_UNITS_MAX
    return len(crcs) == 4 * units_in(len(units)) and all(
        crc32c(units[unit * UNIT_SIZE : (unit + 1) * UNIT_SIZE], shard_seed(name, shard, first + unit))
        == int.from_bytes(crcs[4 * unit : 4 * unit + 4], "big")
        for unit in range(units_in(len(units)))
    )


def compact(store: ShardStore) -> int:
    """Compact until there is nothing left to do; how many steps it took."""
    for steps in range(1_000):
        if not store.compact_step(NOW_US):
            return steps
    raise AssertionError("compaction does not come to an end")


def scrub(store: ShardStore) -> tuple[int, int]:
    """Scrub everything: (damaged stretches, rows that were quarantined)."""
    damaged = quarantined = 0
    for segment in store.segments():
        position = -1
        while position:
            seen = store.scrub_step(segment, max(position, 0))
            damaged, quarantined = damaged + seen.damaged, quarantined + seen.quarantined
            position = seen.position
    return damaged, quarantined


def segment_files(folder: Path) -> Sequence[Path]:
    return sorted(folder.glob("*.segment"))
