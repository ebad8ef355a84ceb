"""Signature Version 2, in URLs and in headers: what botocore signs is taken, anything else is refused."""

import re
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from urllib.parse import quote

import pytest

from s3d.protocol import signature_v2
from s3d.protocol.authorization import Mechanism
from s3d.protocol.errors import S3Error
from s3d.protocol.signature import PayloadMode
from tests.s3d.protocol.signing import (
    ACCESS_KEY,
    EMPTY_SHA256,
    NOW_S,
    SECRET,
    V2_HEADERS,
    V2_TARGET,
    Wire,
    presigned,
    presigned_v2_of,
    resigned_v2,
    signed,
    signed_v2,
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
        verified = signed_v2(method, target, headers=headers).verify()
        assert (verified.mechanism, verified.access_key) == (Mechanism.HEADER_V2, ACCESS_KEY)
        assert verified.payload is PayloadMode.UNSIGNED


def test_the_order_of_the_query_means_nothing() -> None:
    """The sub-resources are signed sorted; the request is the same one."""
    path, _, query = presigned_v2_of().target.partition("?")
    wire = replace(presigned_v2_of(), target=f"{path}?{'&'.join(reversed(query.split('&')))}")
    assert wire.verify().access_key == ACCESS_KEY


def test_some_end_the_path_of_a_bucket_with_a_slash_when_they_sign() -> None:
    for sign in (signed_v2, presigned_v2_of):
        for query in ("", "?acl"):
            wire = sign("PUT", f"/bucket/{query}")
            bare = replace(wire, target=wire.target.replace("/bucket/", "/bucket", 1))
            assert bare.verify().access_key == wire.verify().access_key == ACCESS_KEY
    assert refusal(replace(signed_v2("GET", "/bucket/key/"), target="/bucket/key")).code == MISMATCH
    assert refusal(replace(signed_v2("GET", "/bucket"), target="/bucket/")).code == MISMATCH
    assert refusal(replace(signed_v2("GET", "//"), target="/")).code == MISMATCH


def test_a_hash_of_the_body_may_be_signed() -> None:
    for sign in (presigned_v2_of, signed_v2):
        wire = sign(headers={"x-amz-content-sha256": EMPTY_SHA256})
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
BOTH_EDITS: dict[str, tuple[Callable[[Wire], Wire], str]] = {
    "another method": (lambda w: replace(w, method="GET"), MISMATCH),
    "another key": (edit("some/key", "some/kez"), MISMATCH),
    "another bucket": (edit("/bucket/", "/bucker/"), MISMATCH),
    "another spelling of the key": (edit("some/key", "some%2Fkey"), MISMATCH),
    "another version": (edit("versionId=v1", "versionId=v2"), MISMATCH),
    "no version": (edit("versionId=v1&", ""), MISMATCH),
    "a sub-resource more": (edit("?", "?acl&"), MISMATCH),
    "an override more": (edit("?", "?response-expires=0&"), MISMATCH),
    "a name in another case": (edit("?", "?ACL&"), DENIED),
    "a parameter of nobody": (edit("?", "?x-id=PutObject&"), DENIED),
    "an empty x-amz header more": (header("x-amz-tagging", ""), MISMATCH),
    "a token of nobody": (header("x-amz-security-token", "t"), MISMATCH),
    "a mark of version 4 too": (edit("?", "?X-Amz-Signature=0&"), "InvalidArgument"),
    "unsigned chunks": (header("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"), DENIED),
    "a payload unsigned by name": (header("x-amz-content-sha256", "UNSIGNED-PAYLOAD"), MISMATCH),
}
EDITS: dict[str, tuple[Callable[[Wire], Wire], str]] = BOTH_EDITS | {
    "another override": (edit("a%2Fb", "a%2Fc"), MISMATCH),
    "an unsigned parameter": (edit("?", "?list-type=2&"), DENIED),
    "a parameter of version 4": (edit("?", "?X-Amz-Security-Token=t&"), DENIED),
    "an x-amz parameter more": (edit("?", "?x-amz-tagging=a&"), DENIED),
    "an x-amz parameter more, and its header": (
        lambda w: header("x-amz-tagging", "a")(edit("?", "?x-amz-tagging=a&")(w)),
        MISMATCH,
    ),
    "another x-amz parameter": (edit("x-amz-acl=private", "x-amz-acl=public-read"), DENIED),
    "an x-amz header more": (header("x-amz-tagging", "a"), MISMATCH),
    "another x-amz header": (header("x-amz-acl", "public-read"), DENIED),
    "an x-amz header less": (header("x-amz-acl", None), DENIED),
    "another content type": (header("Content-Type", "text/html"), DENIED),
    "no content type": (header("Content-Type", None), DENIED),
    "no MD5": (header("Content-MD5", None), DENIED),
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
    seen, sign = [], signature_v2.sign
    monkeypatch.setattr(signature_v2, "sign", lambda *args: seen.append(args) or sign(*args))
    for wire in (presigned_v2_of(keys=("AKNOBODY", SECRET)), signed_v2(keys=("AKNOBODY", SECRET))):
        assert refusal(wire).code == "InvalidAccessKeyId"
    assert len(seen) == 2


def test_signatures_are_not_shown() -> None:
    claim = signature_v2.read_presigned(presigned_v2_of().request())
    assert claim.signature not in repr(claim)
    for wire in (presigned_v2_of(keys=(ACCESS_KEY, "wrong")), signed_v2(keys=(ACCESS_KEY, "wrong"))):
        body = refusal(wire).to_xml(resource="/bucket/some/key", request_id="r", host_id="h").decode()
        assert "<StringToSign>PUT\nmd5\ntext/plain\n" in body
        assert "Signature=" not in body
        assert wire.request().headers.get("authorization", claim.signature)[-28:] not in body


DATE = formatdate(NOW_S, usegmt=True)
HEADER_EDITS: dict[str, tuple[Callable[[Wire], Wire], str]] = BOTH_EDITS | {
    "the version in a value": (lambda w: replace(w, target=FOLDED), DENIED),
    "a sub-resource of today": (edit("?", "?attributes&"), DENIED),
    "a listing's argument": (edit("?", "?prefix=secret&"), DENIED),
    "a listing of version 2": (edit("?", "?list-type=2&"), DENIED),
    "an end of life": (edit("?", f"?Expires={NOW_S + 60}&"), DENIED),
    "a header's value in the query": (edit("?", "?x-amz-acl=private&"), DENIED),
    "an x-amz header more": (header("x-amz-copy-source", "a/b"), MISMATCH),
    "another x-amz header": (header("x-amz-acl", "public-read"), MISMATCH),
    "an x-amz header less": (header("x-amz-acl", None), MISMATCH),
    "another content type": (header("Content-Type", "text/html"), MISMATCH),
    "no content type": (header("Content-Type", None), MISMATCH),
    "another MD5": (header("Content-MD5", "other"), MISMATCH),
    "no MD5": (header("Content-MD5", None), MISMATCH),
    "another date": (header("Date", formatdate(NOW_S + 1, usegmt=True)), MISMATCH),
    "another spelling of the date": (header("Date", DATE.replace("GMT", "+0000")), MISMATCH),
    "no date": (header("Date", None), DENIED),
    "its date as x-amz-date": (lambda w: header("Date", None)(header("x-amz-date", DATE)(w)), MISMATCH),
    "a newer x-amz-date": (header("x-amz-date", formatdate(NOW_S + 1, usegmt=True)), MISMATCH),
    "no signature": (header("Authorization", f"AWS {ACCESS_KEY}:"), "InvalidArgument"),
    "half a signature": (header("Authorization", f"AWS {ACCESS_KEY}:c2lnbmF0dXJl"), "InvalidArgument"),
    "a signature of digits": (header("Authorization", f"AWS {ACCESS_KEY}:{chr(0x661) * 27}="), "InvalidArgument"),
    "another signature": (header("Authorization", f"AWS {ACCESS_KEY}:{'A' * 27}="), MISMATCH),
    "something behind the signature": (lambda w: authorized(w, "=", "= x"), "InvalidArgument"),
    "the scheme in another case": (lambda w: authorized(w, "AWS ", "aws "), "InvalidArgument"),
    "no key id": (lambda w: authorized(w, ACCESS_KEY, ""), "InvalidArgument"),
    "another's key id": (lambda w: authorized(w, ACCESS_KEY, "AKOTHER"), MISMATCH),
    "nobody's key id": (lambda w: authorized(w, ACCESS_KEY, "AKNOBODY"), "InvalidAccessKeyId"),
    "a presigned signature too": (edit("?", "?Signature=a&"), "InvalidArgument"),
}  # fmt: skip

# What is signed reads the same: the value is written decoded, and version v1 comes behind the type a/b.
FOLDED = "/bucket/some/key?response-content-type=a%2Fb%26versionId%3Dv1"


def authorized(wire: Wire, old: str, new: str) -> Wire:
    """A change of the Authorization header, where `old` comes once."""
    value = wire.header("Authorization")
    assert value.count(old) == 1
    return wire.with_header("Authorization", value.replace(old, new))


@pytest.mark.parametrize("name", HEADER_EDITS)
def test_one_edit_of_a_signed_request(name: str) -> None:
    change, code = HEADER_EDITS[name]
    wire = signed_v2()
    assert wire.verify().access_key == ACCESS_KEY
    assert refusal(change(wire)).code == code


def test_a_value_that_reads_like_a_parameter_is_refused_as_it_is_signed() -> None:
    """Else it could be cut in two, and one parameter be hidden in another: the text that is signed is the same."""
    for target in (FOLDED, FOLDED.replace("v1", ""), "/bucket/key?response-content-type=a%26acl"):
        assert refusal(signed_v2("GET", target)).code == DENIED
        assert refusal(presigned_v2_of("GET", target)).code == DENIED
    assert signed_v2("GET", "/bucket/key?response-content-type=a%26version%3Dv1").verify().access_key


@pytest.mark.parametrize("skew_s", [-900, 0, 900])
def test_a_header_holds_for_fifteen_minutes(skew_s: int) -> None:
    for name in ("Date", "x-amz-date"):
        wire = at(name, formatdate(NOW_S + skew_s, usegmt=True))
        assert wire.verify().access_key == ACCESS_KEY
        beyond = NOW_S + (skew_s * 901 // 900 or 901)
        assert refusal(at(name, formatdate(beyond, usegmt=True))).code == "RequestTimeTooSkewed"


def at(name: str, date: str) -> Wire:
    """A request signed at a date, in one header or the other; a Date beside x-amz-date says anything."""
    headers = {**V2_HEADERS, name: date}
    return resigned_v2(
        signed_v2(target="/bucket/key?acl", headers=headers, date=date if name == "Date" else "any")
    )


@pytest.mark.parametrize(
    "date",
    [
        "",
        "Bad Date",
        "Tue, 07 Jul 1950 21:53:04 GMT",
        str(NOW_S),
        "20251121T080000Z",
        "2025-11-21T08:00:00Z",
        "Fri, 21 Nov 25 08:00:00 GMT",
        "Fri, 21 Nov 2025 08:00:00",
        "Fri, 21 Nov 2025 08:00:00 -0000",
        "Fri, 21 Nov 2025 08:00:00 +0100",
        "Fri, 31 Nov 2025 08:00:00 GMT",
        "Fri, 2\u0661 Nov 2025 08:00:00 GMT",
    ],
)
def test_a_date_that_is_none(date: str) -> None:
    for name in ("Date", "x-amz-date"):
        assert refusal(at(name, date)).code == DENIED


@pytest.mark.parametrize("date", [DATE, DATE.replace("GMT", "+0000"), DATE[5:]])
def test_dates_as_clients_write_them(date: str) -> None:
    assert at("Date", date).verify().access_key == at("x-amz-date", date).verify().access_key == ACCESS_KEY


def test_a_url_is_no_header_and_a_header_no_url() -> None:
    """The text that a URL signs has digits where the one of a header has a date, or nothing."""
    url, head = presigned_v2_of("GET", "/bucket/key", headers={}), signed_v2("GET", "/bucket/key", headers={})
    query = url.request().target.query
    moved = signed_v2("GET", "/bucket/key", headers={}, date=query["Expires"])
    assert moved.header("Authorization") == f"AWS {ACCESS_KEY}:{query['Signature']}"
    assert refusal(moved).code == DENIED
    signature = quote(head.header("Authorization").partition(":")[2])
    for expires in ("", quote(DATE)):
        target = f"/bucket/key?AWSAccessKeyId={ACCESS_KEY}&Expires={expires}&Signature={signature}"
        assert refusal(replace(url, target=target)).code == DENIED


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (signed_v2(keys=(ACCESS_KEY, "wrong")), MISMATCH),
        (signed_v2(headers={"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}), DENIED),
        (signed_v2(headers={"x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"}), DENIED),
        (signed_v2(headers={"x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"}), DENIED),
        (signed_v2(headers={"x-amz-content-sha256": "c2ln"}), "InvalidArgument"),
        (signed_v2(headers={"x-amz-security-token": "t"}), "InvalidToken"),
        (signed_v2(target="/bucket?list-type=2"), DENIED),
        (signed_v2(target="/bucket?prefix=a"), DENIED),
    ],
)
def test_what_is_refused_as_a_header_signs_it(wire: Wire, code: str) -> None:
    assert refusal(wire).code == code


def test_one_mechanism_a_request() -> None:
    second = signed("PUT", V2_TARGET).header("Authorization")
    both = signed_v2()
    with pytest.raises(S3Error) as caught:
        replace(both, headers=(*both.headers, ("Authorization", second))).verify()
    assert caught.value.code == "InvalidArgument"
