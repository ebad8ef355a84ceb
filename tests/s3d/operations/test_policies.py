"""Bucket policies: kept as they came, refused where they are none, and in force from the next request on."""

import json
from collections.abc import Mapping

import pytest

from tests.s3d.live import Answer, Live

SECOND, ANYBODY = "AKSECOND", ""


def policy(
    effect: str = "Allow",
    action: object = "s3:GetObject",
    resource: object = "arn:aws:s3:::bucket/*",
    *,
    principal: object = "*",
    condition: Mapping[str, object] | None = None,
) -> bytes:
    """A policy of one statement."""
    statement = {
        "Effect": effect,
        "Action": action,
        "Resource": resource,
        "Principal": principal,
        "Condition": condition or {},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}).encode()


async def put(live: Live, document: bytes) -> Answer:
    answer = await live.ask("PUT", "/bucket", document, query="policy")
    assert answer.status == 204, answer.body
    return answer


async def test_a_policy_is_kept_as_it_came_and_can_be_taken_away(live: Live) -> None:
    missing = await live.ask("GET", "/bucket", query="policy")
    assert (missing.status, missing.code) == (404, "NoSuchBucketPolicy")
    document = b" " + policy() + b"\n"
    await put(live, document)
    assert (await live.ok("GET", "/bucket", query="policy")).body == document
    for _ in range(2):
        assert (await live.ask("DELETE", "/bucket", query="policy")).status == 204
    assert (await live.ask("GET", "/bucket", query="policy")).code == "NoSuchBucketPolicy"


