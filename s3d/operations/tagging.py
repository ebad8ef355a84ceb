"""Owns the operations on tags of objects, versions and buckets; never what a tag may be."""

from collections.abc import Mapping
from typing import Final

import msgspec

from s3d.metadata.commands import PutObjectTags
from s3d.metadata.rows import BucketRow
from s3d.operations.authorise import check_tags
from s3d.operations.bodies import read_document
from s3d.operations.call import Call
from s3d.operations.objects import find_version
from s3d.operations.reply import Reply, no_content, xml_reply
from s3d.operations.sub_resources import SubResource
from s3d.protocol.tags import BUCKET_TAGS_MAX, OBJECT_TAGS_MAX, read_tag_document, write_tags

_NONE: Final[Mapping[str, str]] = {}


async def get_object_tagging(call: Call) -> Reply:
    """GetObjectTagging."""
    with call.store.state.view() as view:
        version = find_version(call, view)
    return xml_reply(write_tags(version.attributes.tags), headers=_version(call, version.version_id))


async def put_object_tagging(call: Call) -> Reply:
    """PutObjectTagging: all tags of one version at once; its time and ETag stay as they are."""
    tags = read_tag_document(await read_document(call), most=OBJECT_TAGS_MAX)
    return Reply(headers=await _tag(call, tags))


async def delete_object_tagging(call: Call) -> Reply:
    """DeleteObjectTagging, also where there are none."""
    return Reply(204, headers=await _tag(call, _NONE), length=-1)


async def _tag(call: Call, tags: Mapping[str, str]) -> list[tuple[str, str]]:
    with call.store.state.view() as view:
        version = find_version(call, view)
    if tags:
        check_tags(call, version, tags)
    outcome = await call.apply(
        PutObjectTags(
            call.store.write_id(call.now_us),
            call.now_us,
            bucket=call.bucket.name,
            key=call.key,
            tags=dict(tags),
            version_id=version.version_id,
            incarnation=call.bucket.incarnation,
        )
    )
    return _version(call, outcome.version_id)


def _version(call: Call, version_id: str) -> list[tuple[str, str]]:
    return [("x-amz-version-id", version_id)] if call.bucket.versioning else []


def _read(raw: bytes, _: BucketRow) -> bytes:
    return msgspec.json.encode(read_tag_document(raw, most=BUCKET_TAGS_MAX))


def _show(kept: bytes) -> Reply:
    return xml_reply(write_tags(msgspec.json.decode(kept, type=dict[str, str])))


# The tags of a bucket: a JSON object, all of them put at once.
BUCKET_TAGS: Final = SubResource("tagging", _read, _show, absent="NoSuchTagSet", done=no_content)
