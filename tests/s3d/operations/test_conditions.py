"""Conditional requests: of racing writers one wins, and who loses leaves nothing behind."""

import asyncio

from tests.s3d.live import Live


async def test_reads(live: Live) -> None:
    etag = (await live.ok("PUT", "/bucket/key", b"body")).headers["etag"]
    modified = (await live.ok("HEAD", "/bucket/key")).headers["last-modified"]
    same = await live.ask("GET", "/bucket/key", headers={"If-None-Match": etag})
    assert (same.status, same.body, same.headers["etag"]) == (304, b"", etag)
    assert "content-length" not in same.headers
    assert (await live.ask("GET", "/bucket/key", headers={"If-Modified-Since": modified})).status == 304
    failed = await live.ask("GET", "/bucket/key", headers={"If-Match": '"other"'})
    assert (failed.status, failed.code) == (412, "PreconditionFailed")
    earlier = {"If-Unmodified-Since": "Fri, 21 Nov 2014 08:00:00 GMT"}
    assert (await live.ask("HEAD", "/bucket/key", headers=earlier)).status == 412
    assert (await live.ask("GET", "/bucket/key", headers={"If-Match": f'"x", {etag}'})).status == 200


async def test_what_is_not_modified_may_be_kept_as_long_as_it_was_said(live: Live) -> None:
    said = {
        "Cache-Control": "max-age=5",
        "Expires": "Fri, 21 Nov 2014 08:00:00 GMT",
        "Content-Language": "de",
    }
    etag = (await live.ok("PUT", "/bucket/key", b"body", headers=said)).headers["etag"]
    same = await live.ask("GET", "/bucket/key", headers={"If-None-Match": etag})
    assert (same.status, same.headers["cache-control"], same.headers["expires"]) == (
        304,
        *[*said.values()][:2],
    )
    assert "content-language" not in same.headers


async def test_a_range_counts_only_for_the_same_object(live: Live) -> None:
    etag = (await live.ok("PUT", "/bucket/key", b"body")).headers["etag"]
    part = await live.ok("GET", "/bucket/key", headers={"Range": "bytes=0-0", "If-Range": etag})
    whole = await live.ok("GET", "/bucket/key", headers={"Range": "bytes=0-0", "If-Range": '"other"'})
    assert (part.status, whole.status) == (206, 200)


async def test_a_write_that_is_refused_stores_nothing(live: Live) -> None:
    absent = await live.ask("PUT", "/bucket/key", b"body", headers={"If-Match": '"other"'})
    assert (absent.status, absent.code) == (404, "NoSuchKey")
    assert live.shards() == 0
    await live.ok("PUT", "/bucket/key", b"body", headers={"If-None-Match": "*"})
    there = await live.ask("PUT", "/bucket/key", b"other", headers={"If-None-Match": "*"})
    assert (there.status, there.code) == (412, "PreconditionFailed")
    assert live.shards() == 5
    assert (await live.ok("GET", "/bucket/key")).body == b"body"


async def test_a_write_that_wants_another_object_than_one(live: Live) -> None:
    etag = (await live.ok("PUT", "/bucket/key", b"body")).headers["etag"]
    same = await live.ask("PUT", "/bucket/key", b"new", headers={"If-None-Match": etag})
    assert (same.status, same.code) == (412, "PreconditionFailed")
    await live.ok("PUT", "/bucket/key", b"new", headers={"If-None-Match": '"other"'})
    assert (await live.ok("GET", "/bucket/key")).body == b"new"


async def test_of_racing_writers_one_wins(live: Live) -> None:
    bodies = [b"%d" % number for number in range(16)]
    answers = await asyncio.gather(
        *(live.ask("PUT", "/bucket/key", body, headers={"If-None-Match": "*"}) for body in bodies)
    )
    won = [body for body, answer in zip(bodies, answers, strict=True) if answer.status == 200]
    assert len(won) == 1
    assert {answer.status for answer in answers} == {200, 412}
    got = await live.ok("GET", "/bucket/key")
    assert got.body == won[0]
    named = {"If-Match": got.headers["etag"]}
    answers = await asyncio.gather(
        *(live.ask("PUT", "/bucket/key", body + b"+", headers=named) for body in bodies)
    )
    assert sorted(answer.status for answer in answers) == [200] + [412] * 15
    with live.store.state.view() as view:
        assert len(list(view.blobs())) == 1
