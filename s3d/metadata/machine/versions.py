"""Owns the versions of a key: which one is live, what a new one takes the place of, what goes with an old one."""

from s3d.metadata import keys, tables
from s3d.metadata.machine.step import Step
from s3d.metadata.outcomes import Outcome
from s3d.metadata.rows import (
    NULL_VERSION,
    SLICES_INLINE_MAX,
    SLICES_PER_PAGE,
    Attributes,
    BucketRow,
    ObjectRow,
    Slice,
    SlicesRow,
    VersionRow,
)

ENABLED = "Enabled"


def add_version(
    step: Step, bucket: BucketRow, key: bytes, *, draft: VersionRow, current: ObjectRow | None
) -> Outcome:
    """Make `draft`, whose sequence, id and time are still to be set, the newest version of a key.

    Without versions, or with them suspended, it takes the place of the version "null", whose blobs are released.
    `current` is the live object, if there is one.
    """
    modified_us = step.time_us if current is None else max(step.time_us, current.modified_us + 1)
    pages, inline = _paged(step, draft.slices)
    null = step.view.null(bucket.incarnation, key) if bucket.versioning == ENABLED else 0
    version = VersionRow(
        sequence=step.index,
        version_id=keys.version_id_of(step.index) if bucket.versioning == ENABLED else NULL_VERSION,
        size=draft.size,
        etag=draft.etag,
        modified_us=modified_us,
        attributes=draft.attributes,
        slices=inline,
        pages=pages,
        parts=draft.parts,
        upload=draft.upload,
        delete_marker=draft.delete_marker,
        null=null,
    )
    replaced = _replaced(step, bucket, key, current)
    if replaced is not None:
        drop_version(step, bucket.incarnation, key, replaced)
    step.put(tables.VERSIONS, keys.version_key(bucket.incarnation, key, step.index), version)
    at = keys.current_key(bucket.incarnation, key)
    if version.delete_marker:
        step.tables.delete(tables.CURRENT, at)
    else:
        step.put(tables.CURRENT, at, listed(version))
    return Outcome(
        index=step.index,
        version_id=version.version_id if bucket.versioning else "",
        delete_marker=version.delete_marker,
        etag=version.etag,
        size=version.size,
        modified_us=modified_us,
        checksums=version.attributes.checksums,
        changed=True,
    )


def delete_marker() -> VersionRow:
    """The draft of a delete marker."""
    return VersionRow(
        sequence=0, version_id="", size=0, etag="", modified_us=0, attributes=Attributes(), delete_marker=True
    )


def drop_version(step: Step, incarnation: int, key: bytes, version: VersionRow) -> None:
    """Remove a version and release its blobs; what is live is the caller's to set."""
    for _, part in list(step.view.slices(version)):
        step.release(part.blob)
    for page in range(len(version.pages)):
        step.tables.delete(tables.MANIFESTS, keys.manifest_key(version.sequence, page))
    step.tables.delete(tables.VERSIONS, keys.version_key(incarnation, key, version.sequence))


def expose_newest(step: Step, incarnation: int, key: bytes) -> None:
    """Make the newest version that is left live, unless it is a delete marker."""
    at = keys.current_key(incarnation, key)
    newest = next(step.view.versions(incarnation, key), None)
    if newest is None or newest.delete_marker:
        step.tables.delete(tables.CURRENT, at)
    else:
        step.put(tables.CURRENT, at, listed(newest))


def listed(version: VersionRow) -> ObjectRow:
    """What lists say of a version."""
    said = version.attributes
    return ObjectRow(
        sequence=version.sequence,
        size=version.size,
        etag=version.etag,
        modified_us=version.modified_us,
        owner=said.owner,
        storage_class=said.storage_class,
        version_id=version.version_id,
        checksum_algorithm=said.checksum_algorithm,
        checksum_type=said.checksum_type,
    )


def _replaced(step: Step, bucket: BucketRow, key: bytes, current: ObjectRow | None) -> VersionRow | None:
    if bucket.versioning == ENABLED:
        return None
    if bucket.versioning:
        return step.view.find(bucket.incarnation, key, NULL_VERSION)
    return None if current is None else step.view.version(bucket.incarnation, key, current.sequence)


def _paged(step: Step, slices: tuple[Slice, ...]) -> tuple[tuple[tuple[int, int], ...], tuple[Slice, ...]]:
    """The pages that many slices are stored in, or the few that stand in the row."""
    if len(slices) <= SLICES_INLINE_MAX:
        return (), slices
    pages, offset = [], 0
    for page, first in enumerate(range(0, len(slices), SLICES_PER_PAGE)):
        held = slices[first : first + SLICES_PER_PAGE]
        step.put(tables.MANIFESTS, keys.manifest_key(step.index, page), SlicesRow(held))
        pages.append((offset, held[0].number))
        offset += sum(part.size for part in held)
    return tuple(pages), ()
