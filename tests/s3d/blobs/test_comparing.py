"""Owns the proof of the comparison of a node's list with the rows: what is missing, what no row names."""

from s3d.blobs.comparing import END, Line, UnderWay, compare, is_whole, stretch
from s3d.metadata.rows import BlobRow
from shardd.contract.blobs import NodeId
from shardd.contract.messages import Stat

NODE = NodeId(2)


def blob(n: int, begun_ms: int = 5) -> bytes:
    return begun_ms.to_bytes(6, "big") + n.to_bytes(10, "big")


def row(*shards: tuple[int, int], filed: int = 0) -> BlobRow:
    return BlobRow(10, 2, 1, 1, 65_536, shards, filed=filed)


def line(n: int, shard: int, generation: int = 0, *, complete: bool = True, begun_ms: int = 5) -> Line:
    return blob(n, begun_ms), shard, generation, 1, 10, complete


def test_what_a_row_places_on_the_node_must_be_there_whole_and_of_its_generation_or_a_later_one() -> None:
    rows = {blob(n): row((1, 0), (2, 3)) for n in range(1, 7)}
    lines = [line(1, 1, 3), line(2, 1, 4), line(3, 1, 2), line(4, 1, 3, complete=False), line(5, 0, 3)]
    found = compare(NODE, lines, rows, stop=END, under_way=UnderWay(0))
    assert found.missing == ((blob(3), 1), (blob(4), 1), (blob(5), 1), (blob(6), 1))
    assert found.unnamed == {blob(5): ((2, 0, 3),)}, "that shard belongs to node 1"


def test_rot_that_no_row_names_is_unnamed_and_rot_that_one_names_is_missing() -> None:
    rot = [(blob(n), 0, 3, 0, 0, False) for n in (1, 2)]
    found = compare(NODE, rot, {blob(1): row((2, 3), (1, 0))}, stop=END, under_way=UnderWay(6))
    assert (found.missing, found.unnamed) == (((blob(1), 0),), {blob(2): ((2, 0, 3),)})


def test_nothing_is_said_of_what_is_behind_the_stretch() -> None:
    rows = {blob(n): row((2, 0), (1, 0)) for n in (1, 2, 3)}
    found = compare(NODE, [line(3, 1)], rows, stop=blob(2), under_way=UnderWay(0))
    assert found.missing == ((blob(1), 0), (blob(2), 0)) and not found.unnamed


def test_what_no_row_names_is_left_alone_while_its_upload_or_its_repair_may_be_under_way() -> None:
    rows = {blob(1): row((1, 0), (3, 0), filed=2)}
    lines = [line(1, 0, 1), line(8, 0, begun_ms=5), line(9, 1, begun_ms=6)]
    found = compare(NODE, lines, rows, stop=END, under_way=UnderWay(6))
    assert found.unnamed == {blob(8): ((2, 0, 0),)}


def test_what_a_move_may_have_put_is_left_alone_while_somebody_moves_shards() -> None:
    """A row's generations are 3 at most: a move puts 4, or more where deletes stand in its way."""
    rows = {blob(1): row((1, 3), (3, 2))}
    lines = [line(1, 0, 5), line(1, 1, 4), line(1, 2, 3)]
    now = compare(NODE, lines, rows, stop=END, under_way=UnderWay(0, moves=True))
    assert now.unnamed == {blob(1): ((2, 2, 3),)}, "moved away earlier, or never named"
    later = compare(NODE, lines, rows, stop=END, under_way=UnderWay(0))
    assert later.unnamed == {blob(1): ((2, 0, 5), (2, 1, 4), (2, 2, 3))}


def test_two_pages_tell_of_everything_up_to_the_nearer_end() -> None:
    lines = [line(1, 0), line(2, 0), line(2, 1)]
    assert stretch(lines, [blob(1)], lines_max=4, rows_max=2) == END
    assert stretch(lines, [blob(1)], lines_max=3, rows_max=2) == blob(1), "blob 2 may go on"
    assert stretch(lines, [blob(1), blob(2)], lines_max=4, rows_max=2) == blob(2)
    assert stretch([], [blob(7)], lines_max=3, rows_max=1) == blob(7)


def test_a_shard_is_whole_with_all_its_extents_of_one_generation_or_of_two_while_it_is_put_again() -> None:
    assert is_whole(Stat([(0, 3, 10), (1, 4, 10)], True), extents=2, generation=3)
    assert not is_whole(Stat([(0, 2, 10), (1, 3, 10)], True), extents=2, generation=3)
    assert not is_whole(Stat([(1, 3, 10)], True), extents=2, generation=3)
    assert not is_whole(Stat([(0, 3, 10), (1, 3, 10)], False), extents=2, generation=3)
