"""What blocks public access and who owns what is written: kept, shown, and obeyed."""

import json

import pytest

from tests.s3d.live import Live

OWNER, OTHER = "000000000001", "000000000002"
SECOND, ANYBODY = "AKSECOND", ""
NAMES = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
PUBLIC_READ = {"x-amz-acl": "public-read"}
EVERYBODY = json.dumps(
    {
        "Statement": {
            "Effect": "Allow",
            "Principal": "*",
            "Action": "*",
            "Resource": ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*"],
        }
    }
).encode()


def block(*on: str) -> bytes:
    said = "".join(f"<{name}>{'true' if name in on else 'false'}</{name}>" for name in NAMES)
    return f"<PublicAccessBlockConfiguration>{said}</PublicAccessBlockConfiguration>".encode()


def ownership(rule: str) -> bytes:
    return f"<OwnershipControls><Rule><ObjectOwnership>{rule}</ObjectOwnership></Rule></OwnershipControls>".encode()


async def test_a_block_is_kept_and_can_be_taken_away(live: Live) -> None:
    missing = await live.ask("GET", "/bucket", query="publicAccessBlock")
    assert (missing.status, missing.code) == (404, "NoSuchPublicAccessBlockConfiguration")
    await live.ok("PUT", "/bucket", block("IgnorePublicAcls"), query="publicAccessBlock")
    answer = await live.ok("GET", "/bucket", query="publicAccessBlock")
    assert [answer.text(name) for name in NAMES] == ["false", "true", "false", "false"]
    for _ in range(2):
        assert (await live.ask("DELETE", "/bucket", query="publicAccessBlock")).status == 204
    assert (await live.ask("GET", "/bucket", query="publicAccessBlock")).status == 404


