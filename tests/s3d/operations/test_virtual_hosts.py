"""Buckets named by the Host header: the same objects as by the path, by every kind of signature, and never more."""

from collections.abc import AsyncIterator
from pathlib import Path
from unittest import mock

import pytest
from botocore.auth import HmacV1QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.s3d.live import Live, gateway
from tests.s3d.protocol.signing import ACCESS_KEY, NOW_S, SECRET, Wire, presigned, signed

DOMAIN = "s3.example.com"


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    async with gateway(tmp_path, domains=(DOMAIN,)) as made:
        yield made


def at(bucket: str, port: int = 8081) -> dict[str, str]:
    return {"Host": f"{bucket}.{DOMAIN}:{port}"}


async def test_one_object_by_both_names(live: Live) -> None:
    await live.ok("PUT", "/", headers=at("photos"))
    await live.ok("PUT", "/a b/ü+%", b"one", headers=at("photos"))
    assert (await live.ok("GET", "/photos/a b/ü+%")).body == b"one"
    await live.ok("PUT", "/photos/a b/ü+%", b"two")
    assert (await live.ok("GET", "/a b/ü+%", headers=at("PHOTOS"))).body == b"two"
    assert (await live.ok("GET", "/", headers=at("photos"))).texts("Contents/Key") == ["a b/ü+%"]
    assert (await live.ok("GET", "/photos", headers={"Host": DOMAIN})).texts("Contents/Key") == ["a b/ü+%"]
    assert (await live.ok("GET", "/", headers={"Host": DOMAIN})).texts("Buckets/Bucket/Name")
    await live.ok("DELETE", "/a b/ü+%", headers=at("photos"))
    await live.ok("DELETE", "/", headers=at("photos"))
    assert (await live.ask("HEAD", "/photos")).status == 404


async def test_a_bucket_with_dots_and_multipart_and_copies(live: Live) -> None:
    await live.ok("PUT", "/with.dots")
    started = await live.ok("POST", "/m", query="uploads", headers=at("with.dots"))
    upload = started.text("UploadId")
    part = await live.ok(
        "PUT", "/m", b"part", query=f"partNumber=1&uploadId={upload}", headers=at("with.dots")
    )
    document = (
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber>"
        f"<ETag>{part.headers['etag']}</ETag></Part></CompleteMultipartUpload>"
    )
    whole = await live.ok(
        "POST", "/m", document.encode(), query=f"uploadId={upload}", headers=at("with.dots")
    )
    assert whole.text("Location") == f"http://with.dots.{DOMAIN}:8081/m"
    await live.ok("PUT", "/copy", headers=at("with.dots") | {"x-amz-copy-source": "/with.dots/m"})
    assert (await live.ok("GET", "/with.dots/copy")).body == b"part"


async def test_a_signature_is_for_the_host_that_it_was_made_for(live: Live) -> None:
    for bucket in ("first", "second"):
        await live.ok("PUT", f"/{bucket}")
        await live.ok("PUT", f"/{bucket}/k", bucket.encode())
    wire = signed("GET", "/k", headers=at("first"))
    assert (await live.send(wire)).body == b"first"
    moved = wire.with_header("Host", at("second")["Host"])
    assert (await live.send(moved)).code == "SignatureDoesNotMatch"
    twice = Wire("GET", "/k", (*wire.headers, ("Host", at("second")["Host"])))
    assert (await live.send(twice)).status == 400


async def test_presigned_urls_of_version_4(live: Live) -> None:
    await live.ok("PUT", "/first")
    await live.ok("PUT", "/first/k", b"body")
    wire = presigned("GET", "/k", headers=at("first"))
    assert (await live.send(wire)).body == b"body"
    await live.ok("PUT", "/second")
    moved = wire.with_header("Host", at("second")["Host"])
    assert (await live.send(moved)).code == "SignatureDoesNotMatch"


async def test_presigned_urls_of_version_2_are_for_their_bucket(live: Live) -> None:
    """Version 2 does not sign Host: its resource has the bucket instead, or a URL would open every bucket."""
    for bucket in ("first", "second"):
        await live.ok("PUT", f"/{bucket}")
        await live.ok("PUT", f"/{bucket}/k", bucket.encode())
    request = AWSRequest("GET", f"http://first.{DOMAIN}/k", auth_path="/first/k")
    with mock.patch("botocore.auth.time.time", lambda: NOW_S):
        HmacV1QueryAuth(Credentials(ACCESS_KEY, SECRET), 3_600).add_auth(request)
    target = request.url.removeprefix(f"http://first.{DOMAIN}")
    assert (await live.send(Wire("GET", target, tuple(at("first").items())))).body == b"first"
    answer = await live.send(Wire("GET", target, tuple(at("second").items())))
    assert answer.code == "SignatureDoesNotMatch"
    assert (await live.send(Wire("GET", f"/first{target}", (("Host", DOMAIN),)))).body == b"first"


async def test_keys_that_look_like_our_own_pages(live: Live) -> None:
    await live.ok("PUT", "/first")
    await live.ok("PUT", "/-/health", b"an object", headers=at("first"))
    assert (await live.ok("GET", "/-/health", headers=at("first"))).body == b"an object"
    assert (await live.ask("GET", "/-/metrics", headers=at("first"), key="")).code == "AccessDenied"
    assert (await live.ok("GET", "/-/health", key="")).body == b"alive\n"
    assert (await live.ok("GET", "/-/health", headers={"Host": DOMAIN}, key="")).body == b"alive\n"


async def test_cors_is_of_the_bucket_that_the_host_names(live: Live) -> None:
    await live.ok("PUT", "/first")
    rules = (
        "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod>"
        "<AllowedOrigin>http://a</AllowedOrigin></CORSRule></CORSConfiguration>"
    )
    await live.ok("PUT", "/", rules.encode(), query="cors", headers=at("first"))
    origin = at("first") | {"Origin": "http://a"}
    preflight = await live.ask(
        "OPTIONS", "/k", headers=origin | {"Access-Control-Request-Method": "GET"}, key=""
    )
    assert (preflight.status, preflight.headers["access-control-allow-origin"]) == (200, "http://a")
    answer = await live.ask("GET", "/k", headers=origin)
    assert (answer.code, answer.headers["access-control-allow-origin"]) == ("NoSuchKey", "http://a")


async def test_names_that_no_bucket_has(live: Live) -> None:
    for name in ("b\u00fccket", "..", "-", "ab"):
        answer = await live.send(Wire("GET", "/k", (("Host", f"{name}.{DOMAIN}"),)))
        assert answer.code == "InvalidBucketName", name
    assert (
        await live.ask("GET", "/bucket/k", headers={"Host": "bucket.elsewhere.org"})
    ).code == "NoSuchBucket"


async def test_without_domains_every_host_is_path_style(tmp_path: Path) -> None:
    async with gateway(tmp_path / "plain") as live:
        await live.ok("PUT", "/first")
        assert (await live.ok("GET", "/first", headers=at("second"))).text("Name") == "first"
