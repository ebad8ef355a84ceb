"""Bad input, bodies and headers: each gets S3's own code, and after it the store holds what it held."""

import base64
import zlib
from collections.abc import Callable, Iterator

import pytest

from bench.signing import (
    STREAMING,
    STREAMING_TRAILER,
    STREAMING_UNSIGNED_TRAILER,
    Credentials,
    chunk_digests,
    chunked_body,
    sign_chunks,
    sign_trailer,
)
from tests.integration.client import Client
from tests.integration.cluster import Cluster
from tests.integration.forge import Forge, Row, answer, meets, state_of, wire

pytestmark = pytest.mark.cluster

BODY = b"what must not be stored"
HEX = f"{len(BODY):x}".encode()
WHOLE = HEX + b"\r\n" + BODY + b"\r\n0\r\n"  # in one unsigned chunk, up to the trailers
CRC = base64.b64encode(zlib.crc32(BODY).to_bytes(4)).decode()
WRONG = {"crc32": 4, "crc32c": 4, "crc64nvme": 8, "sha1": 20, "sha256": 32}


def put(*headers: tuple[str, str], body: bytes = BODY) -> Callable[[Forge], bytes]:
    """A rightly signed PUT with these headers."""
    return lambda forge: wire(forge.signed(headers=headers, body=body), body)


def framed(*headers: tuple[str, str], body: bytes = BODY) -> Callable[[Forge], bytes]:
    """A PUT whose framing headers were not signed, so that only the framing is wrong."""
    return lambda forge: wire(forge.signed(body=BODY), body, extra=headers)


def unsigned_chunks(
    body: bytes, *, trailer: str = "", decoded: str = str(len(BODY))
) -> Callable[[Forge], bytes]:
    """A PUT in unsigned chunks: `body` is what goes over the wire."""

    def make(forge: Forge) -> bytes:
        headers = [("Content-Length", str(len(body))), ("x-amz-decoded-content-length", decoded)]
        headers += [("x-amz-trailer", trailer)] if trailer else []
        headers = [header for header in headers if header[1]]
        return wire(forge.signed(headers=headers, payload=STREAMING_UNSIGNED_TRAILER), body)

    return make


def signed_chunks(change: Callable[[bytes], bytes], decoded: int = len(BODY)) -> Callable[[Forge], bytes]:
    """A PUT in signed chunks, whose body is changed after it was signed, its Content-Length with it."""

    def make(forge: Forge) -> bytes:
        probe = change(b"".join(chunked_body(forge.signed(payload=STREAMING), BODY)))
        headers = [("Content-Length", str(len(probe))), ("x-amz-decoded-content-length", str(decoded))]
        signed = forge.signed(headers=headers, payload=STREAMING)
        return wire(signed, change(b"".join(chunked_body(signed, BODY))))

    return make


def signed_trailer(*, crc: str = CRC, signature: str = "") -> Callable[[Forge], bytes]:
    """A PUT in signed chunks with a signed trailer."""

    def body_of(forge: Forge, length: int) -> tuple[bytes, bytes]:
        headers = [
            ("Content-Length", str(length)),
            ("x-amz-decoded-content-length", str(len(BODY))),
            ("x-amz-trailer", "x-amz-checksum-crc32"),
        ]
        signed = forge.signed(headers=headers, payload=STREAMING_TRAILER)
        first, last = sign_chunks(signed, chunk_digests(BODY))
        line = f"x-amz-checksum-crc32:{crc}".encode()
        proof = signature or sign_trailer(signed, last, line + b"\n")
        body = b"%s;chunk-signature=%s\r\n%s\r\n0;chunk-signature=%s\r\n" % (
            HEX,
            first.encode(),
            BODY,
            last.encode(),
        )
        return wire(signed), body + line + f"\r\nx-amz-trailer-signature:{proof}\r\n\r\n".encode()

    def make(forge: Forge) -> bytes:
        return b"".join(body_of(forge, len(body_of(forge, 0)[1])))

    return make


