"""Owns what commands about buckets do; never touches an object."""

import msgspec

from s3d.metadata import keys, tables
from s3d.metadata.commands import (
    ConfiguredBucket,
    CreateBucket,
    DeleteBucket,
    ImportBuckets,
    PutBucketSetting,
    PutVersioning,
)
from s3d.metadata.machine.step import Refused, Step
from s3d.metadata.machine.uploads import forget_upload
from s3d.metadata.outcomes import Outcome
from s3d.metadata.rows import AccountBucketRow, BucketRow, decode_row
from s3d.metadata.tables import Table

# Uploads in progress, and their parts, that go with a bucket; with more it is not empty.
ROWS_ABORTED_MAX = 20_000


def create_bucket(step: Step, command: CreateBucket) -> Outcome:
    """Errors as CreateBucket says."""
    row = step.view.bucket(command.bucket)
    if row is not None:
        owned = row.account == command.account
        raise Refused("BucketAlreadyOwnedByYou" if owned else "BucketAlreadyExists")
    row = BucketRow(
        name=command.bucket,
        incarnation=_incarnation(step, 0),
        account=command.account,
        created_us=step.time_us,
        region=command.region,
        settings=command.settings,
    )
    _add(step, row)
    return Outcome(index=step.index, incarnation=row.incarnation)


def delete_bucket(step: Step, command: DeleteBucket) -> Outcome:
    """Errors as DeleteBucket says."""
    row = step.bucket(command.bucket, command.incarnation)
    if row.configured:
        raise Refused("AccessDenied", "the bucket stands in cluster.toml")
    if not _empty(step, tables.VERSIONS, row):
        raise Refused("BucketNotEmpty")
    for key, upload in _uploads(step, row):
        forget_upload(step, row.incarnation, key, upload)
    step.tables.delete(tables.BUCKETS, row.name.encode())
    step.tables.delete(tables.ACCOUNT_BUCKETS, keys.account_bucket_key(row.account, row.name))
    return Outcome(index=step.index, changed=True)


def put_bucket_setting(step: Step, command: PutBucketSetting) -> Outcome:
    """Errors as PutBucketSetting says."""
    row = step.bucket(command.bucket, command.incarnation)
    settings = {name: document for name, document in row.settings.items() if name != command.name}
    if command.document is not None:
        settings[command.name] = command.document
    settings = dict(sorted(settings.items()))
    step.put(tables.BUCKETS, row.name.encode(), msgspec.structs.replace(row, settings=settings))
    return Outcome(index=step.index, changed=settings != row.settings)


def put_versioning(step: Step, command: PutVersioning) -> Outcome:
    """Errors as PutVersioning says."""
    row = step.bucket(command.bucket, command.incarnation)
    step.put(tables.BUCKETS, row.name.encode(), msgspec.structs.replace(row, versioning=command.status))
    return Outcome(index=step.index, changed=command.status != row.versioning)


def import_buckets(step: Step, command: ImportBuckets) -> Outcome:
    """A bucket that stands in the file keeps its objects and its owner where it was there before."""
    named = {entry.name for entry in command.buckets}
    existing = [
        decode_row(BucketRow, at, raw) for at, raw in step.view.reads.scan(tables.BUCKETS, b"\0", b"")
    ]
    changed = False
    for row in existing:
        if row.configured and row.name not in named:
            step.put(tables.BUCKETS, row.name.encode(), msgspec.structs.replace(row, configured=False))
            changed = True
    for ordinal, entry in enumerate(command.buckets):
        changed |= _import(step, entry, ordinal)
    return Outcome(index=step.index, changed=changed)


def _import(step: Step, entry: ConfiguredBucket, ordinal: int) -> bool:
    row = step.view.bucket(entry.name)
    if row is None:
        row = BucketRow(entry.name, _incarnation(step, ordinal), entry.account, step.time_us)
        _add(step, row)
    wanted = msgspec.structs.replace(
        row,
        region=entry.region,
        public=entry.public,
        kind=entry.kind,
        encryption=entry.encryption,
        configured=True,
    )
    if wanted == row:
        return False
    step.put(tables.BUCKETS, row.name.encode(), wanted)
    return True


def _add(step: Step, row: BucketRow) -> None:
    step.put(tables.BUCKETS, row.name.encode(), row)
    step.put(
        tables.ACCOUNT_BUCKETS,
        keys.account_bucket_key(row.account, row.name),
        AccountBucketRow(row.created_us),
    )


def _incarnation(step: Step, ordinal: int) -> int:
    """Never given twice: one command makes fewer than 2**16 buckets."""
    return step.index << 16 | ordinal


def _uploads(step: Step, row: BucketRow) -> list[tuple[bytes, str]]:
    """(key, upload) of the uploads in progress; Refused where they are more than one command can abort."""
    prefix = keys.bucket_prefix(row.incarnation)
    uploads: list[tuple[bytes, str]] = []
    rows = 0
    for at, _ in step.view.reads.scan(tables.UPLOADS, prefix, keys.after_prefix(prefix)):
        key, upload = keys.split_stack(at)
        uploads.append((key, upload.decode()))
        rows += 1 + sum(1 for _ in step.view.parts(uploads[-1][1]))
        if rows > ROWS_ABORTED_MAX:
            raise Refused("BucketNotEmpty", "too many uploads in progress")
    return uploads


def _empty(step: Step, table: Table, row: BucketRow) -> bool:
    prefix = keys.bucket_prefix(row.incarnation)
    return next(step.view.reads.scan(table, prefix, keys.after_prefix(prefix)), None) is None
