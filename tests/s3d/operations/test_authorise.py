"""The step before every operation: it decides before anything else happens, and says so in the audit log."""

import base64
import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

from s3d.metadata.commands import PutObjectSetting
from s3d.operations.call import Call
from s3d.operations.catalog import OPERATIONS
from s3d.operations.objects import get_object
from s3d.operations.reply import Reply
from s3d.operations.settings import ACL
from s3d.protocol.routing import Request, parse_target
from tests.s3d.live import Live
from tests.s3d.protocol.signing import (
    ACCESS_KEY,
    SECRET,
    Chunks,
    Wire,
    presigned,
    signed,
    signed_v2,
    streaming,
)

SECOND, ANYBODY, READER, NOTHING = "AKSECOND", "", "AKREADER", "AKNOTHING"


def audit(folder: Path, live: Live) -> list[dict[str, Any]]:
    live.store.audit.flush()
    return [json.loads(line) for line in (folder / "audit").read_text().splitlines()]


def allow(*actions: str, resource: str = "arn:aws:s3:::bucket/*") -> bytes:
    statement = {"Effect": "Allow", "Principal": "*", "Action": actions, "Resource": resource}
    return json.dumps({"Statement": statement}).encode()


async def delete(live: Live, *keys: str, key: str) -> list[str]:
    """The codes of the errors that DeleteObjects answers, by key."""
    body = f"<Delete>{''.join(f'<Object><Key>{name}</Key></Object>' for name in keys)}</Delete>".encode()
    md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
    answer = await live.ask("POST", "/bucket", body, query="delete", headers={"Content-MD5": md5}, key=key)
    assert answer.status in (200, 403)
    return answer.texts("Error/Key") if answer.status == 200 else list(keys)


