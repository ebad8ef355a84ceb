"""Settings of a bucket that are one document each: what is not built says so, and what is off is said to be off."""

import pytest

from tests.s3d.live import Live

ACCELERATE = b"<AccelerateConfiguration><Status>%s</Status></AccelerateConfiguration>"
PAYER = b"<RequestPaymentConfiguration><Payer>%s</Payer></RequestPaymentConfiguration>"
LOG = b"<BucketLoggingStatus><LoggingEnabled><TargetBucket>b</TargetBucket></LoggingEnabled></BucketLoggingStatus>"
NOTIFY = b"<NotificationConfiguration><EventBridgeConfiguration/></NotificationConfiguration>"


async def test_acceleration_is_off(live: Live) -> None:
    assert (await live.ok("GET", "/bucket", query="accelerate")).texts("Status") == []
    await live.ok("PUT", "/bucket", ACCELERATE % b"Suspended", query="accelerate")
    for document, status in ((ACCELERATE % b"Enabled", 501), (ACCELERATE % b"Fast", 400), (b"", 400)):
        assert (await live.ask("PUT", "/bucket", document, query="accelerate")).status == status
    assert (await live.ok("GET", "/bucket", query="accelerate")).texts("Status") == ["Suspended"]
    assert (await live.ask("DELETE", "/bucket", query="accelerate")).status == 405


async def test_the_owner_pays(live: Live) -> None:
    await live.ok("PUT", "/bucket", PAYER % b"BucketOwner", query="requestPayment")
    for document, status in ((PAYER % b"Requester", 501), (PAYER % b"Nobody", 400), (b"", 400)):
        assert (await live.ask("PUT", "/bucket", document, query="requestPayment")).status == status
    assert (await live.ok("GET", "/bucket", query="requestPayment")).texts("Payer") == ["BucketOwner"]


@pytest.mark.parametrize(("query", "asking"), [("logging", LOG), ("notification", NOTIFY)])
async def test_nothing_is_logged_or_told(live: Live, query: str, asking: bytes) -> None:
    empty = await live.ok("GET", "/bucket", query=query)
    assert list(empty.xml()) == []
    await live.ok("PUT", "/bucket", empty.body, query=query)
    refused = await live.ask("PUT", "/bucket", asking, query=query)
    assert (refused.status, refused.code) == (501, "NotImplemented")
    assert (await live.ask("PUT", "/bucket", b"<Other/>", query=query)).code == "MalformedXML"
    assert (await live.ok("GET", "/bucket", query=query)).body == empty.body


@pytest.mark.parametrize(
    ("query", "code", "deleted"),
    [
        ("encryption", "ServerSideEncryptionConfigurationNotFoundError", 204),
        ("lifecycle", "NoSuchLifecycleConfiguration", 204),
        ("object-lock", "ObjectLockConfigurationNotFoundError", 405),
        ("replication", "ReplicationConfigurationNotFoundError", 204),
        ("website", "NoSuchWebsiteConfiguration", 204),
    ],
)
async def test_what_is_not_built_is_not_there(live: Live, query: str, code: str, deleted: int) -> None:
    absent = await live.ask("GET", "/bucket", query=query)
    assert (absent.status, absent.code, absent.text("BucketName")) == (404, code, "bucket")
    assert (await live.ask("DELETE", "/bucket", query=query)).status == deleted
    assert (await live.ask("PUT", "/bucket", b"<Any/>", query=query)).status == 501
    assert (await live.ask("GET", "/bucket", query=query, key="AKNOTHING")).code == "AccessDenied"
