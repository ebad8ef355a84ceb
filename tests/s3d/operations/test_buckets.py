"""Operations on buckets, and who may do them."""

from pathlib import Path

import pytest

from tests.s3d.live import Live, gateway

CONSTRAINT = (
    b"<CreateBucketConfiguration><LocationConstraint>%s</LocationConstraint></CreateBucketConfiguration>"
)


async def test_a_new_bucket_is_there_at_once(live: Live) -> None:
    made = await live.ok("PUT", "/made")
    assert (made.status, made.headers["location"]) == (200, "/made")
    assert (await live.ok("HEAD", "/made")).headers["x-amz-bucket-region"] == "us-east-1"
    listed = await live.ok("GET", "/")
    assert listed.texts("Buckets/Bucket/Name") == ["bucket", "configured", "made", "public"]
    assert (listed.text("Owner/ID"), listed.text("Owner/DisplayName")) == ("000000000001", "first")
    again = await live.ok("GET", "/")
    assert again.texts("Buckets/Bucket/CreationDate") == listed.texts("Buckets/Bucket/CreationDate")


async def test_a_trailing_slash_changes_nothing(live: Live) -> None:
    await live.ok("PUT", "/made/")
    assert (await live.ask("HEAD", "/made/")).status == 200


async def test_a_name_belongs_to_one_account(live: Live) -> None:
    assert (await live.ask("PUT", "/bucket")).status == 200
    other = await live.ask("PUT", "/bucket", key="AKSECOND")
    assert (other.status, other.code) == (409, "BucketAlreadyExists")


@pytest.mark.parametrize(
    "name", ["ab", "a" * 64, "UPPER", "a..b", "192.168.1.1", "xn--a", "s3d-internal", "a_b", "-ab"]
)
async def test_names_that_s3_does_not_take(live: Live, name: str) -> None:
    answer = await live.ask("PUT", f"/{name}")
    assert (answer.status, answer.code) == (400, "InvalidBucketName")


async def test_the_location_that_was_asked_for(live: Live) -> None:
    await live.ok("PUT", "/made", CONSTRAINT % b"eu-west-1")
    assert (await live.ok("GET", "/made", query="location")).xml().text == "eu-west-1"
    assert (await live.ok("GET", "/bucket", query="location")).xml().text is None
    broken = await live.ask("PUT", "/other", b"<CreateBucketConfiguration>")
    assert (broken.status, broken.code) == (400, "MalformedXML")


