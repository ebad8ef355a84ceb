"""Owns the proof of what commands about blobs and nodes do: nothing is condemned that a row names."""

import pytest

from s3d.metadata import commands
from s3d.metadata.commands import SweptItem
from s3d.metadata.rows import DegradedRow
from tests.s3d.metadata.machine.story import SHARDS, Story, blob_id, blob_row, check

SHORT = ((1, 0), (2, 0), (0, 0), (4, 0), (0, 0))
LATER = 1 << 60


def degraded(story: Story) -> list[tuple[int, bytes, DegradedRow]]:
    return [(key[0], blob, row) for key, blob, row in story.view.degraded()]


def test_condemn_takes_only_blobs_that_no_row_names_and_those_once(story: Story) -> None:
    story.put(b"k")
    places = ((1, 0, 0), (2, 1, 0))
    assert story.tell(commands.Condemn, blob=blob_id(1), places=places).error == "OperationAborted"
    assert story.tell(commands.Condemn, blob=blob_id(9), places=places, grace_us=5).error == ""
    assert story.tell(commands.Condemn, blob=blob_id(9), places=places).error == "OperationAborted"
    [(_, row)] = story.view.condemned(LATER)
    assert (row.blob, row.places, row.whole) == (blob_id(9), places, True)
    check(story.tables)


def test_a_short_blob_is_filed_by_its_survivors_fewest_first(story: Story) -> None:
    story.put(b"a", row=blob_row(shards=((1, 0), (0, 0), (3, 0), (4, 0), (5, 0))), degraded=True)
    story.put(b"b", row=blob_row(shards=SHORT), degraded=True)
    story.put(b"c")
    assert [(survivors, blob) for survivors, blob, _ in degraded(story)] == [(3, blob_id(2)), (4, blob_id(1))]
    assert story.tell(commands.MarkDegraded, blob=blob_id(3), suspects=(0, 1, 2, 9)).error == ""
    assert degraded(story)[0][:2] == (2, blob_id(3))
    assert story.tell(commands.MarkDegraded, blob=blob_id(3), suspects=(4,)).error == ""
    assert [row.suspects for _, blob, row in degraded(story) if blob == blob_id(3)] == [(0, 1, 2, 4, 9)], (
        "complaints of two gateways are one row"
    )
    assert degraded(story)[0][:2] == (1, blob_id(3))
    assert story.tell(commands.MarkDegraded, blob=blob_id(8)).error == "OperationAborted"
    check(story.tables)
    story.delete(b"a", b"b", b"c")
    assert degraded(story) == []
    check(story.tables)


def test_relocate_swaps_the_placement_and_condemns_what_is_left(story: Story) -> None:
    story.put(b"k", row=blob_row(shards=SHORT), degraded=True)
    moved = ((1, 0), (3, 1), (3, 1), (4, 0), (5, 1))
    outcome = story.tell(
        commands.Relocate, blob=blob_id(1), expected=SHORT, shards=moved, degraded=False, grace_us=5
    )
    assert outcome.error == "" and degraded(story) == []
    blob = story.view.blob(blob_id(1))
    assert blob is not None and (blob.shards, blob.references) == (moved, 1)
    [(_, row)] = story.view.condemned(LATER)
    assert (row.places, row.whole) == (((2, 1, 0),), False)
    assert not story.view.condemned_blob(blob_id(1))
    check(story.tables)


def test_relocate_may_leave_a_blob_degraded(story: Story) -> None:
    story.put(b"k", row=blob_row(shards=SHORT), degraded=True)
    moved = ((1, 0), (2, 0), (3, 1), (4, 0), (0, 0))
    story.tell(commands.Relocate, blob=blob_id(1), expected=SHORT, shards=moved, degraded=True)
    assert [(survivors, blob) for survivors, blob, _ in degraded(story)] == [(4, blob_id(1))]
    check(story.tables)


@pytest.mark.parametrize("complete", [True, False])
def test_relocate_forgets_complaints_of_the_shards_that_moved_only(story: Story, complete: bool) -> None:
    story.put(b"k")
    story.tell(commands.MarkDegraded, blob=blob_id(1), suspects=(1, 3, 9))
    moved = (SHARDS[0], (2, 1), *SHARDS[2:])
    relocate = {"blob": blob_id(1), "expected": SHARDS, "shards": moved, "degraded": not complete}
    assert story.tell(commands.Relocate, **relocate).error == ""
    assert [(survivors, row.suspects) for survivors, _, row in degraded(story)] == [(4, (3,))]
    check(story.tables)
    whole = (*moved[:3], (4, 2), moved[4])
    story.tell(commands.Relocate, blob=blob_id(1), expected=moved, shards=whole, degraded=False)
    assert degraded(story) == []
    check(story.tables)


def test_a_relocate_from_another_placement_condemns_what_it_had_made(story: Story) -> None:
    story.put(b"k")
    wrong = ((9, 0), *SHARDS[1:])
    moved = ((7, 1), *SHARDS[1:])
    assert (
        story.tell(commands.Relocate, blob=blob_id(1), expected=wrong, shards=moved).error
        == "OperationAborted"
    )
    [(_, row)] = story.view.condemned(LATER)
    assert (row.blob, row.places, row.whole) == (blob_id(1), ((7, 0, 1),), False)
    check(story.tables)


