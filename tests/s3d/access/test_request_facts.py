"""What a request says of the keys of conditions: each from its one place, and nothing of what it does not say."""

from collections.abc import Mapping

import pytest

from s3d.access.accounts import Accounts, Principal
from s3d.access.condition_keys import GLOBAL_KEYS, S3_KEYS
from s3d.access.request_facts import Arrival, RequestFacts
from s3d.protocol.authorization import Mechanism
from s3d.protocol.routing import Request, parse_target
from s3d.protocol.signature import PayloadMode, Verified
from shardd.contract.cluster import AuthConfig

ANN = Accounts.from_config(
    (AuthConfig(access_key_id="AKANN", secret_access_key="hidden", account_id="111111111111"),), {}
).find("AKANN")
NOW_US = 1_763_712_000_000_000


def facts(
    target: str = "/photos/a",
    *,
    headers: Mapping[str, str] | None = None,
    principal: Principal | None = ANN,
    mechanism: Mechanism = Mechanism.HEADER,
    secure: bool = False,
) -> RequestFacts:
    request = Request("GET", parse_target(target), headers or {})
    verified = Verified(mechanism, PayloadMode.UNSIGNED, "AKANN", signature="hidden", signing_key=b"hidden")
    return RequestFacts(request, verified, principal, came=Arrival("192.0.2.1", NOW_US, secure))


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("aws:sourceip", "192.0.2.1"),
        ("aws:securetransport", "false"),
        ("aws:currenttime", "2025-11-21T08:00:00+00:00"),
        ("aws:epochtime", "1763712000"),
        ("aws:username", "AKANN"),
        ("aws:principalaccount", "111111111111"),
        ("aws:principalarn", "arn:aws:iam::111111111111:user/AKANN"),
        ("aws:principaltype", "User"),
        ("aws:useragent", "tool/1"),
        ("aws:referer", "http://example.com/"),
        ("s3:prefix", "a/b"),
        ("s3:delimiter", "/"),
        ("s3:max-keys", "10"),
        ("s3:versionid", "null"),
        ("s3:authtype", "REST-HEADER"),
        ("s3:signatureversion", "AWS4-HMAC-SHA256"),
        ("s3:x-amz-acl", "public-read"),
        ("s3:x-amz-copy-source", "photos/a b"),
        ("s3:x-amz-grant-read", "id=1"),
        ("s3:requestobjecttag/team", "red"),
        ("s3:requestobjecttag/Team", None),
        ("s3:existingobjecttag/team", None),
        ("s3:x-amz-storage-class", None),
        ("aws:sourcevpc", None),
        ("aws:resourceaccount", None),
    ],
)
def test_what_is_said(key: str, expected: str | None) -> None:
    said = facts(
        "/photos?prefix=a%2Fb&delimiter=/&max-keys=10&versionId=null",
        headers={
            "user-agent": "tool/1",
            "referer": "http://example.com/",
            "x-amz-acl": "public-read",
            "x-amz-copy-source": "/photos/a%20b",
            "x-amz-grant-read": "id=1",
            "x-amz-tagging": "team=red&x=",
        },
    )
    assert said(key) == (None if expected is None else (expected,))


def test_tag_keys_are_many_values() -> None:
    assert facts(headers={"x-amz-tagging": "a=1&b="})("s3:requestobjecttagkeys") == ("a", "b")
    assert facts()("s3:requestobjecttagkeys") is None


def test_an_anonymous_request_says_nothing_of_who_sent_it() -> None:
    said = facts(principal=None, mechanism=Mechanism.ANONYMOUS)
    assert said("aws:principaltype") == ("Anonymous",)
    for key in ("aws:username", "aws:userid", "aws:principalaccount", "aws:principalarn", "s3:authtype"):
        assert said(key) is None
    assert said("s3:signatureversion") is None


@pytest.mark.parametrize(
    ("mechanism", "kind", "version"),
    [
        (Mechanism.QUERY, "REST-QUERY-STRING", "AWS4-HMAC-SHA256"),
        (Mechanism.QUERY_V2, "REST-QUERY-STRING", "AWS"),
        (Mechanism.HEADER_V2, "REST-HEADER", "AWS"),
        (Mechanism.FORM, "POST", "AWS4-HMAC-SHA256"),
        (Mechanism.FORM_V2, "POST", "AWS"),
    ],
)
def test_signed_requests_tell_their_version(mechanism: Mechanism, kind: str, version: str) -> None:
    said = facts(mechanism=mechanism)
    assert (said("s3:authtype"), said("s3:signatureversion")) == ((kind,), (version,))


def test_whether_it_came_over_tls() -> None:
    assert facts(secure=True)("aws:securetransport") == ("true",)


def test_what_the_request_is_about() -> None:
    said = facts("/photos?prefix=x").about(owner="222222222222", tags={"Team": "red"}, prefix="key")
    assert said("s3:existingobjecttag/Team") == ("red",)
    assert said("aws:resourceaccount") == said("s3:resourceaccount") == ("222222222222",)
    assert said("s3:prefix") == ("key",)
    assert facts("/photos?prefix=x").about(owner="1", tags={})("s3:prefix") == ("x",)
    coming = facts(headers={"x-amz-tagging": "a=1"}).about(owner="1", tags={}, new_tags={"b": "2"})
    assert coming("s3:requestobjecttag/b") == ("2",) and coming("s3:requestobjecttagkeys") == ("b",)


def test_no_key_says_a_secret() -> None:
    said = facts(headers={"authorization": "hidden", "x-amz-security-token": "hidden", "cookie": "hidden"})
    for key in GLOBAL_KEYS | S3_KEYS:
        assert "hidden" not in str(said(key))