FRAMING = [
    Row(
        "a byte too few",
        lambda f: wire(f.signed(headers=[("Content-Length", str(len(BODY) + 1))], body=BODY), BODY),
        "400 IncompleteBody",
        hang_up=True,
    ),
    Row(
        "a byte too many",
        lambda f: wire(f.signed(headers=[("Content-Length", str(len(BODY) - 1))], body=BODY), BODY),
        "400 XAmzContentSHA256Mismatch|400 BadRequest",
    ),
    Row("length and chunks", framed(("Transfer-Encoding", "chunked")), "400 *"),
    Row("two lengths", framed(("Content-Length", "5")), "400 *"),
    Row(
        "a length that is none",
        lambda f: wire(f.signed(body=BODY), BODY, change={"content-length": "1_0"}),
        "400 *",
    ),
    Row(
        "a negative length",
        lambda f: wire(f.signed(body=BODY), BODY, change={"content-length": "-1"}),
        "400 *",
    ),
    Row(
        "no length",
        lambda f: wire(f.signed(), change={"content-length": None}),
        "411 MissingContentLength|403 *",
    ),
    Row(
        "chunks of HTTP",
        lambda f: wire(
            f.signed(body=BODY),
            b"%s\r\n%s\r\n0\r\n\r\n" % (HEX, BODY),
            change={"content-length": None},
            extra=[("Transfer-Encoding", "chunked")],
        ),
        "400 *|403 *|411 *|501 *",
    ),
    Row("identity", framed(("Transfer-Encoding", "identity")), "400 *|501 *"),
    Row(
        "a bare line feed",
        lambda f: wire(f.signed(body=BODY), BODY).replace(b"\r\nHost", b"\nHost", 1),
        "400 *|403 *",
    ),
    Row("a folded header", framed(("x-folded", "a\r\n b")), "400 *"),
    Row("a NUL in a header", framed(("x-nul", "a\0b")), "400 *"),
    Row(
        "a header without a colon",
        lambda f: wire(f.signed(body=BODY), BODY).replace(b"\r\nHost", b"\r\nnonsense\r\nHost", 1),
        "400 *",
    ),
    Row("129 headers", framed(*((f"x-many-{i}", "1") for i in range(129))), "400 *|431 *"),
    Row("a header of 100 KiB", framed(("x-long", "a" * 102_400)), "400 *|431 *"),
]
CHUNKS = [
    *(
        Row(f"a chunk of size {size!r}", unsigned_chunks(size + b"\r\n" + BODY + b"\r\n0\r\n\r\n"), "400 *")
        for size in (
            b"-1",
            b"0x10",
            b"1_0",
            b"FFFFFFFFFFFFFFFF",
            b"",
            b"0" * 15 + HEX,
            b" " + HEX,
            "٣".encode(),
        )
    ),
    Row(
        "an end before the last chunk",
        unsigned_chunks(HEX + b"\r\n" + BODY + b"\r\n"),
        "400 IncompleteBody",
    ),
    Row("more than was said", unsigned_chunks(WHOLE + b"\r\n", decoded="5"), "400 *"),
    Row(
        "less than was said",
        unsigned_chunks(WHOLE + b"\r\n", decoded="99"),
        "400 IncompleteBody",
    ),
    Row(
        "said to be empty",
        unsigned_chunks(WHOLE + b"\r\n", decoded="0"),
        "400 IncompleteBody",
    ),
    Row(
        "no decoded length",
        unsigned_chunks(WHOLE + b"\r\n", decoded=""),
        "411 MissingContentLength|400 *",
    ),
    Row("a huge decoded length", unsigned_chunks(b"0\r\n\r\n", decoded="9" * 19), "400 *"),
    Row("a decoded length that is none", unsigned_chunks(b"0\r\n\r\n", decoded="1e3"), "400 InvalidArgument"),
    Row(
        "the last chunk unsigned",
        signed_chunks(lambda body: body[:-86] + b"0\r\n\r\n"),
        "400 *|403 SignatureDoesNotMatch",
    ),
    Row("no last chunk", signed_chunks(lambda body: body[:-86]), "400 IncompleteBody"),
    Row(
        "another byte in a chunk",
        signed_chunks(lambda body: body.replace(b"must not", b"mUst not")),
        "403 SignatureDoesNotMatch",
    ),
    Row(
        "a trailer that was not declared",
        unsigned_chunks(WHOLE + b"x-amz-checksum-crc32:" + CRC.encode() + b"\r\n\r\n"),
        "400 *",
    ),
    Row(
        "a trailer that never comes",
        unsigned_chunks(WHOLE + b"\r\n", trailer="x-amz-checksum-crc32"),
        "400 *",
    ),
    Row(
        "a trailer that is wrong",
        unsigned_chunks(
            WHOLE + b"x-amz-checksum-crc32:AAAAAA==\r\n\r\n",
            trailer="x-amz-checksum-crc32",
        ),
        "400 BadDigest",
    ),
    Row("a signed trailer that is wrong", signed_trailer(crc="AAAAAA=="), "400 BadDigest"),
    Row(
        "a trailer's signature that is wrong", signed_trailer(signature="0" * 64), "403 SignatureDoesNotMatch"
    ),
    Row(
        "chunks said in no header",
        lambda f: wire(
            f.signed(headers=[("x-amz-decoded-content-length", "1")], payload="STREAMING-MAGIC"), b""
        ),
        "400 InvalidArgument",
    ),
]
DIGESTS = [
    Row("an MD5 that is no base64", put(("Content-MD5", "?")), "400 InvalidDigest"),
    Row("a short MD5", put(("Content-MD5", "AAAA")), "400 InvalidDigest"),
    Row("an empty MD5", put(("Content-MD5", "")), "400 InvalidDigest"),
    Row("a wrong MD5", put(("Content-MD5", base64.b64encode(bytes(16)).decode())), "400 BadDigest"),
    *(
        Row(
            f"a wrong {name}",
            put((f"x-amz-checksum-{name}", base64.b64encode(bytes(size)).decode())),
            "400 BadDigest",
        )
        for name, size in WRONG.items()
    ),
    *(
        Row(f"a short {name}", put((f"x-amz-checksum-{name}", "AA==")), "400 InvalidRequest")
        for name in WRONG
    ),
    Row(
        "two checksums",
        put(("x-amz-checksum-crc32", CRC), ("x-amz-checksum-sha1", "A" * 27 + "=")),
        "400 InvalidRequest",
    ),
    Row("metadata of 2 KiB and more", put(("x-amz-meta-a", "x" * 2_049)), "400 MetadataTooLarge"),
    Row("a storage class that is none", put(("x-amz-storage-class", "COLDEST")), "400 InvalidStorageClass"),
]


