"""Bad input, SigV4: each forged request gets S3's own code, and after it the store holds what it held."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from bench.signing import (
    STREAMING,
    STREAMING_UNSIGNED_TRAILER,
    UNSIGNED,
    Credentials,
    chunked_body,
    chunked_length,
)
from tests.integration.client import Client
from tests.integration.cluster import Cluster
from tests.integration.forge import Forge, Row, answer, meets, state_of, wire

pytestmark = pytest.mark.cluster

BODY = b"what must not be stored"
MALFORMED, QUERY_MALFORMED = "400 AuthorizationHeaderMalformed", "400 AuthorizationQueryParametersError"
DENIED, MISMATCH = "403 AccessDenied", "403 SignatureDoesNotMatch"
SKEWED = "403 RequestTimeTooSkewed"
UNSIGNED_HEADERS = (
    "x-amz-acl",
    "x-amz-copy-source",
    "x-amz-meta-colour",
    "x-amz-tagging",
    "x-amz-storage-class",
    "x-amz-metadata-directive",
    "x-amz-website-redirect-location",
    "x-amz-security-token",
)


def put(forge: Forge, **changes: str | None) -> bytes:
    """A right PUT, with headers changed after it was signed; underscores stand for dashes."""
    signed = forge.signed(body=BODY)
    return wire(signed, BODY, change={name.replace("_", "-"): value for name, value in changes.items()})


def authorization(forge: Forge, old: str, new: str) -> bytes:
    """A right PUT whose Authorization says `new` where it said `old`."""
    right = forge.signed(body=BODY).header("authorization")
    assert old in right
    return put(forge, authorization=right.replace(old, new, 1))


def scope(forge: Forge, **parts: str) -> bytes:
    """A PUT that is signed rightly for another region, service or terminator."""
    return wire(forge.signed(body=BODY, credentials=replace(forge.credentials, **parts)), BODY)


def of_another(forge: Forge, method: str = "", target: str = "") -> bytes:
    """A signature over one request on another: its method or its target were changed."""
    return wire(forge.signed(body=BODY), BODY, method=method, target=target)


def signed_names(forge: Forge, change: str) -> bytes:
    right = forge.signed(body=BODY).header("authorization")
    names = right.partition("SignedHeaders=")[2].partition(",")[0]
    new = {
        "no host": names.replace("host;", ""),
        "unsorted": ";".join(reversed(names.split(";"))),
        "twice": names.replace("host;", "host;host;"),
        "upper case": names.replace("host", "Host"),
        "absent": names.replace("host;", "host;if-match;"),
    }[change]
    return put(forge, authorization=right.replace(names, new))


def link(method: str, *, used_as: str = "", **options: object) -> "Row":
    """A presigned request, used with its own or another method."""

    def make(forge: Forge) -> bytes:
        target = forge.presigned(method, **options)  # type: ignore[arg-type]
        return forge.bare(used_as or method, target, body=BODY if (used_as or method) == "PUT" else b"")

    words = " ".join(f"{name} {value}" for name, value in options.items())
    return Row(f"presigned {method} as {used_as or method} {words}", make, "")


def expecting(row: Row, expected: str) -> Row:
    return replace(row, expected=expected)


def without_signature(forge: Forge) -> bytes:
    """The key's name in the query, an unsigned payload mode, and no signature anywhere."""
    target = (
        forge.path()
        + f"?X-Amz-Credential={forge.credentials.access_key}%2F20300101%2Fus-east-1%2Fs3%2Faws4_request"
    )
    headers = [("x-amz-content-sha256", STREAMING_UNSIGNED_TRAILER), ("x-amz-decoded-content-length", "3")]
    return forge.bare("PUT", target, headers, b"3\r\nabc\r\n0\r\n\r\n")


def bad_last_chunk(forge: Forge) -> bytes:
    headers = [
        ("Content-Length", str(chunked_length(len(BODY)))),
        ("x-amz-decoded-content-length", str(len(BODY))),
    ]
    signed = forge.signed(headers=headers, payload=STREAMING)
    body = b"".join(chunked_body(signed, BODY))
    return wire(signed, body[:-68] + b"0" * 64 + body[-4:])


def unsorted_query(forge: Forge) -> bytes:
    """A list whose query was signed in the order in which it is sent, not sorted."""
    right = forge.signed("GET", path=f"/{forge.bucket}", query=[("prefix", "a"), ("max-keys", "1")])
    other = forge.signed("GET", path=f"/{forge.bucket}", query=[("prefix", "b"), ("max-keys", "1")])
    return wire(right, change={"authorization": other.header("authorization")})


