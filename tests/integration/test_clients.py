"""Clients: the AWS command line, boto3 and presigned URLs against any of five gateways, mixed."""

import hashlib
import json
import urllib.request
from itertools import cycle, permutations
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.integration.cluster import Cluster

pytestmark = pytest.mark.cluster

PART = 5 << 20


@pytest.fixture(scope="module")
def aws(shared_cluster: Cluster) -> Any:
    """Runs the command line against the next gateway; its output, once it has gone well."""
    nodes = cycle(shared_cluster.nodes)

    def run(*arguments: str) -> str:
        node = next(nodes)
        done = shared_cluster.aws(*arguments, node=node)
        assert done.returncode == 0, (node, arguments, done.stdout, done.stderr)
        return done.stdout.decode()

    return run


@pytest.fixture(scope="module")
def boto(shared_cluster: Cluster) -> list[Any]:
    """A boto3 client of each gateway."""
    return [shared_cluster.client(node) for node in shared_cluster.nodes]


def test_the_command_line_copies_lists_syncs_and_removes(aws: Any, tmp_path: Path):
    tree = {
        "a": b"",
        "b c/ü.bin": bytes(70_000),
        "deep/er/x": bytes(range(256)) * 4_000,
        "big": b"q" * (9 << 20),
    }
    for name, body in tree.items():
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_bytes(body)
    aws("s3", "mb", "s3://cli-bucket")
    assert "cli-bucket" in aws("s3", "ls")
    aws("s3", "cp", str(tmp_path / "out/big"), "s3://cli-bucket/one")
    assert "9437184 one" in aws("s3", "ls", "s3://cli-bucket/one")
    aws("s3", "sync", str(tmp_path / "out"), "s3://cli-bucket/tree")
    listed = aws("s3", "ls", "--recursive", "s3://cli-bucket/tree/")
    assert all(f"{len(body)} tree/{name}" in listed for name, body in tree.items())
    assert "PRE tree/" in aws("s3", "ls", "s3://cli-bucket")
    aws("s3", "sync", "s3://cli-bucket/tree", str(tmp_path / "back"))
    assert {name: (tmp_path / "back" / name).read_bytes() for name in tree} == tree
    aws("s3", "cp", "s3://cli-bucket/one", "s3://cli-bucket/two")
    aws("s3", "cp", "s3://cli-bucket/two", str(tmp_path / "two"))
    assert (tmp_path / "two").read_bytes() == tree["big"]
    url = aws("s3", "presign", "s3://cli-bucket/tree/b c/ü.bin").strip()
    assert "AWSAccessKeyId=" in url  # Signature Version 2, which version 1 of the command line makes
    with urllib.request.urlopen(url) as reply:
        assert reply.read() == tree["b c/ü.bin"]
    aws("s3", "rm", "--recursive", "s3://cli-bucket")
    assert aws("s3", "ls", "--recursive", "s3://cli-bucket").strip() == ""
    aws("s3", "rb", "s3://cli-bucket")
    assert "cli-bucket" not in aws("s3", "ls")


def test_the_low_level_commands(aws: Any, tmp_path: Path):
    (tmp_path / "f").write_bytes(b"hello")
    aws("s3api", "create-bucket", "--bucket", "api-bucket")
    put = ["--bucket", "api-bucket", "--key", "k"]
    stored = json.loads(
        aws("s3api", "put-object", *put, "--body", str(tmp_path / "f"), "--metadata", "colour=blue")
    )
    assert stored["ETag"] == f'"{hashlib.md5(b"hello").hexdigest()}"'
    head = json.loads(aws("s3api", "head-object", *put))
    assert (head["ContentLength"], head["Metadata"]) == (5, {"colour": "blue"})
    aws("s3api", "copy-object", "--copy-source", "api-bucket/k", "--bucket", "api-bucket", "--key", "copy")
    listed = json.loads(aws("s3api", "list-objects-v2", "--bucket", "api-bucket"))
    assert [entry["Key"] for entry in listed["Contents"]] == ["copy", "k"]
    doomed = json.dumps({"Objects": [{"Key": "k"}, {"Key": "copy"}]})
    aws("s3api", "delete-objects", "--bucket", "api-bucket", "--delete", doomed)
    assert (
        json.loads(aws("s3api", "list-object-versions", "--bucket", "api-bucket") or "{}").get("Versions")
        is None
    )
    aws("s3api", "delete-bucket", "--bucket", "api-bucket")


def test_what_one_gateway_acknowledged_another_serves_at_once(boto: list[Any], bucket: str):
    for number, (writer, reader) in enumerate(permutations(boto, 2)):
        key, body = f"k{number}", f"body {number}".encode() * 100
        etag = writer.put_object(Bucket=bucket, Key=key, Body=body)["ETag"]
        assert reader.get_object(Bucket=bucket, Key=key)["Body"].read() == body
        assert reader.head_object(Bucket=bucket, Key=key)["ETag"] == etag
        assert key in [entry["Key"] for entry in reader.list_objects_v2(Bucket=bucket)["Contents"]]
        writer.delete_object(Bucket=bucket, Key=key)
        with pytest.raises(ClientError) as failure:
            reader.head_object(Bucket=bucket, Key=key)
        assert failure.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
        assert "Contents" not in reader.list_objects_v2(Bucket=bucket)


def test_a_multipart_upload_goes_through_all_gateways(boto: list[Any], bucket: str):
    upload = boto[0].create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    bodies = [bytes([number]) * (PART + number) for number in range(1, 4)] + [b"end"]
    parts = []
    for number, body in enumerate(bodies, 1):
        client = boto[number % len(boto)]
        reply = client.upload_part(Bucket=bucket, Key="m", UploadId=upload, PartNumber=number, Body=body)
        parts.append({"PartNumber": number, "ETag": reply["ETag"]})
    assert len(boto[2].list_parts(Bucket=bucket, Key="m", UploadId=upload)["Parts"]) == 4
    boto[3].complete_multipart_upload(
        Bucket=bucket, Key="m", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    for client in boto:
        reply = client.get_object(Bucket=bucket, Key="m")
        assert reply["Body"].read() == b"".join(bodies) and reply["ETag"].endswith('-4"')


def test_a_bucket_is_made_here_and_deleted_there(boto: list[Any]):
    for maker, other in zip(boto, boto[1:] + boto[:1], strict=True):
        maker.create_bucket(Bucket="here-and-there")
        assert "here-and-there" in [entry["Name"] for entry in other.list_buckets()["Buckets"]]
        other.delete_bucket(Bucket="here-and-there")
        assert "here-and-there" not in [entry["Name"] for entry in maker.list_buckets()["Buckets"]]
