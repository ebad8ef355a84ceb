"""boto3's transfer manager: parts in threads, ranged downloads, copies in parts, streams; through several gateways."""

import io
import random
from pathlib import Path
from typing import Any

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from tests.integration.cluster import Cluster

pytestmark = pytest.mark.cluster

MIB = 1 << 20
IN_PARTS = TransferConfig(
    multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=6, io_chunksize=100_000
)
SIZES_BYTES = (0, 1, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 23 * MIB + 17)


@pytest.fixture(scope="module")
def gateways(shared_cluster: Cluster) -> list[Any]:
    """A client of each gateway."""
    return [shared_cluster.client(node) for node in shared_cluster.nodes]


@pytest.mark.parametrize("size_bytes", SIZES_BYTES)
def test_files_there_and_back(gateways: list[Any], bucket: str, tmp_path: Path, size_bytes: int):
    body = random.Random(size_bytes).randbytes(size_bytes)
    (tmp_path / "here").write_bytes(body)
    extra = {"Metadata": {"colour": "blue"}, "ContentType": "text/x-mine", "ChecksumAlgorithm": "SHA256"}
    gateways[0].upload_file(str(tmp_path / "here"), bucket, "k", ExtraArgs=extra, Config=IN_PARTS)
    head = gateways[1].head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (head["ContentType"], head["Metadata"]) == ("text/x-mine", {"colour": "blue"})
    assert ("-" in head["ETag"]) == (size_bytes >= 5 * MIB) and "ChecksumSHA256" in head
    gateways[2].download_file(bucket, "k", str(tmp_path / "back"), Config=IN_PARTS)
    assert (tmp_path / "back").read_bytes() == body
    gateways[3].copy({"Bucket": bucket, "Key": "k"}, bucket, "copied", Config=IN_PARTS)
    read = io.BytesIO()
    gateways[4].download_fileobj(bucket, "copied", read, Config=IN_PARTS)
    assert read.getvalue() == body


class Unseekable(io.RawIOBase):
    """A stream that says neither how long it is nor where it stands."""

    def __init__(self, body: bytes) -> None:
        self._rest = io.BytesIO(body)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._rest.read(size)


@pytest.mark.parametrize("size_bytes", SIZES_BYTES)
def test_streams_there_and_back(gateways: list[Any], bucket: str, size_bytes: int):
    body = random.Random(size_bytes).randbytes(size_bytes)
    gateways[0].upload_fileobj(Unseekable(body), bucket, "k", Config=IN_PARTS)
    read = io.BytesIO()
    gateways[1].download_fileobj(bucket, "k", read, Config=IN_PARTS)
    assert read.getvalue() == body


def test_an_upload_that_breaks_leaves_nothing(gateways: list[Any], bucket: str):
    class Broken(Unseekable):
        def read(self, size: int = -1) -> bytes:
            if self._rest.tell() >= 11 * MIB:
                raise OSError("the disk of the client broke")
            return super().read(size)

    with pytest.raises(OSError, match="broke"):
        gateways[0].upload_fileobj(Broken(bytes(23 * MIB)), bucket, "k", Config=IN_PARTS)
    assert gateways[1].list_multipart_uploads(Bucket=bucket).get("Uploads") is None
    with pytest.raises(ClientError, match="404"):
        gateways[2].head_object(Bucket=bucket, Key="k")


def test_what_is_replaced_during_a_download_is_noticed(gateways: list[Any], bucket: str):
    """The manager asks each range with the ETag that it saw first: two objects are never mixed."""
    gateways[0].put_object(Bucket=bucket, Key="k", Body=bytes(12 * MIB))

    class Replacing(io.BytesIO):
        def write(self, data: Any) -> int:
            if self.tell() == 0:
                gateways[1].put_object(Bucket=bucket, Key="k", Body=b"\1" * (12 * MIB))
            return super().write(data)

    one_by_one = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, use_threads=False)
    with pytest.raises(Exception, match="did not match expected ETag"):
        gateways[2].download_fileobj(bucket, "k", Replacing(), Config=one_by_one)


def test_resources_of_a_versioned_bucket(shared_cluster: Cluster, gateways: list[Any], bucket: str):
    keys = [f"dir-{number % 7}/{number:04}" for number in range(30)]
    own = boto3.resource(
        "s3",
        endpoint_url=shared_cluster.endpoint(3),
        aws_access_key_id=shared_cluster.access_key,
        aws_secret_access_key=shared_cluster.secret_key,
        region_name="us-east-1",
    )
    there = own.Bucket(bucket)
    there.Versioning().enable()
    for key in keys:
        there.Object(key).put(Body=key.encode())
    there.Object(keys[0]).put(Body=b"anew")
    there.Object(keys[1]).delete()
    assert [one.key for one in there.objects.page_size(7)] == sorted({*keys} - {keys[1]})
    assert there.Object(keys[0]).get()["Body"].read() == b"anew"
    assert len(list(there.object_versions.page_size(7))) == len(keys) + 2
    assert [one.key for one in there.objects.filter(Prefix="dir-3/")] == [
        key for key in keys if key[4] == "3"
    ]
    there.object_versions.delete()
    assert "Versions" not in gateways[0].list_object_versions(Bucket=bucket)
    there.delete()
    own.meta.client.close()
