"""Bad input, arguments: queries, ranges, conditions, documents and parts, each with S3's own code, none with effect."""

import base64
import hashlib
from collections.abc import Callable, Iterator

import pytest

from bench.signing import Credentials
from tests.integration.client import Client
from tests.integration.cluster import Cluster
from tests.integration.forge import Forge, Row, answer, meets, state_of, wire

pytestmark = pytest.mark.cluster

BODY = b"what must not be stored"
DELETE = "<Delete>{}</Delete>"


def get(*headers: tuple[str, str]) -> Callable[[Forge], bytes]:
    return lambda forge: wire(forge.signed("GET", headers=headers))


def arabic_range(forge: Forge) -> bytes:
    """Digits that Python's int would take, signed and sent as UTF-8."""
    digits = "bytes=٠-٣"
    return wire(
        forge.signed("GET", headers=[("Range", digits)]), change={"range": digits.encode().decode("latin-1")}
    )


def listing(*query: tuple[str, str]) -> Callable[[Forge], bytes]:
    query = (("list-type", "2"), *query)
    return lambda forge: wire(forge.signed("GET", path=f"/{forge.bucket}", query=query))


def deleting(document: str, *headers: tuple[str, str], md5: bool = True) -> Callable[[Forge], bytes]:
    """A DeleteObjects with a Content-MD5, as S3 asks for one."""
    body = document.encode()
    digest = base64.b64encode(hashlib.md5(body).digest()).decode()
    sent = [*headers, ("Content-MD5", digest)] if md5 else headers
    return lambda forge: wire(
        forge.signed("POST", path=f"/{forge.bucket}", query=[("delete", "")], headers=sent, body=body), body
    )


def keys(count: int) -> str:
    return DELETE.format("".join(f"<Object><Key>absent-{number}</Key></Object>" for number in range(count)))


QUERIES = [
    Row("max-keys -1", listing(("max-keys", "-1")), "400 InvalidArgument"),
    Row("max-keys 2^63", listing(("max-keys", str(2**63))), "400 InvalidArgument"),
    Row("max-keys 1_0", listing(("max-keys", "1_0")), "400 InvalidArgument"),
    Row("max-keys ١", listing(("max-keys", "١")), "400 InvalidArgument"),
    Row("max-keys 0", listing(("max-keys", "0")), "200 "),
    Row("max-keys 1001", listing(("max-keys", "1001")), "200 "),
    Row("a forged token", listing(("continuation-token", "forged!")), "400 InvalidArgument"),
    Row("an empty token", listing(("continuation-token", "")), "400 InvalidArgument|200 "),
    Row("an encoding that is none", listing(("encoding-type", "rot13")), "400 InvalidArgument"),
    Row("a long delimiter", listing(("delimiter", "many signs")), "200 "),
    Row("an empty delimiter", listing(("delimiter", "")), "200 "),
    Row(
        "list-type 3",
        lambda f: wire(f.signed("GET", path=f"/{f.bucket}", query=[("list-type", "3")])),
        "400 InvalidArgument",
    ),
    Row("range -0", get(("Range", "bytes=-0")), "416 InvalidRange"),
    Row("range 5-2", get(("Range", "bytes=5-2")), "200 |416 InvalidRange"),
    Row("range beyond 2^64", get(("Range", f"bytes=0-{10**20}")), "206 |200 "),
    Row("range behind the end", get(("Range", "bytes=999999-")), "416 InvalidRange"),
    Row("range in other digits", arabic_range, "200 |400 *"),
    Row(
        "a thousand ranges",
        get(("Range", "bytes=" + ",".join(f"{i}-{i}" for i in range(1_000)))),
        "200 |400 *|416 *",
    ),
    Row("If-Match of any", get(("If-Match", "*")), "200 "),
    Row("If-Match of nothing there", get(("If-Match", '"0"')), "412 PreconditionFailed"),
    Row("If-Match weak", get(("If-Match", 'W/"0"')), "412 PreconditionFailed"),
    Row("If-Match a list", get(("If-Match", '"0", "1"')), "412 PreconditionFailed"),
    Row("If-None-Match of any", get(("If-None-Match", "*")), "304 "),
    Row("If-Modified-Since that is none", get(("If-Modified-Since", "yesterday")), "200 |400 *"),
]
DELETIONS = [
    Row("no keys", deleting(DELETE.format("")), "400 MalformedXML"),
    Row("1,001 keys", deleting(keys(1_001)), "400 MalformedXML"),
    Row("no digest", deleting(keys(1), md5=False), "400 InvalidRequest|400 MissingContentMD5"),
    Row("a key twice", deleting(DELETE.format("<Object><Key>absent</Key></Object>" * 2)), "200 "),
    Row("a key too long", deleting(DELETE.format(f"<Object><Key>{'k' * 1025}</Key></Object>")), "400 *|200 "),
    Row("no XML", deleting("{}"), "400 MalformedXML"),
    Row("another document", deleting("<Tagging/>"), "400 MalformedXML"),
    Row("XML cut short", deleting("<Delete><Object><Key>victim</Key></Object>"), "400 MalformedXML"),
    Row(
        "an entity",
        deleting('<!DOCTYPE d [<!ENTITY e "victim">]>' + keys(1).replace("absent-0", "&e;")),
        "400 MalformedXML",
    ),
    Row("33 levels", deleting("<Delete>" * 40 + "</Delete>" * 40), "400 MalformedXML"),
    Row(
        "3 MiB of XML",
        deleting(keys(1) + " " * (3 << 20)),
        "400 MalformedXML|400 EntityTooLarge|400 MaxMessageLengthExceeded",
    ),
]


