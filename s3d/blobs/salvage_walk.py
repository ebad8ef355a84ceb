"""Owns the walk over all that the shard servers hold, for salvage: lists merged by blob, identities asked for."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Collection, Mapping
from typing import Final

from s3d.blobs.comparing import Line
from s3d.blobs.identity import Identity, IdentityError, decode_identity
from s3d.blobs.salvaging import Doubt, Found, Held, Salvage, place, replace
from s3d.metadata.fields import Placement
from s3d.metadata.rows import BlobRow
from s3d.shards.port import NodeClient
from shardd.contract.blobs import BlobId, NodeId
from shardd.contract.errors import ShardError

PAGE_LINES: Final = 1_000
DEADLINE_S: Final = 10.0
STATS_AT_ONCE: Final = 64

Clients = Mapping[NodeId, NodeClient]


async def run(clients: Clients, salvage: Salvage, *, since_us: int, all_there: bool) -> None:
    """Everything that the nodes hold, compared with the state that `salvage` then changes it. Raises ShardError.

    Only where `all_there`, all nodes of the cluster, is what none of them has taken for deleted. Of blobs begun before
    `since_us` that the state does not know nothing is made: the store itself had given them up. What has fewer than k
    shards on these nodes is told.
    """
    unread: dict[bytes, str] = {}
    met: set[bytes] = set()
    moved: list[tuple[bytes, BlobRow, Placement]] = []
    unknown: list[tuple[BlobId, Held]] = []
    async for blob, held in _merged(clients):
        met.add(blob)
        with salvage.state.view() as view:
            row = view.blob(blob)
            condemned = row is None and view.condemned_blob(blob)
        if row is not None:
            if (shards := replace(row, held)) != row.shards:
                moved.append((blob, row, shards))
            if (there := _count(place(held, size=row.size, k=row.k, m=row.m))) < row.k:
                unread[blob] = f"{there} shards are there, and it takes {row.k}: its other nodes are needed"
        elif not condemned and int.from_bytes(blob[:6], "big") * 1_000 >= since_us:
            unknown.append((blob, held))
    with salvage.state.view() as view:
        gone = {blob for blob, _ in view.blobs() if blob not in met}
    salvage.relocate(moved)
    if all_there:
        salvage.drop(gone)
    else:
        unread |= dict.fromkeys(gone, "no node that is there has a shard of it")
    salvage.tell_unread(unread)
    salvage.add(await _identified(clients, unknown, salvage))


def _count(shards: Placement) -> int:
    return sum(1 for node, _ in shards if node)


async def _merged(clients: Clients) -> AsyncGenerator[tuple[BlobId, Held], None]:
    """(blob, its lines on all nodes), in order of blob."""
    cursors = [_Cursor(node, client) for node, client in clients.items()]
    while True:
        heads = [line[0] for cursor in cursors if (line := await cursor.peek()) is not None]
        if not heads:
            return
        blob = min(heads)
        held: list[tuple[NodeId, Line]] = []
        for cursor in cursors:
            while (line := await cursor.peek()) is not None and line[0] == blob:
                held.append((cursor.node, cursor.take()))
        yield BlobId(blob), held


class _Cursor:
    """The lines of one node, page by page."""

    def __init__(self, node: NodeId, client: NodeClient) -> None:
        self.node = node
        self._client = client
        self._lines: deque[Line] = deque()
        self._after: bytes | None = b""

    async def peek(self) -> Line | None:
        while not self._lines and self._after is not None:
            page = await self._client.list(self._after, PAGE_LINES, deadline_s=DEADLINE_S)
            self._lines.extend(page.shards)
            self._after = page.after or None
        return self._lines[0] if self._lines else None

    def take(self) -> Line:
        return self._lines.popleft()


async def _identified(
    clients: Clients, unknown: Collection[tuple[BlobId, Held]], salvage: Salvage
) -> list[Found]:
    turns = asyncio.Semaphore(STATS_AT_ONCE)

    async def look(blob: BlobId, held: Held) -> Found | None:
        async with turns:
            identity = await _identity(clients, blob, held)
        if identity is None:
            salvage.report.doubts.append(Doubt("no shard says whose it is", blob=blob.hex()))
            return None
        shards = place(held, size=identity.size, k=identity.k, m=identity.m)
        there = _count(shards)
        if there >= identity.k:
            return Found(blob, identity, shards)
        what = (
            f"{there} shards are there, and it takes {identity.k}: it was never acknowledged, or was deleted"
        )
        key = identity.key.decode(errors="replace")
        salvage.report.doubts.append(Doubt(what, identity.bucket, key, blob.hex()))
        return None

    looked = await asyncio.gather(*(look(blob, held) for blob, held in unknown))
    return [found for found in looked if found is not None]


async def _identity(clients: Clients, blob: BlobId, held: Held) -> Identity | None:
    for node, line in held:
        if line[5]:
            try:
                stat = await clients[node].stat(blob, line[1], deadline_s=DEADLINE_S)
                return decode_identity(stat.identity)
            except (ShardError, IdentityError):
                continue
    return None
