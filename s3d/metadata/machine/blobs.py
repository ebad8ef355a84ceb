"""Owns what commands about blobs do: condemn, relocate, degrade, sweep; never touches a key."""

from collections.abc import Iterable

import msgspec

from s3d.metadata import tables
from s3d.metadata.commands import (
    Condemn,
    CondemnUnnamed,
    MarkDegraded,
    PutObject,
    PutPart,
    Relocate,
    Swept,
)
from s3d.metadata.fields import Placement
from s3d.metadata.machine.step import Refused, Step, places_of
from s3d.metadata.outcomes import Outcome
from s3d.metadata.rows import CondemnedRow


def condemn(step: Step, command: Condemn) -> Outcome:
    """Errors as Condemn says."""
    step.admit(command.blob)
    step.condemn_blob(command.blob, command.places)
    return Outcome(index=step.index, changed=True)


def condemn_unnamed(step: Step, command: CondemnUnnamed) -> Outcome:
    """`changed`: whether anything was left to condemn.

    Deleting a generation deletes those before it, so no later placement may use one up to these.
    """
    row = step.view.blob(command.blob)
    if row is None:
        if step.view.condemned_blob(command.blob):
            step.condemn_places(command.blob, command.places)
        else:
            step.condemn_blob(command.blob, command.places)
        return Outcome(index=step.index, changed=True)
    named = {place[:2] for place in places_of(row.shards)}
    left = tuple(place for place in command.places if place[:2] not in named)
    if left:
        step.condemn_places(command.blob, left)
        spent = max(row.spent, *(generation for _, _, generation in left))
        step.put(tables.BLOBS, command.blob, msgspec.structs.replace(row, spent=spent))
    return Outcome(index=step.index, changed=bool(left))


def condemn_own(step: Step, command: PutObject | PutPart) -> None:
    """The shards of a refused PUT: no row names them, and none may any more."""
    if step.view.blob(command.blob) is None and not step.view.condemned_blob(command.blob):
        places = {*places_of(command.row.shards), *command.strays}
        step.condemn_blob(command.blob, tuple(sorted(places)))


def relocate(step: Step, command: Relocate) -> Outcome:
    """Errors as Relocate says."""
    row = step.view.blob(command.blob)
    if row is None or row.shards != command.expected:
        raise Refused("OperationAborted", "the placement was changed")
    arrived = set(places_of(command.shards)) - set(places_of(row.shards))
    if any(generation <= row.spent for _, _, generation in arrived):
        raise Refused("OperationAborted", "shards of that generation are condemned")
    moved = msgspec.structs.replace(row, shards=command.shards, filed=0)
    # Of the shards that stay where they are, what was complained of is as it was.
    suspects = _placed_alike(step.suspects(command.blob, row), row.shards, moved.shards)
    step.unfile(command.blob, row)
    if command.degraded or suspects:
        step.refile(command.blob, moved, suspects)
    else:
        step.put(tables.BLOBS, command.blob, moved)
    left = set(places_of(row.shards)) - set(places_of(moved.shards))
    if left:
        step.condemn_places(command.blob, tuple(sorted(left)))
    return Outcome(index=step.index, changed=True)


def _placed_alike(suspects: Iterable[int], old: Placement, new: Placement) -> tuple[int, ...]:
    known = range(min(len(old), len(new)))
    return tuple(shard for shard in suspects if shard in known and old[shard] == new[shard] and new[shard][0])


def condemn_moved(step: Step, command: Relocate) -> None:
    """The shards that a refused Relocate had made, but never one in a place where the blob has that shard.

    Deleting a generation deletes those before it, so no later placement may use one up to it.
    """
    row = step.view.blob(command.blob)
    kept = {place[:2] for place in places_of(row.shards)} if row is not None else set()
    made = set(places_of(command.shards)) - set(places_of(command.expected))
    extra = tuple(sorted(place for place in made if place[:2] not in kept))
    if not extra:
        return
    step.condemn_places(command.blob, extra)
    if row is not None:
        spent = max(row.spent, *(generation for _, _, generation in extra))
        step.put(tables.BLOBS, command.blob, msgspec.structs.replace(row, spent=spent))


def mark_degraded(step: Step, command: MarkDegraded) -> Outcome:
    """Errors as MarkDegraded says. What was complained of before, perhaps by another gateway, stays."""
    row = step.view.blob(command.blob)
    if row is None:
        raise Refused("OperationAborted", "there is no such blob")
    suspects = {*step.suspects(command.blob, row), *command.suspects}
    step.refile(command.blob, row, tuple(sorted(suspects)))
    return Outcome(index=step.index, changed=True)


def swept(step: Step, command: Swept) -> Outcome:
    """A blob stays condemned as long as any of its places is left."""
    changed = False
    for item in command.items:
        row = step.view.row(CondemnedRow, tables.CONDEMNED, item.key)
        if row is None:
            continue
        changed = True
        step.tables.delete(tables.CONDEMNED, item.key)
        if item.left:
            step.file_condemned(item.due_us, msgspec.structs.replace(row, places=item.left))
        elif row.whole:
            step.tables.delete(tables.CONDEMNED_BLOBS, row.blob)
    return Outcome(index=step.index, changed=changed)
