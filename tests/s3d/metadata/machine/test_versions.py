"""Owns the proof of versions: which is live, what a new one replaces, and what deleting one brings back."""

import msgspec
import pytest

from s3d.metadata import commands, tables
from s3d.metadata.commands import Conditions
from s3d.metadata.outcomes import Outcome
from s3d.metadata.rows import UNKNOWN, VersionRow, decode_row, encode_row
from s3d.metadata.view import View
from tests.s3d.metadata.machine.story import ATTRIBUTES, Story, blob_id, check
from tests.s3d.metadata.test_listing import CountingReads


def turn(story: Story, status: str) -> None:
    assert story.tell(commands.PutVersioning, bucket="b", status=status).error == ""


def stack(story: Story, key: bytes = b"k") -> list[tuple[str, bool]]:
    """(version id, delete marker) of all versions of a key, newest first."""
    check(story.tables)
    return [(row.version_id, row.delete_marker) for row in story.view.versions(life(story), key)]


def life(story: Story) -> int:
    bucket = story.view.bucket("b")
    assert bucket is not None
    return bucket.incarnation


def live(story: Story) -> str | None:
    row = story.view.current(life(story), b"k")
    return row.version_id if row else None


def remove(story: Story, version_id: str = "") -> Outcome:
    return story.delete(b"k", version_id=version_id).results[0]


def test_enabled_keeps_every_version_and_the_one_from_before_as_null(story: Story) -> None:
    assert story.put(b"k").version_id == ""
    turn(story, "Enabled")
    first, second = story.put(b"k"), story.put(b"k")
    assert stack(story) == [(second.version_id, False), (first.version_id, False), ("null", False)]
    assert live(story) == second.version_id and story.condemned() == []
    for version_id, blob in (("null", 1), (first.version_id, 2), (second.version_id, 3)):
        row = story.view.find(life(story), b"k", version_id)
        assert row is not None and row.version_id == version_id and row.slices[0].blob == blob_id(blob)


def test_a_delete_marker_hides_the_key_until_it_is_deleted(story: Story) -> None:
    turn(story, "Enabled")
    put = story.put(b"k")
    marked = remove(story)
    assert (marked.delete_marker, live(story)) == (True, None)
    assert stack(story) == [(marked.version_id, True), (put.version_id, False)]
    assert story.put(b"k", conditions=Conditions(if_match="*")).error == "NoSuchKey"
    assert story.tell(commands.DeleteBucket, bucket="b").error == "BucketNotEmpty"
    gone = remove(story, marked.version_id)
    assert (gone.delete_marker, gone.version_id, live(story)) == (True, marked.version_id, put.version_id)
    assert stack(story) == [(put.version_id, False)]


def test_a_delete_is_conditional_on_the_newest_version_though_it_is_a_marker(story: Story) -> None:
    turn(story, "Enabled")
    assert not story.delete(b"k", conditions=Conditions(if_match="*")).results[0].changed
    put = story.put(b"k")
    assert story.delete(b"k", conditions=Conditions(if_match=put.etag)).results[0].delete_marker
    assert (
        story.delete(b"k", conditions=Conditions(if_match=put.etag)).results[0].error == "PreconditionFailed"
    )
    assert story.delete(b"k", conditions=Conditions(if_match="*")).results[0].delete_marker
    wrong = story.delete(b"k", version_id=put.version_id, conditions=Conditions(if_size=11)).results[0]
    assert wrong.error == "PreconditionFailed"
    assert story.delete(b"k", version_id=put.version_id, conditions=Conditions(if_size=10)).results[0].changed
    assert [marker for _, marker in stack(story)] == [True, True]


def test_deleting_the_live_version_brings_back_the_one_before(story: Story) -> None:
    turn(story, "Enabled")
    first, second = story.put(b"k"), story.put(b"k")
    remove(story, second.version_id)
    assert live(story) == first.version_id and story.condemned() == [blob_id(2)]
    remove(story, first.version_id)
    assert live(story) is None and stack(story) == [] and story.tables.count(tables.BLOBS) == 0


def test_deleting_an_old_version_leaves_the_live_one(story: Story) -> None:
    turn(story, "Enabled")
    first, second = story.put(b"k"), story.put(b"k")
    remove(story, first.version_id)
    assert live(story) == second.version_id and story.condemned() == [blob_id(1)]


def test_suspended_replaces_null_and_nothing_else(story: Story) -> None:
    story.put(b"k")
    turn(story, "Enabled")
    kept = story.put(b"k")
    turn(story, "Suspended")
    assert story.put(b"k").version_id == "null"
    assert stack(story) == [("null", False), (kept.version_id, False)]
    assert story.condemned() == [blob_id(1)]
    marked = remove(story)
    assert (marked.delete_marker, marked.version_id, live(story)) == (True, "null", None)
    assert stack(story) == [("null", True), (kept.version_id, False)]
    remove(story, "null")
    assert live(story) == kept.version_id


def test_a_copy_of_an_old_version_makes_it_live_again(story: Story) -> None:
    turn(story, "Enabled")
    first = story.put(b"k")
    story.put(b"k")
    copied = story.tell(
        commands.CopyObject,
        bucket="b",
        key=b"k",
        source_incarnation=life(story),
        source_key=b"k",
        source_sequence=first.index,
        attributes=ATTRIBUTES,
    )
    row = story.view.find(life(story), b"k")
    assert row is not None and (row.version_id, row.slices[0].blob) == (copied.version_id, blob_id(1))
    assert len(stack(story)) == 3 and story.condemned() == []


def test_the_id_of_another_kind_of_version_finds_nothing(story: Story) -> None:
    put = story.put(b"k")
    assert story.view.find(life(story), b"k", f"{put.index:016x}") is None
    assert story.view.find(life(story), b"k", "no-such-id") is None


def test_a_completed_upload_is_a_version_too(story: Story) -> None:
    turn(story, "Enabled")
    put = story.put(b"k")
    story.upload()
    story.part("u", 1)
    done = story.complete("u", 1)
    assert stack(story) == [(done.version_id, False), (put.version_id, False)]
    assert story.complete("u", 1).version_id == done.version_id


@pytest.mark.parametrize("null", [True, False])
@pytest.mark.parametrize("kept", [True, False])
def test_the_version_null_is_found_under_many_others_without_a_look_at_them(
    story: Story, null: bool, kept: bool
) -> None:
    if null:
        story.put(b"k")
    turn(story, "Enabled")
    for _ in range(100):
        story.put(b"k")
    if not kept:  # rows from before it was kept say nothing: they are looked through
        forget_null(story)
    counted = CountingReads(story.tables)
    found = View(counted).find(life(story), b"k", "null")
    assert (found is not None) is null and (found is None or found.slices[0].blob == blob_id(1))
    assert (counted.rows == 1) is kept
    story.put(b"k")
    assert stack(story)[0][0] != "null"  # and the invariants hold
    turn(story, "Suspended")
    story.put(b"k")
    assert [version_id for version_id, _ in stack(story)].count("null") == 1


def forget_null(story: Story) -> None:
    for at, raw in list(story.tables.scan(tables.VERSIONS, b"", b"")):
        row = decode_row(VersionRow, at, raw)
        story.tables.put(tables.VERSIONS, at, encode_row(at, msgspec.structs.replace(row, null=UNKNOWN)))
