"""Owns the LMDB environment of the state, the one home of lmdb in s3d; never knows what a row means."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb

from s3d.metadata import keys
from s3d.metadata.tables import TABLES, Item, Table
from s3d.metadata.view import View

READERS_MAX = 2_048
REST = b"rest:"  # the regions of a table's long keys are in a database of their own, of this name before the table's
SIGNPOST_SIZE = keys.HEAD_SIZE + 1


class State:
    """The tables in LMDB, shared by all processes of the machine. Every commit is synced before it returns.

    Never fork a process that holds one, and never await inside a view or a write.
    """

    def __init__(self, environment: lmdb.Environment) -> None:
        self._environment = environment
        self._databases: dict[Table, object] = {}
        with environment.begin(write=True) as txn:
            for table in TABLES:
                self._databases[table] = environment.open_db(table.encode(), txn=txn)

    @classmethod
    def open(cls, path: Path, map_size: int) -> "State":
        """The state in the folder `path`, made where there is none. `map_size`: bytes that it may ever take."""
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(
            lmdb.open(
                str(path), map_size=map_size, max_dbs=64, max_readers=READERS_MAX, readahead=False, mode=0o600
            )
        )

    @contextmanager
    def view(self) -> Iterator[View]:
        """What is committed now, unchanged until the block ends: `with state.view() as view:`."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the files. No view may be open."""
        self._environment.close()
