"""Reads of objects of very many parts: the first byte waits for one page of rows, and no byte is ever wrong."""

import asyncio

import msgspec
import pytest

from s3d.blobs.errors import BlobReadError
from s3d.metadata import keys, tables
from s3d.metadata.commands import DeletedKey, DeleteObjects
from s3d.metadata.rows import SLICES_PER_PAGE, Row, Slice, SlicesRow, encode_row
from s3d.metadata.state import State
from s3d.metadata.tables import Table, Tables
from s3d.operations.reading import Plan, plan_of, read
from shardd.contract.blobs import new_blob_id
from tests.s3d.live import Live

PARTS = 2 * SLICES_PER_PAGE + 3
BODY = b"0123456789"


@pytest.fixture
async def wide(live: Live) -> Live:
    """A gateway whose object `bucket/wide` has PARTS parts, all of them the same blob of ten bytes."""
    await live.ok("PUT", "/bucket/wide", BODY)
    with live.store.state.write() as writes:
        spread(live, writes)
    return live


def spread(live: Live, writes: Tables) -> None:
    def put(table: Table, key: bytes, row: Row) -> None:
        writes.put(table, key, encode_row(key, row))

    with live.store.state.view() as view:
        bucket = view.bucket("bucket")
        assert bucket is not None
        version = view.find(bucket.incarnation, b"wide")
        assert version is not None
        [one] = version.slices
        blob = view.blob(one.blob)
        assert blob is not None
    slices = [Slice(one.blob, len(BODY), one.etag, number) for number in range(1, PARTS + 1)]
    pages = range(0, PARTS, SLICES_PER_PAGE)
    for page, first in enumerate(pages):
        held = tuple(slices[first : first + SLICES_PER_PAGE])
        put(tables.MANIFESTS, keys.manifest_key(version.sequence, page), SlicesRow(held))
    put(tables.BLOBS, one.blob, msgspec.structs.replace(blob, references=PARTS))
    wide = msgspec.structs.replace(
        version,
        slices=(),
        pages=tuple((first * len(BODY), first + 1) for first in pages),
        size=PARTS * len(BODY),
        parts=PARTS,
    )
    put(tables.VERSIONS, keys.version_key(bucket.incarnation, b"wide", version.sequence), wide)


def planned(live: Live, start: int, stop: int) -> Plan:
    with live.store.state.view() as view:
        bucket = view.bucket("bucket")
        assert bucket is not None
        version = view.find(bucket.incarnation, b"wide")
        assert version is not None
        return plan_of(view, version, start, stop)


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        (0, PARTS * 10),
        (3, 8),
        (SLICES_PER_PAGE * 10 - 1, SLICES_PER_PAGE * 10 + 1),
        (SLICES_PER_PAGE * 10, SLICES_PER_PAGE * 20),
        (17, PARTS * 10 - 4),
    ],
)
async def test_every_range_has_its_bytes(wide: Live, start: int, stop: int) -> None:
    answer = await wide.ok("GET", "/bucket/wide", headers={"Range": f"bytes={start}-{stop - 1}"})
    assert answer.body == (BODY * PARTS)[start:stop]


async def test_the_first_byte_waits_for_one_page(wide: Live) -> None:
    plan = planned(wide, 0, PARTS * 10)
    assert (len(plan.runs), len(plan.later)) == (SLICES_PER_PAGE, 2)
    narrow = planned(wide, 5, 25)
    assert (len(narrow.runs), len(narrow.later)) == (3, 0)


async def test_others_have_their_turn_between_two_pages(wide: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = read(wide.store, planned(wide, 0, PARTS * 10))
    await anext(pieces)
    turns, seen, view = 0, [], State.view

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    def noted(state: State) -> object:
        seen.append(turns)
        return view(state)

    counting = asyncio.create_task(count())
    monkeypatch.setattr(State, "view", noted)
    await anext(pieces)
    counting.cancel()
    await pieces.aclose()
    assert len(seen) == len(set(seen)) == 2


async def delete(live: Live) -> None:
    now_us = live.store.clock_us()
    doomed = (DeletedKey(b"wide"),)
    command = DeleteObjects(new_blob_id(1), now_us, bucket="bucket", keys=doomed, grace_us=60_000_000)
    [outcome] = await live.store.log.append([command])
    assert outcome.changed


async def test_a_read_goes_on_through_a_delete(wide: Live) -> None:
    pieces = read(wide.store, planned(wide, 0, PARTS * 10))
    read_before = [await anext(pieces), await anext(pieces)]
    await delete(wide)
    read_before += [piece async for piece in pieces]
    assert b"".join(b"".join(piece) for piece in read_before) == BODY * PARTS


async def test_a_read_of_rows_that_a_delete_took_is_cut(wide: Live) -> None:
    pieces = read(wide.store, planned(wide, 0, PARTS * 10))
    assert b"".join(await anext(pieces)) == BODY
    await delete(wide)
    with pytest.raises(BlobReadError):
        await anext(pieces)
