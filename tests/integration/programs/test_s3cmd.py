"""s3cmd: trees in parts, single objects, ACLs, policies and CORS, each of its calls at the next gateway."""

import json
import random
import urllib.error
import urllib.request
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import pytest

from tests.integration.cluster import Cluster
from tests.integration.programs import program, trees
from tests.integration.programs.conftest import Contents

pytestmark = pytest.mark.cluster

S3cmd = Callable[..., str]
SETTINGS = """[default]
access_key = {store.access_key}
secret_key = {store.secret_key}
host_base = {address}
host_bucket = {address}
bucket_location = us-east-1
use_https = False
check_ssl_certificate = False
multipart_chunk_size_mb = 5
max_retries = 1
"""
CORS = """<CORSConfiguration><CORSRule><AllowedOrigin>http://a.example</AllowedOrigin>
<AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>"""


@pytest.fixture
def s3cmd(shared_cluster: Cluster, tmp_path: Path) -> S3cmd:
    """Runs s3cmd; what it prints, once it has gone well."""
    found = program.find("s3cmd")
    files = []
    for node in shared_cluster.nodes:
        files.append(tmp_path / f"s3cfg-{node}")
        address = program.address(shared_cluster, node)
        files[-1].write_text(SETTINGS.format(store=shared_cluster, address=address))
    turns = cycle(files)

    def run(*arguments: str | Path) -> str:
        return program.run([found, "--config", next(turns), "--no-progress", *arguments], HOME=str(tmp_path))

    return run


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


def test_trees_are_synced_there_and_back(s3cmd: S3cmd, bucket: str, contents: Contents, tmp_path: Path):
    here, there = tmp_path / "here", f"s3://{bucket}/tree/"
    tree = trees.plant(here, seed=46, big_bytes=17 * trees.MIB)
    s3cmd("sync", f"{here}/", there)
    wanted = {f"tree/{name}": body for name, body in tree.items()}
    assert trees.differences(contents(bucket), wanted) == []
    assert "upload:" not in s3cmd("sync", f"{here}/", there)
    (here / "plain").unlink()
    (here / "dir/file").write_bytes(b"another")
    s3cmd("sync", "--delete-removed", f"{here}/", there)
    (tmp_path / "back").mkdir()
    s3cmd("sync", there, f"{tmp_path / 'back'}/")
    assert trees.differences(trees.read(tmp_path / "back"), trees.read(here)) == []
    assert s3cmd("du", there).split()[0] == str(sum(map(len, trees.read(here).values())))
    s3cmd("del", "--recursive", there)
    assert contents(bucket) == {}


def test_the_life_of_an_object(s3cmd: S3cmd, shared_cluster: Cluster, contents: Contents, tmp_path: Path):
    bucket, body = "s3cmds-own", random.Random(51).randbytes(7_680_000)  # two parts
    (tmp_path / "here").write_bytes(body)
    s3cmd("mb", f"s3://{bucket}")
    assert f"s3://{bucket}\n" in s3cmd("ls")
    s3cmd("put", "--mime-type", "text/x-mine", tmp_path / "here", f"s3://{bucket}/a b+ü")
    (tmp_path / "empty").touch()
    s3cmd("put", tmp_path / "empty", f"s3://{bucket}/empty")
    s3cmd("modify", "--add-header", "Cache-Control: max-age=60", f"s3://{bucket}/a b+ü")
    assert "text/x-mine" in s3cmd("info", f"s3://{bucket}/a b+ü")
    head = shared_cluster.client().head_object(Bucket=bucket, Key="a b+ü")
    assert (head["CacheControl"], head["ContentType"]) == ("max-age=60", "text/x-mine")
    s3cmd("cp", f"s3://{bucket}/a b+ü", f"s3://{bucket}/copy")
    s3cmd("mv", f"s3://{bucket}/copy", f"s3://{bucket}/moved")
    assert contents(bucket) == {"a b+ü": body, "empty": b"", "moved": body}
    s3cmd("get", f"s3://{bucket}/moved", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == body
    assert "moved" not in s3cmd("multipart", f"s3://{bucket}")
    s3cmd("del", f"s3://{bucket}/a b+ü", f"s3://{bucket}/empty")
    s3cmd("rb", "--force", "--recursive", f"s3://{bucket}")
    assert f"s3://{bucket}\n" not in s3cmd("ls")


def test_who_may_read(s3cmd: S3cmd, shared_cluster: Cluster, bucket: str, tmp_path: Path):
    (tmp_path / "here").write_bytes(b"hello")
    at, url = f"s3://{bucket}/k", f"{shared_cluster.endpoint()}/{bucket}/k"
    s3cmd("put", tmp_path / "here", at)
    assert status_of(url) == 403
    assert status_of(s3cmd("signurl", at, "+600").strip()) == 200
    assert status_of(s3cmd("signurl", at, "1").strip()) == 403
    s3cmd("setacl", "--acl-public", at)
    assert status_of(url) == 200
    assert "*anon*: READ" in s3cmd("info", at)
    s3cmd("setacl", "--acl-private", at)
    assert status_of(url) == 403
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
    }
    (tmp_path / "policy").write_text(json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    s3cmd("setpolicy", tmp_path / "policy", f"s3://{bucket}")
    assert status_of(url) == 200
    s3cmd("delpolicy", f"s3://{bucket}")
    assert status_of(url) == 403
    (tmp_path / "cors").write_text(CORS)
    s3cmd("setcors", tmp_path / "cors", f"s3://{bucket}")
    assert "http://a.example" in s3cmd("info", f"s3://{bucket}")
    s3cmd("delcors", f"s3://{bucket}")
