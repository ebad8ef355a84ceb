"""Owns the proof of what commands about objects do: to rows, to blobs, and when they are refused."""

import pytest

from s3d.metadata import commands, tables
from s3d.metadata.commands import CommandError, Conditions, check_command
from s3d.metadata.machine import apply
from s3d.metadata.rows import CondemnedRow, RowMissingError
from tests.s3d.metadata.machine.story import ATTRIBUTES, MD5, SHARDS, Story, blob_id, blob_row, check

OTHER_MD5 = "0" * 32


def incarnation(story: Story) -> int:
    bucket = story.view.bucket("b")
    assert bucket is not None
    return bucket.incarnation


def test_a_put_is_live_at_once_with_all_that_it_says(story: Story) -> None:
    outcome = story.put(b"k", size=7)
    assert (outcome.error, outcome.etag, outcome.size, outcome.version_id) == ("", MD5, 7, "")
    row = story.view.current(incarnation(story), b"k")
    version = story.view.find(incarnation(story), b"k")
    assert row is not None and version is not None
    assert (row.size, row.etag, row.modified_us, row.owner) == (7, MD5, outcome.modified_us, ATTRIBUTES.owner)
    assert version.attributes == ATTRIBUTES and version.version_id == "null"
    assert [(offset, part.blob) for offset, part in story.view.slices(version)] == [(0, blob_id(1))]
    blob = story.view.blob(blob_id(1))
    assert blob is not None and (blob.references, blob.filed, blob.shards) == (1, 0, SHARDS)
    check(story.tables)


def test_a_put_takes_the_place_of_the_one_before_whose_blob_is_condemned_after_the_grace(
    story: Story,
) -> None:
    story.put(b"k")
    story.put(b"k", grace_us=60)
    now_us = story.told[-1].time_us
    assert story.view.blob(blob_id(1)) is None and story.view.condemned_blob(blob_id(1))
    assert list(story.view.condemned(now_us + 59)) == []
    [(_, row)] = story.view.condemned(now_us + 60)
    assert row == CondemnedRow(blob_id(1), tuple((node, shard, 0) for shard, (node, _) in enumerate(SHARDS)))
    check(story.tables)


def test_a_modification_time_is_later_than_the_one_it_replaces_though_the_clock_is_not(story: Story) -> None:
    first = story.put(b"k")
    late = commands.PutObject(
        b"w" * 16, 1, bucket="b", key=b"k", blob=blob_id(99), row=blob_row(), etag=MD5, attributes=ATTRIBUTES
    )
    assert apply(story.tables, late).modified_us == first.modified_us + 1


@pytest.mark.parametrize(
    ("exists", "conditions", "error"),
    [
        (False, Conditions(if_none_match="*"), ""),
        (True, Conditions(if_none_match="*"), "PreconditionFailed"),
        (True, Conditions(if_none_match=OTHER_MD5), ""),
        (True, Conditions(if_none_match=MD5), "PreconditionFailed"),
        (False, Conditions(if_match=MD5), "NoSuchKey"),
        (False, Conditions(if_match="*"), "NoSuchKey"),
        (True, Conditions(if_match="*"), ""),
        (True, Conditions(if_match=MD5), ""),
        (True, Conditions(if_match=OTHER_MD5), "PreconditionFailed"),
        (True, Conditions(if_match=MD5, if_none_match="*"), "PreconditionFailed"),
    ],
)
def test_preconditions_are_decided_on_the_live_object(
    story: Story, exists: bool, conditions: Conditions, error: str
) -> None:
    if exists:
        story.put(b"k")
    before = story.view.current(incarnation(story), b"k")
    blob = story.new_blob()
    assert story.put(b"k", conditions=conditions, blob=blob).error == error
    if error:
        assert story.view.current(incarnation(story), b"k") == before
        assert story.condemned() == [blob] and story.view.condemned_blob(blob)
    check(story.tables)


@pytest.mark.parametrize(
    ("conditions", "holds"),
    [
        (Conditions(if_match="*"), True),
        (Conditions(if_match=MD5), True),
        (Conditions(if_match=OTHER_MD5), False),
        (Conditions(if_none_match="*"), False),
        (Conditions(if_none_match=MD5), False),
        (Conditions(if_none_match=OTHER_MD5), True),
        (Conditions(if_size=10), True),
        (Conditions(if_size=0), False),
        (Conditions(if_modified_s=2), True),
        (Conditions(if_modified_s=1), False),
        (Conditions(if_match=MD5, if_size=11), False),
    ],
)
def test_preconditions_of_a_delete(story: Story, conditions: Conditions, holds: bool) -> None:
    assert story.delete(b"missing", conditions=conditions).results[0].error == ""
    story = Story()
    story.bucket()
    story.put(b"k", size=10)
    for version_id in ("", "null") if not holds else ("null",):
        outcome = story.delete(b"k", version_id=version_id, conditions=conditions).results[0]
        assert outcome.error == ("" if holds else "PreconditionFailed")
    assert (story.view.current(incarnation(story), b"k") is None) == holds
    check(story.tables)