@pytest.fixture(scope="module")
def forge(shared_cluster: Cluster, administrator: Credentials) -> Iterator[Forge]:
    """A bucket with one object."""
    with Client(shared_cluster.endpoint(), administrator) as client:
        assert client.request("PUT", "/bad-bodies").status == 200
        assert client.put("bad-bodies", "victim", b"as it was").status == 200
        yield Forge(client.host, administrator, "bad-bodies", "victim")


@pytest.mark.parametrize("row", FRAMING + CHUNKS + DIGESTS, ids=str)
def test_bad_input_gets_its_code_and_changes_nothing(forge: Forge, clients: list[Client], row: Row):
    before = state_of(clients[1], [forge.bucket])
    reply = answer(clients[0], row.make(forge), hang_up=row.hang_up)
    assert meets(reply, row.expected), (row.expected, reply)
    assert state_of(clients[1], [forge.bucket]) == before


def test_what_the_forge_chunks_is_right(clients: list[Client], bucket: str):
    forge = Forge(clients[0].host, clients[0].credentials, bucket, "k")
    trailed = WHOLE + b"x-amz-checksum-crc32:" + CRC.encode() + b"\r\n\r\n"
    makers = (
        unsigned_chunks(WHOLE + b"\r\n"),
        unsigned_chunks(trailed, trailer="x-amz-checksum-crc32"),
        signed_chunks(bytes),
        signed_trailer(),
        put(("x-amz-checksum-crc32", CRC)),
    )
    for make in makers:
        reply = answer(clients[0], make(forge))
        assert reply and reply.status == 200, reply
        assert clients[1].get(bucket, "k").body == BODY
        assert clients[1].delete(bucket, "k").status == 204


@pytest.mark.parametrize(
    ("sent", "kept"), [("gzip", "gzip"), ("aws-chunked,gzip", "gzip"), ("aws-chunked", None)]
)
def test_an_encoding_is_kept_and_never_undone(
    clients: list[Client], bucket: str, sent: str, kept: str | None
):
    compressed = zlib.compress(BODY)
    assert clients[0].put(bucket, "k", compressed, [("Content-Encoding", sent)]).status == 200
    reply = clients[1].get(bucket, "k")
    assert reply.body == compressed and reply.headers.get("content-encoding") == kept


def test_a_client_that_waits_and_then_hangs_up_stores_nothing(forge: Forge, clients: list[Client]):
    before = state_of(clients[1], [forge.bucket])
    signed = forge.signed(body=BODY, headers=[("Expect", "100-continue")])
    reply = answer(clients[0], wire(signed), hang_up=True)
    assert meets(reply, "400 *"), reply
    assert state_of(clients[1], [forge.bucket]) == before
