"""Bad input, paths and keys: a key is kept byte for byte and found under its own name, or refused with S3's code."""

from collections.abc import Iterator
from urllib.parse import quote, unquote_to_bytes

import pytest

from bench.signing import Credentials
from tests.integration.client import Client
from tests.integration.cluster import Cluster
from tests.integration.forge import Forge, Row, answer, meets, state_of, wire

pytestmark = pytest.mark.cluster

BODY = b"under its own name"
# As in the request line: each is one key, which means nothing to a file system.
KEPT_KEYS = (
    "..",
    ".",
    "a/../b",
    "../../../../etc/passwd",
    "%2e%2e%2f",
    "%252e",
    "a//b",
    "//",
    "/leading",
    "trailing/",
    "%5C",
    "a%5C..%5Cb",
    "%3F",
    "%3Fuploads",
    "%23fragment",
    "a%2Fb",
    "a+b",
    "a%20b",
    "%25",
    "%EF%BF%BE",
    "%F0%9F%92%A9",
    "%D7%A9%D7%9C%D7%95%D7%9D",
    "%E2%80%AEgnp",
    "%01%1F%7F",
    "%0D%0ASet-Cookie:x=y",
    "s3d-internal",
    "-",
    *("k" * size for size in (255, 256, 480, 481, 511, 512, 513, 1_023, 1_024)),
    quote("ü" * 512),
)
IN_DOUBT_KEYS = ("%00", "a%00b")  # XML cannot say it; S3 keeps it, and refusing it is honest
REFUSED_KEYS = {
    "k" * 1_025: "400 KeyTooLongError",
    quote("ü" * 512) + "k": "400 KeyTooLongError",
    "%ff": "400 InvalidURI",
    "a%c0%af": "400 InvalidURI",
    "%ed%a0%80": "400 InvalidURI",
    "%": "400 InvalidURI",
    "%zz": "400 InvalidURI",
    "%1": "400 InvalidURI",
    "\xfc": "400 *",
}
BAD_BUCKETS = (
    "..", ".", "...", "ab", "b" * 64, "Upper", "under_score", "-dash", "dash-", "a..b", "a.-b", "192.168.0.1",
    "xn--bucket", "sthree-bucket", "bucket-s3alias", "bucket--ol-s3", "s3d-internal", "%2e%2e", "a%2Fb", "b%00b",
    "%D9%A0%D9%A1%D9%A2", "new%0Aline",
)  # fmt: skip
COPY_SOURCES = {
    "": "400 InvalidArgument",
    "/": "400 InvalidArgument",
    "noslash": "400 InvalidArgument",
    "/{bucket}": "400 InvalidArgument",
    "/{bucket}/": "400 InvalidArgument",
    "/{bucket}/absent": "404 NoSuchKey",
    "/no-such-bucket-here/k": "404 NoSuchBucket",
    "%2F{bucket}%2Fvictim%3FversionId=": "400 InvalidArgument|404 NoSuchKey",
    "/{bucket}/victim?versionId=0123": "400 InvalidArgument|404 NoSuchVersion",
    "/{bucket}/victim?versionId=": "400 InvalidArgument",
    "/{bucket}/../{bucket}/victim": "404 NoSuchKey",
    "../{bucket}/victim": "400 InvalidArgument|400 InvalidBucketName|404 NoSuchBucket|404 NoSuchKey",
    "/{bucket}/%ff": "400 InvalidArgument|400 InvalidURI|404 NoSuchKey",
    "/{bucket}/" + "k" * 1_025: "400 KeyTooLongError|400 InvalidArgument|404 NoSuchKey",
}
OTHER_TARGETS = (
    Row("no slash in front", lambda f: f.bare("GET", "bucket/key"), "400 *"),
    Row("an empty target", lambda f: f"GET  HTTP/1.1\r\nHost: {f.host}\r\n\r\n".encode(), "400 *"),
    Row("an asterisk", lambda f: f.bare("OPTIONS", "*"), "400 *|403 *|405 *"),
    Row("CONNECT", lambda f: f.bare("CONNECT", f.host), "400 *|403 *|405 *|501 *"),
    Row("a fragment", lambda f: f.bare("GET", f"/{f.bucket}/k#x"), "400 *|403 *"),
    Row("a target of 64 KiB", lambda f: f.bare("GET", "/" + "a" * 65_536), "400 *|414 *|431 *"),
    Row("a control character", lambda f: f.bare("GET", f"/{f.bucket}/a\x01b"), "400 *"),
    Row("an unknown method", lambda f: wire(f.signed("BREW")), "400 *|405 MethodNotAllowed|501 *"),
    Row(
        "a sub-resource nobody knows on PUT",
        lambda f: wire(f.signed(query=[("uploads", "")])),
        "405 *|501 *|400 *",
    ),
    Row(
        "a sub-resource on DELETE of the bucket",
        lambda f: wire(f.signed("DELETE", path=f"/{f.bucket}", query=[("replication", "")])),
        "501 NotImplemented|204 ",
    ),
)


