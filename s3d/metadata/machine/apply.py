"""Owns the one way a command reaches the tables: once, in order, its outcome remembered with what it did."""

from collections.abc import Callable
from typing import Any

from s3d.metadata import keys, tables
from s3d.metadata.commands import (
    AbortUpload,
    AddNode,
    Command,
    CompleteUpload,
    Condemn,
    CondemnUnnamed,
    CopyObject,
    CopyPart,
    CreateBucket,
    CreateUpload,
    DeleteBucket,
    DeleteObjects,
    ImportBuckets,
    ImportNodes,
    MarkDegraded,
    PutBucketSetting,
    PutObject,
    PutObjectSetting,
    PutObjectTags,
    PutPart,
    PutVersioning,
    RegisterNode,
    Relocate,
    SaveJob,
    SetNodeState,
    StopJob,
    Swept,
    TakeLease,
)
from s3d.metadata.fields import OUTCOMES_WINDOW
from s3d.metadata.machine import blobs, buckets, jobs, nodes, objects, uploads
from s3d.metadata.machine.step import Refused, Step
from s3d.metadata.outcomes import Outcome, decode_outcome, encode_outcome
from s3d.metadata.rows import AppliedRow, OutcomeRow, WriteRow, encode_row
from s3d.metadata.tables import Tables
from s3d.metadata.view import View

Handler = Callable[[Step, Any], Outcome]
HANDLERS: dict[type[Command], Handler] = {
    CreateBucket: buckets.create_bucket,
    DeleteBucket: buckets.delete_bucket,
    ImportBuckets: buckets.import_buckets,
    PutBucketSetting: buckets.put_bucket_setting,
    PutVersioning: buckets.put_versioning,
    PutObject: objects.put_object,
    CopyObject: objects.copy_object,
    DeleteObjects: objects.delete_objects,
    PutObjectSetting: objects.put_object_setting,
    PutObjectTags: objects.put_object_tags,
    CreateUpload: uploads.create_upload,
    PutPart: uploads.put_part,
    CopyPart: uploads.copy_part,
    CompleteUpload: uploads.complete_upload,
    AbortUpload: uploads.abort_upload,
    Condemn: blobs.condemn,
    CondemnUnnamed: blobs.condemn_unnamed,
    Relocate: blobs.relocate,
    MarkDegraded: blobs.mark_degraded,
    Swept: blobs.swept,
    RegisterNode: nodes.register_node,
    ImportNodes: nodes.import_nodes,
    AddNode: nodes.add_node,
    SetNodeState: nodes.set_node_state,
    TakeLease: jobs.take_lease,
    SaveJob: jobs.save_job,
    StopJob: jobs.stop_job,
}
# What a refused command must still do: the shards that it brought along are named by no row.
REFUSALS: dict[type[Command], Callable[[Step, Any], None]] = {
    PutObject: blobs.condemn_own,
    PutPart: blobs.condemn_own,
    Relocate: blobs.condemn_moved,
}


def apply(writes: Tables, command: Command) -> Outcome:
    """Apply `command` as the next of all, unless it was applied before: what becomes, or became, of it.

    `writes` must be one transaction: all that is written here stands or falls together.
    """
    view = View(writes)
    met = view.row(OutcomeRow, tables.OUTCOMES, command.write_id)
    if met is not None:
        return decode_outcome(met.outcome)
    applied = view.applied()
    index = applied.index + 1
    if command.seen and index - command.seen > OUTCOMES_WINDOW:
        return Outcome(error="OperationAborted", detail="older than what the log remembers")
    outcome = _decide(Step(writes, index, command), command)
    _remember(writes, command.write_id, index, outcome)
    writes.put(tables.APPLIED, keys.APPLIED, encode_row(keys.APPLIED, AppliedRow(applied.log, index)))
    return outcome


def _decide(step: Step, command: Command) -> Outcome:
    try:
        return HANDLERS[type(command)](step, command)
    except Refused as refused:
        undo = REFUSALS.get(type(command))
        if undo is not None:
            undo(step, command)
        return Outcome(error=refused.code, index=step.index, detail=refused.detail)


def _remember(writes: Tables, write_id: bytes, index: int, outcome: Outcome) -> None:
    """Keep the outcome in the place of the oldest of the window."""
    place = keys.write_key(index)
    oldest = View(writes).row(WriteRow, tables.WRITES, place)
    if oldest is not None:
        writes.delete(tables.OUTCOMES, oldest.write_id)
    writes.put(tables.WRITES, place, encode_row(place, WriteRow(write_id)))
    writes.put(tables.OUTCOMES, write_id, encode_row(write_id, OutcomeRow(index, encode_outcome(outcome))))
