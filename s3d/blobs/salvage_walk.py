"""Owns the walk over all that the shard servers hold, for salvage: lists merged by blob, identities asked for."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from s3d.blobs.comparing import Line, begun_ms
from s3d.blobs.identity import Identity, IdentityError, decode_identity
from s3d.blobs.salvaging import Doubt, Found, Held, Salvage, place, replace
from s3d.metadata.fields import Placement
from s3d.metadata.rows import BlobRow
from s3d.shards.port import NodeClient
from shardd.contract.blobs import BlobId, NodeId
from shardd.contract.errors import ShardCorruptError, ShardError

PAGE_LINES: Final = 1_000
DEADLINE_S: Final = 10.0
STATS_AT_ONCE: Final = 64
UNKNOWN_AT_ONCE: Final = 4_096  # whose lines are kept until their identities are asked for

Clients = Mapping[NodeId, NodeClient]


@dataclass(slots=True)
class _Walked:
    """What differs from the state, and no line of all that is as it says: there may be many millions."""

    moved: list[tuple[bytes, BlobRow, Placement]] = field(default_factory=list)
    unread: dict[bytes, str] = field(default_factory=dict)
    gone: set[bytes] = field(default_factory=set)
    found: list[Found] = field(default_factory=list)

    def meet(self, blob: BlobId, row: BlobRow, held: Held) -> None:
        """A blob that the state knows."""
        if (shards := replace(row, held)) != row.shards:
            self.moved.append((blob, row, shards))
        if (there := _count(place(held, size=row.size, k=row.k, m=row.m))) < row.k:
            self.unread[blob] = f"{there} shards are there, and it takes {row.k}: its other nodes are needed"


async def run(clients: Clients, salvage: Salvage, *, since_us: int, all_there: bool) -> None:
    """Compare all that the nodes hold with the state, and have `salvage` change it. Raises ShardError.

    Only where `all_there`, for all nodes of the cluster, is what none of them has taken for deleted. Of blobs begun
    before `since_us` that the state does not know nothing is made: the store itself had given them up. What has fewer
    than k shards on these nodes is told.
    """
    walked = await _walk(clients, salvage, since_us=since_us)
    salvage.relocate(walked.moved)
    if all_there:
        salvage.drop(walked.gone)
    else:
        walked.unread |= dict.fromkeys(walked.gone, "no node that is there has a shard of it")
    salvage.tell_unread(walked.unread)
    salvage.add(walked.found)


async def _walk(clients: Clients, salvage: Salvage, *, since_us: int) -> _Walked:
    """Both in order of blob: what the nodes hold, and the rows of the state."""
    walked, unknown = _Walked(), list[tuple[BlobId, Held]]()
    with salvage.state.view() as view:
        rows = view.blobs()
        ahead = next(rows, None)
        async for blob, held in _merged(clients):
            while ahead is not None and ahead[0] < blob:
                walked.gone.add(ahead[0])
                ahead = next(rows, None)
            if ahead is not None and ahead[0] == blob:
                walked.meet(blob, ahead[1], held)
                ahead = next(rows, None)
            elif begun_ms(blob) * 1_000 >= since_us and not view.condemned_blob(blob):
                unknown.append((blob, held))
                if len(unknown) == UNKNOWN_AT_ONCE:
                    walked.found += await _identified(clients, unknown, salvage)
                    unknown.clear()
        if ahead is not None:
            walked.gone.update((ahead[0], *(blob for blob, _ in rows)))
    walked.found += await _identified(clients, unknown, salvage)
    return walked


def _count(shards: Placement) -> int:
    return sum(1 for node, _ in shards if node)


async def _merged(clients: Clients) -> AsyncGenerator[tuple[BlobId, Held], None]:
    """(blob, its lines on all nodes), in order of blob. ShardCorruptError where a node does not keep to that.

    What comes late would be taken for gone, and its versions be dropped.
    """
    last = b""
    cursors = [_Cursor(node, client) for node, client in clients.items()]
    while True:
        heads = [line[0] for cursor in cursors if (line := await cursor.peek()) is not None]
        if not heads:
            return
        blob = min(heads)
        if blob <= last:
            raise ShardCorruptError("a node does not list its shards in order")
        last = blob
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
    found: list[Found] = []
    blobs = iter(unknown)

    async def look() -> None:
        for blob, held in blobs:
            identity = await _identity(clients, blob, held)
            if identity is None:
                salvage.report.doubts.append(Doubt("no shard says whose it is", blob=blob.hex()))
                continue
            shards = place(held, size=identity.size, k=identity.k, m=identity.m)
            there = _count(shards)
            if there >= identity.k:
                found.append(Found(blob, identity, shards))
                continue
            what = f"{there} shards are there, and it takes {identity.k}: it was never acknowledged, or was deleted"
            salvage.report.doubts.append(Doubt.about(what, identity.bucket, identity.key, blob=blob))

    async with asyncio.TaskGroup() as group:
        for _ in range(min(STATS_AT_ONCE, len(unknown))):
            group.create_task(look())
    return found


async def _identity(clients: Clients, blob: BlobId, held: Held) -> Identity | None:
    for node, line in held:
        if line[5]:
            try:
                stat = await clients[node].stat(blob, line[1], deadline_s=DEADLINE_S)
                return decode_identity(stat.identity)
            except (ShardError, IdentityError):
                continue
    return None
