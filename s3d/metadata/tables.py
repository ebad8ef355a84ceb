"""Owns the port to the ordered tables that the state is made of, and their implementation in memory.

The contract, which tests/contract_suites/tables.py holds both implementations to:
- a key has 1 to KEY_SIZE_MAX bytes, any bytes; keys are ordered as bytes are, the shorter first;
- `seek` and `scan` see a table as it is at each step; a scan ends before `stop` (empty: at the end of the table);
- what was put is what is got; deleting what is not there is False, not an error.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import NewType, Protocol

Table = NewType("Table", str)

BUCKETS = Table("buckets")
ACCOUNT_BUCKETS = Table("account_buckets")
CURRENT = Table("current")
VERSIONS = Table("versions")
MANIFESTS = Table("manifests")
BLOBS = Table("blobs")
UPLOADS = Table("uploads")
PARTS = Table("parts")
OUTCOMES = Table("outcomes")
WRITES = Table("writes")
DEGRADED = Table("degraded")
CONDEMNED = Table("condemned")
CONDEMNED_BLOBS = Table("condemned_blobs")
NODES = Table("nodes")
LEASES = Table("leases")
JOBS = Table("jobs")
APPLIED = Table("applied")

TABLES = (
    BUCKETS,
    ACCOUNT_BUCKETS,
    CURRENT,
    VERSIONS,
    MANIFESTS,
    BLOBS,
    UPLOADS,
    PARTS,
    OUTCOMES,
    WRITES,
    DEGRADED,
    CONDEMNED,
    CONDEMNED_BLOBS,
    NODES,
    LEASES,
    JOBS,
    APPLIED,
)
KEY_SIZE_MAX = 2_200  # a key of 1,024 zero bytes, escaped, with what stands around it

Item = tuple[bytes, bytes]


class Reads(Protocol):
    """The tables as a reader has them."""

    def get(self, table: Table, key: bytes) -> bytes | None:
        """The value under `key`."""

    def seek(self, table: Table, key: bytes) -> Item | None:
        """The first (key, value) at or after `key`."""

    def scan(self, table: Table, start: bytes, stop: bytes) -> Iterator[Item]:
        """All (key, value) with start <= key < stop, in order."""

    def count(self, table: Table) -> int:
        """How many rows there are."""


class Tables(Reads, Protocol):
    """The tables as apply has them."""

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        """Store `value` under `key`, in place of what was there."""

    def delete(self, table: Table, key: bytes) -> bool:
        """Remove what is under `key`; whether there was anything."""


class MemoryTables:
    """The tables in sorted lists: for tests and simulation."""

    def __init__(self) -> None:
        self._values: dict[Table, dict[bytes, bytes]] = {table: {} for table in TABLES}
        self._keys: dict[Table, list[bytes]] = {table: [] for table in TABLES}

    def get(self, table: Table, key: bytes) -> bytes | None:
        return self._values[table].get(key)

    def seek(self, table: Table, key: bytes) -> Item | None:
        return next(self.scan(table, key, b""), None)

    def scan(self, table: Table, start: bytes, stop: bytes) -> Iterator[Item]:
        keys = self._keys[table]
        at = bisect_left(keys, start)
        while at < len(keys) and (not stop or keys[at] < stop):
            key = keys[at]
            yield key, self._values[table][key]
            at = bisect_left(keys, key + b"\0")

    def count(self, table: Table) -> int:
        return len(self._keys[table])

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        if key not in self._values[table]:
            insort(self._keys[table], key)
        self._values[table][key] = value

    def delete(self, table: Table, key: bytes) -> bool:
        if self._values[table].pop(key, None) is None:
            return False
        del self._keys[table][bisect_left(self._keys[table], key)]
        return True
