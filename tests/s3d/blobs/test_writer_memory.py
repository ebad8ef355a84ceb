"""Proves that all uploads of a process together hold no more than its budget, and that none waits for ever for it."""

import asyncio
import random

import pytest

from s3d.blobs import allowance as allowance_module
from shardd.contract.blobs import new_blob_id
from shardd.contract.cluster import MIB
from tests.s3d.blobs.conftest import Store, store

KEY = b"bucket/key"


async def test_many_uploads_share_a_small_budget_without_deadlock() -> None:
    async with store(buffer_bytes=32 * MIB) as made:
        budget = made.blobs.resources.uploads
        assert budget.limit < 3 * 5 * MIB
        body = random.Random(5).randbytes(7 * MIB)
        async with asyncio.timeout(60):
            stored = await asyncio.gather(
                *(made.put(body, key=b"bucket/%d" % number) for number in range(12))
            )
        assert budget.used == 0
        for one in stored:
            assert await made.get(one) == body


async def test_slow_uploads_keep_nobody_waiting(five: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they have room for and do not fill, they give back where others wait; then they take it as it comes."""
    monkeypatch.setattr(allowance_module, "WINDOW_S", 0.05)
    budget, came = five.blobs.resources.uploads, five.blobs.resources.slow
    slow = [five.blobs.writer(KEY, blob=new_blob_id(n), size=2 * MIB, digests=None) for n in range(16)]
    assert budget.limit < len(slow) * 2 * MIB * 5 // 3
    body = random.Random(5).randbytes(2 * MIB)
    async with asyncio.timeout(5):
        await asyncio.gather(*(writer.write(body[:1]) for writer in slow))
        await five.put(b"small")
        assert (budget.used, came.used) == (0, len(slow))
        await asyncio.gather(*(writer.write(body[1:MIB]) for writer in slow))
        stored = await asyncio.gather(*(five.put(body) for _ in slow))
        assert MIB <= came.used <= len(slow) * MIB
        await asyncio.gather(*(writer.write(body[MIB:]) for writer in slow[:2]))
        stored += [await writer.finish(b"") for writer in slow[:2]]
    assert [await five.get(one) for one in stored] == [body] * len(stored)
    for writer in slow[2:]:
        await writer.abandon()
    assert budget.used == came.used == 0


async def test_one_upload_holds_three_windows_at_most(five: Store) -> None:
    for node in five.nodes.values():
        node.slow_s = 0.05
    held = set()
    writer = five.blobs.writer(KEY, blob=new_blob_id(1), size=None, digests=None)
    for _ in range(24):
        await writer.write(bytes(MIB))
        held.add(five.blobs.resources.uploads.used)
    assert max(held) == 3 * 5 * MIB
    await writer.abandon()


async def test_a_window_larger_than_the_budget_goes_alone() -> None:
    async with store(buffer_bytes=4 * MIB) as made:
        body = random.Random(6).randbytes(7 * MIB)
        async with asyncio.timeout(60):
            for stored in await asyncio.gather(made.put(body), made.put(body)):
                assert await made.get(stored) == body
