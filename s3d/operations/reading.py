"""Owns the way of stored bytes into a reply: which runs of which blobs, one after the other; never a header."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from s3d.blobs.errors import BlobReadError
from s3d.metadata.rows import BlobRow, RowMissingError, VersionRow
from s3d.metadata.view import View
from s3d.operations.call import Store
from shardd.contract.blobs import BlobId


class Run(NamedTuple):
    """Bytes [start, stop) of one blob."""

    blob: BlobId
    row: BlobRow
    start: int
    stop: int


@dataclass(slots=True)
class Plan:
    """The runs that `length` bytes of an object are; those of its `later` [start, stop) are not known yet.

    The rows of 10,000 parts take 50 ms to read: neither the first byte nor other requests wait for them.
    """

    version: VersionRow
    length: int
    runs: list[Run]
    later: list[tuple[int, int]] = field(default_factory=list)


def plan_of(view: View, version: VersionRow, start: int, stop: int) -> Plan:
    """How bytes [start, stop) of an object are read. Later commands do not disturb what was read of its rows."""
    if not version.pages:
        return Plan(version, stop - start, _runs(view, version, start, stop))
    bounds = [start, *(offset for offset, _ in version.pages if start < offset < stop), stop]
    first, *later = pairwise(bounds)
    return Plan(version, stop - start, _runs(view, version, *first), later)


def _runs(view: View, version: VersionRow, start: int, stop: int) -> list[Run]:
    found = []
    for offset, part in view.slices(version, start, stop):
        if not part.size:
            continue
        row = view.blob(part.blob)
        if row is None:
            raise RowMissingError(f"blob {part.blob.hex()}, which version {version.sequence} names")
        found.append(Run(BlobId(part.blob), row, max(0, start - offset), min(part.size, stop - offset)))
    return found


async def first_and_rest(
    store: Store, plan: Plan
) -> tuple[list[bytes], AsyncGenerator[list[bytes], None] | None]:
    """The first verified pieces of `plan`, and what gives the others; None where there are none.

    Raises NotEnoughShardsError as long as nothing was given; in `rest`, BlobReadError.
    """
    if not plan.length:
        return [], None
    pieces = read(store, plan)
    first = await anext(pieces)
    if sum(map(len, first)) < plan.length:
        return first, pieces
    await pieces.aclose()
    return first, None


async def read(store: Store, plan: Plan) -> AsyncGenerator[list[bytes], None]:
    """The verified bytes of all runs, in order. Close it where it may not be read to its end."""
    for run in plan.runs:  # which grows
        async with aclosing(store.blobs.reader(run.blob, run.row).chunks(run.start, run.stop)) as chunks:
            async for pieces in chunks:
                yield pieces
                if plan.later:
                    await _complete(store, plan)


async def _complete(store: Store, plan: Plan) -> None:
    """Read the rows of all later pages, now that there are bytes to send; others have their turn between two.

    Raises BlobReadError where the object was deleted since the first page was read: whoever deletes an object of
    so many parts a moment after the GET began cuts it, and only then.
    """
    for start, stop in plan.later:
        await asyncio.sleep(0)
        try:
            with store.state.view() as view:
                plan.runs += _runs(view, plan.version, start, stop)
        except RowMissingError as error:
            raise BlobReadError(f"deleted while its rows were read: {error}") from error
    plan.later.clear()