async def test_public_acls_are_refused(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", b"body")
    await live.ok("PUT", "/bucket", block("BlockPublicAcls"), query="publicAccessBlock")
    for path, query in (("/bucket", "acl"), ("/bucket/key", "acl"), ("/bucket/new", "")):
        for name in ("public-read", "public-read-write", "authenticated-read"):
            answer = await live.ask("PUT", path, query=query, headers={"x-amz-acl": name})
            assert (answer.status, answer.code) == (403, "AccessDenied")
        await live.ok("PUT", path, query=query, headers={"x-amz-acl": "private"})
    copy = {"x-amz-copy-source": "/bucket/key"} | PUBLIC_READ
    assert (await live.ask("PUT", "/bucket/copy", headers=copy)).status == 403
    assert (await live.ask("POST", "/bucket/up", query="uploads", headers=PUBLIC_READ)).status == 403


async def test_public_acls_are_ignored(live: Live) -> None:
    await live.ok("PUT", "/bucket", query="acl", headers=PUBLIC_READ)
    await live.ok("PUT", "/bucket/key", b"body", headers=PUBLIC_READ)
    assert (await live.ask("GET", "/bucket/key", key=ANYBODY)).status == 200
    await live.ok("PUT", "/bucket", block("IgnorePublicAcls"), query="publicAccessBlock")
    for path in ("/bucket", "/bucket/key"):
        for key in (ANYBODY, SECOND):
            assert (await live.ask("GET", path, key=key)).status == 403
        assert (await live.ask("GET", path)).status == 200
    await live.ok("DELETE", "/bucket", query="publicAccessBlock")
    assert (await live.ask("GET", "/bucket/key", key=ANYBODY)).status == 200


async def test_public_policies_are_refused(live: Live) -> None:
    await live.ok("PUT", "/bucket", block("BlockPublicPolicy"), query="publicAccessBlock")
    answer = await live.ask("PUT", "/bucket", EVERYBODY, query="policy")
    assert (answer.status, answer.code) == (403, "AccessDenied")
    narrow = EVERYBODY.replace(b'"*", "Action"', b'{"AWS": "000000000002"}, "Action"')
    assert narrow != EVERYBODY
    await live.ok("PUT", "/bucket", narrow, query="policy")


async def test_buckets_that_were_public_are_shut(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", b"body")
    await live.ok("PUT", "/bucket", EVERYBODY, query="policy")
    assert (await live.ask("GET", "/bucket/key", key=ANYBODY)).status == 200
    await live.ok("PUT", "/bucket", block("RestrictPublicBuckets"), query="publicAccessBlock")
    for key in (ANYBODY, SECOND):
        assert (await live.ask("GET", "/bucket/key", key=key)).status == 403
    assert (await live.ask("GET", "/bucket/key")).status == 200
    assert (await live.ok("GET", "/bucket", query="policyStatus")).text("IsPublic") == "false"


async def test_who_owns_is_kept_and_can_be_taken_away(live: Live) -> None:
    missing = await live.ask("GET", "/bucket", query="ownershipControls")
    assert (missing.status, missing.code) == (404, "OwnershipControlsNotFoundError")
    for rule in ("ObjectWriter", "BucketOwnerPreferred", "BucketOwnerEnforced"):
        await live.ok("PUT", "/bucket", ownership(rule), query="ownershipControls")
        answer = await live.ok("GET", "/bucket", query="ownershipControls")
        assert answer.texts("Rule/ObjectOwnership") == [rule]
    for _ in range(2):
        assert (await live.ask("DELETE", "/bucket", query="ownershipControls")).status == 204
    await live.ok("PUT", "/made", headers={"x-amz-object-ownership": "BucketOwnerPreferred"})
    answer = await live.ok("GET", "/made", query="ownershipControls")
    assert answer.texts("Rule/ObjectOwnership") == ["BucketOwnerPreferred"]


@pytest.mark.parametrize(
    ("rule", "owners"),
    [
        ("ObjectWriter", [OTHER, OTHER]),
        ("BucketOwnerPreferred", [OTHER, OWNER]),
        ("BucketOwnerEnforced", [OWNER, OWNER]),
    ],
)
async def test_who_owns_what_another_account_writes(live: Live, rule: str, owners: list[str]) -> None:
    await live.ok("PUT", "/bucket", EVERYBODY, query="policy")
    await live.ok("PUT", "/bucket", ownership(rule), query="ownershipControls")
    given = {"x-amz-acl": "bucket-owner-full-control"}
    await live.ok("PUT", "/bucket/a", b"body", key=SECOND)
    await live.ok("PUT", "/bucket/b", b"body", key=SECOND, headers=given)
    found = [
        (await live.ok("GET", f"/bucket/{name}", query="acl", key=SECOND if owner == OTHER else "AKREADER"))
        for name, owner in zip("ab", owners, strict=True)
    ]
    assert [answer.text("Owner/ID") for answer in found] == owners
    begun = await live.ok("POST", "/bucket/c", query="uploads", key=SECOND, headers=given)
    parts = await live.ok("GET", "/bucket/c", query=f"uploadId={begun.text('UploadId')}", key=SECOND)
    assert parts.text("Owner/ID") == owners[1]


async def test_enforced_ownership_puts_acls_out_of_force(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", b"body", headers=PUBLIC_READ)
    await live.ok("PUT", "/bucket", query="acl", headers=PUBLIC_READ)
    refused = await live.ask("PUT", "/bucket", ownership("BucketOwnerEnforced"), query="ownershipControls")
    assert (refused.status, refused.code) == (400, "InvalidBucketAclWithObjectOwnership")
    await live.ok("PUT", "/bucket", query="acl", headers={"x-amz-acl": "private"})
    await live.ok("PUT", "/bucket", ownership("BucketOwnerEnforced"), query="ownershipControls")
    assert (await live.ask("GET", "/bucket/key", key=ANYBODY)).status == 403
    shown = await live.ok("GET", "/bucket/key", query="acl")
    assert shown.texts("AccessControlList/Grant/Permission") == ["FULL_CONTROL"]
    for path, query in (("/bucket", "acl"), ("/bucket/key", "acl"), ("/bucket/new", "")):
        answer = await live.ask("PUT", path, query=query, headers={"x-amz-acl": "private"})
        assert (answer.status, answer.code) == (400, "AccessControlListNotSupported")
    headers = {"x-amz-object-ownership": "BucketOwnerEnforced"}
    assert (await live.ask("PUT", "/made", headers=headers | PUBLIC_READ)).status == 400
    await live.ok("PUT", "/made", headers=headers)


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("publicAccessBlock", b""),
        ("publicAccessBlock", b"<a/>"),
        ("publicAccessBlock", block().replace(b"false", b"maybe")),
        ("publicAccessBlock", block().replace(b"BlockPublicAcls", b"BlockAll")),
        ("ownershipControls", b"<OwnershipControls/>"),
        ("ownershipControls", ownership("Everybody")),
    ],
)
async def test_documents_that_are_none(live: Live, query: str, body: bytes) -> None:
    answer = await live.ask("PUT", "/bucket", body, query=query)
    assert (answer.status, answer.code) == (400, "MalformedXML")
    assert (await live.ask("GET", "/bucket", query=query)).status == 404
    assert (await live.ask("PUT", "/made", headers={"x-amz-object-ownership": "X"})).code == "InvalidArgument"
