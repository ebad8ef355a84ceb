"""Owns a store of fake nodes with its real state, log and repairer for tests; never asserts what a test is about."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from s3d.blobs.lease import Lease
from s3d.blobs.pace import Pace
from s3d.blobs.repair import Repairer
from s3d.blobs.suspects import Suspects
from s3d.blobs.writer import StoredBlob
from s3d.metadata import tables
from s3d.metadata.commands import CreateBucket, PutObject
from s3d.metadata.log import LocalLog
from s3d.metadata.rows import Attributes, BlobRow
from s3d.metadata.state import State
from shardd.contract.blobs import new_blob_id
from shardd.contract.cluster import MIB, GatewayConfig
from tests.s3d.blobs.conftest import Store, ring, store

GRACE_US = 1_000_000


@dataclass(slots=True)
class Cluster:
    """A store, its metadata and its repairer; time stands still unless a test moves it."""

    store: Store
    state: State
    log: LocalLog
    suspects: Suspects
    repairer: Repairer
    now_us: int = 1_700_000_000_000_000

    async def put(self, key: str, body: bytes) -> StoredBlob:
        stored = await self.store.put(body, key=key.encode())
        await self.commit(key, stored)
        return stored

    async def commit(self, key: str, stored: StoredBlob) -> None:
        put = PutObject(
            new_blob_id(1),
            self.now_us,
            bucket="bucket",
            key=key.encode(),
            blob=stored.blob,
            row=stored.row,
            etag="0" * 32,
            attributes=Attributes(),
            degraded=stored.degraded,
            grace_us=GRACE_US,
        )
        outcomes = await self.log.append([put])
        assert not outcomes[0].error

    def row(self, stored: StoredBlob) -> BlobRow:
        with self.state.view() as view:
            row = view.blob(stored.blob)
        assert row is not None
        return row

    def degraded(self) -> int:
        with self.state.view() as view:
            return view.degraded_count()

    def shards(self) -> int:
        return sum(len(node.stored) for node in self.store.nodes.values())

    def damage(self, table: tables.Table, key: bytes) -> None:
        """Flip a bit of a row."""
        with self.state.write() as writes:
            raw = bytearray(writes.get(table, key) or b"")
            raw[7] ^= 1
            writes.put(table, key, bytes(raw))

    def lease(self, job: str, holder: bytes) -> Lease:
        return Lease(job, holder=holder, states=self.state, log=self.log, now_us=lambda: self.now_us)

    async def kill(self, *numbers: int) -> None:
        for number, node in self.store.nodes.items():
            node.dead = number in numbers
        await self.store.settle()


def unhurried(store: Store) -> Pace:
    """A pace that has nobody wait."""
    return Pace(1e10, store.blobs.resources.foreground)


def outrun(monkeypatch: pytest.MonkeyPatch, by: Callable[[], Awaitable[None]]) -> None:
    """Whoever asks for a lease next gets it only when another process, `by`, had it and gave it up."""
    hold = Lease.hold

    async def hold_after_the_other(lease: Lease) -> bool:
        monkeypatch.setattr(Lease, "hold", hold)
        await by()
        return await lease.hold()

    monkeypatch.setattr(Lease, "hold", hold_after_the_other)


def make(tmp_path: Path, count: int) -> "Making":
    return Making(tmp_path, count)


class Making:
    """`async with` around a cluster."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self._store = store(count)

    async def __aenter__(self) -> Cluster:
        made = await self._store.__aenter__()
        self._state = State.open(self._folder / "metadata", 64 * MIB)
        self._log = LocalLog(self._state)
        suspects = Suspects()
        cluster: Cluster

        def now_us() -> int:
            cluster.now_us += 1
            return cluster.now_us

        repairer = Repairer(
            made.blobs.resources,
            ring(len(made.nodes)),
            states=self._state,
            log=self._log,
            config=GatewayConfig(condemned_grace_s=1.0),
            pace=unhurried(made),
            lease=Lease("repair", holder=bytes(16), states=self._state, log=self._log, now_us=now_us),
            suspects=suspects,
            now_us=now_us,
        )
        cluster = Cluster(made, self._state, self._log, suspects, repairer)
        await self._log.append([CreateBucket(new_blob_id(1), 1, bucket="bucket", account="0" * 12)])
        return cluster

    async def __aexit__(self, *_: object) -> None:
        await self._log.close()
        self._state.environment.close()
        await self._store.__aexit__(None, None, None)
