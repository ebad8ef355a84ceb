"""Owns the way of stored bytes into a reply: which runs of which blobs, one after the other; never a header."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import NamedTuple

from s3d.blobs.store import Blobs
from s3d.metadata.rows import BlobRow, VersionRow
from s3d.metadata.view import View
from shardd.contract.blobs import BlobId


class Run(NamedTuple):
    """Bytes [start, stop) of one blob."""

    blob: BlobId
    row: BlobRow
    start: int
    stop: int


def runs(view: View, version: VersionRow, start: int, stop: int) -> list[Run]:
    """The runs that bytes [start, stop) of an object are. Rows are read now: later commands do not disturb a read."""
    found = []
    for offset, part in view.slices(version, start, stop):
        if not part.size:
            continue
        row = view.blob(part.blob)
        assert row is not None, "a version keeps its blobs"
        found.append(Run(BlobId(part.blob), row, max(0, start - offset), min(part.size, stop - offset)))
    return found


async def first_and_rest(
    blobs: Blobs, plan: Sequence[Run]
) -> tuple[list[bytes], AsyncGenerator[list[bytes], None] | None]:
    """The first verified pieces of `plan`, and what gives the others; None where there are none.

    Raises NotEnoughShardsError as long as nothing was given; in `rest`, BlobReadError.
    """
    if not plan:
        return [], None
    length = sum(run.stop - run.start for run in plan)
    pieces = read(blobs, plan)
    first = await anext(pieces)
    if sum(map(len, first)) < length:
        return first, pieces
    await pieces.aclose()
    return first, None


async def read(blobs: Blobs, plan: Sequence[Run]) -> AsyncGenerator[list[bytes], None]:
    """The verified bytes of all runs, in order. Close it where it may not be read to its end."""
    for run in plan:
        async with aclosing(blobs.reader(run.blob, run.row).chunks(run.start, run.stop)) as chunks:
            async for pieces in chunks:
                yield pieces
