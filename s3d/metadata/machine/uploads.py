"""Owns what commands about multipart uploads do, up to the version that one becomes."""

import hashlib

import msgspec

from s3d.metadata import keys, tables
from s3d.metadata.commands import AbortUpload, CompleteUpload, CopyPart, CreateUpload, NamedPart, PutPart
from s3d.metadata.fields import PART_SIZE_BYTES_MIN, PARTS_MAX
from s3d.metadata.machine.step import Refused, Step, check_conditions
from s3d.metadata.machine.versions import add_version
from s3d.metadata.outcomes import Outcome
from s3d.metadata.rows import BucketRow, PartRow, Slice, UploadRow, VersionRow


def create_upload(step: Step, command: CreateUpload) -> Outcome:
    """Errors as CreateUpload says."""
    bucket = step.bucket(command.bucket, command.incarnation)
    row = UploadRow(command.upload, step.time_us, command.attributes)
    step.put(tables.UPLOADS, keys.upload_key(bucket.incarnation, command.key, command.upload), row)
    return Outcome(index=step.index, changed=True)


def put_part(step: Step, command: PutPart) -> Outcome:
    """Errors as PutPart says."""
    _upload(step, command)
    step.admit(command.blob)
    step.add_blob(command.blob, command.row, degraded=command.degraded, strays=command.strays)
    row = PartRow(
        command.number, command.blob, command.row.size, command.etag, step.time_us, command.checksum
    )
    return _add_part(step, command.upload, row)


def copy_part(step: Step, command: CopyPart) -> Outcome:
    """Errors as CopyPart says."""
    _upload(step, command)
    source = step.source(command.source_incarnation, command.source_key, command.source_sequence)
    if len(source.slices) != 1:
        raise Refused("OperationAborted", "the source of the copy is not one blob")
    body = source.slices[0]
    step.share(body.blob)
    row = PartRow(command.number, body.blob, body.size, body.etag, step.time_us, command.checksum)
    return _add_part(step, command.upload, row)


def complete_upload(step: Step, command: CompleteUpload) -> Outcome:
    """Errors as CompleteUpload says."""
    bucket = step.bucket(command.bucket, command.incarnation)
    current = step.view.current(bucket.incarnation, command.key)
    upload = step.view.upload(bucket.incarnation, command.key, command.upload)
    if upload is None:
        return _completed_before(step, command, bucket)
    parts = _named_parts(step, command)
    check_conditions(command.conditions, current)
    draft = VersionRow(
        sequence=0,
        version_id="",
        size=sum(part.size for part in parts),
        etag=_multipart_etag([part.etag for part in parts]),
        modified_us=0,
        attributes=msgspec.structs.replace(upload.attributes, checksums=command.checksums),
        slices=tuple(Slice(part.blob, part.size, part.etag, part.number, part.checksum) for part in parts),
        parts=len(parts),
        upload=command.upload,
    )
    named = {part.number for part in parts}
    for part in list(step.view.parts(command.upload)):
        step.tables.delete(tables.PARTS, keys.part_key(command.upload, part.number))
        if part.number not in named:
            step.release(part.blob)
    step.tables.delete(tables.UPLOADS, keys.upload_key(bucket.incarnation, command.key, command.upload))
    return add_version(step, bucket, command.key, draft=draft, current=current)


def abort_upload(step: Step, command: AbortUpload) -> Outcome:
    """Errors as AbortUpload says."""
    bucket = step.bucket(command.bucket, command.incarnation)
    if step.view.upload(bucket.incarnation, command.key, command.upload) is None:
        raise Refused("NoSuchUpload")
    forget_upload(step, bucket.incarnation, command.key, command.upload)
    return Outcome(index=step.index, changed=True)


def forget_upload(step: Step, incarnation: int, key: bytes, upload: str) -> None:
    """Remove an upload with all its parts."""
    for part in list(step.view.parts(upload)):
        step.tables.delete(tables.PARTS, keys.part_key(upload, part.number))
        step.release(part.blob)
    step.tables.delete(tables.UPLOADS, keys.upload_key(incarnation, key, upload))


def _upload(step: Step, command: PutPart | CopyPart) -> UploadRow:
    bucket = step.bucket(command.bucket, command.incarnation)
    upload = step.view.upload(bucket.incarnation, command.key, command.upload)
    if upload is None:
        raise Refused("NoSuchUpload")
    return upload


def _add_part(step: Step, upload: str, row: PartRow) -> Outcome:
    replaced = step.view.part(upload, row.number)
    if replaced is not None:
        step.release(replaced.blob)
    step.put(tables.PARTS, keys.part_key(upload, row.number), row)
    return Outcome(index=step.index, etag=row.etag, size=row.size, modified_us=row.modified_us, changed=True)


def _named_parts(step: Step, command: CompleteUpload) -> list[PartRow]:
    """The rows of the parts that are named, checked as S3 checks them (CompleteMultipartUpload, "Errors")."""
    if not 1 <= len(command.parts) <= PARTS_MAX:
        raise Refused("MalformedXML", "between 1 and 10,000 parts")
    stored = {part.number: part for part in step.view.parts(command.upload)}
    rows: list[PartRow] = []
    for named in command.parts:
        if rows and named.number <= rows[-1].number:
            raise Refused("InvalidPartOrder")
        rows.append(_named_part(named, stored.get(named.number)))
    for row in rows[:-1]:
        if row.size < PART_SIZE_BYTES_MIN:
            raise Refused("EntityTooSmall", str(row.number))
    return rows


def _named_part(named: NamedPart, row: PartRow | None) -> PartRow:
    if row is None or named.etag != row.etag or (named.checksum and named.checksum != row.checksum):
        raise Refused("InvalidPart", str(named.number))
    return row


def _completed_before(step: Step, command: CompleteUpload, bucket: BucketRow) -> Outcome:
    """Success again where the live object is what this very command would make; else the upload is unknown."""
    live = step.view.find(bucket.incarnation, command.key)
    if live is None or live.upload != command.upload:
        raise Refused("NoSuchUpload")
    made_of = [(part.number, part.etag) for _, part in step.view.slices(live)]
    if made_of != [(part.number, part.etag) for part in command.parts]:
        raise Refused("NoSuchUpload")
    return Outcome(
        index=step.index,
        version_id=live.version_id if bucket.versioning else "",
        etag=live.etag,
        size=live.size,
        modified_us=live.modified_us,
        checksums=live.attributes.checksums,
    )


def _multipart_etag(etags: list[str]) -> str:
    """MD5 of the parts' MD5s, and their number: what every S3 tool expects of a multipart object."""
    digests = b"".join(bytes.fromhex(etag) for etag in etags)
    return f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(etags)}"
