"""Signatures: what botocore signs is taken, everything that is not exactly that is refused with S3's own code."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from s3d.protocol.authorization import Mechanism
from s3d.protocol.errors import S3Error
from s3d.protocol.signature import PayloadMode
from s3d.protocol.sigv4 import canonical_request
from tests.s3d.protocol.signing import (
    ACCESS_KEY,
    EMPTY_SHA256,
    NOW_S,
    SECRET,
    Wire,
    presigned,
    signed,
)

MALFORMED = "AuthorizationHeaderMalformed"
QUERY_MALFORMED = "AuthorizationQueryParametersError"
MISMATCH = "SignatureDoesNotMatch"
DAY_S = 86_400
TARGET = "/bucket/some/key"


def refusal(wire: Wire, now_s: float = NOW_S) -> str:
    """The code with which a request is refused."""
    with pytest.raises(S3Error) as caught:
        wire.verify(now_s)
    return caught.value.code


def authorization(wire: Wire, old: str, new: str) -> Wire:
    """The same with something else in its Authorization; "" stands for the signature."""
    value = wire.header("Authorization")
    assert old in value
    return wire.with_header("Authorization", value.replace(old or value[-64:], new))


def twice(wire: Wire, name: str) -> Wire:
    """The same with a header that comes twice, both alike."""
    return replace(wire, headers=(*wire.headers, (name.lower(), wire.header(name))))


def with_content(wire: Wire, value: str) -> Wire:
    """The same with another x-amz-content-sha256."""
    return wire.with_header("X-Amz-Content-SHA256", value)


def in_query(wire: Wire, old: str, new: str) -> Wire:
    """The same with something else in its target."""
    assert old in wire.target
    return replace(wire, target=wire.target.replace(old, new))


TARGETS = (
    "/",
    "/bucket",
    "/bucket/",
    "/bucket/key",
    "/bucket/a/../b",
    "/bucket//a//b/",
    "/bucket/%252e",
    "/bucket/sp%20ace%2Bplus~tilde-_.%2A%27%28%29%21",
    "/bucket/%E2%82%AC%F0%9F%98%80%D7%90",
    "/bucket/%3Fuploads",
    "/bucket?list-type=2&prefix=a%2Fb%20c&delimiter=%2F&max-keys=2",
    "/bucket?uploads",
    "/bucket/key?uploadId=a-b_c.d~e&partNumber=7&x-id=UploadPart",
    "/bucket?prefix=%C3%A4&encoding-type=url&prefix-z=1&prefix.a=2",
)


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "DELETE", "POST"])
@pytest.mark.parametrize("target", TARGETS)
def test_what_botocore_signs_is_taken(method: str, target: str) -> None:
    headers = {
        "x-amz-meta-a": "  two   words ",
        "content-type": "text/plain; charset=utf-8",
        "x-amz-acl": "private",
    }
    verified = signed(method, target, headers=headers).verify()
    assert (verified.mechanism, verified.access_key) == (Mechanism.HEADER, ACCESS_KEY)
    assert (verified.payload, verified.sha256) == (PayloadMode.WHOLE, EMPTY_SHA256)
    assert presigned(method, target, headers=headers).verify().mechanism is Mechanism.QUERY


def test_a_date_header_stands_in_for_x_amz_date() -> None:
    wire = signed("GET", "/bucket", headers={"Date": "whatever botocore puts here instead"})
    assert wire.header("Date").startswith("Fri, 21 Nov 2025 08:00:00 ")
    assert wire.verify().access_key == ACCESS_KEY
    with pytest.raises(S3Error) as caught:
        wire.with_header("Date", "Fri, 21 Nov 2025 08:00:01 GMT").verify()
    assert caught.value.code == MISMATCH


@pytest.mark.parametrize(
    ("signed_target", "sent"),
    [
        ("/bucket/../a%20b", "/bucket/%2e%2e%2fa%20%62"),
        ("/bucket?prefix=a%20b%2Fc&x=", "/bucket?x&prefix=a+b/c"),
    ],
)
def test_one_resource_may_be_spelled_in_several_ways(signed_target: str, sent: str) -> None:
    wire = signed("GET", signed_target)
    assert replace(wire, target=sent).verify().access_key == ACCESS_KEY


def test_non_ascii_metadata_is_signed_as_utf8() -> None:
    assert signed("PUT", TARGET, headers={"x-amz-meta-a": "größer"}).verify().access_key == ACCESS_KEY


def test_key_of_another_day_region_and_secret() -> None:
    assert signed("GET", TARGET, at_s=NOW_S - DAY_S).verify(NOW_S - DAY_S).access_key == ACCESS_KEY
    assert refusal(signed("GET", TARGET, secret="wrong")) == MISMATCH
    assert refusal(signed("GET", TARGET, access_key="AKOTHER")) == MISMATCH
    assert refusal(signed("GET", TARGET, access_key="AKNOBODY")) == "InvalidAccessKeyId"


def test_unknown_key_does_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(
        "s3d.protocol.signature.canonical_request",
        lambda *args, **more: seen.append(args) or canonical_request(*args, **more),
    )
    for wire in (
        signed("GET", TARGET, access_key="AKNOBODY"),
        presigned("GET", TARGET, access_key="AKNOBODY"),
    ):
        assert refusal(wire) == "InvalidAccessKeyId"
    assert len(seen) == 2


EDITS: dict[str, tuple[Callable[[Wire], Wire], str]] = {
    "no authorization but content": (lambda w: w.with_header("Authorization", ""), "AccessDenied"),
    "lower-case algorithm": (lambda w: authorization(w, "AWS4-HMAC-SHA256", "aws4-hmac-sha256"), "InvalidArgument"),
    "ecdsa": (lambda w: authorization(w, "AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), "InvalidRequest"),
    "version 2": (lambda w: w.with_header("Authorization", f"AWS {ACCESS_KEY}:c2lnbmF0dXJl"), "InvalidArgument"),
    "version 2, broken": (lambda w: w.with_header("Authorization", "AWS HAHAHA"), "InvalidArgument"),
    "basic": (lambda w: w.with_header("Authorization", "Basic YTpi"), "InvalidArgument"),
    "garbage": (lambda w: w.with_header("Authorization", "AWS4-HMAC-SHA256 garbage"), MALFORMED),
    "empty signature": (lambda w: authorization(w, "", ""), MALFORMED),
    "short signature": (lambda w: authorization(w, "", "0" * 63), MALFORMED),
    "upper-case signature": (lambda w: authorization(w, "", "A" * 64), MALFORMED),
    "wide digits": (lambda w: authorization(w, "", "0" * 63 + "\u0661"), MALFORMED),
    "credential of 4 parts": (lambda w: authorization(w, "/s3/", "/"), MALFORMED),
    "credential of 6 parts": (lambda w: authorization(w, "/s3/", "/s3/s3/"), MALFORMED),
    "other region": (lambda w: authorization(w, "us-east-1", "eu-west-1"), MALFORMED),
    "other service": (lambda w: authorization(w, "/s3/", "/ec2/"), MALFORMED),
    "other terminator": (lambda w: authorization(w, "aws4_request", "aws5_request"), MALFORMED),
    "date of the scope": (lambda w: authorization(w, "20251121", "20251120"), MALFORMED),
    "host not signed": (lambda w: authorization(w, "host;", ""), "AccessDenied"),
    "no host": (lambda w: w.with_header("Host", None), "AccessDenied"),
    "unsorted": (
        lambda w: authorization(w, "host;x-amz-content-sha256", "x-amz-content-sha256;host"),
        MALFORMED,
    ),
    "repeated": (lambda w: authorization(w, "=host;", "=host;host;"), MALFORMED),
    "upper-case names": (lambda w: authorization(w, "=host;", "=Host;"), MALFORMED),
    "absent header": (lambda w: authorization(w, ";x-amz-date", ";x-amz-date;x-amz-meta-a"), "AccessDenied"),
    "no date": (lambda w: w.with_header("X-Amz-Date", None), "AccessDenied"),
    "bad date": (lambda w: w.with_header("X-Amz-Date", "Bad Date"), "AccessDenied"),
    "impossible date": (lambda w: w.with_header("X-Amz-Date", "20251321T080000Z"), "AccessDenied"),
    "other time": (lambda w: w.with_header("X-Amz-Date", "20251121T080001Z"), MISMATCH),
    "no content hash": (lambda w: w.with_header("X-Amz-Content-SHA256", None), "InvalidRequest"),
    "bad content hash": (lambda w: with_content(w, "xyz"), "InvalidArgument"),
    "other content hash": (lambda w: with_content(w, "0" * 64), MISMATCH),
    "unsigned instead": (lambda w: with_content(w, "UNSIGNED-PAYLOAD"), MISMATCH),
    "streaming instead": (
        lambda w: with_content(w, "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        MISMATCH,
    ),
    "unknown streaming": (
        lambda w: with_content(w, "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"),
        "InvalidArgument",
    ),
    "other method": (lambda w: replace(w, method="DELETE"), MISMATCH),
    "other path": (lambda w: replace(w, target="/bucket/some/kez"), MISMATCH),
    "double encoding": (lambda w: replace(w, target="/bucket/some%252Fkey"), MISMATCH),
    "more query": (lambda w: replace(w, target=f"{TARGET}?acl"), MISMATCH),
    "two ways": (lambda w: replace(w, target=f"{TARGET}?X-Amz-Signature={'0' * 64}"), "InvalidArgument"),
    "two ways, version 2": (lambda w: replace(w, target=f"{TARGET}?Signature=abc"), "InvalidArgument"),
    "twice": (lambda w: twice(w, "Authorization"), "InvalidArgument"),
    "date twice": (lambda w: twice(w, "X-Amz-Date"), "InvalidArgument"),
    "our own header": (lambda w: w.with_header("x-s3d-account", "000000000000"), "AccessDenied"),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_one_edit_of_a_signed_request(name: str) -> None:
    edit, code = EDITS[name]
    wire = signed("PUT", TARGET)
    assert wire.verify().access_key == ACCESS_KEY
    assert refusal(edit(wire)) == code


@pytest.mark.parametrize(
    "header",
    [
        "acl",
        "copy-source",
        "meta-a",
        "tagging",
        "storage-class",
        "metadata-directive",
        "website-redirect-location",
    ],
)
def test_unsigned_amz_headers_are_not_obeyed(header: str) -> None:
    for wire in (signed("PUT", TARGET), presigned("PUT", TARGET)):
        assert refusal(wire.with_header(f"x-amz-{header}", "value")) == "AccessDenied"


@pytest.mark.parametrize("skew_s", [900, 840, -840, -900])
def test_clocks_may_differ_by_fifteen_minutes(skew_s: int) -> None:
    assert signed("GET", TARGET, at_s=NOW_S + skew_s).verify().access_key == ACCESS_KEY


@pytest.mark.parametrize("skew_s", [901, 960, -901, -960, DAY_S])
def test_clocks_may_not_differ_by_more(skew_s: int) -> None:
    assert refusal(signed("GET", TARGET, at_s=NOW_S + skew_s)) == "RequestTimeTooSkewed"


QUERY_EDITS: dict[str, tuple[Callable[[Wire], Wire], str]] = {
    "lower-case algorithm": (lambda w: in_query(w, "AWS4-HMAC-SHA256", "aws4-hmac-sha256"), QUERY_MALFORMED),
    "no expiry": (lambda w: in_query(w, "&X-Amz-Expires=3600", ""), QUERY_MALFORMED),
    "no signature": (lambda w: in_query(w, "X-Amz-Signature", "X-Amz-Sig"), QUERY_MALFORMED),
    "expiry 0": (lambda w: in_query(w, "Expires=3600", "Expires=0"), "AccessDenied"),
    "expiry -1": (lambda w: in_query(w, "Expires=3600", "Expires=-1"), "AccessDenied"),
    "expiry over a week": (lambda w: in_query(w, "Expires=3600", "Expires=604801"), "AccessDenied"),
    "expiry of ages": (lambda w: in_query(w, "Expires=3600", "Expires=1000000000"), "AccessDenied"),
    "expiry 1_0": (lambda w: in_query(w, "Expires=3600", "Expires=1_0"), QUERY_MALFORMED),
    "longer life": (lambda w: in_query(w, "Expires=3600", "Expires=3601"), MISMATCH),
    "other region": (lambda w: in_query(w, "us-east-1", "eu-west-1"), QUERY_MALFORMED),
    "date of the scope": (lambda w: in_query(w, "20251121%2F", "20251122%2F"), QUERY_MALFORMED),
    "bad date": (lambda w: in_query(w, "20251121T080000Z", "20251121T08:00:00Z"), QUERY_MALFORMED),
    "repeated": (lambda w: in_query(w, "?", "?X-Amz-Expires=604800&"), "InvalidArgument"),
    "version 2": (lambda w: replace(w, target=f"{TARGET}?AWSAccessKeyId=a&Signature=b&Expires=1"), "AccessDenied"),
    "used to put": (lambda w: replace(w, method="PUT"), MISMATCH),
    "used to look": (lambda w: replace(w, method="HEAD"), MISMATCH),
    "used to delete": (lambda w: replace(w, method="DELETE"), MISMATCH),
    "another key": (lambda w: in_query(w, "some/key", "some/kez"), MISMATCH),
    "header too": (lambda w: w.with_header("Authorization", "AWS4-HMAC-SHA256 a"), "InvalidArgument"),
    "token of nobody": (lambda w: in_query(w, "?", "?X-Amz-Security-Token=t&"), MISMATCH),
    "trailer": (lambda w: with_content(w, "STREAMING-UNSIGNED-PAYLOAD-TRAILER"), MISMATCH),
    "signed chunks": (lambda w: with_content(w, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), "AccessDenied"),
}  # fmt: skip


@pytest.mark.parametrize("name", QUERY_EDITS)
def test_one_edit_of_a_presigned_request(name: str) -> None:
    edit, code = QUERY_EDITS[name]
    wire = presigned("GET", TARGET)
    assert wire.verify().access_key == ACCESS_KEY
    assert refusal(edit(wire)) == code


def test_life_of_a_presigned_request() -> None:
    wire = presigned("GET", TARGET, expires_s=60)
    for now_s in (NOW_S - 900, NOW_S, NOW_S + 60):
        assert wire.verify(now_s).access_key == ACCESS_KEY
    for now_s in (NOW_S - 901, NOW_S + 61, NOW_S + 10 * DAY_S):
        assert refusal(wire, now_s) == "AccessDenied"
    assert presigned("GET", TARGET, expires_s=604_800).verify(NOW_S + 604_800).access_key == ACCESS_KEY


def test_query_credentials_cannot_unlock_an_unsigned_stream() -> None:
    """Another store took the key id from the query and never looked at the signature of such a body."""
    target = f"{TARGET}?X-Amz-Credential={ACCESS_KEY}%2F20251121%2Fus-east-1%2Fs3%2Faws4_request"
    wire = Wire(
        "PUT", target, (("Host", "h"), ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"))
    )
    assert refusal(wire) == QUERY_MALFORMED


def test_session_tokens_are_nobodys() -> None:
    assert refusal(signed("GET", TARGET, headers={"x-amz-security-token": "t"})) == "InvalidToken"


def test_nobody_is_anonymous_and_cannot_sign_chunks() -> None:
    wire = Wire("GET", TARGET, (("Host", "h"),))
    verified = wire.verify()
    assert (verified.mechanism, verified.access_key, verified.payload) == (
        Mechanism.ANONYMOUS,
        "",
        PayloadMode.UNSIGNED,
    )
    hashed = wire.with_header("x-amz-content-sha256", EMPTY_SHA256.upper()).verify()
    assert hashed.sha256 == EMPTY_SHA256
    for mode in (PayloadMode.SIGNED_CHUNKS, PayloadMode.SIGNED_CHUNKS_TRAILER):
        assert refusal(wire.with_header("x-amz-content-sha256", mode.value)) == "AccessDenied"


def test_secrets_and_signatures_are_not_shown() -> None:
    verified = signed("GET", TARGET).verify()
    assert verified.signature not in repr(verified)
    assert SECRET not in repr(verified)
    assert verified.signing_key and repr(verified.signing_key) not in repr(verified)


def test_mismatch_tells_what_was_signed_but_no_signature() -> None:
    with pytest.raises(S3Error) as caught:
        signed("GET", TARGET, secret="wrong").verify()
    body = caught.value.to_xml(resource=TARGET, request_id="r", host_id="h").decode()
    assert "<CanonicalRequest>GET\n/bucket/some/key\n" in body
    assert "Signature=" not in body
