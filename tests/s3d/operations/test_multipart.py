"""Multipart uploads: begun, sent, listed, completed, aborted."""

import base64
import hashlib

import pytest

from tests.s3d.live import Answer, Live

BIG = bytes(range(256)) * (5 << 12)  # 5 MiB: the least that a part may have, unless it is the last
LAST = b"the end"


async def begin(live: Live, path: str = "/bucket/key", **headers: str) -> str:
    return (await live.ok("POST", path, query="uploads", headers=headers)).text("UploadId")


async def send(live: Live, upload: str, number: int, body: bytes, path: str = "/bucket/key") -> str:
    answer = await live.ok("PUT", path, body, query=f"uploadId={upload}&partNumber={number}")
    return answer.headers["etag"]


async def complete(live: Live, upload: str, *parts: tuple[int, str], **headers: str) -> Answer:
    listed = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>" for number, etag in parts
    )
    document = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return await live.ask("POST", "/bucket/key", document, query=f"uploadId={upload}", headers=sent)


async def test_parts_become_one_object(live: Live) -> None:
    upload = await begin(live, **{"Content-Type": "a/b", "x-amz-meta-n": "v"})
    first, second = await send(live, upload, 1, BIG), await send(live, upload, 3, LAST)
    assert (await live.ask("GET", "/bucket/key")).status == 404
    done = await complete(live, upload, (1, first), (3, second))
    digests = hashlib.md5(BIG).digest() + hashlib.md5(LAST).digest()
    etag = f'"{hashlib.md5(digests).hexdigest()}-2"'
    assert (done.status, done.text("ETag"), done.text("Key")) == (200, etag, "key")
    got = await live.ok("GET", "/bucket/key")
    assert got.body == BIG + LAST
    assert (got.headers["etag"], got.headers["content-type"], got.headers["x-amz-meta-n"]) == (
        etag,
        "a/b",
        "v",
    )
    assert "x-amz-mp-parts-count" not in got.headers, "only a read of one part is told how many there are"
    across = await live.ok("GET", "/bucket/key", headers={"Range": f"bytes={len(BIG) - 3}-{len(BIG) + 2}"})
    assert across.body == BIG[-3:] + LAST[:3]


async def test_one_part_of_an_object(live: Live) -> None:
    upload = await begin(live)
    parts = [(1, await send(live, upload, 1, BIG)), (3, await send(live, upload, 3, LAST))]
    await complete(live, upload, *parts)
    got = await live.ok("GET", "/bucket/key", query="partNumber=3")
    assert (got.status, got.body) == (206, LAST)
    assert (
        got.headers["content-range"] == f"bytes {len(BIG)}-{len(BIG) + len(LAST) - 1}/{len(BIG) + len(LAST)}"
    )
    assert got.headers["x-amz-mp-parts-count"] == "2"
    absent = await live.ask("GET", "/bucket/key", query="partNumber=2")
    assert (absent.status, absent.code) == (400, "InvalidPart")
    for number in ("0", "10001", "1e3", "\u0660\u0661"):
        answer = await live.ask("GET", "/bucket/key", query=f"partNumber={number}")
        assert (answer.status, answer.code) == (400, "InvalidArgument")


async def test_completing_twice_is_completing_once(live: Live) -> None:
    upload = await begin(live)
    part = (1, await send(live, upload, 1, LAST))
    first, again = await complete(live, upload, part), await complete(live, upload, part)
    assert (first.status, again.status) == (200, 200)
    assert first.text("ETag") == again.text("ETag")


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ((), "MalformedXML"),
        (((2, "b"), (1, "a")), "InvalidPartOrder"),
        (((1, "a"), (1, "a")), "InvalidPartOrder"),
        (((1, "b"),), "InvalidPart"),
        (((1, "not an etag"),), "InvalidPart"),
        (((1, "a"), (4, "a")), "InvalidPart"),
        (((2, "b"), (3, "c")), "EntityTooSmall"),
        (((0, "a"),), "InvalidArgument"),
        (((10_001, "a"),), "InvalidArgument"),
    ],
)
async def test_lists_of_parts_that_are_refused(
    live: Live, parts: tuple[tuple[int, str], ...], code: str
) -> None:
    upload = await begin(live)
    etags = {
        "a": await send(live, upload, 1, BIG),
        "b": await send(live, upload, 2, LAST),
        "c": await send(live, upload, 3, b"third"),
    }
    answer = await complete(live, upload, *((number, etags.get(name, name)) for number, name in parts))
    assert (answer.status, answer.code) == (400, code)
    good = await complete(live, upload, (1, etags["a"]), (2, etags["b"]))
    assert good.status == 200


async def test_a_part_is_replaced_by_its_next_version(live: Live) -> None:
    upload = await begin(live)
    old = await send(live, upload, 1, b"old")
    etag = await send(live, upload, 1, b"new")
    assert (await complete(live, upload, (1, etag), (1, old))).code == "InvalidPart"
    assert (await complete(live, upload, (1, old), (1, etag))).status == 200
    assert (await live.ok("GET", "/bucket/key")).body == b"new"


