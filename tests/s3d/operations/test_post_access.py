"""Who may do what by a form: its signature, its policy and the bucket's decide, and what is refused leaves nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.s3d.forms import BUCKET, CONTENT_TYPE, body_of, form, post, stored, wire
from tests.s3d.live import Live
from tests.s3d.protocol.signing import ACCESS_KEY, signed

KEY = {"key": "k"}
ANYBODY, SECOND, READER, NOTHING = "", "AKSECOND", "AKREADER", "AKNOTHING"


@pytest.fixture
async def open_bucket(live: Live) -> Live:
    """A gateway where anybody may write to `bucket`."""
    await live.ok("PUT", "/bucket", query="policy", body=allow("bucket/*"))
    return live


def allow(resource: str, principal: object = "*", **more: object) -> bytes:
    statement = {
        "Effect": "Allow",
        "Principal": principal,
        "Action": "s3:PutObject",
        "Resource": f"arn:aws:s3:::{resource}",
    }
    return json.dumps({"Statement": statement | more}).encode()


REFUSED: list[tuple[str, dict[str, str], list[Any] | None, str]] = [
    ("a field that no condition names", {"x-amz-meta-a": "b"}, [BUCKET, KEY], "403 AccessDenied"),
    ("a condition that no field meets", {}, [BUCKET, KEY, {"x-amz-meta-a": "b"}], "403 AccessDenied"),
    ("a value that is another", {}, [BUCKET, {"key": "K"}], "403 AccessDenied"),
    ("no condition on the bucket", {}, [KEY], "403 AccessDenied"),
    ("no condition on the key", {}, [BUCKET], "403 AccessDenied"),
    ("a policy for another bucket", {}, [{"bucket": "other"}, KEY], "403 AccessDenied"),
    (
        "a form that names another bucket than its policy",
        {"bucket": "other"},
        [BUCKET, KEY],
        "403 AccessDenied",
    ),
    ("a form for another bucket", {"bucket": "other"}, [{"bucket": "other"}, KEY], "403 AccessDenied"),
    ("a path for a name", {"key": "u/${filename}"}, [BUCKET, ["eq", "$key", "u/../x"]], "403 AccessDenied"),
    (
        "a name outside the prefix",
        {"key": "${filename}"},
        [BUCKET, ["starts-with", "$key", "u/"]],
        "403 AccessDenied",
    ),
    (
        "the policy's prefix before it is filled in",
        {"key": "${filename}"},
        [BUCKET, ["starts-with", "$key", "${"]],
        "403 AccessDenied",
    ),
    ("no byte allowed", {}, [BUCKET, KEY, ["content-length-range", 0, 0]], "400 EntityTooLarge"),
    ("too long by one", {}, [BUCKET, KEY, ["content-length-range", 0, 3]], "400 EntityTooLarge"),
    ("too short by one", {}, [BUCKET, KEY, ["content-length-range", 5, 9]], "400 EntityTooSmall"),
    (
        "no length for a length",
        {},
        [BUCKET, KEY, ["content-length-range", -1, 9]],
        "400 InvalidPolicyDocument",
    ),
    ("an empty condition", {}, [BUCKET, KEY, {}], "400 InvalidPolicyDocument"),
    ("no key", {"key": ""}, None, "400 InvalidArgument"),
    ("a key that is too long", {"key": "k" * 1_025}, None, "400 KeyTooLongError"),
    ("a header in a header", {"x-amz-meta-a": "b\r\nx-evil: 1"}, None, "400 InvalidArgument"),
    ("a type in two lines", {"Content-Type": "a\nb"}, None, "400 InvalidArgument"),
    ("metadata without end", {"x-amz-meta-a": "x" * 2_048}, None, "400 MetadataTooLarge"),
    ("tags that are none", {"tagging": "a=b"}, None, "400 MalformedXML"),
    ("an ACL that is none", {"acl": "everything"}, None, "400 InvalidArgument"),
    ("encryption", {"x-amz-server-side-encryption": "AES256"}, None, "501 NotImplemented"),
    ("a customer's key", {"x-amz-server-side-encryption-customer-key-md5": "x"}, None, "501 NotImplemented"),
    ("a lock", {"x-amz-object-lock-mode": "GOVERNANCE"}, None, "501 NotImplemented"),
    ("a copy", {"x-amz-copy-source": "/bucket/other"}, None, "501 NotImplemented"),
    ("a name that is no header's", {"x-amz-meta-a b": "c"}, None, "501 NotImplemented"),
]


@pytest.mark.parametrize(
    ("fields", "conditions", "expected"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
@pytest.mark.parametrize("version", [4, 2])
async def test_what_its_policy_does_not_let_a_form_do(
    live: Live, version: int, fields: dict[str, str], conditions: list[Any] | None, expected: str
) -> None:
    answer = await post(live, form(KEY | fields, conditions, version=version), filename="../x")
    assert f"{answer.status} {answer.code}" == expected
    assert await stored(live) == []
    assert live.shards() == 0


async def test_a_policy_ends(live: Live) -> None:
    assert (await post(live, form(KEY, late_s=0))).status == 204
    late = await post(live, form({"key": "late"}, late_s=1))
    assert (late.status, late.code) == (403, "AccessDenied")
    assert late.text("Message") == "Invalid according to Policy: Policy expired."
    assert await stored(live) == ["k"]


@pytest.mark.parametrize("name", ["policy", "x-amz-signature", "key"])
async def test_a_form_is_what_was_signed(live: Live, name: str) -> None:
    fields = form(KEY)
    other = form({"key": "other"})
    answer = await post(live, fields | {name: other[name]})
    assert answer.status == 403
    assert await stored(live) == []


async def test_the_name_of_a_file_is_no_path(live: Live) -> None:
    fields = form({"key": "u/${filename}"}, [BUCKET, ["starts-with", "$key", "u/"]])
    for name in ("../../x", "..\\x", "C:\\d\\x"):
        assert (await post(live, fields, filename=name)).status == 204
    assert await stored(live) == ["u/x"]


async def test_who_may_not_write_may_not_post(live: Live) -> None:
    for key in (READER, NOTHING, SECOND):
        assert (await post(live, form(KEY, key=key))).code == "AccessDenied"
    assert (await post(live, KEY)).code == "AccessDenied"
    assert (await post(live, form(KEY, [{"bucket": "absent"}, KEY]), path="/absent")).code == "NoSuchBucket"
    assert await stored(live) == []
    assert live.shards() == 0


async def test_anybody_may_where_the_bucket_says_so(open_bucket: Live) -> None:
    assert (await post(open_bucket, KEY | {"x-amz-meta-a": "b"})).status == 204
    assert (await open_bucket.ok("GET", "/bucket/k")).headers["x-amz-meta-a"] == "b"
    for part in (
        {"policy": "e30="},
        {"AWSAccessKeyId": ACCESS_KEY},
        {"signature": "x"},
        {"x-amz-signature": "x"},
    ):
        answer = await post(open_bucket, KEY | part)
        assert (answer.status, answer.code) == (400, "InvalidArgument")


async def test_each_key_is_decided_on(live: Live) -> None:
    await live.ok("PUT", "/bucket", query="policy", body=allow("bucket/in/*"))
    for key in (SECOND, ANYBODY):
        for name, status in (("in/a", 204), ("out/a", 403)):
            fields = {"key": name}
            assert (await post(live, form(fields, key=key) if key else fields)).status == status
    assert await stored(live) == ["in/a"]


async def test_policies_see_what_a_form_asks_for(live: Live) -> None:
    condition = {
        "StringEquals": {"s3:authType": "POST", "s3:x-amz-acl": "public-read", "s3:RequestObjectTag/a": "b"}
    }
    await live.ok("PUT", "/bucket", query="policy", body=allow("bucket/*", Condition=condition))
    tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>{}</Value></Tag></TagSet></Tagging>"
    asked = KEY | {"acl": "public-read", "tagging": tags.format("b")}
    assert (await post(live, form(asked, key=SECOND))).status == 204
    for change in ({"acl": "private"}, {"tagging": tags.format("c")}):
        assert (await post(live, form(asked | change, key=SECOND))).status == 403


async def test_decisions_are_in_the_audit_log(live: Live, tmp_path: Path) -> None:
    await post(live, form(KEY))
    await post(live, form(KEY, key=SECOND))
    live.store.audit.flush()
    said = [json.loads(line) for line in (tmp_path / "audit").read_text().splitlines()]
    told = [
        (each["access_key"], each["action"], each["object"], each["allowed"])
        for each in said
        if each["operation"] == "PostObject"
    ]
    assert told == [(ACCESS_KEY, "s3:PutObject", "k", True), (SECOND, "s3:PutObject", "k", False)]


async def test_one_mechanism_a_request(live: Live) -> None:
    for fields in (KEY, form(KEY), form(KEY, version=2)):
        body = body_of(fields, b"body")
        both = signed("POST", "/bucket", headers={"Content-Type": CONTENT_TYPE}, body=body)
        answer = await live.send(both, body)
        assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert (await post(live, form(KEY) | form(KEY, version=2))).code == "InvalidArgument"
    assert await stored(live) == []


@pytest.mark.parametrize(
    ("header", "value", "expected"),
    [
        ("x_amz_acl", "public-read", "403 AccessDenied"),
        ("x_amz_meta_a", "b", "403 AccessDenied"),
        ("x_amz_tagging", "a=b", "403 AccessDenied"),
        ("x_s3d_account", "1", "403 AccessDenied"),
        ("x_amz_expected_bucket_owner", "000000000002", "403 AccessDenied"),
        ("x_amz_content_sha256", "0" * 64, "400 InvalidArgument"),
        ("x_amz_content_sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "400 InvalidArgument"),
        ("Content_MD5", "AAAAAAAAAAAAAAAAAAAAAA==", "501 NotImplemented"),
        ("If_None_Match", "*", "412 PreconditionFailed"),
        ("x_amz_content_sha256", "UNSIGNED-PAYLOAD", "204 "),
        ("Content_Disposition", "evil", "204 "),
    ],
)
async def test_what_is_said_around_a_form(live: Live, header: str, value: str, expected: str) -> None:
    await post(live, form(KEY))
    answer = await live.send(wire(**{header: value}), body_of(form(KEY), b"new"))
    assert f"{answer.status} {answer.code}" == expected
    got = await live.ok("GET", "/bucket/k")
    assert got.body == (b"new" if answer.status == 204 else b"body")
    assert "content-disposition" not in got.headers
