"""Owns the proof of leases and jobs: one holder at a time, and what crashes left on a node is condemned, no more."""

from s3d.metadata import commands
from s3d.metadata.rows import JobRow
from tests.s3d.metadata.machine.story import Story, blob_id, check

MINE, YOURS = b"m" * 16, b"y" * 16
LATER = 1 << 60


def take(story: Story, holder: bytes, until_us: int) -> str:
    return story.tell(commands.TakeLease, job="repair", holder=holder, until_us=until_us).error


def test_a_lease_is_its_holders_until_it_ends_or_is_given_up() -> None:
    story = Story()  # its commands are at 1 s, 2 s, 3 s ...
    assert take(story, MINE, 4_000_000) == ""
    assert take(story, YOURS, 9_000_000) == "OperationAborted"
    assert take(story, MINE, 5_000_000) == "", "its holder renews it"
    assert take(story, YOURS, 9_000_000) == "OperationAborted"
    assert take(story, YOURS, 9_000_000) == "", "it ended at 5 s"
    assert take(story, MINE, 20_000_000) == "OperationAborted"
    assert take(story, YOURS, 0) == "", "given up"
    assert take(story, MINE, 20_000_000) == ""
    lease = story.view.lease("repair")
    assert lease is not None and lease.holder == MINE


def test_a_lease_of_a_clock_that_was_far_ahead_binds_nobody() -> None:
    story = Story()
    assert take(story, MINE, 3_600_000_000) == ""
    assert take(story, YOURS, 9_000_000) == ""


def test_only_the_holder_of_a_job_says_how_far_it_came() -> None:
    story = Story()
    row = JobRow(b"life", 1, 2, b"cursor", 3)
    assert story.tell(commands.SaveJob, job="repair", holder=MINE, row=row).error == "", "nobody holds it"
    assert take(story, YOURS, 30_000_000) == ""
    later = JobRow(b"life", 1, 3, b"further", 9)
    assert story.tell(commands.SaveJob, job="repair", holder=MINE, row=later).error == "OperationAborted"
    assert dict(story.view.jobs()) == {"repair": row}
    assert story.tell(commands.SaveJob, job="repair", holder=YOURS, row=later).error == ""
    assert story.view.job("repair") == later


def test_unnamed_shards_are_condemned_and_named_ones_never() -> None:
    story = Story()
    story.bucket()
    story.put(b"k")
    named, stray = (1, 0, 7), (1, 3, 2)
    assert not story.tell(commands.CondemnUnnamed, blob=blob_id(1), places=(named,)).changed
    assert story.tell(commands.CondemnUnnamed, blob=blob_id(1), places=(named, stray), grace_us=5).changed
    [(_, row)] = story.view.condemned(LATER)
    assert (row.blob, row.places, row.whole) == (blob_id(1), (stray,), False)
    blob = story.view.blob(blob_id(1))
    assert blob is not None and blob.next_generation == 3, "no later shard may be met by the delete"
    check(story.tables)


def test_a_blob_without_a_row_is_condemned_on_one_node_after_the_other() -> None:
    story = Story()
    for node in (1, 2):
        assert story.tell(commands.CondemnUnnamed, blob=blob_id(9), places=((node, 0, 0),)).changed
    assert [row.places for _, row in story.view.condemned(LATER)] == [((1, 0, 0),), ((2, 0, 0),)]
    assert story.view.condemned_blob(blob_id(9)), "no command may name it any more"
    story.bucket()
    assert story.put(b"k", blob=blob_id(9)).error == "OperationAborted"
    check(story.tables)