async def test_parts_in_pages(live: Live) -> None:
    upload = await begin(live)
    for number in (1, 2, 7):
        await send(live, upload, number, LAST)
    page = await live.ok("GET", "/bucket/key", query=f"uploadId={upload}&max-parts=2")
    assert page.texts("Part/PartNumber") == ["1", "2"]
    assert (page.text("IsTruncated"), page.text("NextPartNumberMarker")) == ("true", "2")
    rest = await live.ok("GET", "/bucket/key", query=f"uploadId={upload}&part-number-marker=2")
    assert (rest.texts("Part/PartNumber"), rest.text("IsTruncated")) == (["7"], "false")
    assert rest.texts("Part/Size") == [str(len(LAST))]


async def test_uploads_in_pages(live: Live) -> None:
    uploads = []
    for path in ("a", "a", "b/c"):
        uploads.append((path, await begin(live, f"/bucket/{path}")))
        live.clock[0] += 1
    page = await live.ok("GET", "/bucket", query="uploads&max-uploads=1")
    assert (page.texts("Upload/UploadId"), page.text("IsTruncated")) == ([uploads[0][1]], "true")
    query = (
        f"uploads&key-marker={page.text('NextKeyMarker')}&upload-id-marker={page.text('NextUploadIdMarker')}"
    )
    rest = await live.ok("GET", "/bucket", query=query)
    assert rest.texts("Upload/UploadId") == [uploads[1][1], uploads[2][1]]
    rolled = await live.ok("GET", "/bucket", query="uploads&delimiter=/&prefix=b")
    assert rolled.texts("CommonPrefixes/Prefix") == ["b/"]


async def test_uploads_are_of_whoever_began_them(live: Live) -> None:
    await live.ok("PUT", "/bucket", query="acl", headers={"x-amz-acl": "public-read-write"})
    await live.ok("POST", "/bucket/a", query="uploads")
    await live.ok("POST", "/bucket/b", query="uploads", key="AKSECOND")
    listed = await live.ok("GET", "/bucket", query="uploads")
    for who in ("Owner", "Initiator"):
        assert listed.texts(f"Upload/{who}/ID") == ["000000000001", "000000000002"]
    assert listed.texts("Upload/Owner/DisplayName")[0] == "first"


async def test_an_aborted_upload_is_gone_with_its_parts(live: Live) -> None:
    upload = await begin(live)
    etag = await send(live, upload, 1, BIG)
    assert (await live.ask("DELETE", "/bucket/key", query=f"uploadId={upload}")).status == 204
    with live.store.state.view() as view:
        assert [blob for blob, _ in view.blobs()] == []
        assert view.condemned_count() == 1
    for answer in (
        await live.ask("PUT", "/bucket/key", LAST, query=f"uploadId={upload}&partNumber=1"),
        await live.ask("GET", "/bucket/key", query=f"uploadId={upload}"),
        await live.ask("DELETE", "/bucket/key", query=f"uploadId={upload}"),
        await complete(live, upload, (1, etag)),
    ):
        assert (answer.status, answer.code) == (404, "NoSuchUpload")


@pytest.mark.parametrize("upload", ["absent", "../etc", "\u0661", "x" * 2_000])
async def test_an_upload_that_is_none(live: Live, upload: str) -> None:
    answer = await live.ask("PUT", "/bucket/key", LAST, query=f"uploadId={upload}&partNumber=1")
    assert (answer.status, answer.code) == (404, "NoSuchUpload")
    assert live.shards() == 0


async def test_an_upload_belongs_to_its_key(live: Live) -> None:
    upload = await begin(live)
    answer = await live.ask("PUT", "/bucket/other", LAST, query=f"uploadId={upload}&partNumber=1")
    assert (answer.status, answer.code) == (404, "NoSuchUpload")


@pytest.mark.parametrize("number", ["0", "10001", "1e3", "\u0660\u0661", "-1", ""])
async def test_numbers_that_no_part_has(live: Live, number: str) -> None:
    upload = await begin(live)
    answer = await live.ask("PUT", "/bucket/key", LAST, query=f"uploadId={upload}&partNumber={number}")
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert live.shards() == 0


async def test_a_part_without_its_upload_is_no_object(live: Live) -> None:
    answer = await live.ask("PUT", "/bucket/key", LAST, query="partNumber=1")
    assert answer.status in (400, 405)
    assert live.shards() == 0


async def test_one_winner_where_nothing_may_be_there(live: Live) -> None:
    upload = await begin(live)
    part = (1, await send(live, upload, 1, LAST))
    await live.ok("PUT", "/bucket/key", b"first")
    answer = await complete(live, upload, part, If_None_Match="*")
    assert (answer.status, answer.code) == (412, "PreconditionFailed")
    assert (await live.ok("GET", "/bucket/key")).body == b"first"


