"""When a pass over all blobs is due after the members changed, and when it is gone on with."""

from msgspec.structs import replace

from s3d.blobs.membership import Member
from s3d.blobs.rebalance import AGAIN_US, DRAINED_AGAIN_US, due
from s3d.metadata.rows import ACTIVE, DRAINING, JobRow
from shardd.contract.blobs import NodeId

NOW_US = 1_000_000_000


def member(node: int, *, state: str = ACTIVE, joined_us: int = 0) -> Member:
    return Member(NodeId(node), "host", 9_000 + node, 8_000 + node, "", state, joined_us)


FIRST = tuple(map(member, range(1, 6)))
JOINED = (*FIRST, member(6, joined_us=5))
DRAINED = (*FIRST, member(6, state=DRAINING, joined_us=5))


def begun(members: tuple[Member, ...]) -> JobRow:
    job = due(None, members, NOW_US)
    assert job is not None
    return job


def test_members_that_never_changed_need_no_pass() -> None:
    assert due(None, FIRST, NOW_US) is None
    assert due(None, JOINED, NOW_US) == begun(JOINED)


def test_each_change_is_a_new_pass_from_the_first_blob_on() -> None:
    job = replace(begun(JOINED), cursor=b"c", done=7)
    assert due(job, JOINED, NOW_US + 1) == job, "it is gone on with where it was"
    for members in (DRAINED, FIRST, (*JOINED, member(7, joined_us=9))):
        fresh = due(job, members, NOW_US + 1)
        assert fresh is not None and (fresh.cursor, fresh.done) == (b"", 0)
        assert due(replace(job, finished=True), members, NOW_US + 1) == fresh


def test_a_pass_that_left_nothing_was_the_last_and_one_that_did_is_followed_by_another() -> None:
    job = begun(JOINED)
    assert due(replace(job, finished=True), JOINED, NOW_US + DRAINED_AGAIN_US) is None
    assert due(job, JOINED, NOW_US + AGAIN_US - 1) is None
    assert due(job, JOINED, NOW_US + AGAIN_US) == job


def test_while_a_node_is_drained_late_uploads_are_looked_for() -> None:
    job = replace(begun(DRAINED), finished=True)
    assert due(job, DRAINED, NOW_US + DRAINED_AGAIN_US - 1) is None
    assert due(job, DRAINED, NOW_US + DRAINED_AGAIN_US) is not None


def test_what_an_operator_stopped_is_not_done_whatever_changes() -> None:
    job = replace(begun(JOINED), cursor=b"c", stopped=True)
    assert due(job, JOINED, NOW_US + AGAIN_US) is None
    assert due(job, DRAINED, NOW_US + AGAIN_US) is None
    assert due(replace(job, stopped=False), JOINED, NOW_US) is not None
