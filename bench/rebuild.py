"""Owns how fast a shard server's index comes back from its segments when it is lost (T-C5); needs no other process."""

import os
import shutil
import time
from pathlib import Path

from bench.floors import Floor
from bench.measure import MB
from shardd.contract.blobs import (
    EXTENT_UNITS_MAX,
    UNIT_SIZE,
    BlobId,
    NodeId,
    new_blob_id,
    unit_crc,
)
from shardd.contract.cluster import StorageConfig
from shardd.engine.filesystem import DiskFilesystem
from shardd.engine.store import Put, ShardStore

EXTENTS = 512
EXTENT_BYTES = EXTENT_UNITS_MAX * UNIT_SIZE  # 1 MiB
BATCH = 8
RATE_MB_S_LEAST = 300.0


def rebuild(folder: Path) -> Floor:
    """Fill a store of its own with extents of 1 MiB, delete its index, and time the start that makes it again."""
    store, now_us = _open(folder / "node"), time.time_ns() // 1_000
    for _ in range(EXTENTS // BATCH):
        outcomes = store.commit([_put(new_blob_id(now_us // 1_000)) for _ in range(BATCH)], now_us=now_us)
        assert not any(outcomes), outcomes
    before = store.status(now_us)
    store.close()
    shutil.rmtree(folder / "node" / "index")
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    store = _open(folder / "node")
    took_s, took_cpu_s = time.perf_counter() - start_s, time.process_time() - start_cpu_s
    after = store.status(now_us)
    store.close()
    assert (after.shards, after.shard_bytes) == (before.shards, before.shard_bytes) != (0, 0)
    size_mb = EXTENTS * EXTENT_BYTES / MB
    name = f"index rebuilt from 1 MiB extents, at least {RATE_MB_S_LEAST:g}"
    return Floor(name, took_cpu_s / size_mb * 1e3, size_mb / took_s, "MB/s")


def _open(folder: Path) -> ShardStore:
    return ShardStore.open(
        folder, cluster=bytes(16), node=NodeId(1), filesystem=DiskFilesystem(), limits=StorageConfig()
    )


def _put(blob: BlobId) -> Put:
    data = os.urandom(EXTENT_BYTES)
    crcs = b"".join(
        unit_crc(blob, 0, unit, data[unit * UNIT_SIZE : (unit + 1) * UNIT_SIZE]).to_bytes(4, "big")
        for unit in range(EXTENT_UNITS_MAX)
    )
    return Put(blob, 0, 0, 1, EXTENT_BYTES, crcs, True, b"", [data])
