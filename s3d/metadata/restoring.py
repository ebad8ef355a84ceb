"""Owns the making of a state from a snapshot and the journal: beside the one that there is, swapped in once whole."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from s3d.metadata import keys, tables
from s3d.metadata.commands import RegisterNode, decode_command
from s3d.metadata.journal import Group, JournalError, read_journal
from s3d.metadata.machine import apply
from s3d.metadata.rows import AppliedRow, RowError, encode_row
from s3d.metadata.snapshot import Entry, Head, Read, read_snapshot
from s3d.metadata.state import State
from s3d.metadata.tables import Tables
from s3d.metadata.view import View
from shardd.contract.blobs import new_blob_id
from shardd.contract.folders import sync_folder

ROWS_AT_ONCE: Final = 20_000  # in one transaction
GROUPS_AT_ONCE: Final = 500  # of the journal
NUMBERS_LEFT_OUT: Final = 1 << 30  # days of commands; an incarnation has room for so many 250,000 times
BESIDE: Final = ".new"


@dataclass(frozen=True, slots=True)
class Replayed:
    """The state stands at command `index` now. `lacking`: why it does not go on there, "" at the journal's end."""

    index: int
    lacking: str = ""


Finish = Callable[[State, int], None]  # the new state, and when its snapshot was made, us since 1970


def restore(read: Read, path: Path, *, map_size: int, finish: Finish | None = None) -> Head:
    """Replace the state in the folder `path` by the snapshot that `read` gives; the old one stays beside it.

    `finish` may change the new state before it takes its place. Until then nothing is changed in `path`. Raises one
    of the SnapshotErrors, StateError, OSError.
    """
    head, entries = read_snapshot(read)
    build(path, map_size=map_size, entries=entries, finish=finish, made_us=head.made_us)
    return head


def build(
    path: Path, *, map_size: int, entries: Iterable[Entry], finish: Finish | None = None, made_us: int = 0
) -> None:
    """A new state of these rows in the folder `path`; one that is there stays beside it. Errors as `restore`."""
    beside = path.with_name(path.name + BESIDE)
    shutil.rmtree(beside, ignore_errors=True)
    state = State.open(beside, map_size)
    try:
        rest = iter(entries)
        while batch := list(islice(rest, ROWS_AT_ONCE)):
            with state.write() as writes:
                for table, key, value in batch:
                    writes.put(table, key, value)
        if finish is not None:
            finish(state, made_us)
    finally:
        state.close()
    _swap(beside, path)


def forget_lives(state: State, *, now_us: int) -> None:
    """Have each node's life told anew: for as long as an upload lives after that, reconcile gives nothing up.

    Until then a younger snapshot, or salvage, can still bring back what these rows do not name.
    """
    with state.write() as writes:
        for row in list(View(writes).nodes()):
            apply(writes, RegisterNode(new_blob_id(now_us // 1_000), now_us, node=row.node, incarnation=b""))


def go_on_behind(state: State, index: int) -> None:
    """Number the next command behind `index`, the last that is known of, and behind those that may not be known.

    No number is given twice then, nor is a version id; and the numbers of a snapshot and of a journal tell whether
    one goes on from the other.
    """
    with state.write() as writes:
        applied = View(writes).applied()
        row = AppliedRow(applied.log, max(applied.index, index) + NUMBERS_LEFT_OUT)
        writes.put(tables.APPLIED, keys.APPLIED, encode_row(keys.APPLIED, row))


def replay(state: State, journal: Path) -> Replayed:
    """Apply to a state what the journal in the folder `journal` of another has behind it, as far as nothing lacks.

    The machine is deterministic, so the same commands make the same state. Raises StateError.
    """
    with state.view() as view:
        index = view.applied().index
    done = Replayed(index)
    groups = _until_fault(read_journal(journal, index))
    while not done.lacking and (batch := list(islice(groups, GROUPS_AT_ONCE))):
        try:
            done = _go_on(state, batch, done.index)
        except _OtherHistoryError:
            done = _go_on_one_by_one(state, batch, done.index)
    return done


class _OtherHistoryError(Exception):
    """Commands became others than they had been, or are none that this program knows."""


def _go_on(state: State, batch: Sequence[Group | str], index: int) -> Replayed:
    """In one transaction, which is undone where one of them raises _OtherHistoryError."""
    with state.write() as writes:
        for group in batch:
            if isinstance(group, str):
                return Replayed(index, group)
            if group.first != index + 1:
                return Replayed(index, f"the journal lacks the commands {index + 1} to {group.first - 1}")
            index = _apply(writes, group)
    return Replayed(index)


def _go_on_one_by_one(state: State, batch: Sequence[Group | str], index: int) -> Replayed:
    """As far as they belong to this history."""
    for group in batch:
        try:
            index = _go_on(state, [group], index).index
        except _OtherHistoryError:
            break
    return Replayed(index, "the journal does not go on from there")


def _until_fault(groups: Iterator[Group]) -> Iterator[Group | str]:
    """The groups, and at last, in words, the fault that ends them."""
    try:
        yield from groups
    except (JournalError, OSError) as error:
        yield str(error)


def _apply(writes: Tables, group: Group) -> int:
    try:
        for raw in group.commands:
            apply(writes, decode_command(raw))
    except (msgspec.MsgspecError, RowError) as error:
        raise _OtherHistoryError from error
    index = View(writes).applied().index
    if index != group.last:
        raise _OtherHistoryError
    return index


def _swap(beside: Path, path: Path) -> None:
    if path.exists():
        taken = {old.name for old in path.parent.iterdir()}
        number = next(n for n in range(1, len(taken) + 2) if f"{path.name}.before-{n}" not in taken)
        path.replace(path.with_name(f"{path.name}.before-{number}"))
    beside.replace(path)
    sync_folder(path.parent)
