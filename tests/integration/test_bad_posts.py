"""Bad input, POST forms: signed by boto3, sent by httpx, each refused as S3 does; after it the store is as it was."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config

from tests.integration.client import CODE, Client
from tests.integration.cluster import Cluster
from tests.integration.forge import state_of

pytestmark = pytest.mark.cluster

BUCKET, OTHER = "bad-posts", "bad-posts-other"
BODY = b"what must not be stored"
DENIED = (403, "AccessDenied")


@dataclass(frozen=True, slots=True)
class Upload:
    """What a form is signed for, and what of it is changed after that."""

    name: str
    expected: tuple[int, str]
    key: str = "k"
    conditions: tuple[Any, ...] = ()
    life_s: int = 600
    change: Mapping[str, str] = field(default_factory=dict)
    filename: str = "f"
    to: str = BUCKET

    def __str__(self) -> str:
        return self.name


UPLOADS = [
    Upload("expired", DENIED, life_s=-1),
    Upload("a condition that no field meets", DENIED, conditions=({"x-amz-meta-a": "b"},)),
    Upload("a field that no condition names", DENIED, change={"x-amz-meta-a": "b"}),
    Upload("an ACL that no condition names", DENIED, change={"acl": "public-read"}),
    Upload("another key", DENIED, change={"key": "victim"}),
    Upload("another bucket in the form", DENIED, change={"bucket": OTHER}),
    Upload("another bucket in the URL", DENIED, to=OTHER),
    Upload(
        "a path for a name", DENIED, conditions=(["eq", "$key", "../x"],), key="${filename}", filename="../x"
    ),
    Upload(
        "a name for a key",
        DENIED,
        conditions=(["starts-with", "$key", "u/"],),
        key="${filename}",
        filename="victim",
    ),
    Upload("a length of nothing", (400, "EntityTooLarge"), conditions=(["content-length-range", 0, 0],)),
    Upload(
        "a length that is not reached",
        (400, "EntityTooSmall"),
        conditions=(["content-length-range", 99, 999],),
    ),
    Upload("a key of two lines in the place of one", DENIED, change={"key": "k\r\nx-evil: 1"}),
    Upload(
        "metadata of two lines",
        (400, "InvalidArgument"),
        conditions=(["starts-with", "$x-amz-meta-a", ""],),
        change={"x-amz-meta-a": "b\r\nx-evil: 1"},
    ),
    Upload("no key", (400, "InvalidArgument"), change={"key": ""}),
    Upload("a policy that is none", (403, "SignatureDoesNotMatch"), change={"policy": "e30="}),
    Upload("a session", (400, "InvalidToken"), change={"x-amz-security-token": "t"}),
    Upload(
        "encryption",
        (501, "NotImplemented"),
        conditions=({"x-amz-server-side-encryption": "AES256"},),
        change={"x-amz-server-side-encryption": "AES256"},
    ),
]


@pytest.fixture(scope="module")
def signers(shared_cluster: Cluster) -> Iterator[list[Any]]:
    """boto3's clients, signing by Version 4 and 2, with two buckets to post to."""
    made = [
        boto3.client(
            "s3",
            endpoint_url=shared_cluster.endpoint(),
            aws_access_key_id=shared_cluster.access_key,
            aws_secret_access_key=shared_cluster.secret_key,
            region_name="us-east-1",
            config=Config(signature_version=version, s3={"addressing_style": "path"}),
        )
        for version in ("s3v4", "s3")
    ]
    for name in (BUCKET, OTHER):
        made[0].create_bucket(Bucket=name)
        made[0].put_object(Bucket=name, Key="victim", Body=b"as it was")
    yield made
    for each in made:
        each.close()


def post(signer: Any, upload: Upload) -> httpx.Response:
    """What the store says to a form."""
    conditions = list(upload.conditions)
    made = signer.generate_presigned_post(BUCKET, upload.key, {}, conditions, ExpiresIn=upload.life_s)
    url = made["url"].replace(f"/{BUCKET}", f"/{upload.to}")
    fields = made["fields"] | upload.change
    return httpx.post(url, data=fields, files={"file": (upload.filename, BODY)}, trust_env=False)


@pytest.mark.parametrize("upload", UPLOADS, ids=str)
def test_a_bad_form_is_refused(signers: list[Any], clients: list[Client], upload: Upload):
    before = state_of(clients[1], [BUCKET, OTHER])
    for signer in signers:
        reply = post(signer, upload)
        found = CODE.search(reply.content)
        assert (reply.status_code, found and found[1].decode()) == upload.expected, reply.text
        assert "x-evil" not in reply.headers
    assert state_of(clients[1], [BUCKET, OTHER]) == before


def test_the_forms_are_right_but_for_what_is_wrong_in_them(
    signers: list[Any], clients: list[Client], bucket: str
):
    for number, signer in enumerate(signers):
        made = signer.generate_presigned_post(
            bucket,
            f"{number}\r\n/${{filename}}",
            {"x-amz-meta-a": "b"},
            [{"x-amz-meta-a": "b"}, ["content-length-range", 23, 23]],
        )
        reply = httpx.post(made["url"], data=made["fields"], files={"file": ("../x", BODY)}, trust_env=False)
        assert reply.status_code == 204, reply.text
        got = clients[1].get(bucket, f"{number}\r\n/x")
        assert (got.body, got.headers["x-amz-meta-a"]) == (BODY, "b")