@pytest.fixture(scope="module")
def forge(shared_cluster: Cluster, administrator: Credentials) -> Iterator[Forge]:
    """A bucket with one object."""
    with Client(shared_cluster.endpoint(), administrator) as client:
        assert client.request("PUT", "/bad-arguments").status == 200
        assert client.put("bad-arguments", "victim", b"as it was").status == 200
        yield Forge(client.host, administrator, "bad-arguments", "victim")


@pytest.mark.parametrize("row", QUERIES + DELETIONS, ids=str)
def test_bad_input_gets_its_code_and_changes_nothing(forge: Forge, clients: list[Client], row: Row):
    before = state_of(clients[1], [forge.bucket])
    reply = answer(clients[0], row.make(forge), hang_up=row.hang_up)
    assert meets(reply, row.expected), (row.expected, reply)
    assert state_of(clients[1], [forge.bucket]) == before


class TestMultipart:
    """Uploads and their parts."""

    @pytest.fixture
    def upload(self, forge: Forge, clients: list[Client]) -> Iterator[str]:
        """An upload with two small parts; aborted at the end."""
        (made,) = clients[0].request("POST", f"/{forge.bucket}/m", query=[("uploads", "")]).texts("UploadId")
        for number in (1, 2):
            query = [("partNumber", str(number)), ("uploadId", made)]
            assert clients[0].request("PUT", f"/{forge.bucket}/m", query=query, body=BODY).status == 200
        yield made
        assert clients[0].request("DELETE", f"/{forge.bucket}/m", query=[("uploadId", made)]).status == 204

    @pytest.mark.parametrize("number", ["0", "-1", "10001", "1e3", "1_0", "０１", "", "9" * 30])
    def test_a_part_number_that_is_none(self, forge: Forge, clients: list[Client], upload: str, number: str):
        query = [("partNumber", number), ("uploadId", upload)]
        reply = clients[0].request("PUT", f"/{forge.bucket}/m", query=query, body=BODY)
        assert (reply.status, reply.code) == (400, "InvalidArgument")

    @pytest.mark.parametrize(
        "change", [lambda u: u[::-1], lambda u: "../" + u, lambda u: "", lambda u: u + "\0"]
    )
    def test_an_upload_that_is_none(
        self, forge: Forge, clients: list[Client], upload: str, change: Callable[[str], str]
    ):
        query = [("partNumber", "1"), ("uploadId", change(upload))]
        reply = clients[0].request("PUT", f"/{forge.bucket}/m", query=query, body=BODY)
        assert (reply.status, reply.code) in ((404, "NoSuchUpload"), (400, "InvalidArgument"))

    def test_an_upload_of_another_key_or_bucket(
        self, forge: Forge, clients: list[Client], upload: str, bucket: str
    ):
        query = [("partNumber", "1"), ("uploadId", upload)]
        for path in (f"/{forge.bucket}/other", f"/{bucket}/m"):
            reply = clients[0].request("PUT", path, query=query, body=BODY)
            assert (reply.status, reply.code) == (404, "NoSuchUpload")

    @pytest.mark.parametrize(
        ("parts", "code"),
        [
            ([2, 1], "InvalidPartOrder"),
            ([1, 1], "InvalidPartOrder"),
            ([1, 3], "InvalidPart"),
            ([1, 2], "EntityTooSmall"),
            ([], "MalformedXML"),
            (list(range(1, 10_002)), "MalformedXML"),
        ],
        ids=["out of order", "twice", "missing", "too small", "none", "10,001"],
    )
    def test_a_completion_that_is_none(
        self, forge: Forge, clients: list[Client], upload: str, parts: list[int], code: str
    ):
        etag = clients[0].request("GET", f"/{forge.bucket}/m", query=[("uploadId", upload)]).texts("ETag")[0]
        self.refuses(forge, clients[0], upload, [(number, etag) for number in parts], code)

    def test_a_completion_with_another_etag(self, forge: Forge, clients: list[Client], upload: str):
        self.refuses(forge, clients[0], upload, [(1, '"0"')], "InvalidPart")

    def refuses(
        self, forge: Forge, client: Client, upload: str, parts: list[tuple[int, str]], code: str
    ) -> None:
        listed = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>" for number, etag in parts
        )
        body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
        reply = client.request("POST", f"/{forge.bucket}/m", query=[("uploadId", upload)], body=body)
        assert reply.code == code and reply.status in (200, 400), reply
        assert client.head(forge.bucket, "m").status == 404