def test_a_put_into_no_bucket_or_another_life_of_it_condemns_its_own_blob(story: Story) -> None:
    old = incarnation(story)
    assert story.put(b"k", bucket="none").error == "NoSuchBucket"
    story.tell(commands.DeleteBucket, bucket="b")
    story.bucket()
    assert story.put(b"k", incarnation=old).error == "NoSuchBucket"
    assert story.put(b"k", incarnation=incarnation(story)).error == ""
    assert story.condemned() == [blob_id(1), blob_id(2)]
    check(story.tables)


def test_a_condemned_blob_can_never_be_named_again(story: Story) -> None:
    story.tell(commands.Condemn, blob=blob_id(7), places=((1, 0, 0),))
    assert story.put(b"k", blob=blob_id(7)).error == "OperationAborted"
    assert story.view.current(incarnation(story), b"k") is None
    assert story.condemned() == [blob_id(7)]
    check(story.tables)


def test_a_blob_that_has_a_name_is_not_taken_over_and_not_condemned(story: Story) -> None:
    story.put(b"k", blob=blob_id(7))
    assert story.put(b"j", blob=blob_id(7)).error == "OperationAborted"
    assert story.condemned() == []
    check(story.tables)


def test_deletes_have_an_outcome_a_key_and_release_every_blob(story: Story) -> None:
    story.put(b"a")
    story.put(b"b")
    outcome = story.delete(b"a", b"missing", b"b", b"a")
    assert [result.error for result in outcome.results] == ["", "", "", ""]
    assert [result.changed for result in outcome.results] == [True, False, True, False]
    assert sorted(story.condemned()) == [blob_id(1), blob_id(2)]
    assert story.tables.count(tables.CURRENT) == story.tables.count(tables.VERSIONS) == 0
    assert story.delete(b"a", bucket="none").error == "NoSuchBucket"
    check(story.tables)


def test_the_version_null_is_the_object_of_a_bucket_without_versions(story: Story) -> None:
    story.put(b"k")
    assert not story.delete(b"k", version_id="0000000000000002").results[0].changed
    assert story.delete(b"k", version_id="null").results[0].changed
    assert story.view.find(incarnation(story), b"k") is None
    check(story.tables)


def test_a_copy_shares_the_blob_until_its_last_name_goes(story: Story) -> None:
    source = story.put(b"k")
    copied = story.tell(
        commands.CopyObject,
        bucket="b",
        key=b"copy",
        source_incarnation=incarnation(story),
        source_key=b"k",
        source_sequence=source.index,
        attributes=ATTRIBUTES,
    )
    assert (copied.error, copied.etag, copied.size) == ("", source.etag, source.size)
    check(story.tables)
    story.delete(b"k")
    blob = story.view.blob(blob_id(1))
    assert blob is not None and blob.references == 1 and story.condemned() == []
    story.delete(b"copy")
    assert story.condemned() == [blob_id(1)]
    check(story.tables)


def test_a_copy_onto_itself_keeps_its_blob(story: Story) -> None:
    source = story.put(b"k")
    said = {
        "bucket": "b",
        "key": b"k",
        "source_incarnation": incarnation(story),
        "source_key": b"k",
        "attributes": ATTRIBUTES,
    }
    assert story.tell(commands.CopyObject, source_sequence=source.index, **said).error == ""
    assert story.tell(commands.CopyObject, source_sequence=source.index, **said).error == "OperationAborted"
    assert story.condemned() == []
    check(story.tables)


def test_a_state_that_lost_a_blob_says_so_and_what_else_it_holds_can_still_be_changed(story: Story) -> None:
    story.put(b"k")
    story.tables.delete(tables.BLOBS, blob_id(1))
    with pytest.raises(RowMissingError):
        story.put(b"k")
    assert story.put(b"j").error == ""


@pytest.mark.parametrize(
    "broken",
    [
        {"key": b""},
        {"key": b"k" * 1_025},
        {"key": "text"},
        {"bucket": ""},
        {"bucket": "\ud800"},
        {"blob": b"short"},
        {"etag": "no-md5"},
        {"etag": MD5 + "\n"},
        {"write_id": b"short"},
        {"time_us": -1},
        {"time_us": 1 << 62},
        {"grace_us": -1},
        {"row": blob_row(shards=((1, 0),) * 256)},
        {"row": None},
        {"incarnation": 1 << 70},
    ],
)
def test_a_command_that_breaks_its_contract_is_found_before_it_is_applied(broken: dict[str, object]) -> None:
    whole: dict[str, object] = {
        "write_id": b"w" * 16,
        "time_us": 1,
        "bucket": "b",
        "key": b"k",
        "blob": blob_id(1),
        "row": blob_row(),
        "etag": MD5,
        "attributes": ATTRIBUTES,
    }
    check_command(commands.PutObject(**whole))  # type: ignore[arg-type]
    with pytest.raises(CommandError):
        check_command(commands.PutObject(**(whole | broken)))  # type: ignore[arg-type]
