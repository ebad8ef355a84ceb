"""The lists of S3: parameters, pages, encodings; that pages are right is for the tests of metadata."""

import pytest

from tests.s3d.live import Live

KEYS = ("a", "b/1", "b/2", "c d/é&<>+", "dir/", "z")


@pytest.fixture
async def filled(live: Live) -> Live:
    for key in KEYS:
        await live.ok("PUT", f"/bucket/{key}", b"body")
    return live


async def test_what_is_repeated_is_encoded_like_the_keys(live: Live) -> None:
    for version in ("list-type=2", "versions", "uploads"):
        listed = await live.ok("GET", "/bucket", query=f"{version}&prefix=a\n&encoding-type=url")
        assert listed.text("Prefix") == "a%0A"
    first = await live.ok("GET", "/bucket", query="prefix=a\n&encoding-type=url&delimiter= ")
    assert (first.text("Prefix"), first.text("Delimiter")) == ("a\n", "%20")


async def test_all_keys_in_order(filled: Live) -> None:
    listed = await filled.ok("GET", "/bucket", query="list-type=2")
    assert tuple(listed.texts("Contents/Key")) == KEYS
    assert listed.texts("Contents/Size") == ["4"] * len(KEYS)
    assert (listed.text("KeyCount"), listed.text("IsTruncated"), listed.text("MaxKeys")) == (
        "6",
        "false",
        "1000",
    )
    assert listed.texts("Contents/Owner") == []
    owned = await filled.ok("GET", "/bucket", query="list-type=2&fetch-owner=true")
    assert set(owned.texts("Contents/Owner/ID")) == {"000000000001"}


async def test_a_list_says_what_head_says(filled: Live) -> None:
    listed = await filled.ok("GET", "/bucket", query="list-type=2&prefix=a")
    head = await filled.ok("HEAD", "/bucket/a")
    assert listed.text("Contents/ETag") == head.headers["etag"]
    assert listed.text("Contents/LastModified") == "2025-11-21T08:00:00.000Z"
    assert head.headers["last-modified"] == "Fri, 21 Nov 2025 08:00:00 GMT"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6])
async def test_pages_of_version_two(filled: Live, size: int) -> None:
    met: list[str] = []
    token = ""
    for _ in range(10):
        page = await filled.ok("GET", "/bucket", query=f"list-type=2&max-keys={size}{token}")
        met += page.texts("Contents/Key")
        assert len(page.texts("Contents/Key")) == int(page.text("KeyCount")) <= size
        if page.text("IsTruncated") == "false":
            break
        token = f"&continuation-token={page.text('NextContinuationToken')}"
    assert tuple(met) == KEYS


async def test_pages_of_version_one(filled: Live) -> None:
    first = await filled.ok("GET", "/bucket", query="max-keys=2&delimiter=/")
    assert (first.texts("Contents/Key"), first.texts("CommonPrefixes/Prefix")) == (["a"], ["b/"])
    assert (first.text("NextMarker"), first.text("IsTruncated")) == ("b/", "true")
    rest = await filled.ok("GET", "/bucket", query="delimiter=/&marker=b/")
    assert (rest.texts("Contents/Key"), rest.texts("CommonPrefixes/Prefix")) == (["z"], ["c d/", "dir/"])
    assert rest.text("Marker") == "b/"


async def test_prefix_and_delimiter(filled: Live) -> None:
    listed = await filled.ok("GET", "/bucket", query="list-type=2&prefix=b/&delimiter=/&start-after=b/1")
    assert (listed.texts("Contents/Key"), listed.texts("CommonPrefixes/Prefix")) == (["b/2"], [])
    assert (listed.text("Prefix"), listed.text("Delimiter"), listed.text("StartAfter")) == ("b/", "/", "b/1")


async def test_encoding_by_url(filled: Live) -> None:
    listed = await filled.ok("GET", "/bucket", query="list-type=2&prefix=c&encoding-type=url")
    assert listed.texts("Contents/Key") == ["c%20d/%C3%A9%26%3C%3E%2B"]
    assert listed.text("EncodingType") == "url"


@pytest.mark.parametrize("value", ["-1", "a", "1e3", "9223372036854775808", "\u0661", "1_0"])
async def test_max_keys_that_is_no_number(filled: Live, value: str) -> None:
    answer = await filled.ask("GET", "/bucket", query=f"list-type=2&max-keys={value}")
    assert (answer.status, answer.code) == (400, "InvalidArgument")


async def test_max_keys_at_its_ends(filled: Live) -> None:
    none = await filled.ok("GET", "/bucket", query="list-type=2&max-keys=0")
    assert (none.text("KeyCount"), none.text("IsTruncated")) == ("0", "false")
    cut = await filled.ok("GET", "/bucket", query="list-type=2&max-keys=2000000000")
    assert cut.text("MaxKeys") == "1000"


@pytest.mark.parametrize("token", ["YQ==", "no-token", "\u0661", "A" * 3_000])
async def test_a_token_of_somebody_else(filled: Live, token: str) -> None:
    answer = await filled.ask("GET", "/bucket", query=f"list-type=2&continuation-token={token}")
    assert answer.status == 400


async def test_a_token_of_another_bucket(filled: Live) -> None:
    page = await filled.ok("GET", "/bucket", query="list-type=2&max-keys=1")
    answer = await filled.ask(
        "GET", "/public", query=f"list-type=2&continuation-token={page.text('NextContinuationToken')}"
    )
    assert (answer.status, answer.code) == (400, "InvalidArgument")


@pytest.mark.parametrize(
    "query", ["list-type=1", "list-type=3", "list-type=2&encoding-type=xml", "prefix=a&prefix=b"]
)
async def test_parameters_that_are_refused(filled: Live, query: str) -> None:
    answer = await filled.ask("GET", "/bucket", query=query)
    assert (answer.status, answer.code) == (400, "InvalidArgument")


async def test_versions_of_a_bucket_without_versions(filled: Live) -> None:
    listed = await filled.ok("GET", "/bucket", query="versions&max-keys=4")
    assert listed.texts("Version/Key") == list(KEYS[:4])
    assert set(listed.texts("Version/VersionId")) == {"null"}
    assert set(listed.texts("Version/IsLatest")) == {"true"}
    assert (listed.text("NextKeyMarker"), listed.text("NextVersionIdMarker")) == (KEYS[3], "null")
    rest = await filled.ok("GET", "/bucket", query="versions&key-marker=dir/&version-id-marker=null")
    assert rest.texts("Version/Key") == ["z"]
    alone = await filled.ask("GET", "/bucket", query="versions&version-id-marker=null")
    assert (alone.status, alone.code) == (400, "InvalidArgument")


async def test_versions_are_listed_with_the_kind_of_their_checksum(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", b"body", headers={"x-amz-checksum-crc32": "26gLsg=="})
    listed = await live.ok("GET", "/bucket", query="versions")
    said = (listed.text("Version/ChecksumAlgorithm"), listed.text("Version/ChecksumType"))
    assert said == ("CRC32", "FULL_OBJECT")


async def test_buckets_of_another_region_are_left_out(live: Live) -> None:
    here = await live.ok("GET", "/", query="bucket-region=us-east-1&prefix=buck")
    there = await live.ok("GET", "/", query="bucket-region=eu-west-1&prefix=buck")
    assert (here.texts("Buckets/Bucket/Name"), there.texts("Buckets/Bucket/Name")) == (["bucket"], [])
