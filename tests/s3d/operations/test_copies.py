"""CopyObject and UploadPartCopy: bytes shared or moved, sources authorised, nothing decoded twice."""

import threading
from base64 import b64encode
from hashlib import sha1

import pytest

from s3d.operations.copies import parse_copy_source
from s3d.protocol.checksums import Digests
from s3d.protocol.errors import S3Error
from tests.s3d.live import Answer, Live

BODY = bytes(range(256)) * 1_000


async def copy(live: Live, target: str, source: str, **headers: str) -> Answer:
    sent = {"x-amz-copy-source": source, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return await live.ask("PUT", target, headers=sent)


@pytest.fixture
async def filled(live: Live) -> Live:
    await live.ok("PUT", "/bucket/a", BODY, headers={"Content-Type": "a/b", "x-amz-meta-n": "v"})
    return live


async def test_a_copy_is_the_same_and_moves_nothing(filled: Live) -> None:
    stored = filled.shards()
    answer = await copy(filled, "/public/b", "/bucket/a")
    source = await filled.ok("HEAD", "/bucket/a")
    assert (answer.status, answer.text("ETag")) == (200, source.headers["etag"])
    assert filled.shards() == stored
    got = await filled.ok("GET", "/public/b")
    assert (got.body, got.headers["content-type"], got.headers["x-amz-meta-n"]) == (BODY, "a/b", "v")


async def test_a_copy_lives_on_without_its_source(filled: Live) -> None:
    await copy(filled, "/bucket/b", "bucket/a")
    await filled.ok("DELETE", "/bucket/a")
    assert (await filled.ok("GET", "/bucket/b")).body == BODY


async def test_metadata_can_be_replaced(filled: Live) -> None:
    answer = await copy(
        filled, "/bucket/a", "/bucket/a", x_amz_metadata_directive="REPLACE", x_amz_meta_new="1"
    )
    assert answer.status == 200
    head = await filled.ok("HEAD", "/bucket/a")
    assert head.headers["x-amz-meta-new"] == "1"
    assert "x-amz-meta-n" not in head.headers
    bad = await copy(filled, "/bucket/b", "/bucket/a", x_amz_metadata_directive="MOVE")
    assert (bad.status, bad.code) == (400, "InvalidArgument")


async def test_a_copy_onto_itself_changes_nothing(filled: Live) -> None:
    answer = await copy(filled, "/bucket/a", "/bucket/a")
    assert (answer.status, answer.code) == (400, "InvalidRequest")


@pytest.mark.parametrize(
    ("source", "status", "code"),
    [
        ("/bucket/absent", 404, "NoSuchKey"),
        ("/absent/a", 404, "NoSuchBucket"),
        ("", 400, "InvalidArgument"),
        ("/", 400, "InvalidArgument"),
        ("bucket", 400, "InvalidArgument"),
        ("/bucket/", 400, "InvalidArgument"),
        ("/bucket/../private/a", 404, "NoSuchKey"),
        ("/bucket/a?versionId=00000000000000ff", 404, "NoSuchVersion"),
        ("/bucket/a?versionId=3HL4kqtJlcpXroDTDmJ", 400, "InvalidArgument"),
        ("/bucket/a%3FversionId=null", 404, "NoSuchKey"),
        ("%2Fbucket%2Fa%3FversionId=null", 404, "NoSuchKey"),
        ("/bucket/a?acl", 400, "InvalidArgument"),
        ("/bucket/%ff", 400, "InvalidArgument"),
        ("/bucket/%zz", 400, "InvalidArgument"),
        ("/bucket/a%2", 400, "InvalidArgument"),
    ],
)
async def test_sources_that_are_refused(filled: Live, source: str, status: int, code: str) -> None:
    answer = await copy(filled, "/bucket/b", source)
    assert (answer.status, answer.code) == (status, code)
    assert (await filled.ask("HEAD", "/bucket/b")).status == 404


def test_a_source_is_decoded_once() -> None:
    target, version = parse_copy_source("/bucket/a%2520b%3Fc?versionId=null")
    assert (target.bucket, target.key, version) == ("bucket", "a%20b?c", "null")
    with pytest.raises(S3Error):
        parse_copy_source("/UPPER/key")


async def test_the_version_null_is_a_source(filled: Live) -> None:
    assert (await copy(filled, "/bucket/b", "/bucket/a?versionId=null")).status == 200


async def test_conditions_on_the_source(filled: Live) -> None:
    etag = (await filled.ok("HEAD", "/bucket/a")).headers["etag"]
    assert (await copy(filled, "/bucket/b", "/bucket/a", x_amz_copy_source_if_match=etag)).status == 200
    for header in ("x_amz_copy_source_if_none_match", "x_amz_copy_source_if_modified_since"):
        value = etag if header.endswith("match") else "Fri, 21 Nov 2030 08:00:00 GMT"
        answer = await copy(filled, "/bucket/c", "/bucket/a", **{header: value})
        assert (answer.status, answer.code) == (412, "PreconditionFailed")


async def test_parts_are_copied_by_range_and_whole(filled: Live) -> None:
    upload = (await filled.ok("POST", "/bucket/key", query="uploads")).text("UploadId")
    big = BODY * 21  # over 5 MiB
    await filled.ok("PUT", "/bucket/big", big)
    stored = filled.shards()
    etags = []
    for number, headers in ((1, {}), (2, {"x-amz-copy-source-range": "bytes=5-200004"})):
        sent = {"x-amz-copy-source": "/bucket/big", **headers}
        answer = await filled.ok(
            "PUT", "/bucket/key", query=f"uploadId={upload}&partNumber={number}", headers=sent
        )
        etags.append(answer.text("ETag"))
        assert filled.shards() == stored + (0 if number == 1 else 5)
    listed = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
        for number, etag in enumerate(etags, 1)
    )
    document = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
    await filled.ok("POST", "/bucket/key", document, query=f"uploadId={upload}")
    assert (await filled.ok("GET", "/bucket/key")).body == big + big[5:200_005]


