"""ACLs: put by name, by header and by document, shown as they hold, and obeyed by every later request."""

import pytest

from s3d.access.acl import ALL_USERS, AUTHENTICATED_USERS
from tests.s3d.live import Answer, Live

OWNER, OTHER = "000000000001", "000000000002"
SECOND, ANYBODY = "AKSECOND", ""


def document(*grants: tuple[str, str, str], owner: str = OWNER) -> bytes:
    """An AccessControlPolicy of (tag of the grantee, its value, permission)."""
    listed = "".join(
        f'<Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser">'
        f"<{tag}>{value}</{tag}></Grantee><Permission>{permission}</Permission></Grant>"
        for tag, value, permission in grants
    )
    return (
        f"<AccessControlPolicy><Owner><ID>{owner}</ID></Owner>"
        f"<AccessControlList>{listed}</AccessControlList></AccessControlPolicy>"
    ).encode()


def shown(answer: Answer) -> list[tuple[str, str]]:
    """(grantee, permission) of each grant."""
    grant = "AccessControlList/Grant"
    who = answer.texts(f"{grant}/Grantee/URI") + answer.texts(f"{grant}/Grantee/ID")
    return list(zip(who, answer.texts(f"{grant}/Permission"), strict=True))


async def test_what_nobody_said_is_the_owners_alone(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", b"body")
    for path in ("/bucket", "/bucket/key"):
        answer = await live.ok("GET", path, query="acl")
        assert (answer.text("Owner/ID"), answer.text("Owner/DisplayName")) == (OWNER, "first")
        assert shown(answer) == [(OWNER, "FULL_CONTROL")]
        assert (await live.ask("GET", path, query="acl", key=SECOND)).status == 403


@pytest.mark.parametrize(
    ("name", "anybody", "signed_in"),
    [("private", 403, 403), ("public-read", 200, 200), ("authenticated-read", 403, 200)],
)
async def test_canned_ones_are_obeyed(live: Live, name: str, anybody: int, signed_in: int) -> None:
    await live.ok("PUT", "/bucket/key", b"body", headers={"x-amz-acl": name})
    await live.ok("PUT", "/bucket", query="acl", headers={"x-amz-acl": name})
    for path in ("/bucket/key", "/bucket"):
        assert (await live.ask("GET", path, key=ANYBODY)).status == anybody
        assert (await live.ask("GET", path, key=SECOND)).status == signed_in
        assert (await live.ask("GET", path)).status == 200
    assert (await live.ask("PUT", "/bucket/key", b"x", key=SECOND)).status == 403


async def test_groups_are_shown_first(live: Live) -> None:
    await live.ok("PUT", "/made", headers={"x-amz-acl": "public-read-write"})
    answer = await live.ok("GET", "/made", query="acl")
    assert shown(answer) == [(ALL_USERS, "READ"), (ALL_USERS, "WRITE"), (OWNER, "FULL_CONTROL")]
    await live.ok("PUT", "/made", query="acl", headers={"x-amz-acl": "private"})
    assert shown(await live.ok("GET", "/made", query="acl")) == [(OWNER, "FULL_CONTROL")]


async def test_grants_in_headers(live: Live) -> None:
    headers = {
        "x-amz-grant-read": f'id="{OTHER}", uri={AUTHENTICATED_USERS}',
        "x-amz-grant-full-control": "emailAddress=second@example.com",
    }
    await live.ok("PUT", "/bucket/key", b"body", headers=headers)
    answer = await live.ok("GET", "/bucket/key", query="acl", key=SECOND)
    assert shown(answer) == [(AUTHENTICATED_USERS, "READ"), (OTHER, "READ"), (OTHER, "FULL_CONTROL")]


async def test_a_document_replaces_what_was_there(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", b"body", headers={"x-amz-acl": "public-read"})
    before = await live.ok("HEAD", "/bucket/key")
    live.clock[0] += 60
    await live.ok("PUT", "/bucket/key", document(("ID", OTHER, "READ_ACP")), query="acl")
    assert shown(await live.ok("GET", "/bucket/key", query="acl", key=SECOND)) == [(OTHER, "READ_ACP")]
    assert (await live.ask("GET", "/bucket/key", key=SECOND)).status == 403
    assert (await live.ask("GET", "/bucket/key", key=ANYBODY)).status == 403
    after = await live.ok("HEAD", "/bucket/key")
    for name in ("etag", "last-modified", "content-type"):
        assert after.headers[name] == before.headers[name]


async def test_an_acl_of_nothing_leaves_the_owner(live: Live) -> None:
    await live.ok("PUT", "/bucket", document(), query="acl")
    assert shown(await live.ok("GET", "/bucket", query="acl")) == []
    await live.ok("PUT", "/bucket/key", b"body")
    await live.ok("PUT", "/bucket", document(("ID", OWNER, "FULL_CONTROL")), query="acl")


async def test_whoever_may_write_the_acl_does_not_become_the_owner(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", b"body")
    await live.ok("PUT", "/bucket/key", document(("ID", OTHER, "FULL_CONTROL")), query="acl")
    await live.ok("PUT", "/bucket/key", document(("ID", OTHER, "READ_ACP")), query="acl", key=SECOND)
    assert (await live.ok("GET", "/bucket/key", query="acl", key=SECOND)).text("Owner/ID") == OWNER
    stolen = await live.ask("PUT", "/bucket/key", document(owner=OTHER), query="acl")
    assert (stolen.status, stolen.code) == (403, "AccessDenied")


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (b"", {}, "MissingSecurityHeader"),
        (b"<a/>", {}, "MalformedACLError"),
        (b"<AccessControlPolicy/>", {}, "MalformedACLError"),
        (b"<!DOCTYPE a><AccessControlPolicy/>", {}, "MalformedACLError"),
        (document(("ID", OTHER, "READ"), ("ID", OTHER, "PAINT")), {}, "MalformedACLError"),
        (document(("Name", OTHER, "READ")), {}, "MalformedACLError"),
        (document(*[("ID", OTHER, "READ")] * 101), {}, "MalformedACLError"),
        (document(("ID", "_foo", "READ")), {}, "InvalidArgument"),
        (document(("URI", "http://example.com/all", "READ")), {}, "InvalidArgument"),
        (document(("EmailAddress", "none@example.com", "READ")), {}, "UnresolvableGrantByEmailAddress"),
        (document(), {"x-amz-acl": "private"}, "UnexpectedContent"),
        (b"", {"x-amz-acl": "open"}, "InvalidArgument"),
        (b"", {"x-amz-grant-read": OTHER}, "InvalidArgument"),
        (b"", {"x-amz-grant-read": f'id="{OTHER}'}, "InvalidArgument"),
        (b"", {"x-amz-grant-read": "id=nobody"}, "InvalidArgument"),
        (b"", {"x-amz-grant-write": f"id={OTHER}", "x-amz-acl": "private"}, "InvalidRequest"),
    ],
)
@pytest.mark.parametrize("path", ["/bucket", "/bucket/key"])
async def test_acls_that_are_none(
    live: Live, path: str, body: bytes, headers: dict[str, str], code: str
) -> None:
    await live.ok("PUT", "/bucket/key", b"body")
    before = await live.ok("GET", path, query="acl")
    assert (await live.ask("PUT", path, body, query="acl", headers=headers)).code == code
    assert shown(await live.ok("GET", path, query="acl")) == shown(before)


async def test_what_others_write_is_theirs(live: Live) -> None:
    await live.ok("PUT", "/bucket", query="acl", headers={"x-amz-acl": "public-read-write"})
    await live.ok("PUT", "/bucket/theirs", b"theirs", key=SECOND)
    assert (await live.ok("GET", "/bucket/theirs", key=SECOND)).body == b"theirs"
    for method, query in (("GET", ""), ("HEAD", ""), ("GET", "acl")):
        assert (await live.ask(method, "/bucket/theirs", query=query)).status == 403
    shared = {"x-amz-acl": "bucket-owner-full-control"}
    await live.ok("PUT", "/bucket/shared", b"shared", key=SECOND, headers=shared)
    answer = await live.ok("GET", "/bucket/shared", query="acl")
    assert shown(answer) == [(OWNER, "FULL_CONTROL"), (OTHER, "FULL_CONTROL")]
    assert answer.text("Owner/ID") == OTHER
    listed = await live.ok("GET", "/bucket")
    assert listed.texts("Contents/Owner/ID") == [OTHER, OTHER]
    assert (await live.ask("DELETE", "/bucket/theirs")).status == 204


async def test_what_nobody_writes_is_the_buckets(live: Live) -> None:
    await live.ok("PUT", "/bucket", query="acl", headers={"x-amz-acl": "public-read-write"})
    await live.ok("PUT", "/bucket/key", b"body", key=ANYBODY, headers={"x-amz-acl": "public-read"})
    assert (await live.ok("GET", "/bucket/key")).body == b"body"
    answer = await live.ok("GET", "/bucket/key", query="acl")
    assert answer.text("Owner/ID") == OWNER
    assert shown(answer) == [(ALL_USERS, "READ"), (OWNER, "FULL_CONTROL")]


async def test_an_upload_keeps_the_acl_that_it_began_with(live: Live) -> None:
    begun = await live.ok("POST", "/bucket/key", query="uploads", headers={"x-amz-acl": "public-read"})
    upload = begun.text("UploadId")
    part = await live.ok("PUT", "/bucket/key", b"body", query=f"partNumber=1&uploadId={upload}")
    parts = f"<Part><PartNumber>1</PartNumber><ETag>{part.headers['etag']}</ETag></Part>"
    body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
    await live.ok("POST", "/bucket/key", body, query=f"uploadId={upload}")
    assert (await live.ok("GET", "/bucket/key", key=ANYBODY)).body == b"body"


async def test_a_copy_begins_with_an_acl_of_its_own(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", b"body", headers={"x-amz-acl": "public-read"})
    source = {"x-amz-copy-source": "/bucket/key"}
    await live.ok("PUT", "/bucket/private", headers=source)
    await live.ok("PUT", "/bucket/public", headers=source | {"x-amz-acl": "public-read"})
    assert (await live.ask("GET", "/bucket/private", key=ANYBODY)).status == 403
    assert (await live.ask("GET", "/bucket/public", key=ANYBODY)).status == 200
    await live.ok("PUT", "/mine", key=SECOND)
    await live.ok("PUT", "/mine/copy", key=SECOND, headers=source)
    stolen = await live.ask("PUT", "/mine/copy", key=SECOND, headers={"x-amz-copy-source": "/bucket/private"})
    assert stolen.code == "AccessDenied"


async def test_a_bucket_made_again_must_have_the_acl_that_is_asked_for(live: Live) -> None:
    public = {"x-amz-acl": "public-read"}
    assert (await live.ask("PUT", "/bucket", headers=public)).code == "BucketAlreadyExists"
    await live.ok("PUT", "/made", headers=public)
    await live.ok("PUT", "/made", headers=public)
    assert (await live.ask("PUT", "/made")).code == "BucketAlreadyExists"
    await live.ok("PUT", "/bucket", headers={"x-amz-acl": "private"})