async def test_no_operation_is_allowed_by_default(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", b"body")
    paths = {"service": ("/",), "bucket": ("/bucket",), "object": ("/bucket/key", "/bucket/absent")}
    for operation in OPERATIONS:
        if operation.method == "OPTIONS":
            continue  # a preflight comes before who asks is known: the bucket's CORS rules answer it
        own = (
            operation.scope == "service" or operation.name == "CreateBucket"
        )  # AKSECOND's policy allows them
        keys = (ANYBODY, NOTHING) if own else (ANYBODY, NOTHING, SECOND)
        for path, key in itertools.product(paths[operation.scope], keys):
            answer = await live.ask(
                operation.method,
                path,
                query="&".join(operation.query),
                headers=dict.fromkeys(operation.headers, "/bucket/key"),
                key=key,
            )
            assert answer.status == 403, (operation.name, path, key)


async def test_what_is_not_there_is_told_to_who_may_list_only(live: Live) -> None:
    for method in ("GET", "HEAD"):
        assert (await live.ask(method, "/bucket/absent", key=READER)).status == 404
        for key in (ANYBODY, SECOND, NOTHING):
            assert (await live.ask(method, "/bucket/absent", key=key)).status == 403
    await live.ok("PUT", "/bucket", allow("s3:GetObject"), query="policy")
    assert (await live.ask("GET", "/bucket/absent", key=ANYBODY)).status == 403
    assert (await live.ask("GET", "/bucket/absent", query="versionId=null")).status == 404


async def test_buckets_that_are_not_there(live: Live) -> None:
    for key, code in ((ANYBODY, "NoSuchBucket"), (SECOND, "NoSuchBucket"), (NOTHING, "AccessDenied")):
        assert (await live.ask("GET", "/absent-bucket/key", key=key)).code == code


async def test_each_key_of_a_delete_is_decided_on_its_own(live: Live) -> None:
    for name in ("open/a", "shut/a"):
        await live.ok("PUT", f"/bucket/{name}", b"body")
    assert await delete(live, "open/a", "shut/a", key=SECOND) == ["open/a", "shut/a"]
    await live.ok(
        "PUT", "/bucket", allow("s3:DeleteObject", resource="arn:aws:s3:::bucket/open/*"), query="policy"
    )
    assert await delete(live, "open/a", "shut/a", key=SECOND) == ["shut/a"]
    assert (await live.ok("GET", "/bucket")).texts("Contents/Key") == ["shut/a"]
    assert await delete(live, "shut/a", key=READER) == ["shut/a"]


async def test_headers_that_do_more_take_grants_of_their_own(live: Live) -> None:
    everything = ["s3:PutObject", "s3:CreateBucket"]
    await live.ok("PUT", "/bucket", allow(*everything), query="policy")
    await live.ok("PUT", "/bucket/key", b"body", key=NOTHING)
    refused = await live.ask("PUT", "/bucket/key", b"body", key=NOTHING, headers={"x-amz-acl": "public-read"})
    assert refused.code == "AccessDenied"
    await live.ok("PUT", "/bucket/key", b"body", key=SECOND, headers={"x-amz-acl": "public-read"})


async def test_a_version_that_took_the_place_of_the_one_decided_on_is_decided_on_too(
    live: Live,
) -> None:
    await live.ok("PUT", "/bucket/key", b"public", headers={"x-amz-acl": "public-read"})

    async def late(call: Call) -> Reply:
        await live.ok("PUT", "/bucket/key", b"private")
        return await get_object(call)

    get = live.app._router.resolve(Request("GET", parse_target("/bucket/key"), {}))
    assert get.handler is get_object
    object.__setattr__(get, "handler", late)
    for path in ("/bucket/key", "/bucket/absent"):
        answer = await live.ask("GET", path, key=ANYBODY)
        assert (answer.status, answer.code) == (403, "AccessDenied")


async def test_a_deleted_policy_leaves_what_others_own_theirs(live: Live) -> None:
    await live.ok("PUT", "/bucket", allow("s3:PutObject"), query="policy")
    await live.ok("PUT", "/bucket/theirs", b"body", key=SECOND)
    await live.ok("DELETE", "/bucket", query="policy")
    assert (await live.ask("GET", "/bucket/theirs")).status == 403
    assert (await live.ask("GET", "/bucket/theirs", key=SECOND)).status == 200


async def test_decisions_are_lines_of_the_audit_log(live: Live, tmp_path: Path) -> None:
    await live.ok("PUT", "/bucket/key", b"body")
    answer = await live.ask("GET", "/bucket/key", query="versionId=null", key=SECOND)
    put, get = audit(tmp_path, live)[-2:]
    assert (put["operation"], put["allowed"], put["reason"]) == ("PutObject", True, "a grant of the key")
    assert get == {
        "time_us": int(live.clock[0] * 1_000_000),
        "request_id": answer.headers["x-amz-request-id"],
        "remote": "127.0.0.1",
        "access_key": SECOND,
        "account": "000000000002",
        "operation": "GetObject",
        "action": "s3:GetObjectVersion",
        "bucket": "bucket",
        "object": "key",
        "allowed": False,
        "reason": "it is another account's",
    }


async def test_every_decision_is_there_and_no_secret(live: Live, tmp_path: Path) -> None:
    await live.ok("PUT", "/bucket/key", b"body", headers={"x-amz-meta-word": "metadata-value"})
    await live.ok("PUT", "/bucket/copy", headers={"x-amz-copy-source": "/bucket/key"})
    await delete(live, "key", "copy", key=READER)
    await live.ask("GET", "/absent-bucket/key", key=ANYBODY)
    lines = audit(tmp_path, live)[1:]
    assert [(line["operation"], line["action"], line["object"], line["allowed"]) for line in lines] == [
        ("PutObject", "s3:PutObject", "key", True),
        ("CopyObject", "s3:PutObject", "copy", True),
        ("CopyObject", "s3:GetObject", "key", True),
        ("DeleteObjects", "s3:DeleteObject", "", False),
        ("GetObject", "s3:GetObject", "key", False),
    ]
    text = (tmp_path / "audit").read_text().lower()
    for secret in ("signature", "credential", "metadata-value", SECRET.lower()):
        assert secret not in text


def said_of(lines: list[dict[str, Any]]) -> tuple[object, ...]:
    """What the last line of the audit log says of a request that was not believed."""
    line = lines[-1]
    assert line["allowed"] is False
    return line["operation"], line["action"], line["object"], line["access_key"], line["reason"]


async def test_who_is_not_believed_is_in_the_audit_log(live: Live, tmp_path: Path) -> None:
    wrong = signed("PUT", "/bucket/key", secret="wrong")
    refused: dict[Wire, str] = {
        wrong: f"SignatureDoesNotMatch, as {ACCESS_KEY}",
        signed_v2(
            "PUT", "/bucket/key", keys=(ACCESS_KEY, "wrong")
        ): f"SignatureDoesNotMatch, as {ACCESS_KEY}",
        signed_v2("PUT", "/bucket/key", keys=(SECRET, "wrong")): "InvalidAccessKeyId",
        presigned("PUT", "/bucket/key", at_s=0): "AccessDenied",
        signed("PUT", "/bucket/key", at_s=0): "RequestTimeTooSkewed",
        wrong.with_header("Authorization", f"Bearer {SECRET}"): "InvalidArgument",
        wrong.with_header("Authorization", f"AWS4-HMAC-SHA256 {SECRET}"): "AuthorizationHeaderMalformed",
    }
    for wire, reason in refused.items():
        assert (await live.send(wire)).status in (400, 403)
        assert said_of(audit(tmp_path, live)) == ("PutObject", "s3:PutObject", "key", "", reason)
    text = (tmp_path / "audit").read_text().lower()
    assert (
        SECRET.lower() not in text
        and "signature=" not in text
        and wrong.header("Authorization")[-64:] not in text
    )


async def test_a_body_that_nobody_signed_is_in_the_audit_log(live: Live, tmp_path: Path) -> None:
    assert (
        await live.send(signed("PUT", "/bucket/key", body=b"one"), b"two")
    ).code == "XAmzContentSHA256Mismatch"
    who = ("PutObject", "s3:PutObject", "key", ACCESS_KEY)
    assert said_of(audit(tmp_path, live)) == (*who, "XAmzContentSHA256Mismatch")
    wire, verified = streaming("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", 3, target="/bucket/key")
    body = Chunks(verified).body(b"one", 3).replace(b"one", b"two")
    assert (await live.send(wire, body)).code == "SignatureDoesNotMatch"
    assert said_of(audit(tmp_path, live)) == (*who, "SignatureDoesNotMatch")
    before = len(audit(tmp_path, live))
    assert (await live.ask("GET", "/bucket/absent")).status == 404
    assert len(audit(tmp_path, live)) == before + 1


async def test_an_object_acl_stands_though_the_bucket_has_no_documents(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", b"body")
    now_us = live.store.clock_us()
    row = b'[[["000000000002","READ"]]]'
    await live.store.apply(
        PutObjectSetting(
            live.store.write_id(now_us), now_us, bucket="bucket", key=b"key", name=ACL, document=row
        )
    )
    assert (await live.ok("GET", "/bucket/key", key=SECOND)).body == b"body"
    assert (await live.ask("GET", "/bucket/key", key=ANYBODY)).status == 403
