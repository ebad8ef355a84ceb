"""PostObject: a form does what its policy lets it do and nothing else; what is refused leaves nothing."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import httpx
import pytest
from botocore.config import Config

from tests.s3d.forms import BUCKET, CONTENT_TYPE, body_of, form, open_form, post, stored, wire
from tests.s3d.live import Live, read_answer
from tests.s3d.protocol.signing import ACCESS_KEY, HOST, SECRET, signed
from tests.s3d.talking import until

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


@pytest.mark.parametrize("version", ["s3v4", "s3"])
@pytest.mark.parametrize("size", [0, 1, 70_000, 7_000_000])
async def test_what_boto3_signs_and_httpx_sends_is_stored(live: Live, version: str, size: int) -> None:
    live.clock[0] = time.time()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{live.port}",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
        config=Config(signature_version=version, s3={"addressing_style": "path"}),
    )
    said = {"Content-Type": "text/plain", "Cache-Control": "no-cache", "x-amz-meta-colour": "blue"}
    conditions = [{name: value} for name, value in said.items()] + [["content-length-range", size, size]]
    made = client.generate_presigned_post("bucket", "a b/${filename}", said, conditions, ExpiresIn=10**9)
    client.close()
    body = bytes(range(256)) * (size // 256) + bytes(size % 256)
    async with httpx.AsyncClient() as browser:
        reply = await browser.post(made["url"], data=made["fields"], files={"file": ("é ü.txt", body)})
    assert (reply.status_code, reply.content) == (204, b"")
    got = await live.ok("GET", "/bucket/a b/é ü.txt")
    assert got.body == body
    assert got.headers["etag"] == reply.headers["etag"] == f'"{hashlib.md5(body).hexdigest()}"'
    assert {name: got.headers[name.lower()] for name in said} == said


@pytest.mark.parametrize(
    ("wanted", "status"),
    [(None, 204), ("", 204), ("200", 200), ("201", 201), ("204", 204), ("404", 204), ("２00", 204)],
)
async def test_the_answer_is_the_one_that_is_wished_for(live: Live, wanted: str | None, status: int) -> None:
    fields = {"key": "a/b c"} | ({} if wanted is None else {"success_action_status": wanted})
    answer = await post(live, form(fields))
    assert answer.status == status
    assert answer.headers["location"] == f"http://{HOST}/bucket/a/b%20c"
    if status == 201:
        said = [answer.text(name) for name in ("Location", "Bucket", "Key", "ETag")]
        assert said == [answer.headers["location"], "bucket", "a/b c", answer.headers["etag"]]
        assert answer.xml().tag == "PostResponse"
    else:
        assert answer.body == b""
    assert await stored(live) == ["a/b c"]


@pytest.mark.parametrize("name", ["success_action_redirect", "redirect"])
async def test_the_browser_is_sent_on(live: Live, name: str) -> None:
    for url in ("http://h.example/done", "https://h.example:1/done?a=b%20c#end"):
        answer = await post(live, form({"key": "k&=\r\n", name: url, "success_action_status": "200"}))
        assert (answer.status, answer.body) == (303, b"")
        went, wanted = urlsplit(answer.headers["location"]), urlsplit(url)
        assert (went.scheme, went.netloc, went.path, went.fragment) == (
            wanted.scheme,
            wanted.netloc,
            wanted.path,
            wanted.fragment,
        )
        told = {"bucket": ["bucket"], "key": ["k&=\r\n"], "etag": [answer.headers["etag"]]}
        assert parse_qs(went.query) == parse_qs(wanted.query) | told


@pytest.mark.parametrize(
    "url", ["", "/done", "javascript:alert(1)", "http://[", "http://h/\r\nx-evil: 1", "http://h/ü"]
)
async def test_what_is_no_url_is_as_if_it_were_not_there(live: Live, url: str) -> None:
    answer = await post(live, form({"key": "k", "success_action_redirect": url}))
    assert answer.status == 204
    assert "x-evil" not in answer.headers


async def test_what_fields_say_of_the_object_is_kept(live: Live) -> None:
    said = {
        "Content-Type": "text/plain",
        "Content-Encoding": "gzip",
        "Content-Disposition": "attachment",
        "Content-Language": "de",
        "Expires": "Thu, 01 Dec 2044 16:00:00 GMT",
        "x-amz-meta-name": "${filename}",
        "x-amz-storage-class": "STANDARD_IA",
        "x-amz-website-redirect-location": "/other",
    }
    tags = "<Tagging><TagSet><Tag><Key>a+b &#xe4;</Key><Value>c=d</Value></Tag></TagSet></Tagging>"
    fields = {"key": "k", "acl": "public-read", "tagging": tags, "x-ignore-me": "x", **said}
    conditions = [BUCKET, *(["starts-with", f"${name}", ""] for name in fields)]
    assert (await post(live, form(fields, conditions))).status == 204
    for key in (ACCESS_KEY, ANYBODY):
        got = await live.ok("GET", "/bucket/k", key=key)
        expected = said | {"x-amz-meta-name": "f.txt"}
        assert {name: got.headers[name.lower()] for name in said} == expected
    tagging = await live.ok("GET", "/bucket/k", query="tagging")
    assert (tagging.texts("TagSet/Tag/Key"), tagging.texts("TagSet/Tag/Value")) == (["a+b ä"], ["c=d"])


async def test_the_type_of_the_file_part_is_not_that_of_the_object(live: Live) -> None:
    """Only the fields are signed."""
    await post(live, form(KEY))
    assert (await live.ok("GET", "/bucket/k")).headers["content-type"] == "binary/octet-stream"


async def test_a_checksum_is_held_against_the_file_and_kept(live: Live) -> None:
    fields = form(KEY, [BUCKET, KEY])
    right = await post(live, fields | {"x-amz-checksum-crc32": "y/Q5Jg=="}, b"123456789")
    assert (right.status, right.headers["x-amz-checksum-crc32"]) == (204, "y/Q5Jg==")
    head = await live.ok("HEAD", "/bucket/k", headers={"x-amz-checksum-mode": "ENABLED"})
    assert head.headers["x-amz-checksum-crc32"] == "y/Q5Jg=="
    for value, code in (("AAAAAA==", "BadDigest"), ("sailorjerry", "InvalidRequest")):
        wrong = await post(live, fields | {"x-amz-checksum-crc32": value}, b"12345678")
        assert (wrong.status, wrong.code) == (400, code)
    assert (await live.ok("GET", "/bucket/k")).body == b"123456789"


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


async def test_any_key_is_a_key(live: Live) -> None:
    for key in ("a\r\nSet-Cookie: b", "../..", "//", "%2F", "k" * 1_024, "ü\U0001f600", "a b+c?d#e"):
        answer = await post(live, form({"key": key, "success_action_status": "201"}))
        assert (answer.status, answer.text("Key")) == (201, key)
        assert "set-cookie" not in answer.headers
        assert (await live.ok("GET", f"/bucket/{key}")).body == b"body"


async def test_fields_behind_the_file_are_not_obeyed(live: Live) -> None:
    assert (await post(live, form(KEY), after={"x-amz-meta-a": "b", "key": "other"})).status == 204
    assert "x-amz-meta-a" not in (await live.ok("GET", "/bucket/k")).headers
    fields = form(KEY)
    answer = await post(live, fields, after={"key": fields.pop("key")})
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert "order of the fields" in answer.text("Message")
    unsigned = await post(live, {}, after=form(KEY))
    assert (unsigned.status, unsigned.code) == (400, "InvalidArgument")
    assert await stored(live) == ["k"]


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


async def test_what_is_no_form_is_told_so(live: Live) -> None:
    for content_type in ("", "application/x-www-form-urlencoded", "multipart/mixed; boundary=a"):
        answer = await live.ask("POST", "/bucket", b"key=k", headers={"Content-Type": content_type})
        assert (answer.status, answer.code) == (412, "PreconditionFailed")
    answer = await live.send(wire(Content_Type="multipart/form-data"), body_of(form(KEY), b"body"))
    assert (answer.status, answer.code) == (400, "MalformedPOSTRequest")
    assert (await post(live, form(KEY), None)).code == "IncorrectNumberOfFilesInPostRequest"
    assert (
        await post(live, form(KEY | {"x-ignore-a": "x" * 20_480}), b"")
    ).code == "MaxPostPreDataLengthExceededError"
    assert await stored(live) == []


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


@pytest.mark.parametrize("missing", [1, 4, 30, 5_000])
async def test_a_form_that_is_cut_short_stores_nothing(live: Live, missing: int) -> None:
    body = body_of(form(KEY), bytes(8_000))
    _, writer = await open_form(live, wire(), body[:-missing], length=len(body))
    writer.write_eof()
    await until(lambda: not live.listener.serving)
    writer.close()
    short = await live.send(wire(), body[:-missing])  # as long as it says, but no whole form
    if missing > 2:
        assert (short.status, short.code) == (400, "MalformedPOSTRequest")
        assert await stored(live) == []


async def test_a_file_flows_on_while_it_comes_and_is_condemned_where_it_is_too_long(live: Live) -> None:
    file = bytes(9 << 20)
    for most, status in ((len(file), 204), (len(file) - 1, 400)):
        before = live.shards()
        fields = form({"key": f"k{most}"}, [BUCKET, {"key": f"k{most}"}, ["content-length-range", 0, most]])
        body = body_of(fields, file)
        reader, writer = await open_form(live, wire(), body[: 8 << 20], length=len(body))
        await until(lambda before=before: live.shards() > before)
        writer.write(body[8 << 20 :])
        assert (await read_answer(reader)).status == status
        writer.close()
    assert await stored(live) == [f"k{len(file)}"]
    with live.store.state.view() as view:
        condemned = {row.blob for _, row in view.condemned(live.store.clock_us())}
    assert len({blob for node in live.nodes.values() for blob, _ in node.stored} & condemned) == 1


async def test_a_file_is_refused_as_soon_as_it_is_too_long(live: Live) -> None:
    fields = form(KEY, [BUCKET, KEY, ["content-length-range", 0, 10]])
    head = body_of(fields, b"").partition(b"text/html\r\n\r\n")
    beginning = b"".join(head[:2]) + b"x" * 1_000
    reader, writer = await open_form(live, wire(), beginning, length=1 << 30)
    answer = await read_answer(reader)
    assert (answer.status, answer.code) == (400, "EntityTooLarge")
    writer.close()


async def test_a_form_in_chunks_and_one_that_waits_for_leave(live: Live) -> None:
    body = body_of(form(KEY), b"body")
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    assert (await live.send(wire(Transfer_Encoding="chunked"), chunks)).status == 204
    reader, writer = await open_form(live, wire(Expect="100-continue"), b"", length=len(body))
    assert await reader.readexactly(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    assert (await read_answer(reader)).status == 204
    writer.close()


async def test_a_bucket_with_versions_says_which_one_was_made(live: Live) -> None:
    document = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    await live.ok("PUT", "/bucket", document, query="versioning")
    first, second = [(await post(live, form(KEY))).headers["x-amz-version-id"] for _ in range(2)]
    assert first != second
    assert (await live.ok("GET", "/bucket/k")).headers["x-amz-version-id"] == second
