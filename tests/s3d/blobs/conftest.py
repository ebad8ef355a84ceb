"""Owns a small store in memory for the tests of blobs: fake nodes, a real fleet, placement and coding; and a state."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from s3d.blobs.resources import coding_threads
from s3d.blobs.store import Blobs
from s3d.blobs.writer import StoredBlob
from s3d.metadata.references import audit
from s3d.metadata.rows import BlobRow
from s3d.metadata.state import State
from s3d.placement.ring import Ring
from s3d.shards.fleet import Fleet
from s3d.shards.health import FleetLimits
from shardd.contract.blobs import BlobId, NodeId, new_blob_id
from shardd.contract.cluster import MIB, ErasureConfig, NodeConfig
from tests.s3d.blobs.fake_node import FakeNode

QUICK = FleetLimits(
    heartbeat_s=0.02, silence_s=0.1, stall_s=0.2, standstill_s=5.0, watch_s=0.02, put_deadline_s=5.0
)


@dataclass(slots=True)
class Store:
    """Blobs over fake nodes; `suspects` collects what reads complained of."""

    nodes: dict[NodeId, FakeNode]
    fleet: Fleet
    blobs: Blobs
    suspects: set[tuple[BlobId, int]] = field(default_factory=set)

    async def put(self, body: bytes, *, key: bytes = b"bucket/key", piece: int = 100_000) -> StoredBlob:
        """Write a blob in pieces."""
        writer = self.blobs.writer(key, blob=new_blob_id(1), size=len(body), digests=None)
        for at in range(0, len(body), piece):
            await writer.write(body[at : at + piece])
        return await writer.finish(b"identity")

    async def get(self, stored: StoredBlob, start: int = 0, stop: int | None = None) -> bytes:
        """Read a range of a blob."""
        return await self.read(stored.blob, stored.row, start, stop)

    async def read(self, blob: BlobId, row: BlobRow, start: int = 0, stop: int | None = None) -> bytes:
        """Read a range of a blob that a row places."""
        pieces: list[bytes] = []
        async with aclosing(
            self.blobs.reader(blob, row).chunks(start, row.size if stop is None else stop)
        ) as chunks:
            async for run in chunks:
                pieces += run
        return b"".join(pieces)

    async def settle(self) -> None:
        """Wait until the fleet sees the nodes as they are."""
        async with asyncio.timeout(5):
            while self.fleet.up() != {
                node.node for node in self.nodes.values() if not node.dead and not node.silent
            }:
                await asyncio.sleep(0.005)


@cache
def ring(count: int) -> Ring:
    """The ring of `count` nodes, made once."""
    return Ring(
        [NodeConfig(NodeId(number), "host", number, Path(f"/{number}")) for number in range(1, count + 1)]
    )


@asynccontextmanager
async def store(
    count: int = 5, rs: ErasureConfig | None = None, *, buffer_bytes: int = 128 * MIB
) -> AsyncIterator[Store]:
    """A store of `count` nodes, all up."""
    rs = rs or ErasureConfig()
    nodes = {NodeId(number): FakeNode(NodeId(number)) for number in range(1, count + 1)}
    fleet = Fleet(nodes.values(), limits=QUICK)
    suspects: set[tuple[BlobId, int]] = set()
    with coding_threads() as coding:
        blobs = Blobs(
            fleet,
            ring(count),
            rs=rs,
            buffer_bytes=buffer_bytes,
            coding=coding,
            suspect=lambda blob, shard: suspects.add((blob, shard)),
        )
        made = Store(nodes, fleet, blobs, suspects)
        beat = asyncio.create_task(fleet.run())
        try:
            await made.settle()
            yield made
        finally:
            beat.cancel()
            await asyncio.gather(beat, return_exceptions=True)


@pytest.fixture
async def five() -> AsyncIterator[Store]:
    """Five nodes, RS(3,2)."""
    async with store() as made:
        yield made


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    """An empty state, in which every count is right at the end."""
    made = State.open(tmp_path, 1 << 24)
    yield made
    with made.view() as view:
        assert audit(view) == []
    made.close()
