"""Signature Version 2 on a gateway: what it signs is done, what it does not sign is not."""

import base64
import hashlib
from dataclasses import replace

import pytest

from tests.s3d.live import Live
from tests.s3d.protocol.signing import NOW_S, Wire, signed, signed_v2

BODY = b"the body"
SHA256 = {"x-amz-content-sha256": hashlib.sha256(BODY).hexdigest()}
MD5 = {"Content-MD5": base64.b64encode(hashlib.md5(BODY).digest()).decode()}


def of(method: str, target: str, **headers: str) -> Wire:
    """A request without the headers that a test's default has."""
    return signed_v2(method, target, headers=headers)


async def test_an_object_comes_and_goes(live: Live) -> None:
    for claims in ({}, SHA256, MD5, {"Content-Type": "a/b", "x-amz-meta-a": "b"}):
        assert (await live.send(signed_v2("PUT", "/bucket/key", headers=claims), BODY)).status == 200
        got = await live.send(of("GET", "/bucket/key?response-content-type=c%2Fd"))
        assert (got.body, got.headers["content-type"]) == (BODY, "c/d")
    listed = await live.send(of("GET", "/bucket"))
    assert listed.texts("Contents/Key") == ["key"]
    assert (await live.send(of("DELETE", "/bucket/key"))).status == 204
    assert (await live.send(of("HEAD", "/bucket/key"))).status == 404


@pytest.mark.parametrize(
    ("claims", "code"), [(SHA256, "XAmzContentSHA256Mismatch"), (MD5, "BadDigest")], ids=["sha256", "md5"]
)
async def test_what_is_said_of_a_body_is_checked(live: Live, claims: dict[str, str], code: str) -> None:
    answer = await live.send(signed_v2("PUT", "/bucket/key", headers=claims), b"another!")
    assert (answer.status, answer.code) == (400, code)
    assert (await live.ask("GET", "/bucket/key")).status == 404


async def test_a_request_that_was_seen_does_nothing_else(live: Live) -> None:
    """Each of these is a request that was signed, with a change that Version 2 does not sign or cannot tell."""
    await live.ok("PUT", "/bucket", b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
                  query="versioning")  # fmt: skip
    first = (await live.ok("PUT", "/bucket/key", BODY)).headers["x-amz-version-id"]
    await live.ok("PUT", "/bucket/key", b"newer")
    one = of("GET", f"/bucket/key?response-content-type=a&versionId={first}")
    assert (await live.send(one)).body == BODY
    turned = {
        "the live version": replace(one, target=f"/bucket/key?response-content-type=a%26versionId%3D{first}"),
        "a list of another part": replace(of("GET", "/bucket"), target="/bucket?prefix=secret"),
        "a list of another kind": replace(of("GET", "/bucket"), target="/bucket?list-type=2"),
        "the attributes": replace(
            of("GET", "/bucket/key", **{"x-amz-object-attributes": "ETag"}), target="/bucket/key?attributes"
        ),
        "a copy": of("PUT", "/bucket/copy").with_header("x-amz-copy-source", "/bucket/key"),
        "a public object": of("PUT", "/bucket/key").with_header("x-amz-acl", "public-read"),
        "settings of today": replace(of("PUT", "/bucket"), target="/bucket?publicAccessBlock"),
    }
    for name, wire in turned.items():
        assert ((await live.send(wire)).status, name) == (403, name)
    live.clock[0] = NOW_S + 901
    assert (await live.send(one)).code == "RequestTimeTooSkewed"


async def test_one_mechanism(live: Live) -> None:
    wire = of("PUT", "/bucket/key")
    four = signed("PUT", "/bucket/key").header("Authorization")
    for both in (
        replace(wire, headers=(*wire.headers, ("Authorization", four))),
        replace(wire, target=f"{wire.target}?X-Amz-Signature=a"),
        replace(wire, target=f"{wire.target}?Signature=a"),
    ):
        answer = await live.send(both, BODY)
        assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert live.shards() == 0
