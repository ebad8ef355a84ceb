"""What salvage makes of lines and identities: placements, keys in order of time, doubts about the rest."""

from s3d.blobs.identity import Identity
from s3d.blobs.salvaging import Found, Salvage, place, replace
from s3d.metadata.rows import BlobRow
from s3d.metadata.state import State
from shardd.contract.blobs import BlobId, NodeId
from tests.s3d.metadata.machine.story import MD5

SIZE = 30
LENGTH = 10  # of each shard
PLACED = ((1, 0), (2, 0), (3, 0), (4, 0), (5, 0))
NOW_US = 1_000_000_000
BLOB = bytes(16)


def line(node: int, shard: int, generation: int = 0, length: int = LENGTH, *, complete: bool = True):
    return NodeId(node), (BLOB, shard, generation, 1, length, complete)


def found(number: int, key: bytes = b"key", created_us: int = 5, **fields) -> Found:
    identity = Identity("bucket", key, SIZE, MD5, 2, 3, 2, created_us=created_us, **fields)
    return Found(BlobId(number.to_bytes(16, "big")), identity, PLACED)


def salvage(state: State) -> Salvage:
    return Salvage(state, accounts={"bucket": "000000000007"}, owner="000000000001", now_us=NOW_US)


def test_the_newest_whole_shard_of_each_number_counts():
    held = [
        line(1, 0),
        line(2, 1, 3),
        line(3, 1, 7),
        line(4, 2, 9, complete=False),
        line(5, 3, 0, LENGTH - 1),
        line(5, 9),
    ]
    assert place(held, size=SIZE, k=3, m=2) == ((1, 0), (3, 7), (0, 0), (0, 0), (0, 0))


def test_a_row_is_followed_only_where_its_shard_is_not():
    row = BlobRow(SIZE, 2, 3, 2, 65_536, PLACED)
    moved = [line(1, 0, 2), line(4, 1, 1), line(3, 2), line(2, 2, 5)]
    assert replace(row, moved) == ((1, 0), (4, 1), *PLACED[2:])


def test_the_newest_body_is_the_object_and_the_older_is_told(state: State):
    work = salvage(state)
    work.add([found(2, created_us=9, content_type="a/b", metadata={"x": "y"}), found(1, created_us=5)])
    with state.view() as view:
        bucket = view.bucket("bucket")
        assert bucket is not None and bucket.account == "000000000007"
        version = view.find(bucket.incarnation, b"key")
        assert version is not None
        assert version.slices[0].blob == (2).to_bytes(16, "big")
        assert (version.etag, version.attributes.content_type, version.attributes.metadata) == (
            MD5,
            "a/b",
            {"x": "y"},
        )
        assert [row.blob for _, row in view.condemned(1 << 61)] == [(1).to_bytes(16, "big")]
        assert not list(view.condemned(NOW_US))  # it stays for a while
    assert [doubt.what[:5] for doubt in work.report.doubts] == ["a buc", "an ol"]


def test_a_body_older_than_the_object_changes_nothing(state: State):
    salvage(state).add([found(2, created_us=9)])
    work = salvage(state)
    work.add([found(1, created_us=5)])
    assert work.report.objects == 0 and "older" in work.report.doubts[0].what
    with state.view() as view:
        assert view.condemned_count() == 0


def test_parts_become_an_upload_in_progress(state: State):
    work = salvage(state)
    work.add([found(n, upload="u-1", part=n) for n in (2, 1)])
    with state.view() as view:
        assert [part.number for part in view.parts("u-1")] == [1, 2]
    assert work.report.parts == 2 and "completed is not known" in work.report.doubts[-1].what
    again = salvage(state)
    again.add([found(3, upload="u-1", part=3)])
    assert again.report.parts == 1


def test_versions_of_which_no_shard_is_left_are_dropped(state: State):
    work = salvage(state)
    work.add([found(1), found(2, b"other")])
    work.drop({(1).to_bytes(16, "big")})
    with state.view() as view:
        bucket = view.bucket("bucket")
        assert bucket is not None and view.find(bucket.incarnation, b"key") is None
        assert view.find(bucket.incarnation, b"other") is not None
    assert work.report.dropped == 1


def test_moved_shards_are_followed(state: State):
    work = salvage(state)
    work.add([found(1)])
    blob = (1).to_bytes(16, "big")
    with state.view() as view:
        row = view.blob(blob)
    assert row is not None
    work.relocate([(blob, row, ((1, 0), (1, 1), *PLACED[2:]))])
    with state.view() as view:
        moved = view.blob(blob)
        assert moved is not None and moved.shards[1] == (1, 1) and moved.filed
    assert work.report.relocated == 1
