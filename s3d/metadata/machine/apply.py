"""Owns the one way a command reaches the tables: once, in order, its outcome remembered with what it did."""

import re
from collections.abc import Callable
from typing import Any

from s3d.metadata import keys, tables
from s3d.metadata.commands import (
    DELETE_KEYS_MAX,
    OUTCOMES_WINDOW,
    PARTS_MAX,
    WRITE_ID_SIZE,
    AbortUpload,
    Command,
    CompleteUpload,
    Condemn,
    CopyObject,
    CopyPart,
    CreateBucket,
    CreateUpload,
    DeleteBucket,
    DeleteObjects,
    ImportBuckets,
    MarkDegraded,
    Outcome,
    PutBucketSetting,
    PutObject,
    PutPart,
    RegisterNode,
    Relocate,
    Swept,
    decode_outcome,
    encode_outcome,
)
from s3d.metadata.machine import blobs, buckets, objects, uploads
from s3d.metadata.machine.step import Refused, Step
from s3d.metadata.rows import AppliedRow, OutcomeRow, WriteRow, encode_row
from s3d.metadata.tables import Tables
from s3d.metadata.view import View
from shardd.contract.blobs import BLOB_ID_SIZE
from shardd.contract.errors import QuoinError

KEY_BYTES_MAX = 1_024
TIME_US_MAX = (1 << 62) - 1
UPLOAD_ID = re.compile(r"[0-9A-Za-z_.~-]{1,128}", re.ASCII)
ETAG = re.compile(r"[0-9a-f]{32}", re.ASCII)

Handler = Callable[[Step, Any], Outcome]
HANDLERS: dict[type[Command], Handler] = {
    CreateBucket: buckets.create_bucket,
    DeleteBucket: buckets.delete_bucket,
    ImportBuckets: buckets.import_buckets,
    PutBucketSetting: buckets.put_bucket_setting,
    PutObject: objects.put_object,
    CopyObject: objects.copy_object,
    DeleteObjects: objects.delete_objects,
    CreateUpload: uploads.create_upload,
    PutPart: uploads.put_part,
    CopyPart: uploads.copy_part,
    CompleteUpload: uploads.complete_upload,
    AbortUpload: uploads.abort_upload,
    Condemn: blobs.condemn,
    Relocate: blobs.relocate,
    MarkDegraded: blobs.mark_degraded,
    Swept: blobs.swept,
    RegisterNode: blobs.register_node,
}
# What a refused command must still do: the shards that it brought along are named by no row.
REFUSALS: dict[type[Command], Callable[[Step, Any], None]] = {
    PutObject: blobs.condemn_own,
    PutPart: blobs.condemn_own,
    Relocate: blobs.condemn_moved,
}


class CommandError(QuoinError):
    """A command breaks its contract: a fault of the caller, never of a client. Nothing was written."""


def check_command(command: Command) -> None:
    """Raise CommandError where `command` could not be applied; one that passes cannot harm those around it."""
    if type(command) not in HANDLERS:
        raise CommandError(f"{type(command).__name__} is no command")
    if len(command.write_id) != WRITE_ID_SIZE or not 0 <= command.time_us <= TIME_US_MAX:
        raise CommandError("a write id has 16 bytes, a time is in microseconds since 1970")
    key = getattr(command, "key", None)
    if key is not None and not 1 <= len(key) <= KEY_BYTES_MAX:
        raise CommandError(f"a key of {len(key)} bytes")
    upload = getattr(command, "upload", None)
    if upload is not None and not UPLOAD_ID.fullmatch(upload):
        raise CommandError(f"an upload id {upload!r}")
    check = CHECKS.get(type(command))
    if check is not None:
        check(command)


def _check_blob(command: PutObject | PutPart) -> None:
    if len(command.blob) != BLOB_ID_SIZE or not ETAG.fullmatch(command.etag):
        raise CommandError("a blob id has 16 bytes, an ETag is the hex of an MD5")
    if isinstance(command, PutPart) and not 1 <= command.number <= PARTS_MAX:
        raise CommandError(f"a part number {command.number}")


def _check_part(command: CopyPart) -> None:
    if not 1 <= command.number <= PARTS_MAX:
        raise CommandError(f"a part number {command.number}")


def _check_keys(command: DeleteObjects) -> None:
    if len(command.keys) > DELETE_KEYS_MAX:
        raise CommandError(f"{len(command.keys)} keys to delete")
    if not all(1 <= len(deleted.key) <= KEY_BYTES_MAX for deleted in command.keys):
        raise CommandError("a key to delete has 1 to 1,024 bytes")


def _check_blob_id(command: Condemn | Relocate | MarkDegraded) -> None:
    if len(command.blob) != BLOB_ID_SIZE:
        raise CommandError("a blob id has 16 bytes")


CHECKS: dict[type[Command], Callable[[Any], None]] = {
    PutObject: _check_blob,
    PutPart: _check_blob,
    CopyPart: _check_part,
    DeleteObjects: _check_keys,
    Condemn: _check_blob_id,
    Relocate: _check_blob_id,
    MarkDegraded: _check_blob_id,
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
    outcome = _decide(Step(writes, index, command.time_us), command)
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
