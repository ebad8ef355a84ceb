"""Proves that uploads end when they are too old, by the process that leads, and that no other upload does."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from s3d.blobs.expiry import PAGE_ROWS, expired
from s3d.metadata import tables
from s3d.metadata.commands import CreateBucket, CreateUpload, PutPart
from s3d.metadata.rows import Attributes, BlobRow, UploadRow, encode_row
from shardd.contract.blobs import new_blob_id
from shardd.contract.cluster import GatewayConfig
from tests.s3d.blobs.cluster import Cluster, make

LIFE_US = int(GatewayConfig().upload_life_s * 1e6)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with make(tmp_path, 5) as made:
        yield made


async def begin(cluster: Cluster, upload: str, *, bucket: str = "bucket", key: bytes = b"key") -> None:
    command = CreateUpload(
        new_blob_id(1), cluster.now_us, bucket=bucket, key=key, upload=upload, attributes=Attributes()
    )
    [outcome] = await cluster.log.append([command])
    assert not outcome.error


def left(cluster: Cluster) -> list[str]:
    with cluster.state.view() as view:
        return [named.row.upload for named in view.uploads()]


@pytest.mark.parametrize(("age_us", "ended"), [(0, False), (LIFE_US, False), (LIFE_US + 1, True)])
def test_an_upload_lives_as_long_as_it_is_allowed_to(age_us: int, ended: bool) -> None:
    row = UploadRow("u", 1_000, Attributes())
    assert expired(row, 1_000 + age_us, life_us=LIFE_US) is ended


async def test_old_uploads_end_with_their_parts_and_young_ones_stay(cluster: Cluster) -> None:
    await cluster.log.append([CreateBucket(new_blob_id(1), 1, bucket="other", account="0" * 12)])
    for number in range(PAGE_ROWS + 3):
        await begin(cluster, f"old-{number}", key=b"k" * 600 + b"%d" % number)
    await begin(cluster, "old", bucket="other")
    row = BlobRow(5, 2, 3, 2, 65_536, ((1, 1), (2, 1), (3, 1), (4, 1), (5, 1)))
    said = {"bucket": "other", "key": b"key", "upload": "old", "number": 1, "etag": "0" * 32}
    part = PutPart(new_blob_id(1), cluster.now_us, blob=b"b" * 16, row=row, **said)
    await cluster.log.append([part])
    cluster.now_us += LIFE_US // 2
    await begin(cluster, "young")
    cluster.now_us += LIFE_US // 2 + 1_000
    await cluster.repairer.round()
    assert left(cluster) == ["young"]
    with cluster.state.view() as view:
        assert view.reads.count(tables.PARTS) == 0 and view.blob(b"b" * 16) is None
        assert view.condemned_count() == 1 and not list(view.condemned(cluster.now_us)), "after a grace"


async def test_what_follows_a_damaged_upload_ends_all_the_same(cluster: Cluster) -> None:
    for upload in ("1", "2", "3"):
        await begin(cluster, upload)
    with cluster.state.view() as view:
        first = next(view.uploads()).at
    cluster.damage(tables.UPLOADS, first)
    cluster.now_us += LIFE_US + 1_000
    await cluster.repairer.round()
    with cluster.state.view() as view:
        assert view.reads.count(tables.UPLOADS) == 1


async def test_only_the_process_that_leads_ends_uploads(cluster: Cluster) -> None:
    other = cluster.lease("repair", b"other" * 3 + b".")
    await begin(cluster, "old")
    cluster.now_us += LIFE_US + 1_000
    assert await other.hold()
    await cluster.repairer.round()
    assert left(cluster) == ["old"]
    await other.give_up()
    await cluster.repairer.round()
    assert left(cluster) == []


async def test_uploads_are_not_looked_at_all_the_time(cluster: Cluster) -> None:
    await cluster.repairer.round()
    await begin(cluster, "old")
    with cluster.state.write() as writes:  # as if it had begun long ago, which no client can bring about
        at, _ = next(writes.scan(tables.UPLOADS, b"", b""))
        row = UploadRow("old", 0, Attributes())
        writes.put(tables.UPLOADS, at, encode_row(at, row))
    await cluster.repairer.round()
    assert left(cluster) == ["old"]
    cluster.now_us += LIFE_US // 100 + 1_000
    await cluster.repairer.round()
    assert left(cluster) == []
