"""Owns what commands about objects do; never touches an upload."""

from s3d.metadata.commands import CopyObject, DeletedKey, DeleteObjects, Outcome, PutObject
from s3d.metadata.machine.step import Refused, Step, check_conditions
from s3d.metadata.machine.versions import (
    add_version,
    delete_marker,
    drop_version,
    expose_newest,
)
from s3d.metadata.rows import Attributes, BucketRow, RowMissingError, Slice, VersionRow


def put_object(step: Step, command: PutObject) -> Outcome:
    """Errors as PutObject says."""
    bucket = step.bucket(command.bucket, command.incarnation)
    current = step.view.current(bucket.incarnation, command.key)
    check_conditions(command.conditions, current)
    step.admit(command.blob)
    step.add_blob(command.blob, command.row, degraded=command.degraded)
    body = Slice(command.blob, command.row.size, command.etag)
    draft = _draft(command.etag, command.row.size, command.attributes, (body,))
    return add_version(step, bucket, command.key, draft=draft, current=current, grace_us=command.grace_us)


def copy_object(step: Step, command: CopyObject) -> Outcome:
    """Errors as CopyObject says."""
    bucket = step.bucket(command.bucket, command.incarnation)
    source = step.source(command.source_incarnation, command.source_key, command.source_sequence)
    current = step.view.current(bucket.incarnation, command.key)
    check_conditions(command.conditions, current)
    slices = tuple(part for _, part in step.view.slices(source))
    for part in slices:  # before the version that is replaced lets go of them: it may be the source itself
        step.share(part.blob)
    draft = _draft(source.etag, source.size, command.attributes, slices, parts=source.parts)
    return add_version(step, bucket, command.key, draft=draft, current=current, grace_us=command.grace_us)


def delete_objects(step: Step, command: DeleteObjects) -> Outcome:
    """Errors as DeleteObjects says, each key by itself."""
    bucket = step.bucket(command.bucket, command.incarnation)
    results = tuple(_delete(step, bucket, deleted, command.grace_us) for deleted in command.keys)
    return Outcome(index=step.index, results=results, changed=any(result.changed for result in results))


def _delete(step: Step, bucket: BucketRow, deleted: DeletedKey, grace_us: int) -> Outcome:
    current = step.view.current(bucket.incarnation, deleted.key)
    try:
        check_conditions(deleted.conditions, current)
    except Refused as refused:
        return Outcome(error=refused.code, index=step.index, detail=refused.detail)
    if deleted.version_id:
        return _delete_version(step, bucket, deleted, grace_us)
    if bucket.versioning:
        return add_version(
            step, bucket, deleted.key, draft=delete_marker(), current=current, grace_us=grace_us
        )
    if current is None:
        return Outcome(index=step.index)
    version = step.view.version(bucket.incarnation, deleted.key, current.sequence)
    if version is None:
        raise RowMissingError(f"version {current.sequence}, which a live object names")
    return _drop(step, bucket, deleted.key, version, grace_us)


def _delete_version(step: Step, bucket: BucketRow, deleted: DeletedKey, grace_us: int) -> Outcome:
    version = step.view.find(bucket.incarnation, deleted.key, deleted.version_id)
    if version is None:
        return Outcome(index=step.index, version_id=deleted.version_id)
    return _drop(step, bucket, deleted.key, version, grace_us)


def _drop(step: Step, bucket: BucketRow, key: bytes, version: VersionRow, grace_us: int) -> Outcome:
    drop_version(step, bucket.incarnation, key, version, grace_us)
    expose_newest(step, bucket.incarnation, key)
    return Outcome(
        index=step.index,
        version_id=version.version_id,
        delete_marker=version.delete_marker,
        changed=True,
    )


def _draft(
    etag: str, size: int, attributes: Attributes, slices: tuple[Slice, ...], *, parts: int = 0
) -> VersionRow:
    return VersionRow(
        sequence=0,
        version_id="",
        size=size,
        etag=etag,
        modified_us=0,
        attributes=attributes,
        slices=slices,
        parts=parts,
    )
