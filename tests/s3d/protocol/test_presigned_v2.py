"""Presigned URLs of Signature Version 2: what botocore signs is taken, anything else is refused."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from s3d.protocol import presigned_v2
from s3d.protocol.authorization import Mechanism
from s3d.protocol.errors import S3Error
from s3d.protocol.signature import PayloadMode
from tests.s3d.protocol.signing import (
    ACCESS_KEY,
    EMPTY_SHA256,
    NOW_S,
    SECRET,
    V2_HEADERS,
    Wire,
    presigned,
    presigned_v2_of,
)

MISMATCH = "SignatureDoesNotMatch"
DENIED = "AccessDenied"
WEEK_S = 604_800


def refusal(wire: Wire, now_s: float = NOW_S) -> S3Error:
    """With what a request is refused."""
    with pytest.raises(S3Error) as caught:
        wire.verify(now_s)
    return caught.value


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "DELETE", "POST"])
@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/bucket",
        "/bucket/",
        "/bucket/a/../b//c",
        "/bucket/%E2%82%AC%20%2B~%2A%3Facl",
        "/bucket/key?uploads",
        "/bucket/key?uploadId=a-b_c.d~e&partNumber=7",
        "/bucket?versions&acl",
        "/bucket/key?response-content-disposition=a%3B%20b%3D%22c%26d%2Be%22&acl",
    ],
)
def test_what_botocore_signs_is_taken(method: str, target: str) -> None:
    for headers in ({}, V2_HEADERS):
        verified = presigned_v2_of(method, target, headers=headers).verify()
        assert (verified.mechanism, verified.access_key) == (Mechanism.QUERY_V2, ACCESS_KEY)
        assert verified.payload is PayloadMode.UNSIGNED


def test_the_order_of_the_query_means_nothing() -> None:
    """The sub-resources are signed sorted; the request is the same one."""
    path, _, query = presigned_v2_of().target.partition("?")
    wire = replace(presigned_v2_of(), target=f"{path}?{'&'.join(reversed(query.split('&')))}")
    assert wire.verify().access_key == ACCESS_KEY


def test_a_hash_of_the_body_may_be_signed() -> None:
    wire = presigned_v2_of(headers={"x-amz-content-sha256": EMPTY_SHA256})
    assert (wire.verify().payload, wire.verify().sha256) == (PayloadMode.WHOLE, EMPTY_SHA256)


def test_life_ends_to_the_second_and_within_a_week() -> None:
    wire = presigned_v2_of(expires_s=60)
    for now_s in (NOW_S, NOW_S + 60):
        assert wire.verify(now_s).access_key == ACCESS_KEY
    expired = refusal(wire, NOW_S + 60.001)
    assert (expired.code, expired.message) == (DENIED, "Request has expired")
    assert presigned_v2_of(expires_s=WEEK_S).verify().access_key == ACCESS_KEY
    assert refusal(presigned_v2_of(expires_s=WEEK_S + 1)).code == DENIED
    assert refusal(presigned_v2_of(expires_s=10**9)).code == DENIED
    assert refusal(presigned_v2_of(expires_s=-1_000)).message == "Request has expired"


def edit(old: str, new: str) -> Callable[[Wire], Wire]:
    """A change of the target, where `old` comes once."""

    def change(wire: Wire) -> Wire:
        assert wire.target.count(old) == 1
        return replace(wire, target=wire.target.replace(old, new))

    return change


def header(name: str, value: str | None) -> Callable[[Wire], Wire]:
    """A header replaced, added, or gone."""
    return lambda wire: wire.with_header(name, value)


EXPIRES = f"Expires={NOW_S + 3_600}"
EDITS: dict[str, tuple[Callable[[Wire], Wire], str]] = {
    "another method": (lambda w: replace(w, method="GET"), MISMATCH),
    "another key": (edit("some/key", "some/kez"), MISMATCH),
    "another bucket": (edit("/bucket/", "/bucker/"), MISMATCH),
    "another spelling of the key": (edit("some/key", "some%2Fkey"), MISMATCH),
    "another version": (edit("versionId=v1", "versionId=v2"), MISMATCH),
    "no version": (edit("versionId=v1&", ""), MISMATCH),
    "a sub-resource more": (edit("?", "?acl&"), MISMATCH),
    "an override more": (edit("?", "?response-expires=0&"), MISMATCH),
    "another override": (edit("a%2Fb", "a%2Fc"), MISMATCH),
    "an unsigned parameter": (edit("?", "?list-type=2&"), DENIED),
    "a name in another case": (edit("?", "?ACL&"), DENIED),
    "a parameter of nobody": (edit("?", "?x-id=PutObject&"), DENIED),
    "a parameter of version 4": (edit("?", "?X-Amz-Security-Token=t&"), DENIED),
    "an x-amz parameter more": (edit("?", "?x-amz-tagging=a&"), DENIED),
    "an x-amz parameter more, and its header": (
        lambda w: header("x-amz-tagging", "a")(edit("?", "?x-amz-tagging=a&")(w)),
        MISMATCH,
    ),
    "another x-amz parameter": (edit("x-amz-acl=private", "x-amz-acl=public-read"), DENIED),
    "an x-amz header more": (header("x-amz-tagging", "a"), MISMATCH),
    "an empty x-amz header more": (header("x-amz-tagging", ""), MISMATCH),
    "another x-amz header": (header("x-amz-acl", "public-read"), DENIED),
    "an x-amz header less": (header("x-amz-acl", None), DENIED),
    "another content type": (header("Content-Type", "text/html"), DENIED),
    "no content type": (header("Content-Type", None), DENIED),
    "no MD5": (header("Content-MD5", None), DENIED),
    "a token of nobody": (header("x-amz-security-token", "t"), MISMATCH),
    "a longer life": (edit(EXPIRES, f"Expires={NOW_S + 3_601}"), MISMATCH),
    "no life": (edit(f"&{EXPIRES}", ""), DENIED),
    "an empty life": (edit(EXPIRES, "Expires="), DENIED),
    "a life below zero": (edit(EXPIRES, "Expires=-1"), DENIED),
    "a life with a sign": (edit("Expires=", "Expires=%2B"), DENIED),
    "a life from zero on": (edit("Expires=", "Expires=0"), DENIED),
    "a life with an underscore": (edit("Expires=1", "Expires=1_"), DENIED),
    "a life in other digits": (edit("Expires=1", "Expires=%D9%A1"), DENIED),
    "a life without end": (edit("Expires=", "Expires=9999999999"), DENIED),
    "no signature": (edit("&Signature=", "&Sig="), DENIED),
    "an empty signature": (edit("&Signature=", "&Signature=&x-amz-meta-a="), "InvalidArgument"),
    "half a signature": (edit("%3D&", "&"), DENIED),
    "another signature": (lambda w: replace(w, target=re.sub("Signature=[^&]{2}", "Signature=00", w.target)), MISMATCH),
    "no key id": (edit(f"AWSAccessKeyId={ACCESS_KEY}", ""), DENIED),
    "an odd key id": (edit(ACCESS_KEY, f"{ACCESS_KEY}%0A"), DENIED),
    "another's key id": (edit(ACCESS_KEY, "AKOTHER"), MISMATCH),
    "nobody's key id": (edit(ACCESS_KEY, "AKNOBODY"), "InvalidAccessKeyId"),
    "a parameter twice": (edit("?", "?versionId=v1&"), "InvalidArgument"),
    "a header's signature too": (header("Authorization", f"AWS {ACCESS_KEY}:sig"), "InvalidArgument"),
    "a mark of version 4 too": (edit("?", "?X-Amz-Signature=0&"), "InvalidArgument"),
    "unsigned chunks": (header("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"), DENIED),
    "a payload unsigned by name": (header("x-amz-content-sha256", "UNSIGNED-PAYLOAD"), MISMATCH),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_one_edit_of_a_presigned_request(name: str) -> None:
    change, code = EDITS[name]
    wire = presigned_v2_of()
    assert wire.verify().access_key == ACCESS_KEY
    assert refusal(change(wire)).code == code


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (presigned_v2_of(keys=(ACCESS_KEY, "wrong")), MISMATCH),
        (presigned_v2_of(keys=("AKNOBODY", SECRET)), "InvalidAccessKeyId"),
        (presigned_v2_of(headers={"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}), DENIED),
        (presigned_v2_of(headers={"x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"}), DENIED),
        (presigned_v2_of(headers={"x-amz-security-token": "t"}), "InvalidToken"),
        (presigned_v2_of(target="/bucket?list-type=2"), DENIED),
    ],
)
def test_what_is_refused_as_it_is_signed(wire: Wire, code: str) -> None:
    assert refusal(wire).code == code


def test_version_4_takes_no_mark_of_version_2() -> None:
    wire = presigned("GET", "/bucket/key")
    for mark in ("Signature=abc", f"AWSAccessKeyId={ACCESS_KEY}"):
        assert refusal(replace(wire, target=f"{wire.target}&{mark}")).code == "InvalidArgument"


def test_unknown_key_does_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, sign = [], presigned_v2.sign
    monkeypatch.setattr(presigned_v2, "sign", lambda *args: seen.append(args) or sign(*args))
    assert refusal(presigned_v2_of(keys=("AKNOBODY", SECRET))).code == "InvalidAccessKeyId"
    assert len(seen) == 1


def test_signatures_are_not_shown() -> None:
    claim = presigned_v2.read_presigned(presigned_v2_of().request())
    assert claim.signature not in repr(claim)
    mismatch = refusal(presigned_v2_of(keys=(ACCESS_KEY, "wrong")))
    body = mismatch.to_xml(resource="/bucket/some/key", request_id="r", host_id="h").decode()
    assert "<StringToSign>PUT\nmd5\ntext/plain\n" in body
    assert "Signature=" not in body
