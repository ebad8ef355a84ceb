"""Owns the proof of what commands about buckets do."""

import pytest

from s3d.metadata import commands, tables
from s3d.metadata.commands import ConfiguredBucket
from s3d.metadata.listing import list_buckets
from s3d.metadata.machine import buckets
from tests.s3d.metadata.machine.story import ACCOUNT, Story, blob_id, check

OTHER = "222222222222"


@pytest.fixture
def story() -> Story:
    return Story()


def test_a_bucket_is_its_owners_and_has_one_life_at_a_time(story: Story) -> None:
    made = story.tell(commands.CreateBucket, bucket="b", account=ACCOUNT, region="eu")
    row = story.view.bucket("b")
    assert row is not None
    assert (row.incarnation, row.account, row.region, row.created_us) == (
        made.incarnation,
        ACCOUNT,
        "eu",
        1_000_000,
    )
    assert story.tell(commands.CreateBucket, bucket="b", account=ACCOUNT).error == "BucketAlreadyOwnedByYou"
    assert story.tell(commands.CreateBucket, bucket="b", account=OTHER).error == "BucketAlreadyExists"
    assert story.view.bucket("b") == row
    assert story.tell(commands.DeleteBucket, bucket="b").error == ""
    assert story.view.bucket("b") is None and list_buckets(story.view, ACCOUNT) == ([], False)
    again = story.tell(commands.CreateBucket, bucket="b", account=OTHER)
    assert again.incarnation > made.incarnation
    check(story.tables)


def test_only_an_empty_bucket_is_deleted_and_its_uploads_are_aborted(story: Story) -> None:
    assert story.tell(commands.DeleteBucket, bucket="b").error == "NoSuchBucket"
    first = story.bucket()
    story.bucket("c")
    story.put(b"k", bucket="c")
    story.put(b"k")
    assert story.tell(commands.DeleteBucket, bucket="b").error == "BucketNotEmpty"
    story.delete(b"k")
    story.upload()
    story.part("u", 1)
    assert (
        story.tell(commands.DeleteBucket, bucket="b", incarnation=first.incarnation + 1).error
        == "NoSuchBucket"
    )
    assert story.tell(commands.DeleteBucket, bucket="b", incarnation=first.incarnation).error == ""
    assert sorted(story.condemned()) == [blob_id(2), blob_id(3)]
    assert story.tables.count(tables.UPLOADS) == story.tables.count(tables.PARTS) == 0
    check(story.tables)


def test_a_bucket_with_more_uploads_than_one_command_can_abort_is_not_empty(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "ROWS_ABORTED_MAX", 4)
    story.bucket()
    for upload in ("u", "v"):
        story.upload(upload)
        story.part(upload, 1)
    story.part("v", 2)
    assert story.tell(commands.DeleteBucket, bucket="b").error == "BucketNotEmpty"
    assert story.tables.count(tables.UPLOADS) == 2
    story.tell(commands.AbortUpload, bucket="b", key=b"k", upload="u")
    assert story.tell(commands.DeleteBucket, bucket="b").error == ""
    check(story.tables)


def test_buckets_of_the_file_exist_and_stay_until_they_no_longer_stand_in_it(story: Story) -> None:
    old = story.bucket("old")
    entries = (
        ConfiguredBucket("old", OTHER, "eu", True, "standard", True),
        ConfiguredBucket("one", OTHER),
        ConfiguredBucket("two", OTHER, public=True),
    )
    assert story.tell(commands.ImportBuckets, buckets=entries).changed
    assert not story.tell(commands.ImportBuckets, buckets=entries).changed
    rows = {name: row for name in ("old", "one", "two") if (row := story.view.bucket(name))}
    assert len({row.incarnation for row in rows.values()}) == 3
    assert rows["old"].incarnation == old.incarnation and rows["old"].account == ACCOUNT
    assert (rows["old"].region, rows["old"].public, rows["old"].encryption) == ("eu", True, True)
    assert story.tell(commands.DeleteBucket, bucket="one").error == "AccessDenied"
    assert story.tell(commands.ImportBuckets, buckets=entries[1:2]).changed
    assert story.tell(commands.DeleteBucket, bucket="two").error == ""
    assert story.tell(commands.DeleteBucket, bucket="one").error == "AccessDenied"
    check(story.tables)


def test_settings_are_kept_by_name(story: Story) -> None:
    story.bucket()
    assert story.tell(commands.PutBucketSetting, bucket="b", name="cors", document=b"c").changed
    assert story.tell(commands.PutBucketSetting, bucket="b", name="acl", document=b"a").changed
    row = story.view.bucket("b")
    assert row is not None and row.settings == {"acl": b"a", "cors": b"c"}
    assert not story.tell(commands.PutBucketSetting, bucket="b", name="policy", document=None).changed
    assert story.tell(commands.PutBucketSetting, bucket="b", name="cors", document=None).changed
    row = story.view.bucket("b")
    assert row is not None and row.settings == {"acl": b"a"}
    gone = story.tell(commands.PutBucketSetting, bucket="x", name="cors", document=b"")
    assert gone.error == "NoSuchBucket"
