"""Owns the LMDB environment of the state, the one home of lmdb in s3d; never knows what a row means."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb

from s3d.metadata import damage, keys
from s3d.metadata.rows import RowChecksumError
from s3d.metadata.tables import APPLIED, CURRENT, TABLES, UPLOADS, VERSIONS, Item, Table
from s3d.metadata.view import View
from shardd.contract.errors import QuoinError
from shardd.contract.folders import sync_folder

READERS_MAX = 2_048
DATABASES_MAX = 64
SPARE_VIEWS_MAX = 16  # read transactions kept to be renewed, which costs a fraction of making one
LONG_TABLES = (CURRENT, VERSIONS, UPLOADS)  # the tables whose keys hold an S3 key
DATA_FILE = "data.mdb"  # LMDB's name
SIGNPOST_SIZE = keys.HEAD_SIZE + 1

# What LMDB says when its pages are not what it wrote.
DAMAGE = (lmdb.CorruptedError, lmdb.InvalidError, lmdb.PageNotFoundError, lmdb.PanicError)

Databases = dict[Table, Any]  # lmdb has no types: the handles of its named databases


class StateError(QuoinError):
    """The state cannot be read or written."""


class StateDamagedError(StateError):
    """The state is not what was written; the message says how that was seen, and what to do."""


class StateFullError(StateError):
    """The state has reached `[metadata] map_size_bytes`."""


class LmdbTables:
    """The tables in one LMDB transaction. A key longer than HEAD_SIZE is cut as keys.py says."""

    __slots__ = ("_databases", "_rests", "_txn")

    def __init__(self, txn: Any, databases: Databases, rests: Databases) -> None:
        self._txn = txn
        self._databases = databases
        self._rests = rests  # for each of LONG_TABLES: what is left of the keys that are cut

    def get(self, table: Table, key: bytes) -> bytes | None:
        found: bytes | None
        if len(key) > keys.HEAD_SIZE:
            found = self._txn.get(keys.place_of(key), None, self._rests[table])
        else:
            found = self._txn.get(key, None, self._databases[table])
        return found

    def seek(self, table: Table, key: bytes) -> Item | None:
        return next(self.scan(table, key, b""), None)

    def scan(self, table: Table, start: bytes, stop: bytes) -> Iterator[Item]:
        cursor = self._txn.cursor(self._databases[table])
        if not cursor.set_range(keys.first_place(start)):
            return
        for key, value in cursor.iternext():
            if len(key) == SIGNPOST_SIZE:
                if stop and key[:-1] >= stop:
                    return
                yield from self._scan_region(table, key[:-1], value, start=start, stop=stop)
            elif stop and key >= stop:
                return
            else:
                yield key, value

    def _scan_region(
        self, table: Table, begun: bytes, region: bytes, *, start: bytes, stop: bytes
    ) -> Iterator[Item]:
        """The rows of the keys that begin with `begun`, which a signpost says are in `region`."""
        if keys.region_of(begun) != region:
            raise RowChecksumError("a signpost does not name the region of its keys")
        cursor = self._txn.cursor(self._rests[table])
        inner = start[len(begun) :] if start.startswith(begun) else b""
        if not cursor.set_range(region + keys.first_place(inner)):
            return
        for place, value in cursor.iternext():
            if not place.startswith(region):
                return
            key = begun + place[len(region) :]
            if len(place) == len(region) + SIGNPOST_SIZE:
                if stop and key[:-1] >= stop:
                    return
                yield from self._scan_region(table, key[:-1], value, start=start, stop=stop)
            elif stop and key >= stop:
                return
            else:
                yield key, value

    def count(self, table: Table) -> int:
        return int(self._txn.stat(self._databases[table])["entries"])

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        database = self._databases[table]
        if len(key) <= keys.HEAD_SIZE:
            self._txn.put(key, value, db=database)
            return
        for place, region in keys.signposts(key):
            self._txn.put(place, region, db=database)
            database = self._rests[table]
        self._txn.put(keys.place_of(key), value, db=database)

    def delete(self, table: Table, key: bytes) -> bool:
        if len(key) <= keys.HEAD_SIZE:
            return bool(self._txn.delete(key, db=self._databases[table]))
        if not self._txn.delete(keys.place_of(key), db=self._rests[table]):
            return False
        posts = keys.signposts(key)
        while posts:
            place, region = posts.pop()
            if self._occupied(table, region):
                break
            self._txn.delete(place, db=self._rests[table] if posts else self._databases[table])
        return True

    def end(self) -> None:
        """Give the transaction back; LMDB counts it as a reader as long as anything holds it, though it is over."""
        self._txn.abort()
        self._txn = None

    def _occupied(self, table: Table, region: bytes) -> bool:
        cursor = self._txn.cursor(self._rests[table])
        return bool(cursor.set_range(region) and cursor.key().startswith(region))


class _Reading:
    """One `with state.view()`: a class, because HEAD feels what a generator costs."""

    __slots__ = ("_state", "_tables")

    def __init__(self, state: "State") -> None:
        self._state = state

    def __enter__(self) -> View:
        state = self._state
        try:
            txn = state.environment.begin()
        except lmdb.Error as error:
            raise StateError(str(error)) from error
        self._tables = LmdbTables(txn, state.databases, state.rests)
        return View(self._tables)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._tables.end()
        if isinstance(error, DAMAGE):
            raise StateDamagedError(str(error)) from error
        if isinstance(error, lmdb.Error):
            raise StateError(str(error)) from error


class State:
    """The tables in LMDB, shared by all processes of the machine. Every commit is synced before it returns.

    A process opens a folder once. It never forks while it holds one, and never awaits inside a view or a write.
    """

    def __init__(self, environment: Any) -> None:
        self.environment = environment
        self.databases: Databases = {}
        self.rests: Databases = {}
        for table in TABLES:
            self.databases[table] = environment.open_db(table.encode())
        for table in LONG_TABLES:
            self.rests[table] = environment.open_db(table.encode() + b":rest")

    @classmethod
    def open(cls, path: Path, map_size: int) -> "State":
        """The state in the folder `path`, made where there is none. `map_size`: the bytes that it may ever take.

        Raises StateError where the folder cannot be used, StateDamagedError where the state in it is damaged.
        """
        refuse_damaged(path)
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            environment = lmdb.open(
                str(path),
                map_size=map_size,
                max_dbs=DATABASES_MAX,
                max_readers=READERS_MAX,
                max_spare_txns=SPARE_VIEWS_MAX,
                readahead=True,  # a page of a list that is not in memory is one read, not one for each 30 of its keys
                mode=0o600,
            )
            environment.reader_check()
            _check_file(path, environment)
            state = cls(environment)
        except DAMAGE as error:
            raise StateDamagedError(f"the metadata in {path} is damaged: {error}. {damage.ADVICE}") from error
        except lmdb.Error as error:
            raise StateError(f"{path}: {error}") from error
        # Always that of the state itself, too: another process may have made it a moment ago.
        for folder in (path, path.parent, *(made.parent for made in missing[1:])):
            sync_folder(folder)
        return state

    @property
    def path(self) -> Path:
        """Its folder."""
        return Path(self.environment.path())

    def view(self) -> _Reading:
        """What is committed now, unchanged until the block ends: `with state.view() as view:`.

        Raises StateError, at its beginning or in the block, where LMDB refuses.
        """
        return _Reading(self)

    @contextmanager
    def write(self) -> Iterator[LmdbTables]:
        """The one write transaction of the machine: waits for it; committed and synced when the block ends.

        An exception in the block undoes it. Raises StateFullError, and StateError for what else LMDB refuses.
        """
        try:
            with self.environment.begin(write=True) as txn:
                yield LmdbTables(txn, self.databases, self.rests)
        except lmdb.MapFullError as error:
            raise StateFullError("the state is full: raise [metadata] map_size_bytes") from error
        except DAMAGE as error:
            raise StateDamagedError(str(error)) from error
        except lmdb.DiskError as error:  # the binding's name for ENOSPC
            raise StateFullError(f"the disk of the state is full: {error}") from error
        except lmdb.Error as error:
            raise StateError(str(error)) from error

    def forget_dead_readers(self) -> int:
        """Free the views of processes that were killed, which would keep old pages from being used again.

        Raises StateError.
        """
        try:
            return int(self.environment.reader_check())
        except lmdb.Error as error:
            raise StateError(str(error)) from error

    def copy(self, folder: Path) -> int:
        """Write a compacted copy of what is committed now into the empty `folder`, synced; the index it stands at."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.environment.begin() as txn:
            self.environment.copy(str(folder), compact=True, txn=txn)
            index = View(LmdbTables(txn, self.databases, self.rests)).applied().index
        with (folder / DATA_FILE).open("rb+") as copied:
            os.fsync(copied.fileno())
        sync_folder(folder)
        return index

    def close(self) -> None:
        """Let go of the files. No view may be open."""
        self.environment.close()


