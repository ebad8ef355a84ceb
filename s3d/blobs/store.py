"""Owns the making of writers and readers of blobs; never their work."""

from concurrent.futures import Executor
from typing import Final

from s3d.blobs.budget import Budget
from s3d.blobs.coding import Digests
from s3d.blobs.reader import BlobReader
from s3d.blobs.resources import Resources, Suspect
from s3d.blobs.writer import BlobWriter, Plan
from s3d.metadata.rows import BlobRow
from s3d.placement.durability import assign, survives
from s3d.placement.erasure import CODECS, codec
from s3d.placement.ring import Ring
from s3d.shards.fleet import Fleet
from shardd.contract.blobs import BlobId
from shardd.contract.cluster import ErasureConfig

# Times `buffer_bytes`: of 128 MiB it is room for 213 windows of 3 MiB, of uploads that all fill one at the same pace.
SLOW_TIMES: Final = 5


class Blobs:
    """Where blobs are written and read. `buffer_bytes` bounds the buffers of all writers and readers together.

    A shard is sent by the MiB, so what came from slow clients is kept in addition, up to SLOW_TIMES as much.
    """

    def __init__(
        self,
        fleet: Fleet,
        ring: Ring,
        *,
        rs: ErasureConfig,
        buffer_bytes: int,
        coding: Executor,
        suspect: Suspect,
    ) -> None:
        self.fleet = fleet
        self._ring = ring
        self._rs = rs
        # Loaded now: later there may be no descriptor.
        self._coder = codec(CODECS[rs.codec], rs.data, rs.parity)
        # Divided, so that slow readers cannot keep writers waiting, nor slow writers the readers. What is sent is
        # held twice, here and in the transport until it is acknowledged, so 3/8 for uploads take 6/8 of the bytes.
        uploads, slow = Budget(buffer_bytes * 3 // 8), Budget(buffer_bytes * SLOW_TIMES)
        self.resources = Resources(fleet, uploads, slow, Budget(buffer_bytes // 4), coding, suspect)

    def can_write(self) -> bool:
        """Would a PUT be acknowledged now?"""
        return self.fleet.can_write(self._rs)

    def refusal(self) -> str:
        """Why a PUT would be refused now, with the status that it gets; "" where it would be acknowledged."""
        fleet, rs = self.fleet, self._rs
        if fleet.can_write(rs):
            return ""
        places = assign(fleet.nodes, fleet.up(), rs.data + rs.parity)
        if fleet.full() and survives(places, rs.data, rs.spare):
            return f"507: full are the nodes {', '.join(map(str, sorted(fleet.full())))}"
        return f"503: {len(fleet.choices()[-1])} of {len(fleet.nodes)} nodes take new shards"

    def writer(self, key: bytes, *, blob: BlobId, size: int | None, digests: Digests | None) -> BlobWriter:
        """A writer of a new blob, placed by `key` (bucket/key). `size`: its bytes, where they are known.

        Raises NotEnoughShardsError where too few nodes take shards now, before a byte of the body is read.
        """
        rs = self._rs
        plan = Plan(blob, self._coder, walk=tuple(self._ring.walk(key)), spare=rs.spare, size=size)
        return BlobWriter(self.resources, plan, digests=digests)

    def reader(self, blob: BlobId, row: BlobRow) -> BlobReader:
        """A reader of a blob."""
        return BlobReader(self.resources, blob, row)