async def test_only_an_empty_bucket_is_deleted(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", b"body")
    full = await live.ask("DELETE", "/bucket")
    assert (full.status, full.code) == (409, "BucketNotEmpty")
    await live.ok("DELETE", "/bucket/key")
    assert (await live.ask("DELETE", "/bucket")).status == 204
    for method in ("DELETE", "HEAD", "GET"):
        assert (await live.ask(method, "/bucket")).status == 404
    assert (await live.ask("DELETE", "/bucket")).code == "NoSuchBucket"


async def test_a_configured_bucket_stays(live: Live) -> None:
    answer = await live.ask("DELETE", "/configured")
    assert (answer.status, answer.code) == (403, "AccessDenied")
    assert (await live.ask("HEAD", "/configured")).status == 200


async def test_versioning_was_never_asked_for(live: Live) -> None:
    answer = await live.ok("GET", "/bucket", query="versioning")
    assert len(answer.xml()) == 0


async def test_replies_without_a_body_do_not_grow(live: Live) -> None:
    """A shared reply would gather the ids of all requests; clients refuse more than a hundred headers."""
    lengths = {len((await live.ok("DELETE", "/bucket/absent")).headers) for _ in range(5)}
    await live.ok("PUT", "/made")
    assert len(lengths) == 1


async def test_another_account_sees_nothing(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", b"body")
    assert (await live.ok("GET", "/", key="AKSECOND")).texts("Buckets/Bucket/Name") == []
    for method, path in (
        ("GET", "/bucket"),
        ("HEAD", "/bucket"),
        ("GET", "/bucket/key"),
        ("PUT", "/bucket/key"),
    ):
        assert (await live.ask(method, path, key="AKSECOND")).status == 403
    copy = await live.ask("PUT", "/mine/key", key="AKSECOND", headers={"x-amz-copy-source": "/bucket/key"})
    assert copy.status == 404
    await live.ok("PUT", "/mine", key="AKSECOND")
    copy = await live.ask("PUT", "/mine/key", key="AKSECOND", headers={"x-amz-copy-source": "/bucket/key"})
    assert (copy.status, copy.code) == (403, "AccessDenied")


async def test_a_key_does_what_its_policy_says_and_no_more(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", b"body")
    assert (await live.ok("GET", "/bucket/key", key="AKREADER")).body == b"body"
    for method, path in (
        ("PUT", "/bucket/key"),
        ("DELETE", "/bucket/key"),
        ("PUT", "/other"),
        ("DELETE", "/bucket"),
    ):
        answer = await live.ask(method, path, key="AKREADER")
        assert (answer.status, answer.code) == (403, "AccessDenied")
    assert (await live.ask("GET", "/bucket/key", key="AKNOTHING")).code == "AccessDenied"
    assert (await live.ask("GET", "/absent-bucket/key", key="AKNOTHING")).code == "AccessDenied"
    assert live.shards() == 5


async def test_anybody_reads_a_public_bucket(live: Live) -> None:
    await live.ok("PUT", "/public/key", b"body")
    for key in ("", "AKNOTHING", "AKSECOND"):
        assert (await live.ok("GET", "/public/key", key=key)).body == b"body"
        assert (await live.ok("HEAD", "/public/key", key=key)).status == 200
        assert (await live.ok("GET", "/public", query="list-type=2", key=key)).texts("Contents/Key") == [
            "key"
        ]
    for method, path in (
        ("PUT", "/public/key"),
        ("DELETE", "/public/key"),
        ("GET", "/"),
        ("GET", "/bucket/key"),
    ):
        answer = await live.ask(method, path, key="")
        assert (answer.status, answer.code) == (403, "AccessDenied")


async def test_pages_of_buckets(live: Live) -> None:
    first = await live.ok("GET", "/", query="max-buckets=2")
    assert first.texts("Buckets/Bucket/Name") == ["bucket", "configured"]
    rest = await live.ok(
        "GET", "/", query=f"max-buckets=2&continuation-token={first.text('ContinuationToken')}"
    )
    assert rest.texts("Buckets/Bucket/Name") == ["public"]
    assert rest.text("ContinuationToken") == ""
    some = await live.ok("GET", "/", query="prefix=pub")
    assert some.texts("Buckets/Bucket/Name") == ["public"]


async def test_the_account_that_a_client_expects(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", b"body", headers={"x-amz-expected-bucket-owner": "000000000001"})
    answer = await live.ask("GET", "/bucket/key", headers={"x-amz-expected-bucket-owner": "000000000002"})
    assert (answer.status, answer.code) == (403, "AccessDenied")
    source = {"x-amz-copy-source": "/bucket/key", "x-amz-source-expected-bucket-owner": "000000000002"}
    answer = await live.ask("PUT", "/bucket/copy", headers=source)
    assert (answer.status, answer.code) == (403, "AccessDenied")


async def test_a_bucket_is_made_by_a_put_where_the_file_says_so(live: Live, tmp_path: Path) -> None:
    assert (await live.ask("PUT", "/fresh/key", b"body")).code == "NoSuchBucket"
    async with gateway(tmp_path / "other", auto_create=True) as other:
        assert (await other.ask("GET", "/fresh/key")).code == "NoSuchBucket"
        assert (await other.ask("PUT", "/fresh/key", b"body", key="AKREADER")).status == 403
        await other.ok("PUT", "/fresh/key", b"body")
        assert (await other.ok("GET", "/fresh/key")).body == b"body"
