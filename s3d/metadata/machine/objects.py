"""Owns what commands about objects do; never touches an upload."""

import msgspec

from s3d.metadata import keys, tables
from s3d.metadata.commands import (
    ANY,
    Conditions,
    CopyObject,
    DeletedKey,
    DeleteObjects,
    PutObject,
    PutObjectSetting,
    PutObjectTags,
)
from s3d.metadata.machine.step import Refused, Step, check_conditions
from s3d.metadata.machine.versions import (
    add_version,
    delete_marker,
    drop_version,
    expose_newest,
)
from s3d.metadata.outcomes import Outcome
from s3d.metadata.rows import Attributes, BucketRow, Slice, VersionRow


def put_object(step: Step, command: PutObject) -> Outcome:
    """Errors as PutObject says."""
    bucket = step.bucket(command.bucket, command.incarnation)
    current = step.view.current(bucket.incarnation, command.key)
    check_conditions(command.conditions, current)
    step.admit(command.blob)
    step.add_blob(command.blob, command.row, degraded=command.degraded, strays=command.strays)
    body = Slice(command.blob, command.row.size, command.etag)
    draft = _draft(command.etag, command.row.size, command.attributes, (body,))
    return add_version(step, bucket, command.key, draft=draft, current=current)


def copy_object(step: Step, command: CopyObject) -> Outcome:
    """Errors as CopyObject says."""
    bucket = step.bucket(command.bucket, command.incarnation)
    source = step.source(command.source_incarnation, command.source_key, command.source_sequence)
    current = step.view.current(bucket.incarnation, command.key)
    check_conditions(command.conditions, current)
    slices = tuple(part for _, part in step.view.slices(source))
    for part in slices:  # before the version that is replaced lets go of them: it may be the source itself
        step.share(part.blob)
    if command.attributes.checksum_algorithm != source.attributes.checksum_algorithm:
        slices = tuple(msgspec.structs.replace(part, checksum="") for part in slices)
    draft = _draft(source.etag, source.size, command.attributes, slices, parts=source.parts)
    return add_version(step, bucket, command.key, draft=draft, current=current)


def put_object_setting(step: Step, command: PutObjectSetting) -> Outcome:
    """Errors as PutObjectSetting says."""
    bucket, version = _named(step, command)
    if command.sequence not in (0, version.sequence):
        raise Refused("OperationAborted", "the version was replaced")
    before = version.attributes.settings
    settings = {name: document for name, document in before.items() if name != command.name}
    if command.document is not None:
        settings[command.name] = command.document
    settings = dict(sorted(settings.items()))
    _describe(step, bucket, command.key, version, settings=settings)
    return Outcome(index=step.index, version_id=version.version_id, changed=settings != before)


def put_object_tags(step: Step, command: PutObjectTags) -> Outcome:
    """Errors as PutObjectTags says."""
    bucket, version = _named(step, command)
    _describe(step, bucket, command.key, version, tags=command.tags)
    changed = command.tags != version.attributes.tags
    return Outcome(index=step.index, version_id=version.version_id, changed=changed)


def _named(step: Step, command: PutObjectSetting | PutObjectTags) -> tuple[BucketRow, VersionRow]:
    """The bucket and the version that a command is about."""
    bucket = step.bucket(command.bucket, command.incarnation)
    version = step.view.find(bucket.incarnation, command.key, command.version_id)
    if version is None:
        raise Refused("NoSuchVersion" if command.version_id else "NoSuchKey")
    if version.delete_marker:
        raise Refused("MethodNotAllowed")
    return bucket, version


def _describe(step: Step, bucket: BucketRow, key: bytes, version: VersionRow, **changes: object) -> None:
    """Store a version with other attributes; its place, time and bytes stay."""
    attributes = msgspec.structs.replace(version.attributes, **changes)
    row = msgspec.structs.replace(version, attributes=attributes)
    step.put(tables.VERSIONS, keys.version_key(bucket.incarnation, key, version.sequence), row)


def delete_objects(step: Step, command: DeleteObjects) -> Outcome:
    """Errors as DeleteObjects says, each key by itself."""
    bucket = step.bucket(command.bucket, command.incarnation)
    results = tuple(_delete(step, bucket, deleted) for deleted in command.keys)
    return Outcome(index=step.index, results=results, changed=any(result.changed for result in results))


def _delete(step: Step, bucket: BucketRow, deleted: DeletedKey) -> Outcome:
    if deleted.version_id:
        target = step.view.find(bucket.incarnation, deleted.key, deleted.version_id)
    else:
        target = next(step.view.versions(bucket.incarnation, deleted.key), None)
    if target is None and (deleted.version_id or deleted.conditions != ANY or not bucket.versioning):
        return Outcome(index=step.index, version_id=deleted.version_id)
    if target is not None and not _holds(deleted.conditions, target):
        return Outcome(error="PreconditionFailed", index=step.index)
    if target is not None and (deleted.version_id or not bucket.versioning):
        return _drop(step, bucket, deleted.key, target)
    current = step.view.current(bucket.incarnation, deleted.key)
    return add_version(step, bucket, deleted.key, draft=delete_marker(), current=current)


def _holds(conditions: Conditions, target: VersionRow) -> bool:
    """Whether the preconditions of a delete hold for the version that it is about."""
    return (
        conditions.if_match in ("", "*", target.etag)
        and conditions.if_none_match not in ("*", target.etag or "-")
        and conditions.if_modified_s in (-1, target.modified_us // 1_000_000)
        and conditions.if_size in (-1, target.size)
    )


def _drop(step: Step, bucket: BucketRow, key: bytes, version: VersionRow) -> Outcome:
    drop_version(step, bucket.incarnation, key, version)
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
