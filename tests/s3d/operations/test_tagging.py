"""Tags of objects, versions and buckets: kept as they were put, within their limits, and copied or not as asked."""

import pytest

from s3d.protocol.tags import BUCKET_TAGS_MAX, OBJECT_TAGS_MAX
from tests.s3d.live import Answer, Live
from tests.s3d.operations.test_multipart import LAST, begin, complete, send


def tagging(*tags: tuple[str, str]) -> bytes:
    listed = "".join(f"<Tag><Key>{key}</Key><Value>{value}</Value></Tag>" for key, value in tags)
    return f"<Tagging><TagSet>{listed}</TagSet></Tagging>".encode()


def tags(answer: Answer) -> list[tuple[str, str]]:
    return list(zip(answer.texts("TagSet/Tag/Key"), answer.texts("TagSet/Tag/Value"), strict=True))


async def tags_of(live: Live, path: str, query: str = "") -> list[tuple[str, str]]:
    return tags(await live.ok("GET", path, query=f"tagging&{query}"))


async def test_tags_of_an_object(live: Live) -> None:
    put = await live.ok("PUT", "/bucket/key", b"body", headers={"x-amz-tagging": "b=2%20two&a"})
    assert await tags_of(live, "/bucket/key") == [("a", ""), ("b", "2 two")]
    before = await live.ok("HEAD", "/bucket/key")
    assert before.headers["x-amz-tagging-count"] == "2"
    await live.ok("PUT", "/bucket/key", tagging(("c", "3")), query="tagging")
    assert await tags_of(live, "/bucket/key") == [("c", "3")]
    after = await live.ok("GET", "/bucket/key")
    assert (after.body, after.headers["etag"]) == (b"body", put.headers["etag"])
    assert after.headers["last-modified"] == before.headers["last-modified"]
    for _ in range(2):
        assert (await live.ok("DELETE", "/bucket/key", query="tagging")).status == 204
    assert await tags_of(live, "/bucket/key") == []
    assert "x-amz-tagging-count" not in (await live.ok("HEAD", "/bucket/key")).headers


async def test_tags_of_a_version(live: Live) -> None:
    status = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    await live.ok("PUT", "/bucket", status, query="versioning")
    old = (await live.ok("PUT", "/bucket/key", b"old")).headers["x-amz-version-id"]
    new = (await live.ok("PUT", "/bucket/key", b"new")).headers["x-amz-version-id"]
    put = await live.ok("PUT", "/bucket/key", tagging(("a", "1")), query=f"tagging&versionId={old}")
    assert put.headers["x-amz-version-id"] == old
    assert await tags_of(live, "/bucket/key", f"versionId={old}") == [("a", "1")]
    live_tags = await live.ok("GET", "/bucket/key", query="tagging")
    assert (tags(live_tags), live_tags.headers["x-amz-version-id"]) == ([], new)
    marker = (await live.ok("DELETE", "/bucket/key")).headers["x-amz-version-id"]
    for method in ("GET", "DELETE"):
        assert (await live.ask(method, "/bucket/key", query="tagging")).code == "NoSuchKey"
        answer = await live.ask(method, "/bucket/key", query=f"tagging&versionId={marker}")
        assert (answer.status, answer.code) == (405, "MethodNotAllowed")


async def test_tags_of_an_upload_become_those_of_its_object(live: Live) -> None:
    upload = await begin(live, **{"x-amz-tagging": "a=1"})
    await complete(live, upload, (1, await send(live, upload, 1, LAST)))
    assert await tags_of(live, "/bucket/key") == [("a", "1")]


async def test_a_copy_has_the_tags_of_its_source_or_its_own(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", b"body", headers={"x-amz-tagging": "a=1"})
    source = {"x-amz-copy-source": "/bucket/key"}
    await live.ok("PUT", "/bucket/same", headers=source | {"x-amz-tagging": "ignored=yes"})
    assert await tags_of(live, "/bucket/same") == [("a", "1")]
    own = source | {"x-amz-tagging-directive": "REPLACE", "x-amz-tagging": "b=2"}
    await live.ok("PUT", "/bucket/own", headers=own)
    assert await tags_of(live, "/bucket/own") == [("b", "2")]
    wrong = await live.ask("PUT", "/bucket/own", headers=source | {"x-amz-tagging-directive": "MOVE"})
    assert (wrong.status, wrong.code) == (400, "InvalidArgument")


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (tagging(*((f"k{number}", "") for number in range(OBJECT_TAGS_MAX + 1))), "InvalidTag"),
        (tagging(("k" * 129, "")), "InvalidTag"),
        (tagging(("", "")), "InvalidTag"),
        (tagging(("k", "v" * 257)), "InvalidTag"),
        (tagging(("k", "1"), ("k", "2")), "InvalidTag"),
        (tagging(("aws:k", "1")), "InvalidTag"),
        (tagging(("k!", "1")), "InvalidTag"),
        (tagging(("k", "a,b")), "InvalidTag"),
        (b"<Tagging/>", "MalformedXML"),
        (b"<TagSet/>", "MalformedXML"),
        (b"<Tagging><TagSet><Tag><Key>k</Key></Tag></TagSet></Tagging>", "MalformedXML"),
        (b"", "MalformedXML"),
    ],
)
async def test_tags_that_are_refused(live: Live, document: bytes, code: str) -> None:
    await live.ok("PUT", "/bucket/key", b"body", headers={"x-amz-tagging": "a=1"})
    answer = await live.ask("PUT", "/bucket/key", document, query="tagging")
    assert (answer.status, answer.code) == (400, code)
    assert await tags_of(live, "/bucket/key") == [("a", "1")]


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("&".join(f"k{number}=v" for number in range(OBJECT_TAGS_MAX + 1)), "InvalidTag"),
        ("&".join(f"k{number}=v" for number in range(OBJECT_TAGS_MAX * 3)), "InvalidArgument"),
        ("a=1&a=2", "InvalidTag"),
        ("a=%FF", "InvalidArgument"),
        ("a=" + "b" * 9_000, "InvalidArgument"),
    ],
)
async def test_headers_that_are_refused(live: Live, header: str, code: str) -> None:
    answer = await live.ask("PUT", "/bucket/key", b"body", headers={"x-amz-tagging": header})
    assert (answer.status, answer.code) == (400, code)
    assert live.shards() == 0


async def test_as_many_and_as_long_as_may_be(live: Live) -> None:
    most = [(f"{number}" + "é" * 127, "/" * 256) for number in range(OBJECT_TAGS_MAX)]
    await live.ok("PUT", "/bucket/key", b"body")
    await live.ok("PUT", "/bucket/key", tagging(*most), query="tagging")
    assert await tags_of(live, "/bucket/key") == most


async def test_tags_of_a_bucket(live: Live) -> None:
    absent = await live.ask("GET", "/bucket", query="tagging")
    assert (absent.status, absent.code) == (404, "NoSuchTagSet")
    most = [(f"k{number:02}", "v") for number in range(BUCKET_TAGS_MAX)]
    await live.ok("PUT", "/bucket", tagging(*most), query="tagging")
    more = await live.ask("PUT", "/bucket", tagging(*most, ("x", "v")), query="tagging")
    assert (more.status, more.code) == (400, "InvalidTag")
    assert await tags_of(live, "/bucket") == most
    for _ in range(2):
        assert (await live.ok("DELETE", "/bucket", query="tagging")).status == 204
    assert (await live.ask("GET", "/bucket", query="tagging")).code == "NoSuchTagSet"
