"""Owns the port of a shard server, as gateways see one; never how it is reached."""

from collections.abc import Sequence
from typing import Protocol

from shardd.contract.blobs import NodeId
from shardd.contract.messages import GetUnits, Page, PutExtent, Stat, Status, Units


class NodeClient(Protocol):
    """One shard server, seen from a gateway. Every method raises errors of the ShardError tree only.

    UnreachableError: no connection, or it broke; DeadlineError: no answer in time. Payloads are lists of chunks.
    """

    node: NodeId

    async def put(self, message: PutExtent, payload: Sequence[bytes], *, deadline_s: float) -> None:
        """Returns once the extent is durable on the node."""

    async def get(self, message: GetUnits, *, deadline_s: float) -> tuple[Units, list[bytes]]:
        """The units' stored checksums, and their bytes in chunks of any length. Nothing is verified."""

    async def delete(self, shards: list[tuple[bytes, int, int]], *, deadline_s: float) -> None:
        """Deletes (blob, shard, generation): that generation and those before it. Deleting nothing succeeds."""

    async def stat(self, blob: bytes, shard: int, *, deadline_s: float) -> Stat:
        """The extents that are there of a shard."""

    async def list(self, after: bytes, limit: int, *, deadline_s: float) -> Page:
        """A page of the shards that are there."""

    async def status(self, *, deadline_s: float) -> Status:
        """How the node is."""
