"""DeleteObject and DeleteObjects: what is deleted is gone, and each key has its own answer."""

import base64
import hashlib

import pytest

from s3d.metadata.state import State
from tests.s3d.live import Answer, Live


async def delete(live: Live, document: str, *, key: str = "AKIDEXAMPLE", bucket: str = "bucket") -> Answer:
    body = document.encode()
    md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
    return await live.ask("POST", f"/{bucket}", body, query="delete", headers={"Content-MD5": md5}, key=key)


def order(*keys: str, quiet: bool = False) -> str:
    objects = "".join(f"<Object><Key>{key}</Key></Object>" for key in keys)
    return f"<Delete>{'<Quiet>true</Quiet>' if quiet else ''}{objects}</Delete>"


async def test_delete_answers_the_same_for_what_was_not_there(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", b"body")
    for _ in range(2):
        answer = await live.ask("DELETE", "/bucket/key")
        assert (answer.status, answer.body) == (204, b"")
        assert "x-amz-version-id" not in answer.headers
    assert (await live.ask("GET", "/bucket/key")).status == 404


async def test_the_version_null_is_the_object(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", b"body")
    answer = await live.ok("DELETE", "/bucket/key", query="versionId=null")
    assert answer.headers["x-amz-version-id"] == "null"
    assert (await live.ask("GET", "/bucket/key")).status == 404


async def test_what_is_deleted_is_condemned(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", b"body")
    await live.ok("DELETE", "/bucket/key")
    with live.store.state.view() as view:
        assert view.condemned_count() == 1
        assert [row.blob for row in view.blobs()] == []


async def test_a_condition_on_a_delete(live: Live) -> None:
    put = await live.ok("PUT", "/bucket/key", b"body")
    wrong = await live.ask("DELETE", "/bucket/key", headers={"If-Match": '"0123"'})
    assert (wrong.status, wrong.code) == (412, "PreconditionFailed")
    for _ in range(2):  # what is not there is deleted, whatever the condition
        await live.ok("DELETE", "/bucket/key", headers={"If-Match": put.headers["etag"]})


async def test_a_delete_may_want_a_size_and_a_time(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", b"body")
    modified = (await live.ok("HEAD", "/bucket/key")).headers["last-modified"]
    size, time = "x-amz-if-match-size", "x-amz-if-match-last-modified-time"
    for wrong in (
        {size: "5"},
        {time: "Fri, 21 Nov 2014 08:00:00 GMT"},
        {size: "4", time: "2014-11-21T08:00:00Z"},
    ):
        answer = await live.ask("DELETE", "/bucket/key", headers=wrong)
        assert (answer.status, answer.code) == (412, "PreconditionFailed")
    for bad in ({size: "four"}, {time: "now"}):
        assert (await live.ask("DELETE", "/bucket/key", headers=bad)).code == "InvalidArgument"
    await live.ok("DELETE", "/bucket/key", headers={size: "4", time: modified})
    assert (await live.ask("GET", "/bucket/key")).status == 404


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("<ETag>0123</ETag>", "<ETag>*</ETag>"),
        ("<Size>5</Size>", "<Size>4</Size>"),
        (
            "<LastModifiedTime>2014-11-21T08:00:00Z</LastModifiedTime>",
            "<ETag>841a2d689ad86bd1611447453c22c6fc</ETag>",
        ),
    ],
)
async def test_each_key_has_its_own_conditions(live: Live, wrong: str, right: str) -> None:
    for key in ("a", "b"):
        await live.ok("PUT", f"/bucket/{key}", b"body")
    answer = await delete(
        live, f"<Delete><Object><Key>a</Key>{wrong}</Object><Object><Key>b</Key>{right}</Object></Delete>"
    )
    assert answer.texts("Error/Code") == ["PreconditionFailed"]
    assert answer.texts("Deleted/Key") == ["b"]


async def test_what_can_be_no_version_is_told(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", b"body")
    await live.ok(
        "PUT",
        "/bucket",
        b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
        query="versioning",
    )
    gone = (await live.ok("PUT", "/bucket/key", b"newer")).headers["x-amz-version-id"]
    await live.ok("DELETE", "/bucket/key", query=f"versionId={gone}")
    named = ("no-version", gone, "x" * 2_000, "")
    objects = (f"<Object><Key>key</Key><VersionId>{each}</VersionId></Object>" for each in named)
    answer = await delete(live, f"<Delete>{''.join(objects)}</Delete>")
    assert answer.texts("Error/Code") == ["NoSuchVersion"] * 2
    assert answer.texts("Error/VersionId") == ["no-version", "x" * 2_000]
    assert answer.texts("Deleted/VersionId") == [gone]
    assert answer.texts("Deleted/DeleteMarker") == ["true"]


async def test_many_keys_at_once(live: Live) -> None:
    for key in ("a", "b/c", "d"):
        await live.ok("PUT", f"/bucket/{key}", b"body")
    answer = await delete(live, order("a", "b/c", "absent", "a"))
    assert answer.texts("Deleted/Key") == ["a", "b/c", "absent", "a"]
    assert answer.texts("Error/Key") == []
    listed = await live.ok("GET", "/bucket", query="list-type=2")
    assert listed.texts("Contents/Key") == ["d"]
    quiet = await delete(live, order("d", quiet=True))
    assert len(quiet.xml()) == 0


async def test_a_key_that_may_not_be_deleted_does_not_stop_the_others(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", b"body")
    answer = await delete(live, order("key", "x" * 1_025))
    assert answer.texts("Deleted/Key") == ["key"]
    assert answer.texts("Error/Code") == ["KeyTooLongError"]


@pytest.mark.parametrize(
    "document",
    [
        order(),
        order(*(f"k{number}" for number in range(1_001))),
        "<Delete><Object><Key></Key></Object></Delete>",
        "<Delete>",
        "<Other><Object><Key>k</Key></Object></Other>",
        '<!DOCTYPE Delete [<!ENTITY a "b">]><Delete><Object><Key>&a;</Key></Object></Delete>',
    ],
)
async def test_documents_that_are_refused(live: Live, document: str) -> None:
    await live.ok("PUT", "/bucket/k1", b"body")
    answer = await delete(live, document)
    assert (answer.status, answer.code) == (400, "MalformedXML")
    assert (await live.ok("GET", "/bucket/k1")).body == b"body"


@pytest.mark.parametrize("name", ["x-amz-checksum-algorithm", "x-amz-checksum-mode", "x-amz-checksum-type"])
async def test_a_word_about_checksums_is_none(live: Live, name: str) -> None:
    await live.ok("PUT", "/bucket/key", b"body")
    answer = await live.ask("POST", "/bucket", order("key").encode(), query="delete", headers={name: "CRC32"})
    assert (answer.status, answer.code) == (400, "InvalidRequest")
    assert (await live.ask("HEAD", "/bucket/key")).status == 200


async def test_a_checksum_is_required_and_checked(live: Live) -> None:
    body = order("key").encode()
    missing = await live.ask("POST", "/bucket", body, query="delete")
    assert (missing.status, missing.code) == (400, "InvalidRequest")
    md5 = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    wrong = await live.ask("POST", "/bucket", body, query="delete", headers={"Content-MD5": md5})
    assert (wrong.status, wrong.code) == (400, "BadDigest")


async def test_many_keys_are_decided_in_one_look_at_the_metadata(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    views, view = [], State.view

    def counted(state: State) -> object:
        views.append(1)
        return view(state)

    monkeypatch.setattr(State, "view", counted)
    await delete(live, order("one"))
    alone = len(views)
    await delete(live, order(*(f"key-{number}" for number in range(100))))
    assert len(views) == 2 * alone
