"""Documents kept with a version: of that version only, and nothing else of it changes."""

import msgspec

from s3d.metadata import commands
from tests.s3d.metadata.machine.story import ATTRIBUTES, Story, check


def test_a_document_is_kept_with_the_live_object_and_can_be_forgotten() -> None:
    story = Story()
    bucket = story.bucket()
    story.put(b"k")
    before, listed = story.view.find(bucket.incarnation, b"k"), story.view.current(bucket.incarnation, b"k")
    assert before is not None
    outcome = story.tell(commands.PutObjectSetting, bucket="b", key=b"k", name="acl", document=b"x")
    assert (outcome.error, outcome.changed) == ("", True)
    kept = story.view.find(bucket.incarnation, b"k")
    attributes = msgspec.structs.replace(ATTRIBUTES, settings={"acl": b"x"})
    assert kept == msgspec.structs.replace(before, attributes=attributes)
    assert story.view.current(bucket.incarnation, b"k") == listed
    outcome = story.tell(commands.PutObjectSetting, bucket="b", key=b"k", name="acl", document=None)
    assert outcome.changed and story.view.find(bucket.incarnation, b"k") == before
    check(story.tables)


def test_a_version_keeps_its_own_document() -> None:
    story = Story()
    bucket = story.bucket()
    story.tell(commands.PutVersioning, bucket="b", status="Enabled")
    old, new = story.put(b"k").version_id, story.put(b"k").version_id
    story.tell(commands.PutObjectSetting, bucket="b", key=b"k", name="acl", document=b"x", version_id=old)
    settings = {}
    for version_id in (old, new):
        version = story.view.find(bucket.incarnation, b"k", version_id)
        assert version is not None
        settings[version_id] = version.attributes.settings
    assert settings == {old: {"acl": b"x"}, new: {}}


def test_a_document_for_one_object_is_not_kept_with_the_next() -> None:
    story = Story()
    bucket = story.bucket()
    story.put(b"k")
    seen = story.view.find(bucket.incarnation, b"k")
    story.put(b"k")
    now = story.view.find(bucket.incarnation, b"k")
    assert seen is not None and now is not None
    named = {"bucket": "b", "key": b"k", "name": "acl", "document": b"x", "version_id": "null"}
    late = story.tell(commands.PutObjectSetting, **named, sequence=seen.sequence)
    assert late.error == "OperationAborted"
    assert story.view.find(bucket.incarnation, b"k") == now
    assert story.tell(commands.PutObjectSetting, **named, sequence=now.sequence).error == ""


def test_what_is_not_there_has_no_documents() -> None:
    story = Story()
    story.bucket()
    story.tell(commands.PutVersioning, bucket="b", status="Enabled")
    story.put(b"k")
    marker = story.delete(b"k").results[0].version_id

    def put(**fields: str) -> str:
        named = {"bucket": "b", "key": b"k", "name": "acl", "document": b"x"} | fields
        return story.tell(commands.PutObjectSetting, **named).error

    assert put() == "NoSuchKey"
    assert put(version_id=marker) == "MethodNotAllowed"
    assert put(version_id="null") == "NoSuchVersion"
    assert put(bucket="other") == "NoSuchBucket"


def test_tags_are_of_one_version_and_change_nothing_else() -> None:
    story = Story()
    bucket = story.bucket()
    story.tell(commands.PutVersioning, bucket="b", status="Enabled")
    old, new = story.put(b"k").version_id, story.put(b"k").version_id
    before = story.view.find(bucket.incarnation, b"k", old)
    assert before is not None
    outcome = story.tell(commands.PutObjectTags, bucket="b", key=b"k", tags={"a": "b"}, version_id=old)
    assert (outcome.error, outcome.version_id, outcome.changed) == ("", old, True)
    attributes = msgspec.structs.replace(before.attributes, tags={"a": "b"})
    assert story.view.find(bucket.incarnation, b"k", old) == msgspec.structs.replace(
        before, attributes=attributes
    )
    live = story.view.find(bucket.incarnation, b"k")
    assert live is not None and (live.version_id, live.attributes.tags) == (new, ATTRIBUTES.tags)
    assert not story.tell(
        commands.PutObjectTags, bucket="b", key=b"k", tags={"a": "b"}, version_id=old
    ).changed
    assert story.tell(commands.PutObjectTags, bucket="b", key=b"x", tags={}).error == "NoSuchKey"
    check(story.tables)