async def test_it_is_in_force_at_once(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", b"body")
    for key in (ANYBODY, SECOND):
        assert (await live.ask("GET", "/bucket/key", key=key)).status == 403
    await put(live, policy())
    for key in (ANYBODY, SECOND, "AKNOTHING"):
        assert (await live.ok("GET", "/bucket/key", key=key)).body == b"body"
        assert (await live.ask("PUT", "/bucket/key", b"x", key=key)).status == 403
        assert (await live.ask("GET", "/bucket", key=key)).status == 403
    await live.ok("DELETE", "/bucket", query="policy")
    assert (await live.ask("GET", "/bucket/key", key=ANYBODY)).status == 403


@pytest.mark.parametrize(
    "document",
    [b"", b"{", b"[]", policy("Maybe"), policy(resource="arn:aws:s3:::other/*"), b" " * 20_480 + policy()],
)
async def test_what_is_no_policy_changes_nothing(live: Live, document: bytes) -> None:
    await put(live, policy())
    answer = await live.ask("PUT", "/bucket", document, query="policy")
    assert (answer.status, answer.code) == (400, "MalformedPolicy")
    assert (await live.ok("GET", "/bucket", query="policy")).body == policy()


async def test_a_denial_is_for_the_owner_too_but_for_the_policy_itself(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", b"body")
    everything = ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*"]
    await put(live, policy("Deny", "*", everything))
    for method, path, query in (
        ("GET", "/bucket/key", ""),
        ("PUT", "/bucket/key", ""),
        ("GET", "/bucket", ""),
        ("PUT", "/bucket", "acl"),
        ("DELETE", "/bucket", ""),
    ):
        assert (await live.ask(method, path, query=query)).status == 403
    assert (await live.ask("DELETE", "/bucket", query="policy", key="AKREADER")).status == 403
    assert (await live.ok("GET", "/bucket", query="policy")).body
    await live.ok("DELETE", "/bucket", query="policy")
    assert (await live.ok("GET", "/bucket/key")).body == b"body"


@pytest.mark.parametrize(
    ("condition", "headers", "status"),
    [
        ({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, {}, 200),
        ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, {}, 403),
        ({"Bool": {"aws:SecureTransport": "true"}}, {}, 403),
        ({"StringLike": {"aws:Referer": "http://example.com/*"}}, {"Referer": "http://example.com/a"}, 200),
        ({"StringLike": {"aws:Referer": "http://example.com/*"}}, {}, 403),
        ({"StringEquals": {"s3:x-amz-acl": "private"}}, {"x-amz-acl": "private"}, 200),
        ({"Null": {"s3:x-amz-acl": "true"}}, {"x-amz-acl": "private"}, 403),
        ({"StringEquals": {"aws:username": "AKSECOND"}}, {}, 200),
        ({"DateLessThan": {"aws:CurrentTime": "2025-11-21T08:00:01Z"}}, {}, 200),
        ({"DateGreaterThan": {"aws:CurrentTime": "2025-11-21T08:00:01Z"}}, {}, 403),
    ],
)
async def test_conditions_are_about_the_request(
    live: Live, condition: dict[str, object], headers: dict[str, str], status: int
) -> None:
    await put(live, policy(action="s3:PutObject", condition=condition))
    answer = await live.ask("PUT", "/bucket/key", b"body", headers=headers, key=SECOND)
    assert answer.status == status


async def test_lists_by_prefix(live: Live) -> None:
    await put(
        live,
        policy(
            action="s3:ListBucket",
            resource="arn:aws:s3:::bucket",
            condition={
                "StringLike": {"s3:prefix": "open/*"},
                "NumericLessThanEquals": {"s3:max-keys": "10"},
            },
        ),
    )
    assert (await live.ask("GET", "/bucket", query="prefix=open/a&max-keys=10", key=SECOND)).status == 200
    for query in ("prefix=open/a&max-keys=11", "prefix=open/a", "prefix=secret/&max-keys=1", "max-keys=1"):
        assert (await live.ask("GET", "/bucket", query=query, key=SECOND)).status == 403


async def test_who_may_list_a_name_may_know_that_nothing_is_there(live: Live) -> None:
    await live.ok("PUT", "/bucket/open/here", b"body")
    await live.ok("PUT", "/bucket/secret/here", b"body")
    await put(
        live,
        policy(
            action="s3:ListBucket",
            resource="arn:aws:s3:::bucket",
            condition={"StringLike": {"s3:prefix": "open/*"}},
        ),
    )
    for method in ("HEAD", "GET"):
        assert (await live.ask(method, "/bucket/open/absent", key=SECOND)).status == 404
        for hidden in ("secret/absent", "secret/here", "open/here"):
            assert (await live.ask(method, f"/bucket/{hidden}", key=SECOND)).status == 403


async def test_a_version_takes_the_permission_for_versions(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", b"body")
    await put(live, policy())
    assert (await live.ask("GET", "/bucket/key", key=SECOND)).status == 200
    assert (await live.ask("GET", "/bucket/key", query="versionId=null", key=SECOND)).status == 403
    await put(live, policy(action=["s3:GetObjectVersion"]))
    assert (await live.ask("GET", "/bucket/key", query="versionId=null", key=SECOND)).status == 200
    assert (await live.ask("GET", "/bucket/key", key=SECOND)).status == 403


async def test_the_source_of_a_copy_is_read_by_policy_too(live: Live) -> None:
    for name in ("public/a", "private/a"):
        await live.ok("PUT", f"/bucket/{name}", b"body")
    await put(live, policy(resource="arn:aws:s3:::bucket/public/*"))
    await live.ok("PUT", "/mine", key=SECOND)
    await live.ok("PUT", "/mine/a", key=SECOND, headers={"x-amz-copy-source": "/bucket/public/a"})
    for hidden in ("private/a", "private/absent"):
        answer = await live.ask(
            "PUT", "/mine/a", key=SECOND, headers={"x-amz-copy-source": f"/bucket/{hidden}"}
        )
        assert (answer.status, answer.code) == (403, "AccessDenied")


@pytest.mark.parametrize(
    ("document", "public"),
    [
        (policy(), "true"),
        (policy(principal={"AWS": "000000000002"}), "false"),
        (policy("Deny"), "false"),
        (policy(condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/32"}}), "false"),
    ],
)
async def test_status(live: Live, document: bytes, public: str) -> None:
    assert (await live.ok("GET", "/bucket", query="policyStatus")).text("IsPublic") == "false"
    await put(live, document)
    assert (await live.ok("GET", "/bucket", query="policyStatus")).text("IsPublic") == public


async def test_a_bucket_is_public_by_its_acl_or_its_file_too(live: Live) -> None:
    assert (await live.ok("GET", "/public", query="policyStatus")).text("IsPublic") == "true"
    await live.ok("PUT", "/bucket", query="acl", headers={"x-amz-acl": "authenticated-read"})
    assert (await live.ok("GET", "/bucket", query="policyStatus")).text("IsPublic") == "true"


async def test_tags_that_are_there_and_tags_that_come(live: Live) -> None:
    await live.ok("PUT", "/bucket/red", b"body", headers={"x-amz-tagging": "team=red"})
    await live.ok("PUT", "/bucket/blue", b"body", headers={"x-amz-tagging": "team=blue"})
    there = {"StringEquals": {"s3:ExistingObjectTag/team": "red"}}
    await put(live, policy(condition=there))
    assert (await live.ask("GET", "/bucket/red", key=SECOND)).status == 200
    assert (await live.ask("GET", "/bucket/blue", key=SECOND)).status == 403
    coming = {"StringEquals": {"s3:RequestObjectTag/team": "green"}}
    await put(live, policy(action=["s3:PutObject", "s3:PutObjectTagging"], condition=coming))
    for team, status in (("green", 200), ("red", 403)):
        answer = await live.ask(
            "PUT", "/bucket/new", b"x", headers={"x-amz-tagging": f"team={team}"}, key=SECOND
        )
        assert answer.status == status
    deny = {"StringEquals": {"s3:RequestObjectTag/team": "red"}}
    await put(live, policy("Deny", "s3:PutObjectTagging", condition=deny))
    for team, status in (("green", 200), ("red", 403)):
        tag = f"<Tag><Key>team</Key><Value>{team}</Value></Tag>"
        document = f"<Tagging><TagSet>{tag}</TagSet></Tagging>".encode()
        assert (await live.ask("PUT", "/bucket/blue", document, query="tagging")).status == status