ROWS = [
    Row("no Authorization", lambda f: put(f, authorization=None), DENIED),
    Row("empty Authorization", lambda f: put(f, authorization=""), DENIED),
    Row("Authorization of no scheme", lambda f: put(f, authorization="hello"), "400 InvalidArgument"),
    Row(
        "two Authorizations",
        lambda f: wire(s := f.signed(body=BODY), BODY, extra=[("Authorization", s.header("authorization"))]),
        "400 *",
    ),
    Row("lower-case algorithm", lambda f: authorization(f, "AWS4-HMAC", "aws4-hmac"), "400 InvalidArgument"),
    Row(
        "ECDSA",
        lambda f: authorization(f, "AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
        "400 InvalidRequest",
    ),
    Row(
        "AWS2", lambda f: put(f, authorization=f"AWS {f.credentials.access_key}:c2ln"), "400 InvalidArgument"
    ),
    Row("unknown key", lambda f: authorization(f, "Credential=", "Credential=X"), "403 InvalidAccessKeyId"),
    Row(
        "wrong secret",
        lambda f: wire(f.signed(body=BODY, credentials=replace(f.credentials, secret_key="no")), BODY),
        MISMATCH,
    ),
    Row(
        "empty signature",
        lambda f: authorization(f, f.signed(body=BODY).signature, ""),
        f"{MALFORMED}|{MISMATCH}",
    ),
    Row(
        "upper-case signature",
        lambda f: put(
            f, authorization=(a := f.signed(body=BODY).header("authorization"))[:-64] + a[-64:].upper()
        ),
        f"{MALFORMED}|{MISMATCH}",
    ),
    Row("of another method", lambda f: of_another(f, method="DELETE"), MISMATCH),
    Row("of another path", lambda f: of_another(f, target=f.path("other")), MISMATCH),
    Row("of another query", lambda f: of_another(f, target=f.path() + "?acl"), MISMATCH),
    Row("of another value in the query", unsorted_query, MISMATCH),
    Row("credential of 4 parts", lambda f: authorization(f, "/s3/", "/"), MALFORMED),
    Row("credential of 6 parts", lambda f: authorization(f, "/s3/", "/s3/s3/"), MALFORMED),
    Row("wrong region", lambda f: scope(f, region="eu-west-9"), MALFORMED),
    Row("wrong service", lambda f: scope(f, service="ec2"), MALFORMED),
    Row("wrong terminator", lambda f: authorization(f, "aws4_request", "aws5_request"), MALFORMED),
    Row(
        "scope of another day",
        lambda f: authorization(f, f.signed().scope[:8], "20200101"),
        f"{MALFORMED}|{MISMATCH}",
    ),
    Row("host not signed", lambda f: signed_names(f, "no host"), f"{DENIED}|{MISMATCH}|{MALFORMED}"),
    Row("SignedHeaders unsorted", lambda f: signed_names(f, "unsorted"), f"{MALFORMED}|{MISMATCH}"),
    Row("SignedHeaders twice", lambda f: signed_names(f, "twice"), f"{MALFORMED}|{MISMATCH}"),
    Row("SignedHeaders in upper case", lambda f: signed_names(f, "upper case"), f"{MALFORMED}|{MISMATCH}"),
    Row("SignedHeaders names an absent one", lambda f: signed_names(f, "absent"), f"{DENIED}|{MISMATCH}"),
    *(
        Row(
            f"unsigned {name}",
            lambda f, name=name: wire(f.signed(body=BODY), BODY, extra=[(name, "x")]),
            DENIED,
        )
        for name in UNSIGNED_HEADERS
    ),
    Row("no signature but a key's name", without_signature, f"{DENIED}|{QUERY_MALFORMED}"),
    Row(
        "header and query",
        lambda f: wire(f.signed(body=BODY), BODY, target=f.presigned("PUT")),
        "400 InvalidArgument",
    ),
    Row("signed 16 minutes ago", lambda f: wire(f.signed(body=BODY, late_s=960), BODY), SKEWED),
    Row("signed 16 minutes ahead", lambda f: wire(f.signed(body=BODY, late_s=-960), BODY), SKEWED),
    Row("a date that is none", lambda f: put(f, x_amz_date="20300101T000000"), f"{DENIED}|400 *"),
    Row(
        "no x-amz-content-sha256",
        lambda f: put(f, x_amz_content_sha256=None),
        "400 InvalidRequest|400 MissingSecurityHeader",
    ),
    Row(
        "payload said to be unsigned after signing", lambda f: put(f, x_amz_content_sha256=UNSIGNED), MISMATCH
    ),
    Row(
        "SHA-256 of another body",
        lambda f: wire(f.signed(body=b"x" * len(BODY)), BODY),
        "400 XAmzContentSHA256Mismatch",
    ),
    Row(
        "SHA-256 that is none",
        lambda f: wire(f.signed(body=BODY, payload="cafe"), BODY),
        "400 InvalidArgument",
    ),
    Row("the last chunk's signature", bad_last_chunk, MISMATCH),
    Row(
        "a parameter twice",
        lambda f: wire(f.signed("GET", path=f"/{f.bucket}", query=[("prefix", "a"), ("prefix", "b")])),
        f"400 InvalidArgument|{MISMATCH}",
    ),
    Row(
        "signed %20, sent +",
        lambda f: wire(f.signed(path=f.path("a b"), body=BODY), BODY, target=f"/{f.bucket}/a+b"),
        MISMATCH,
    ),
    Row(
        "signed %2520, sent %20",
        lambda f: wire(f.signed(path=f"/{f.bucket}/a%2520b", body=BODY), BODY, target=f"/{f.bucket}/a%20b"),
        MISMATCH,
    ),
    expecting(link("GET", used_as="PUT"), MISMATCH),
    expecting(link("GET", used_as="DELETE"), MISMATCH),
    expecting(link("PUT", used_as="DELETE"), MISMATCH),
    expecting(link("PUT", expires_s=0), f"{QUERY_MALFORMED}|{DENIED}"),
    expecting(link("PUT", expires_s=-1), f"{QUERY_MALFORMED}|{DENIED}"),
    expecting(link("PUT", expires_s=604_801), f"{QUERY_MALFORMED}|{DENIED}"),
    expecting(link("PUT", expires_s=10**9), f"{QUERY_MALFORMED}|{DENIED}"),
    expecting(link("PUT", expires_s="1_0"), QUERY_MALFORMED),
    expecting(link("PUT", expires_s=60, late_s=61), DENIED),
    expecting(link("PUT", late_s=-960), DENIED),
    Row(
        "presigned, then another query",
        lambda f: f.bare("PUT", f.presigned("PUT") + "&x-id=1", body=BODY),
        MISMATCH,
    ),
    Row(
        "presigned, then an x-amz header",
        lambda f: f.bare("PUT", f.presigned("PUT"), [("x-amz-acl", "public-read")], BODY),
        DENIED,
    ),
    Row(
        "presigned without its expiry",
        lambda f: f.bare("PUT", f.presigned("PUT").replace("X-Amz-Expires", "X-Amz-Expired"), body=BODY),
        QUERY_MALFORMED,
    ),
    Row(
        "our own internal header",
        lambda f: wire(f.signed(headers=[("x-s3d-account", "1")], body=BODY), BODY),
        DENIED,
    ),
]


@pytest.fixture(scope="module")
def forge(shared_cluster: Cluster, administrator: Credentials) -> Iterator[Forge]:
    """Requests for one object in a bucket of their own."""
    with Client(shared_cluster.endpoint(), administrator) as client:
        assert client.request("PUT", "/bad-signatures").status == 200
        assert (
            client.put("bad-signatures", "victim", b"as it was", [("x-amz-meta-colour", "blue")]).status
            == 200
        )
        yield Forge(client.host, administrator, "bad-signatures", "victim")


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_forged_request_is_refused(forge: Forge, clients: list[Client], row: Row):
    before = state_of(clients[1], [forge.bucket])
    reply = answer(clients[0], row.make(forge))
    assert meets(reply, row.expected), (row.expected, reply)
    assert state_of(clients[1], [forge.bucket]) == before


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("signed 14 minutes ago", lambda f: wire(f.signed(body=BODY, late_s=840), BODY)),
        ("signed 14 minutes ahead", lambda f: wire(f.signed(body=BODY, late_s=-840), BODY)),
        ("presigned for a week", lambda f: f.bare("PUT", f.presigned("PUT", expires_s=604_800), body=BODY)),
        ("spaces in the query", lambda f: wire(f.signed(query=[("x-id", "a b")], body=BODY), BODY)),
    ],
)
def test_the_forge_makes_what_is_right(clients: list[Client], bucket: str, name: str, make: object):
    forge = Forge(clients[0].host, clients[0].credentials, bucket, "k")
    reply = answer(clients[0], make(forge))  # type: ignore[operator]
    assert reply is not None and reply.status == 200, (name, reply)
    assert clients[1].get(bucket, "k").body == BODY
