"""The AWS command line, version 1 and version 2, each of its calls at the next gateway."""

import json
import random
import urllib.request
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import pytest

from tests.integration.cluster import AWS, Cluster
from tests.integration.programs import program, trees
from tests.integration.programs.conftest import Contents

pytestmark = pytest.mark.cluster

Aws = Callable[..., str]


@pytest.fixture(params=[1, 2])
def aws(request: pytest.FixtureRequest, shared_cluster: Cluster) -> Aws:
    """Runs the command line; what it prints, once it has gone well."""
    found = AWS if request.param == 1 else program.find("aws", says="aws-cli/2.")
    endpoints = cycle(shared_cluster.endpoints)

    def run(*arguments: str | Path, stdin: bytes = b"") -> str:
        command = [found, "--endpoint-url", next(endpoints), *arguments]
        return program.run(command, stdin=stdin, **program.keys(shared_cluster))

    return run


def test_trees_go_there_and_back(aws: Aws, bucket: str, contents: Contents, tmp_path: Path):
    here, there = tmp_path / "here", f"s3://{bucket}"
    tree = trees.plant(here, seed=41, big_bytes=17 * trees.MIB)
    aws("s3", "sync", here, there)
    assert trees.differences(contents(bucket), tree) == []
    assert aws("s3", "sync", here, there) == ""  # sizes and times are as it left them
    assert aws("s3", "sync", there, here) == ""
    (here / "plain").unlink()
    (here / "plus+plus").write_bytes(b"longer than it was, now")
    said = aws("s3", "sync", "--delete", "--no-progress", here, there).splitlines()
    assert sorted(line.split()[0] for line in said) == ["delete:", "upload:"]
    aws("s3", "sync", there, tmp_path / "back")
    assert trees.differences(trees.read(tmp_path / "back"), trees.read(here)) == []
    aws("s3", "rm", "--recursive", there)
    assert contents(bucket) == {}


def test_one_object_is_streamed_copied_moved_and_presigned(aws: Aws, bucket: str, contents: Contents):
    body = random.Random(50).randbytes(10_240_000)  # two parts
    aws("s3", "cp", "-", f"s3://{bucket}/streamed", stdin=body)
    typed = ("--metadata-directive", "REPLACE", "--content-type", "text/x-mine")
    aws("s3", "cp", f"s3://{bucket}/streamed", f"s3://{bucket}/copied", *typed)
    aws("s3", "mv", f"s3://{bucket}/streamed", f"s3://{bucket}/moved + ü")
    assert contents(bucket) == {"copied": body, "moved + ü": body}
    with urllib.request.urlopen(aws("s3", "presign", f"s3://{bucket}/moved + ü").strip()) as reply:
        assert reply.read() == body
    head = json.loads(aws("s3api", "head-object", "--bucket", bucket, "--key", "copied"))
    assert (head["ContentType"], head["ContentLength"]) == ("text/x-mine", len(body))


def test_versions_tags_and_checksums(aws: Aws, bucket: str, tmp_path: Path):
    at = ("--bucket", bucket, "--key", "k")
    aws(
        *("s3api", "put-bucket-versioning", "--bucket", bucket),
        "--versioning-configuration",
        "Status=Enabled",
    )
    for body in (b"first", b"second"):
        (tmp_path / "body").write_bytes(body)
        aws(*("s3api", "put-object", *at, "--body", tmp_path / "body", "--checksum-algorithm", "SHA256"))
    aws("s3api", "put-object-tagging", *at, "--tagging", "TagSet=[{Key=colour,Value=deep blue}]")
    tags = json.loads(aws("s3api", "get-object-tagging", *at))["TagSet"]
    assert tags == [{"Key": "colour", "Value": "deep blue"}]
    versions = json.loads(aws("s3api", "list-object-versions", "--bucket", bucket))["Versions"]
    assert [version["IsLatest"] for version in versions] == [True, False]
    oldest = ("--version-id", versions[1]["VersionId"])
    aws("s3api", "get-object", *at, *oldest, "--checksum-mode", "ENABLED", tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == b"first"
    wanted = ("--object-attributes", "ETag", "ObjectSize", "Checksum")
    attributes = json.loads(aws("s3api", "get-object-attributes", *at, *wanted))
    assert (attributes["ObjectSize"], set(attributes["Checksum"]) >= {"ChecksumSHA256"}) == (6, True)
