"""T-F6: clocks that differ, days that end, requests before and after their time; and our own clock jumping about."""

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from tests.integration.tally import seed
from tests.s3d.live import Live, gateway
from tests.s3d.protocol.signing import NOW_S, presigned, signed

MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400
MIDNIGHT_S = NOW_S - NOW_S % DAY_S + DAY_S
LEAP_DAY_S = 1_835_395_200  # 2028-02-29T00:00:00Z
SKEWED, MALFORMED, DENIED = "RequestTimeTooSkewed", "AuthorizationHeaderMalformed", "AccessDenied"
VERSIONING = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
JUMPS_S = (0, 1, -1, 20 * MINUTE_S, HOUR_S, -HOUR_S, -HOUR_S, DAY_S, -DAY_S)


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    async with gateway(tmp_path) as made:
        await made.ok("PUT", "/bucket")
        yield made


@pytest.mark.parametrize(
    ("late_s", "code"),
    [
        (0, ""),
        (14 * MINUTE_S, ""),
        (-14 * MINUTE_S, ""),
        (15 * MINUTE_S, ""),
        (-15 * MINUTE_S, ""),
        (15 * MINUTE_S + 1, SKEWED),
        (-15 * MINUTE_S - 1, SKEWED),
        (16 * MINUTE_S, SKEWED),
        (-16 * MINUTE_S, SKEWED),
        (DAY_S, SKEWED),
        (-DAY_S, SKEWED),
    ],
)
async def test_a_clock_may_differ_by_a_quarter_of_an_hour(live: Live, late_s: int, code: str) -> None:
    answer = await live.send(signed("GET", "/bucket", at_s=NOW_S - late_s))
    assert (answer.status, answer.code) == ((403, code) if code else (200, ""))


@pytest.mark.parametrize("at_s", [MIDNIGHT_S, LEAP_DAY_S, LEAP_DAY_S + DAY_S])
async def test_a_day_may_end_on_the_way(live: Live, at_s: int) -> None:
    live.clock[0] = float(at_s + 1)
    for signed_at_s in (at_s - 1, at_s, at_s + 1, at_s + 14 * MINUTE_S):
        assert (await live.send(signed("GET", "/bucket", at_s=signed_at_s))).status == 200


@pytest.mark.parametrize("day", ["20251120", "20251122", "20241121", "20250229", "00000000"])
async def test_the_day_of_the_scope_is_that_of_the_date(live: Live, day: str) -> None:
    right = signed("GET", "/bucket")
    changed = right.header("Authorization").replace("/20251121/", f"/{day}/")
    answer = await live.send(right.with_header("Authorization", changed))
    assert (answer.status, answer.code) == (400, MALFORMED)


@pytest.mark.parametrize(
    "date",
    [
        "20270229T000000Z",  # no such day
        "20251121T235960Z",  # a leap second: S3's clock has none
        "20251121T240000Z",
        "20251121T080000",
        "2025-11-21T08:00:00Z",
        "20251121T080000+0100",
        "٢٠٢٥١١٢١T080000Z",
        "",
    ],
)
async def test_what_is_no_time_is_refused(live: Live, date: str) -> None:
    answer = await live.send(signed("GET", "/bucket").with_header("X-Amz-Date", date))
    assert (answer.status, answer.code) == (403, DENIED)


@pytest.mark.parametrize(
    ("now_s", "status"),
    [
        (NOW_S, 404),
        (NOW_S + 60, 404),
        (NOW_S + 61, 403),
        (NOW_S - 14 * MINUTE_S, 404),
        (NOW_S - 15 * MINUTE_S - 1, 403),
        (NOW_S + HOUR_S, 403),
        (NOW_S - HOUR_S, 403),
    ],
)
async def test_a_presigned_request_has_its_time(live: Live, now_s: int, status: int) -> None:
    """To the second at its end; a quarter of an hour before its beginning, as clocks may differ."""
    link = presigned("GET", "/bucket/k", expires_s=60)
    live.clock[0] = float(now_s)
    answer = await live.send(link)
    assert (answer.status, answer.code) == (status, DENIED if status == 403 else "NoSuchKey")
    live.clock[0] = float(NOW_S)
    assert (await live.send(link)).code == "NoSuchKey", "a clock that is right again takes it again"


async def test_a_store_whose_clock_jumps_keeps_the_order_of_what_it_did(live: Live) -> None:
    """What is newest is what came last, whatever the clock said; no object is ever older than what it replaced."""
    chance = Random(seed())
    await live.ok("PUT", "/versions")
    await live.ok("PUT", "/versions", VERSIONING, query="versioning=")
    written, times = list[str](), list[str]()
    for number in range(60):
        live.clock[0] += chance.choice(JUMPS_S)
        body = b"%d" % number
        put = await live.ok("PUT", "/versions/k", body)
        await live.ok("PUT", "/bucket/k", body)
        got = await live.ok("GET", "/versions/k")
        assert got.body == body == (await live.ok("GET", "/bucket/k")).body
        written.append(put.headers["x-amz-version-id"])
        times.append((await live.ok("GET", "/versions", query="versions=")).texts("Version/LastModified")[0])
        unchanged = {"If-Modified-Since": got.headers["last-modified"]}
        assert (await live.ask("GET", "/versions/k", headers=unchanged)).status == 304
    listed = await live.ok("GET", "/versions", query="versions=")
    assert listed.texts("Version/VersionId") == written[::-1]
    assert times == sorted(times)
    for version, number in zip(written, range(60), strict=True):
        assert (await live.ok("GET", "/versions/k", query=f"versionId={version}")).body == b"%d" % number


@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S, DAY_S, -DAY_S])
async def test_an_upload_lives_through_a_jump(live: Live, jump_s: int) -> None:
    begun = await live.ok("POST", "/bucket/k", query="uploads=")
    upload = begun.text("UploadId")
    live.clock[0] += jump_s
    part = await live.ok("PUT", "/bucket/k", b"whole", query=f"partNumber=1&uploadId={upload}")
    live.clock[0] -= 2 * jump_s
    named = f"<Part><PartNumber>1</PartNumber><ETag>{part.headers['etag']}</ETag></Part>"
    order = f"<CompleteMultipartUpload>{named}</CompleteMultipartUpload>".encode()
    await live.ok("POST", "/bucket/k", order, query=f"uploadId={upload}")
    assert (await live.ok("GET", "/bucket/k")).body == b"whole"