def test_a_refused_relocate_condemns_no_place_that_the_blob_is_in(story: Story) -> None:
    story.put(b"k")
    wrong = ((9, 0), *SHARDS[1:])
    for moved in (SHARDS, ((1, 3), *SHARDS[1:])):  # the very place; the same node under another generation
        outcome = story.tell(commands.Relocate, blob=blob_id(1), expected=wrong, shards=moved)
        assert outcome.error == "OperationAborted"
    assert story.view.condemned_count() == 0
    check(story.tables)


def test_a_generation_that_is_condemned_somewhere_is_never_placed_again(story: Story) -> None:
    story.put(b"k")
    wrong = ((9, 0), *SHARDS[1:])
    late = ((7, 4), *SHARDS[1:])
    story.tell(commands.Relocate, blob=blob_id(1), expected=wrong, shards=late)
    blob = story.view.blob(blob_id(1))
    assert blob is not None and (blob.spent, blob.next_generation) == (4, 5)
    assert (
        story.tell(commands.Relocate, blob=blob_id(1), expected=SHARDS, shards=late).error
        == "OperationAborted"
    )
    later = ((7, 5), *SHARDS[1:])
    assert story.tell(commands.Relocate, blob=blob_id(1), expected=SHARDS, shards=later).error == ""
    check(story.tables)


def test_a_relocate_of_a_blob_that_went_condemns_what_it_had_made(story: Story) -> None:
    story.put(b"k")
    story.delete(b"k")
    moved = ((7, 1), *SHARDS[1:])
    assert (
        story.tell(commands.Relocate, blob=blob_id(1), expected=SHARDS, shards=moved).error
        == "OperationAborted"
    )
    assert ((7, 0, 1),) in [row.places for _, row in story.view.condemned(LATER)]
    check(story.tables)


def test_swept_shards_are_forgotten_and_the_rest_is_tried_again_later(story: Story) -> None:
    story.put(b"k")
    story.put(b"j")
    story.delete(b"k", b"j")
    (first, one), (second, _) = story.view.condemned(LATER)
    items = (SweptItem(first, one.places[:2], LATER - 1), SweptItem(second), SweptItem(b"unknown"))
    assert story.tell(commands.Swept, items=items).changed
    assert list(story.view.condemned(LATER - 2)) == []
    [(key, left)] = story.view.condemned(LATER)
    assert (left.blob, left.places, left.whole) == (one.blob, one.places[:2], True)
    assert story.view.condemned_blob(one.blob)
    check(story.tables)
    story.tell(commands.Swept, items=(SweptItem(key),))
    assert not story.view.condemned_blob(one.blob) and story.view.condemned_count() == 0
    assert not story.tell(commands.Swept, items=(SweptItem(key),)).changed
    check(story.tables)


def test_a_blob_is_condemned_until_all_of_it_is_swept_not_what_was_moved_before(story: Story) -> None:
    story.put(b"k")
    story.tell(commands.Relocate, blob=blob_id(1), expected=SHARDS, shards=((7, 1), *SHARDS[1:]))
    story.delete(b"k")
    moved, whole = (key for key, _ in story.view.condemned(LATER))
    story.tell(commands.Swept, items=(SweptItem(moved),))
    assert story.view.condemned_blob(blob_id(1))
    story.tell(commands.Swept, items=(SweptItem(whole),))
    assert not story.view.condemned_blob(blob_id(1))
    check(story.tables)


def test_sweeping_moved_shards_leaves_the_blob_as_it_is(story: Story) -> None:
    story.put(b"k")
    story.tell(commands.Relocate, blob=blob_id(1), expected=SHARDS, shards=((7, 1), *SHARDS[1:]))
    [(key, _)] = story.view.condemned(LATER)
    story.tell(commands.Swept, items=(SweptItem(key),))
    assert story.view.blob(blob_id(1)) is not None
    check(story.tables)


def test_a_node_in_a_new_life_is_told_from_one_that_is_known(story: Story) -> None:
    assert story.tell(commands.RegisterNode, node=1, incarnation=b"a").changed
    assert not story.tell(commands.RegisterNode, node=1, incarnation=b"a").changed
    assert story.tell(commands.RegisterNode, node=1, incarnation=b"b").changed
    row = story.view.node(1)
    assert row is not None and (row.node, row.incarnation) == (1, b"b")
    assert story.view.node(2) is None


def test_shards_that_were_given_up_are_condemned_whatever_becomes_of_the_put(story: Story) -> None:
    strays = ((3, 2, 1), (1, 0, 0))  # the second is where the row has that very shard
    stored = story.put(b"k", row=blob_row(shards=SHORT), degraded=True, strays=strays)
    assert stored.error == ""
    blob = story.view.blob(blob_id(1))
    assert blob is not None and blob.next_generation == 2, "a delete of generation 1 may still be on its way"
    assert [(row.blob, row.places, row.whole) for _, row in story.view.condemned(LATER)] == [
        (blob_id(1), ((3, 2, 1),), False)
    ]
    check(story.tables)
    only_new = commands.Conditions(if_none_match="*")
    refused = story.put(b"k", row=blob_row(shards=SHORT), conditions=only_new, strays=strays)
    assert refused.error == "PreconditionFailed"
    assert ((1, 0, 0), (2, 1, 0), (3, 2, 1), (4, 3, 0)) in [
        row.places for _, row in story.view.condemned(LATER) if row.whole
    ]
    check(story.tables)