@pytest.mark.parametrize(
    ("algorithm", "kind", "suffix"),
    [
        ("CRC32", "COMPOSITE", "-2"),
        ("CRC32C", "FULL_OBJECT", ""),
        ("CRC64NVME", "FULL_OBJECT", ""),
        ("SHA256", "COMPOSITE", "-2"),
    ],
)
async def test_checksums_of_parts_and_whole(live: Live, algorithm: str, kind: str, suffix: str) -> None:
    upload = await begin(live, **{"x-amz-checksum-algorithm": algorithm, "x-amz-checksum-type": kind})
    parts = [(1, await send(live, upload, 1, BIG)), (2, await send(live, upload, 2, LAST))]
    listed = await live.ok("GET", "/bucket/key", query=f"uploadId={upload}")
    assert len(listed.texts(f"Part/Checksum{algorithm}")) == 2
    header = f"x-amz-checksum-{algorithm.lower()}"
    assert (await complete(live, upload, *parts, **{header: "AAAAAA=="})).code == "BadDigest"
    done = await complete(live, upload, *parts)
    assert done.text("ChecksumType") == kind
    head = await live.ok("HEAD", "/bucket/key", headers={"x-amz-checksum-mode": "ENABLED"})
    whole = head.headers[f"x-amz-checksum-{algorithm.lower()}"]
    assert whole == done.text(f"Checksum{algorithm}")
    assert whole.endswith(suffix)
    again = await complete(live, upload, *parts, **{header: whole})
    assert (again.status, again.text(f"Checksum{algorithm}")) == (200, whole)
    if kind == "FULL_OBJECT":
        await live.ok(
            "PUT", "/bucket/whole", BIG + LAST, headers={f"x-amz-checksum-{algorithm.lower()}": whole}
        )


async def test_a_checksum_type_that_its_algorithm_has_not(live: Live) -> None:
    headers = {"x-amz-checksum-algorithm": "SHA256", "x-amz-checksum-type": "FULL_OBJECT"}
    answer = await live.ask("POST", "/bucket/key", query="uploads", headers=headers)
    assert (answer.status, answer.code) == (400, "InvalidRequest")


async def test_a_part_is_read_with_its_own_checksum(live: Live) -> None:
    headers = {"x-amz-checksum-algorithm": "SHA256", "x-amz-checksum-type": "COMPOSITE"}
    upload = await begin(live, **headers)
    await complete(live, upload, (1, await send(live, upload, 1, LAST)))
    asked = {"x-amz-checksum-mode": "ENABLED"}
    whole = await live.ok("HEAD", "/bucket/key", headers=asked)
    part = await live.ok("HEAD", "/bucket/key", query="partNumber=1", headers=asked)
    own = base64.b64encode(hashlib.sha256(LAST).digest()).decode()
    assert part.headers["x-amz-checksum-sha256"] == own
    assert whole.headers["x-amz-checksum-sha256"].endswith("-1")
    assert {answer.headers["x-amz-checksum-type"] for answer in (whole, part)} == {"COMPOSITE"}


async def test_an_empty_object_is_its_own_first_part(live: Live) -> None:
    await live.ok("PUT", "/bucket/key")
    got = await live.ok("GET", "/bucket/key", query="partNumber=1")
    assert (got.status, got.body, "content-range" in got.headers) == (200, b"", False)


async def test_uploads_are_listed_with_the_checksums_that_they_ask_for(live: Live) -> None:
    await begin(live, **{"x-amz-checksum-algorithm": "CRC32"})
    listed = await live.ok("GET", "/bucket", query="uploads")
    said = (listed.text("Upload/ChecksumAlgorithm"), listed.text("Upload/ChecksumType"))
    assert said == ("CRC32", "COMPOSITE")


@pytest.mark.parametrize(("algorithm", "kind"), [("SHA256", "COMPOSITE"), ("CRC64NVME", "FULL_OBJECT")])
async def test_a_completion_says_the_type_of_the_checksum_each_time(
    live: Live, algorithm: str, kind: str
) -> None:
    upload = await begin(live, **{"x-amz-checksum-algorithm": algorithm})
    part = (1, await send(live, upload, 1, LAST))
    first, again = await complete(live, upload, part), await complete(live, upload, part)
    assert first.text("ChecksumType") == again.text("ChecksumType") == kind
    assert first.text(f"Checksum{algorithm}") == again.text(f"Checksum{algorithm}") != ""


@pytest.mark.parametrize(
    ("said", "wrong"), [("x_amz_mp_object_size", "8"), ("x_amz_checksum_type", "FULL_OBJECT")]
)
async def test_a_completion_is_held_to_what_it_says_of_the_object(live: Live, said: str, wrong: str) -> None:
    upload = await begin(live, **{"x-amz-checksum-algorithm": "SHA256"})
    part = (1, await send(live, upload, 1, LAST))
    refused = await complete(live, upload, part, **{said: wrong})
    assert (refused.status, refused.code) == (400, "InvalidRequest")
    assert (await live.ask("HEAD", "/bucket/key")).status == 404
    right = {"x_amz_mp_object_size": str(len(LAST)), "x_amz_checksum_type": "COMPOSITE"}
    assert (await complete(live, upload, part, **right)).status == 200
