"""Owns the proof of what commands about multipart uploads do, part by part and as a whole."""

import hashlib

import pytest

from s3d.metadata import commands, tables
from s3d.metadata.commands import Conditions, NamedPart
from s3d.metadata.rows import SLICES_INLINE_MAX, SLICES_PER_PAGE, VersionRow
from tests.s3d.metadata.machine.story import ATTRIBUTES, MD5, MIB, Story, blob_id, blob_row, check

OTHER_MD5 = "0" * 32


def live(story: Story, key: bytes = b"k") -> VersionRow | None:
    bucket = story.view.bucket("b")
    assert bucket is not None
    return story.view.find(bucket.incarnation, key)


def etag_of(parts: int) -> str:
    return f"{hashlib.md5(bytes.fromhex(MD5) * parts).hexdigest()}-{parts}"


def test_parts_become_one_object_and_those_not_named_are_condemned(story: Story) -> None:
    story.upload()
    for number in (3, 1, 2, 9):
        story.part("u", number, size=5 * MIB + number)
    outcome = story.complete("u", 1, 3, checksums={"CRC32": "AAAAAA=="})
    assert (outcome.error, outcome.etag, outcome.size) == ("", etag_of(2), 10 * MIB + 4)
    version = live(story)
    assert version is not None
    assert (version.parts, version.upload, version.attributes.checksums) == (2, "u", {"CRC32": "AAAAAA=="})
    assert [(offset, part.number, part.blob) for offset, part in story.view.slices(version)] == [
        (0, 1, blob_id(2)),
        (5 * MIB + 1, 3, blob_id(1)),
    ]
    assert sorted(story.condemned()) == [blob_id(3), blob_id(4)]
    assert story.tables.count(tables.UPLOADS) == story.tables.count(tables.PARTS) == 0
    check(story.tables)


def test_a_part_put_again_takes_the_place_of_the_one_before(story: Story) -> None:
    story.upload()
    story.part("u", 1)
    story.part("u", 1, size=6 * MIB)
    part = story.view.part("u", 1)
    assert part is not None and (part.blob, part.size) == (blob_id(2), 6 * MIB)
    assert story.condemned() == [blob_id(1)]
    check(story.tables)


@pytest.mark.parametrize(
    ("named", "error", "detail"),
    [
        ((), "MalformedXML", "between 1 and 10,000 parts"),
        ((NamedPart(2, MD5), NamedPart(1, MD5)), "InvalidPartOrder", ""),
        ((NamedPart(1, MD5), NamedPart(1, MD5)), "InvalidPartOrder", ""),
        ((NamedPart(1, MD5), NamedPart(7, MD5)), "InvalidPart", "7"),
        ((NamedPart(1, OTHER_MD5),), "InvalidPart", "1"),
        ((NamedPart(1, "zz"),), "InvalidPart", "1"),
        ((NamedPart(1, MD5, "AAAAAA=="),), "InvalidPart", "1"),
        ((NamedPart(2, MD5), NamedPart(3, MD5)), "EntityTooSmall", "2"),
        ((NamedPart(1, MD5), NamedPart(2, MD5)), "", ""),
    ],
)
def test_the_parts_that_are_named_are_checked(
    story: Story, named: tuple[NamedPart, ...], error: str, detail: str
) -> None:
    story.upload()
    for number, size in ((1, 5 * MIB), (2, 5 * MIB - 1), (3, 1)):
        story.part("u", number, size=size)
    outcome = story.complete("u", parts=named)
    assert (outcome.error, outcome.detail) == (error, detail)
    assert (live(story) is None) == bool(error)
    assert story.tables.count(tables.UPLOADS) == (1 if error else 0)
    check(story.tables)


def test_an_upload_that_is_not_there(story: Story) -> None:
    story.upload("u", key=b"k")
    assert story.part("v", 1).error == "NoSuchUpload"
    assert story.part("u", 1, key=b"other").error == "NoSuchUpload"
    assert story.complete("v", 1).error == "NoSuchUpload"
    assert story.tell(commands.AbortUpload, bucket="b", key=b"k", upload="v").error == "NoSuchUpload"
    assert sorted(story.condemned()) == [blob_id(1), blob_id(2)]
    check(story.tables)


