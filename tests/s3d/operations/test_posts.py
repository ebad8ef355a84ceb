"""PostObject: a form stores what its fields say and is answered as they wish; what is no whole form stores nothing."""

import base64
import hashlib
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import boto3
import httpx
import pytest
from botocore.config import Config

from tests.s3d.forms import BUCKET, CONTENT_TYPE, body_of, form, open_form, post, stored, wire
from tests.s3d.live import Live, gateway, read_answer
from tests.s3d.protocol.signing import ACCESS_KEY, HOST, SECRET, Wire
from tests.s3d.talking import until

KEY = {"key": "k"}
ANYBODY = ""


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


async def test_a_form_to_a_bucket_in_the_hosts_name(tmp_path: Path) -> None:
    async with gateway(tmp_path, domains=("s3.example.com",)) as made:
        await made.ok("PUT", "/bucket")
        for path, host in (("/", "bucket.s3.example.com"), ("/bucket", "s3.example.com")):
            head = Wire("POST", path, (("Host", host), ("Content-Type", CONTENT_TYPE)))
            answer = await made.send(head, body_of(form({"key": "a/b"}), b"body"))
            assert answer.status == 204
            shown = f"{host}{path}".rstrip("/")
            assert answer.headers["location"] == f"http://{shown}/a/b"
        assert await stored(made) == ["a/b"]


async def test_a_script_of_another_origin_may_read_the_answer(live: Live) -> None:
    rule = "<AllowedMethod>POST</AllowedMethod><AllowedOrigin>http://app.example</AllowedOrigin><ExposeHeader>ETag</ExposeHeader>"
    document = f"<CORSConfiguration><CORSRule>{rule}</CORSRule></CORSConfiguration>".encode()
    md5 = base64.b64encode(hashlib.md5(document).digest()).decode()
    await live.ok("PUT", "/bucket", document, query="cors", headers={"Content-MD5": md5})
    for fields, status in ((form(KEY), 204), (form(KEY, late_s=1), 403)):
        answer = await live.send(wire(Origin="http://app.example"), body_of(fields, b"body"))
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (
            status,
            "http://app.example",
        )
        assert answer.headers["access-control-expose-headers"] == "ETag"
