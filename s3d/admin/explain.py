"""Owns the facts of /-/admin/explain: where the bytes of one object are, and what may be lost; never changes any."""

import asyncio
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

from s3d.blobs.survey import Sight, spare, survey
from s3d.metadata.fields import KEY_BYTES_MAX
from s3d.metadata.rows import BlobRow, Slice
from s3d.operations.call import Store
from s3d.placement.erasure import CODECS
from s3d.protocol.errors import S3Error
from shardd.contract.blobs import BlobId
from shardd.contract.bucket_names import valid_bucket_name

BLOBS_MAX: Final = 1_000  # in one answer; of more parts, `blobs_left_out` says how many
BLOBS_AT_ONCE: Final = 8
_DELETED: Final = (
    "It was deleted: its newest version is a delete marker. The older ones are asked for by their ids."
)
_CODEC_NAMES: Final = {number: name for name, number in CODECS.items()}

Json = dict[str, Any]


async def explain(store: Store, query: Mapping[str, str]) -> Json:
    """The version of a key that `bucket`, `key` and perhaps `version` of the query name, as JSON. Sizes are bytes.

    With `read` every shard is read and checked. `losses`: how many more nodes may be lost, whichever they are; -1
    where the object cannot be read now. Raises S3Error: NoSuchBucket, NoSuchKey, MethodNotAllowed (a delete marker).
    """
    bucket, key = query.get("bucket", ""), query.get("key", "")
    if not 0 < len(key.encode()) <= KEY_BYTES_MAX:
        raise S3Error("NoSuchKey")
    with store.state.view() as view:
        row = view.bucket(bucket) if valid_bucket_name(bucket) else None
        if row is None:
            raise S3Error("NoSuchBucket", BucketName=bucket[:64])
        version = view.find(row.incarnation, key.encode(), query.get("version", ""))
        if version is None:
            newest = next(view.versions(row.incarnation, key.encode()), None)
            raise S3Error(
                "NoSuchKey", _DELETED if newest is not None and newest.delete_marker else "", Key=key
            )
        if version.delete_marker:
            raise S3Error("MethodNotAllowed", "It is a delete marker, which has no bytes.", Key=key)
        slices = view.slices(version)
        wanted = [(part, view.blob(part.blob)) for _, part in islice(slices, BLOBS_MAX)]
        left_out = sum(1 for _ in slices)
    turns = asyncio.Semaphore(BLOBS_AT_ONCE)

    async def look(part: Slice, blob: BlobRow | None) -> Json:
        async with turns:
            return await _blob(store, part, blob, read=bool(query.get("read")))

    blobs = await asyncio.gather(*(look(part, blob) for part, blob in wanted))
    return {
        "bucket": bucket,
        "key": key,
        "version_id": version.version_id,
        "size": version.size,
        "etag": version.etag,
        "modified_us": version.modified_us,
        "parts": version.parts,
        "losses": min((blob["losses"] for blob in blobs), default=0),
        "blobs": blobs,
        "blobs_left_out": left_out,
    }


async def _blob(store: Store, part: Slice, row: BlobRow | None, *, read: bool) -> Json:
    facts: Json = {"blob": part.blob.hex(), "part": part.number, "size": part.size}
    if row is None:  # no sound state has that
        return facts | {"losses": -1, "fault": "no row", "shards": []}
    sights = await survey(store.blobs.resources, BlobId(part.blob), row, read=read)
    return facts | {
        "codec": _CODEC_NAMES.get(row.codec, str(row.codec)),
        "k": row.k,
        "m": row.m,
        "references": row.references,
        "awaits_repair": bool(row.filed),
        "losses": spare(sights, row.k),
        "shards": [_shard(sight) for sight in sights],
    }


def _shard(sight: Sight) -> Json:
    return {
        "shard": sight.shard,
        "node": sight.node,
        "generation": sight.generation,
        "state": sight.state.value,
        "stored_bytes": sight.stored_bytes,
    }