def test_an_abort_condemns_at_once_and_leaves_readers_of_a_copied_part_their_grace(story: Story) -> None:
    story.upload()
    story.part("u", 1)
    sequence = story.put(b"source").index
    bucket = story.view.bucket("b")
    assert bucket is not None
    source = {"source_incarnation": bucket.incarnation, "source_key": b"source", "source_sequence": sequence}
    said = {"bucket": "b", "key": b"k", "upload": "u", "number": 2}
    assert story.tell(commands.CopyPart, **said, **source).error == ""
    story.delete(b"source")
    assert story.tell(commands.AbortUpload, bucket="b", key=b"k", upload="u", grace_us=60).error == ""
    now_us = story.told[-1].time_us
    assert sorted(story.condemned()) == [blob_id(1), blob_id(2)]
    assert [row.blob for _, row in story.view.condemned(now_us + 59)] == []
    assert [row.blob for _, row in story.view.condemned(now_us + 60)] == [blob_id(1), blob_id(2)]
    assert story.part("u", 3).error == "NoSuchUpload"
    check(story.tables)


def test_completing_again_succeeds_as_long_as_that_object_lives(story: Story) -> None:
    story.upload()
    story.part("u", 1)
    first = story.complete("u", 1)
    again = story.complete("u", 1)
    assert (again.error, again.etag, again.modified_us) == ("", first.etag, first.modified_us)
    assert story.complete("u", 2).error == "NoSuchUpload"
    story.put(b"k")
    assert story.complete("u", 1).error == "NoSuchUpload"
    check(story.tables)


@pytest.mark.parametrize("exists", [True, False])
def test_preconditions_of_a_completion_leave_the_upload_as_it_is(story: Story, exists: bool) -> None:
    if exists:
        story.put(b"k")
    story.upload()
    story.part("u", 1)
    wanted = Conditions(if_none_match="*") if exists else Conditions(if_match="*")
    assert story.complete("u", 1, conditions=wanted).error == (
        "PreconditionFailed" if exists else "NoSuchKey"
    )
    assert story.complete("u", 1).error == ""
    check(story.tables)


@pytest.mark.parametrize("count", [SLICES_INLINE_MAX, SLICES_INLINE_MAX + 1, SLICES_PER_PAGE + 1, 10_000])
def test_many_parts_are_in_pages_and_a_range_reads_only_its_own(story: Story, count: int) -> None:
    story.upload()
    for number in range(1, count + 1):
        story.part("u", number)
    story.complete("u", *range(1, count + 1))
    version = live(story)
    assert version is not None and version.size == count * 5 * MIB
    assert bool(version.pages) == (count > SLICES_INLINE_MAX)
    assert story.tables.count(tables.MANIFESTS) == len(version.pages)
    for first, last in ((0, 0), (count - 1, count - 1), (count // 2, min(count - 1, count // 2 + 2))):
        found = list(story.view.slices(version, first * 5 * MIB + 7, last * 5 * MIB + 8))
        assert [(offset, part.number) for offset, part in found] == [
            (n * 5 * MIB, n + 1) for n in range(first, last + 1)
        ]
        whole = story.view.slices(version, first * 5 * MIB, (last + 1) * 5 * MIB)
        assert list(whole) == found
        assert story.view.part_of(version, first + 1) == (first * 5 * MIB, found[0][1])
    assert story.view.part_of(version, count + 1) is None
    story.delete(b"k")
    assert story.tables.count(tables.MANIFESTS) == story.tables.count(tables.BLOBS) == 0
    assert len(story.condemned()) == count
    check(story.tables)


def test_a_part_copied_from_an_object_of_one_blob_shares_it(story: Story) -> None:
    source = story.put(b"source", size=5 * MIB)
    bucket = story.view.bucket("b")
    assert bucket is not None
    said = {
        "bucket": "b",
        "key": b"k",
        "upload": "u",
        "source_incarnation": bucket.incarnation,
        "source_key": b"source",
        "source_sequence": source.index,
    }
    assert story.tell(commands.CopyPart, number=1, **said).error == "NoSuchUpload"
    story.upload()
    for number in (1, 2, 2):
        assert story.tell(commands.CopyPart, number=number, **said).error == ""
    blob = story.view.blob(blob_id(1))
    assert blob is not None and blob.references == 3
    assert story.complete("u", 1, 2).etag == etag_of(2)
    check(story.tables)
    story.delete(b"source", b"k")
    assert story.condemned() == [blob_id(1)]
    check(story.tables)


def test_a_degraded_part_is_filed_until_it_goes(story: Story) -> None:
    story.upload()
    story.part("u", 1, row=blob_row(5 * MIB, ((1, 0), (0, 0), (3, 0), (4, 0), (5, 0))), degraded=True)
    assert [(key[0], blob) for key, blob, _ in story.view.degraded()] == [(4, blob_id(1))]
    story.part("u", 1)
    assert story.view.degraded_count() == 0
    check(story.tables)


def test_attributes_are_those_that_the_upload_began_with(story: Story) -> None:
    story.upload()
    story.part("u", 1)
    story.complete("u", 1)
    version = live(story)
    assert version is not None and version.attributes == ATTRIBUTES
