"""Owns the answer of /-/admin/backup: a snapshot of the state as it is now, as a stream; never its bytes."""

import tempfile
from collections.abc import AsyncGenerator, Callable
from typing import BinaryIO, Final

from s3d.blobs.snapshots import aside
from s3d.metadata.snapshot import write_snapshot
from s3d.operations.call import Store
from s3d.operations.reply import Reply

HEADERS: Final = (("Content-Type", "application/octet-stream"),)
PIECE_BYTES: Final = 1 << 20


async def backup(store: Store) -> Reply:
    """The snapshot, made beside the state first: a client that reads slowly must not keep old pages of it alive.

    Raises RowError where the state is damaged, OSError where its disk has no room.
    """

    def make(rest: Callable[[], None]) -> tuple[BinaryIO, int]:
        made = tempfile.TemporaryFile(dir=store.state.path)  # noqa: SIM115 - who streams it closes it
        try:
            with store.state.view() as view:

                def write(data: bytes) -> None:
                    made.write(data)
                    rest()

                write_snapshot(view, write, now_us=store.clock_us())
            length = made.tell()
            made.seek(0)
        except BaseException:
            made.close()
            raise
        return made, length

    made, length = await aside(make)
    return Reply(headers=HEADERS, rest=_stream(made), length=length)


async def _stream(made: BinaryIO) -> AsyncGenerator[list[bytes], None]:
    with made:
        while piece := made.read(PIECE_BYTES):
            yield [piece]
