"""PutObject, GetObject, HeadObject: what goes in comes out, and nothing of what is refused stays."""

import base64
import hashlib
from dataclasses import replace

import pytest

from tests.s3d.live import Live
from tests.s3d.protocol.signing import presigned, signed

BODY = bytes(range(256)) * 1_000
ETAG = f'"{hashlib.md5(BODY).hexdigest()}"'


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 196_608, 196_609, 3_145_728 * 2 + 7])
async def test_what_was_put_is_got(live: Live, size: int) -> None:
    body = hashlib.sha256(b"x").digest() * (size // 32 + 1)
    body = body[:size]
    put = await live.ok("PUT", "/bucket/key", body)
    got = await live.ok("GET", "/bucket/key")
    head = await live.ok("HEAD", "/bucket/key")
    assert got.body == body
    assert (
        put.headers["etag"]
        == got.headers["etag"]
        == head.headers["etag"]
        == f'"{hashlib.md5(body).hexdigest()}"'
    )
    assert head.headers["content-length"] == str(size)
    assert head.body == b""
    assert got.headers["last-modified"] == head.headers["last-modified"]


async def test_what_was_said_of_an_object_is_said_again(live: Live) -> None:
    said = {
        "Content-Type": "text/plain; charset=utf-8",
        "Cache-Control": "no-cache",
        "Content-Disposition": 'attachment; filename="a b"',
        "Content-Language": "de",
        "Content-Encoding": "gzip",
        "Expires": "Thu, 01 Dec 2044 16:00:00 GMT",
        "x-amz-meta-Colour": "blue, green",
    }
    await live.ok("PUT", "/bucket/key", BODY, headers=said)
    for method in ("GET", "HEAD"):
        answer = await live.ok(method, "/bucket/key")
        assert {name: answer.headers[name.lower()] for name in said} == said
        assert answer.headers["accept-ranges"] == "bytes"


async def test_aws_chunked_is_no_property_of_the_object(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", BODY, headers={"Content-Encoding": "aws-chunked"})
    assert "content-encoding" not in (await live.ok("GET", "/bucket/key")).headers


async def test_metadata_has_a_limit(live: Live) -> None:
    answer = await live.ask("PUT", "/bucket/key", BODY, headers={"x-amz-meta-a": "x" * 2_048})
    assert (answer.status, answer.code) == (400, "MetadataTooLarge")
    await live.ok("PUT", "/bucket/key", BODY, headers={"x-amz-meta-a": "x" * 2_047})


async def test_kept_headers_have_a_limit_together(live: Live) -> None:
    """All of them stand in the record that salvage reads, which has one too."""
    long = {"Cache-Control": "x" * 4_096, "Content-Disposition": "y" * 4_096, "Content-Type": "a"}
    answer = await live.ask("PUT", "/bucket/key", BODY, headers=long)
    assert (answer.status, answer.code) == (400, "MetadataTooLarge")
    assert (await live.ask("HEAD", "/bucket/key")).status == 404
    await live.ok("PUT", "/bucket/key", BODY, headers=long | {"Content-Disposition": "y" * 4_095})


@pytest.mark.parametrize(
    "header",
    [
        {"x-amz-server-side-encryption": "AES256"},
        {"x-amz-object-lock-mode": "GOVERNANCE"},
    ],
)
async def test_what_is_not_built_is_not_ignored(live: Live, header: dict[str, str]) -> None:
    answer = await live.ask("PUT", "/bucket/key", BODY, headers=header)
    assert (answer.status, answer.code) == (501, "NotImplemented")
    assert live.shards() == 0


@pytest.mark.parametrize(
    ("sent", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-9", 5, 10),
        ("bytes=255990-", 255_990, 256_000),
        ("bytes=-7", 255_993, 256_000),
        ("bytes=65530-131080", 65_530, 131_081),
        ("bytes=0-99999999", 0, 256_000),
    ],
)
async def test_ranges(live: Live, sent: str, start: int, stop: int) -> None:
    await live.ok("PUT", "/bucket/key", BODY)
    got = await live.ok("GET", "/bucket/key", headers={"Range": sent})
    head = await live.ok("HEAD", "/bucket/key", headers={"Range": sent})
    assert got.status == head.status == 206
    assert got.body == BODY[start:stop]
    assert got.headers["content-range"] == head.headers["content-range"] == f"bytes {start}-{stop - 1}/256000"
    assert head.headers["content-length"] == str(stop - start)


@pytest.mark.parametrize("sent", ["bytes=256000-", "bytes=-0", "bytes=300000-300001"])
async def test_ranges_behind_the_end(live: Live, sent: str) -> None:
    await live.ok("PUT", "/bucket/key", BODY)
    answer = await live.ask("GET", "/bucket/key", headers={"Range": sent})
    assert (answer.status, answer.code) == (416, "InvalidRange")


@pytest.mark.parametrize("sent", ["bytes=5-2", "bytes=0-1,5-6", "lines=0-1", "bytes=\u0660-\u0663"])
async def test_a_range_that_cannot_be_read_is_ignored(live: Live, sent: str) -> None:
    await live.ok("PUT", "/bucket/key", BODY)
    got = await live.ok("GET", "/bucket/key", headers={"Range": sent})
    assert (got.status, len(got.body)) == (200, len(BODY))


async def test_a_small_range_asks_one_node_only(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", BODY)
    before = sum(node.gets for node in live.nodes.values())
    await live.ok("GET", "/bucket/key", headers={"Range": "bytes=10-20"})
    assert sum(node.gets for node in live.nodes.values()) - before == 1


async def test_absent_things(live: Live) -> None:
    for method, path, code in (
        ("GET", "/bucket/absent", "NoSuchKey"),
        ("GET", "/absent/key", "NoSuchBucket"),
        ("PUT", "/absent/key", "NoSuchBucket"),
    ):
        answer = await live.ask(method, path, BODY if method == "PUT" else b"")
        assert (answer.status, answer.code) == (404, code)
    head = await live.ask("HEAD", "/bucket/absent")
    assert (head.status, head.body) == (404, b"")
    assert live.shards() == 0


async def test_the_version_null(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", BODY)
    got = await live.ok("GET", "/bucket/key", query="versionId=null")
    assert got.body == BODY
    assert "x-amz-version-id" not in got.headers
    absent = await live.ask("GET", "/bucket/key", query="versionId=00000000000000ff")
    assert (absent.status, absent.code) == (404, "NoSuchVersion")


async def test_an_overwrite_that_fails_leaves_the_old_object(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", BODY)
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    answer = await live.ask("PUT", "/bucket/key", b"new", headers={"Content-MD5": wrong})
    assert (answer.status, answer.code) == (400, "BadDigest")
    assert (await live.ok("GET", "/bucket/key")).body == BODY


async def test_a_body_that_is_not_what_was_signed_leaves_nothing(live: Live) -> None:
    wire = signed("PUT", "/bucket/key", body=b"a" * 9)
    answer = await live.send(wire, b"b" * 9)
    assert (answer.status, answer.code) == (400, "XAmzContentSHA256Mismatch")
    assert live.shards() == 0
    assert (await live.ask("GET", "/bucket/key")).status == 404


async def test_a_large_body_that_turns_out_wrong_is_condemned(live: Live) -> None:
    body = bytes(3 * 1_048_576 * 2 + 5)
    answer = await live.send(signed("PUT", "/bucket/key", body=b"other"), body)
    assert answer.code == "XAmzContentSHA256Mismatch"
    assert live.shards() > 0
    with live.store.state.view() as view:
        condemned = {row.blob for _, row in view.condemned(live.store.clock_us())}
    assert {blob for node in live.nodes.values() for blob, _ in node.stored} == condemned


async def test_presigned(live: Live) -> None:
    put = await live.send(presigned("PUT", "/bucket/key"), BODY)
    assert put.status == 200
    got = await live.send(presigned("GET", "/bucket/key?response-content-type=a%2Fb&response-expires=never"))
    assert (got.body, got.headers["content-type"], got.headers["expires"]) == (BODY, "a/b", "never")
    late = await live.send(presigned("GET", "/bucket/key", expires_s=10, at_s=live.clock[0] - 11))
    assert (late.status, late.code) == (403, "AccessDenied")
    other = await live.send(replace(presigned("GET", "/bucket/key"), method="DELETE"))
    assert (other.status, other.code) == (403, "SignatureDoesNotMatch")


async def test_response_overrides_take_no_line_breaks_and_no_strangers(live: Live) -> None:
    await live.ok("PUT", "/public/key", BODY)
    split = await live.ask("GET", "/public/key", query="response-content-type=a\r\nx-evil: 1")
    assert (split.status, split.code) == (400, "InvalidArgument")
    anonymous = await live.ask("GET", "/public/key", query="response-content-type=a", key="")
    assert (anonymous.status, anonymous.code) == (400, "InvalidRequest")


async def test_too_large_is_refused_before_the_body(live: Live) -> None:
    wire = signed("PUT", "/bucket/key", headers={"Expect": "100-continue"}, body=b"")
    answer = await live.send(wire, length=(5 << 30) + 1)
    assert (answer.status, answer.code) == (400, "EntityTooLarge")


async def test_the_reply_names_the_request(live: Live) -> None:
    first, second = await live.ask("GET", "/bucket/absent"), await live.ask("GET", "/bucket/absent")
    assert first.text("RequestId") == first.headers["x-amz-request-id"] != second.headers["x-amz-request-id"]
    assert first.text("Resource") == "/bucket/absent"
    assert first.headers["server"] and first.headers["date"] and first.headers["x-amz-id-2"]