def refuse_damaged(path: Path) -> None:
    """Raises StateDamagedError where the state in the folder `path` was found damaged before."""
    if cause := damage.cause(path):
        raise StateDamagedError(f"the metadata in {path} is damaged: {cause}. {damage.ADVICE}")


def index_of(path: Path) -> int:
    """The last command of the state in the folder `path`, which may be damaged: LMDB may even end the process.

    Raises StateError, RowError.
    """
    try:
        with lmdb.open(
            str(path), readonly=True, lock=False, create=False, max_dbs=DATABASES_MAX
        ) as environment:
            _check_file(path, environment)
            with environment.begin() as txn:
                databases = {APPLIED: environment.open_db(APPLIED.encode(), txn, create=False)}
                return View(LmdbTables(txn, databases, {})).applied().index
    except lmdb.Error as error:
        raise StateError(str(error)) from error


def refuse_gone(path: Path, traces: Iterable[Path]) -> None:
    """Raises StateDamagedError where the folder `path` has no state, though one of `traces`, made after it, is there.

    A trace is looked for first: who meets one that another process has just made finds its state too.
    """
    found = next((trace for trace in traces if _is_there(trace)), None)
    if found is None:
        return
    file = path / DATA_FILE
    if not file.exists() or not file.stat().st_size:  # LMDB takes an empty file for a new one
        raise StateDamagedError(f"the metadata in {path} {damage.GONE.format(found)}")


def _is_there(path: Path) -> bool:
    """Whether something is seen there; on a disk that cannot be read, nothing is."""
    try:
        return path.exists()
    except OSError:
        return False


def _check_file(path: Path, environment: Any) -> None:
    """A file that was cut kills whoever touches what it lacks; a table out of reach would be made anew, empty."""
    pages = environment.info()["last_pgno"] + 1
    if (path / DATA_FILE).stat().st_size < pages * environment.stat()["psize"]:
        environment.close()
        raise StateDamagedError(f"the metadata in {path} is damaged: its file was cut. {damage.ADVICE}")
    tables = environment.open_db(None)
    with environment.begin() as txn:  # of one state: another process may be making tables
        whole = sum(1 for _ in txn.cursor()) == txn.stat(tables)["entries"]
    if not whole:
        environment.close()
        raise StateDamagedError(
            f"the metadata in {path} is damaged: tables are out of reach. {damage.ADVICE}"
        )