@pytest.mark.parametrize("value", ["bytes=0-", "bytes=-5", "0-5", "bytes=9-3"])
async def test_copied_ranges_are_read_strictly(filled: Live, value: str) -> None:
    upload = (await filled.ok("POST", "/bucket/key", query="uploads")).text("UploadId")
    sent = {"x-amz-copy-source": "/bucket/a", "x-amz-copy-source-range": value}
    answer = await filled.ask("PUT", "/bucket/key", query=f"uploadId={upload}&partNumber=1", headers=sent)
    assert (answer.status, answer.code) == (400, "InvalidArgument")


async def test_a_copy_has_the_checksum_that_is_asked_for(filled: Live) -> None:
    stored = filled.shards()
    answer = await copy(filled, "/bucket/b", "/bucket/a", x_amz_checksum_algorithm="SHA1")
    own = b64encode(sha1(BODY, usedforsecurity=False).digest()).decode()
    assert (answer.text("ChecksumSHA1"), answer.text("ChecksumType")) == (own, "FULL_OBJECT")
    assert filled.shards() == stored
    head = await filled.ok("HEAD", "/bucket/b", headers={"x-amz-checksum-mode": "ENABLED"})
    assert (head.headers["x-amz-checksum-sha1"], head.headers["x-amz-checksum-type"]) == (own, "FULL_OBJECT")
    unknown = await copy(filled, "/bucket/c", "/bucket/a", x_amz_checksum_algorithm="CRC16")
    assert (unknown.status, unknown.code) == (400, "InvalidRequest")


async def test_the_checksum_of_a_copy_is_worked_out_beside_the_event_loop(
    filled: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()

    def update(self: Digests, data: bytes) -> None:
        seen.add(threading.current_thread())

    monkeypatch.setattr(Digests, "update", update)
    await copy(filled, "/bucket/b", "/bucket/a", x_amz_checksum_algorithm="SHA1")
    assert seen and threading.main_thread() not in seen


async def test_the_parts_of_a_copy_with_another_checksum_have_none(filled: Live) -> None:
    begun = await filled.ok(
        "POST", "/bucket/parts", query="uploads", headers={"x-amz-checksum-algorithm": "CRC32"}
    )
    upload = begun.text("UploadId")
    sent = await filled.ok("PUT", "/bucket/parts", BODY, query=f"uploadId={upload}&partNumber=1")
    listed = f"<Part><PartNumber>1</PartNumber><ETag>{sent.headers['etag']}</ETag></Part>"
    document = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
    await filled.ok("POST", "/bucket/parts", document, query=f"uploadId={upload}")
    await copy(filled, "/bucket/b", "/bucket/parts", x_amz_checksum_algorithm="CRC32C")
    asked = {"x-amz-object-attributes": "Checksum,ObjectParts"}
    said = await filled.ok("GET", "/bucket/b", query="attributes", headers=asked)
    assert said.text("Checksum/ChecksumCRC32C")
    assert said.texts("ObjectParts/Part/ChecksumCRC32C") == []
