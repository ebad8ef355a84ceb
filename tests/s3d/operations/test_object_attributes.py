"""GetObjectAttributes: what was asked for and nothing else, parts in pages, the version that was named."""

import base64
import hashlib

import pytest

from tests.s3d.live import Answer, Live
from tests.s3d.operations.test_authorise import allow
from tests.s3d.operations.test_multipart import BIG, LAST, begin, complete, send

EVERYTHING = "ETag,Checksum,ObjectParts,StorageClass,ObjectSize"


async def attributes(live: Live, names: str = EVERYTHING, query: str = "", **headers: str) -> Answer:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return await live.ask(
        "GET", "/bucket/key", query=f"attributes&{query}", headers={"x-amz-object-attributes": names, **sent}
    )


async def test_an_object_of_one_piece(live: Live) -> None:
    sha256 = base64.b64encode(hashlib.sha256(b"body").digest()).decode()
    put = await live.ok("PUT", "/bucket/key", b"body", headers={"x-amz-checksum-sha256": sha256})
    answer = await attributes(live)
    assert answer.text("ETag") == put.headers["etag"].strip('"')
    assert answer.text("Checksum/ChecksumSHA256") == sha256
    assert answer.text("Checksum/ChecksumType") == "FULL_OBJECT"
    assert (answer.text("ObjectSize"), answer.text("StorageClass")) == ("4", "STANDARD")
    assert answer.texts("ObjectParts") == []
    assert "last-modified" in answer.headers
    assert "x-amz-version-id" not in answer.headers
    assert len((await attributes(live, "ObjectSize")).xml()) == 1


async def test_parts_in_pages(live: Live) -> None:
    upload = await begin(live)
    parts = [
        (number, await send(live, upload, number, body)) for number, body in ((1, BIG), (4, BIG), (7, LAST))
    ]
    await complete(live, upload, *parts)
    whole = await attributes(live)
    assert whole.texts("ObjectParts/Part/PartNumber") == ["1", "4", "7"]
    assert whole.texts("ObjectParts/Part/Size") == [str(len(body)) for body in (BIG, BIG, LAST)]
    assert (whole.text("ObjectParts/PartsCount"), whole.text("ObjectParts/IsTruncated")) == ("3", "false")
    page = await attributes(live, x_amz_max_parts="1", x_amz_part_number_marker="1")
    assert page.texts("ObjectParts/Part/PartNumber") == ["4"]
    assert (page.text("ObjectParts/IsTruncated"), page.text("ObjectParts/NextPartNumberMarker")) == (
        "true",
        "4",
    )
    last = await attributes(live, x_amz_max_parts="1", x_amz_part_number_marker="4")
    assert (last.text("ObjectParts/IsTruncated"), last.texts("ObjectParts/Part/PartNumber")) == (
        "false",
        ["7"],
    )
    none = await attributes(live, x_amz_max_parts="0")
    assert (none.text("ObjectParts/IsTruncated"), none.texts("ObjectParts/Part")) == ("false", [])


async def test_the_version_that_is_named(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", b"null")
    status = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    await live.ok("PUT", "/bucket", status, query="versioning")
    version = (await live.ok("PUT", "/bucket/key", b"first")).headers["x-amz-version-id"]
    await live.ok("PUT", "/bucket/key", b"second")
    for named, size in ((version, "5"), ("null", "4")):
        answer = await attributes(live, query=f"versionId={named}")
        assert (answer.text("ObjectSize"), answer.headers["x-amz-version-id"]) == (size, named)


@pytest.mark.parametrize(
    ("names", "headers"),
    [
        ("", {}),
        ("Etag", {}),
        ("ETag,Owner", {}),
        ("ObjectParts", {"x_amz_max_parts": "-1"}),
        ("ObjectParts", {"x_amz_part_number_marker": "1e3"}),
    ],
)
async def test_what_cannot_be_asked(live: Live, names: str, headers: dict[str, str]) -> None:
    upload = await begin(live)
    await complete(live, upload, (1, await send(live, upload, 1, LAST)))
    answer = await attributes(live, names, **headers)
    assert (answer.status, answer.code) == (400, "InvalidArgument")


async def test_what_is_not_there(live: Live) -> None:
    assert (await attributes(live)).code == "NoSuchKey"


@pytest.mark.parametrize("version", ["", "Version"])
async def test_it_takes_the_right_to_read_the_object_too(live: Live, version: str) -> None:
    """Each alone is not enough, and a version has its own two (S3 API reference, GetObjectAttributes)."""
    await live.ok("PUT", "/bucket/key", b"body")
    query = "versionId=null" if version else ""
    both = (f"s3:GetObject{version}", f"s3:GetObject{version}Attributes")
    for actions, status in ((both[:1], 403), (both[1:], 403), (both, 200)):
        await live.ok("PUT", "/bucket", allow(*actions), query="policy")
        answer = await live.ask(
            "GET",
            "/bucket/key",
            query=f"attributes&{query}",
            headers={"x-amz-object-attributes": "ETag"},
            key="AKSECOND",
        )
        assert answer.status == status, actions