@pytest.fixture(scope="module")
def forge(shared_cluster: Cluster, administrator: Credentials) -> Iterator[Forge]:
    """A bucket with one object."""
    with Client(shared_cluster.endpoint(), administrator) as client:
        assert client.request("PUT", "/bad-paths").status == 200
        assert client.put("bad-paths", "victim", b"as it was").status == 200
        yield Forge(client.host, administrator, "bad-paths", "victim")


def canonical(raw: str) -> str:
    """How a raw path is signed: every byte decoded and encoded once."""
    return quote(unquote_to_bytes(raw), safe="/-_.~")


@pytest.mark.parametrize("raw", KEPT_KEYS + IN_DOUBT_KEYS, ids=lambda raw: raw[:24])
def test_a_strange_key_is_kept_under_its_own_name(forge: Forge, clients: list[Client], raw: str):
    before = state_of(clients[1], [forge.bucket])
    path = canonical(f"/{forge.bucket}/{raw}")
    reply = answer(
        clients[0], wire(forge.signed(path=path, body=BODY), BODY, target=f"/{forge.bucket}/{raw}")
    )
    assert reply
    if raw in IN_DOUBT_KEYS and reply.status == 400:
        assert state_of(clients[1], [forge.bucket]) == before
        return
    assert reply.status == 200, reply
    found = clients[1].exchange(wire(forge.signed("GET", path=path)))
    assert found.status == 403 or found.body == BODY  # signed for the first gateway's name
    key = unquote_to_bytes(raw).decode()
    assert clients[0].exchange(wire(forge.signed("GET", path=path))).body == BODY
    query = [("list-type", "2"), ("encoding-type", "url")]
    listed = clients[2].request("GET", f"/{forge.bucket}", query=query).texts("Key")
    assert sorted(unquote_to_bytes(name.replace("+", "%20")).decode() for name in listed) == sorted(
        [key, "victim"]
    )
    assert clients[0].exchange(wire(forge.signed("DELETE", path=path))).status == 204
    assert state_of(clients[1], [forge.bucket]) == before


@pytest.mark.parametrize(("raw", "expected"), REFUSED_KEYS.items(), ids=lambda raw: raw[:24])
def test_a_key_that_cannot_be_is_refused(forge: Forge, clients: list[Client], raw: str, expected: str):
    before = state_of(clients[1], [forge.bucket])
    target = f"/{forge.bucket}/{raw}"
    reply = answer(clients[0], wire(forge.signed(path=canonical(target), body=BODY), BODY, target=target))
    assert meets(reply, expected), reply
    assert state_of(clients[1], [forge.bucket]) == before


@pytest.mark.parametrize("raw", BAD_BUCKETS, ids=lambda raw: raw[:24])
@pytest.mark.parametrize("ending", ["", "/", "/key"])
def test_a_bucket_that_cannot_be_is_refused(forge: Forge, clients: list[Client], raw: str, ending: str):
    before = state_of(clients[1], [forge.bucket])
    target = f"/{raw}{ending}"
    reply = answer(clients[0], wire(forge.signed(path=canonical(target), body=BODY), BODY, target=target))
    assert meets(reply, "400 InvalidBucketName"), reply
    assert state_of(clients[1], [forge.bucket]) == before


@pytest.mark.parametrize(("source", "expected"), COPY_SOURCES.items(), ids=lambda text: text[:40])
def test_a_copy_source_that_is_none_is_refused(
    forge: Forge, clients: list[Client], source: str, expected: str
):
    before = state_of(clients[1], [forge.bucket])
    headers = [("x-amz-copy-source", source.format(bucket=forge.bucket))]
    reply = answer(clients[0], wire(forge.signed(path=forge.path("copy"), headers=headers)))
    assert meets(reply, expected), reply
    assert state_of(clients[1], [forge.bucket]) == before


@pytest.mark.parametrize("row", OTHER_TARGETS, ids=str)
def test_a_target_that_is_none_is_refused(forge: Forge, clients: list[Client], row: Row):
    before = state_of(clients[1], [forge.bucket])
    reply = answer(clients[0], row.make(forge))
    assert meets(reply, row.expected), reply
    assert state_of(clients[1], [forge.bucket]) == before
