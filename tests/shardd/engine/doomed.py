"""Owns a process that does one thing to a store of the tests and may be killed in it: `doomed.py FOLDER WORK`.

It says `open` once the store is, does the work when a line comes, and says `done`.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from shardd.engine.store import Delete, ShardStore
from tests.shardd.engine.shards import blob, commit, compact, content, open_store, put

SIZE_BYTES = 30_000
NAMES = range(40)
KEPT = range(0, 40, 5)  # in segments that are mostly dead
NEW = 100


def prepare(folder: Path) -> None:
    """Some segments, most of what is in them deleted, not yet compacted; one that is nearly full is written."""
    store = open_store(folder)
    for number in NAMES:
        assert commit(store, put(number, content(SIZE_BYTES, number))) == ["ok"]
    commit(store, *(Delete(blob(number), 0, 1) for number in NAMES if number not in KEPT))
    store.close()


def overwrite(store: ShardStore) -> None:
    """The next generation of shards, as repair in place puts it, until a new segment is begun."""
    for number in KEPT:
        assert commit(store, put(number, content(SIZE_BYTES, NEW + number), generation=2)) == ["ok"]
    store.flush_index()


def delete(store: ShardStore) -> None:
    """Every second one, one after the other."""
    for number in KEPT[::2]:
        assert commit(store, Delete(blob(number), 0, 1)) == ["ok"]
    store.flush_index()


WORKS: Mapping[str, Callable[[ShardStore], object]] = {
    "compaction": compact,
    "overwriting": overwrite,
    "deletion": delete,
}


def main(folder: str, work: str) -> None:
    store = open_store(Path(folder))
    print("open", flush=True)
    sys.stdin.readline()
    WORKS[work](store)
    print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
