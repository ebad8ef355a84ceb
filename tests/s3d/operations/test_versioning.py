"""Versioning: nothing that was written is lost, each version is read by its id, and what is live is the newest."""

import base64
import hashlib

import pytest

from tests.s3d.live import Answer, Live


async def keep_versions(live: Live, status: str = "Enabled", *, bucket: str = "bucket") -> None:
    body = f"<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>".encode()
    await live.ok("PUT", f"/{bucket}", body, query="versioning")


async def put(live: Live, body: bytes, key: str = "key") -> str:
    return (await live.ok("PUT", f"/bucket/{key}", body)).headers["x-amz-version-id"]


async def read(live: Live, version: str) -> Answer:
    return await live.ask("GET", "/bucket/key", query=f"versionId={version}")


async def listed(live: Live, query: str = "") -> Answer:
    return await live.ok("GET", "/bucket", query=f"versions&{query}")


@pytest.fixture
async def versioned(live: Live) -> Live:
    await keep_versions(live)
    return live


async def test_the_status_is_kept(live: Live) -> None:
    assert (await live.ok("GET", "/bucket", query="versioning")).texts("Status") == []
    for status in ("Enabled", "Suspended", "Enabled"):
        await keep_versions(live, status)
        assert (await live.ok("GET", "/bucket", query="versioning")).text("Status") == status


@pytest.mark.parametrize(
    ("document", "status", "code"),
    [
        ("", 400, "MalformedXML"),
        ("<Other><Status>Enabled</Status></Other>", 400, "MalformedXML"),
        ("<VersioningConfiguration><Status>enabled</Status></VersioningConfiguration>", 400, "MalformedXML"),
        ("<VersioningConfiguration/>", 400, "IllegalVersioningConfigurationException"),
        (
            "<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Enabled</MfaDelete></VersioningConfiguration>",
            501,
            "NotImplemented",
        ),
    ],
)
async def test_documents_that_are_refused(live: Live, document: str, status: int, code: str) -> None:
    answer = await live.ask("PUT", "/bucket", document.encode(), query="versioning")
    assert (answer.status, answer.code) == (status, code)
    assert (await live.ok("GET", "/bucket", query="versioning")).texts("Status") == []


async def test_every_version_is_read_by_its_id(versioned: Live) -> None:
    first, second = await put(versioned, b"one"), await put(versioned, b"second")
    assert first != second
    got = await versioned.ok("GET", "/bucket/key")
    assert (got.body, got.headers["x-amz-version-id"]) == (b"second", second)
    old = await read(versioned, first)
    assert (old.body, old.headers["x-amz-version-id"]) == (b"one", first)
    head = await versioned.ok("HEAD", "/bucket/key", query=f"versionId={first}")
    assert head.headers["content-length"] == "3"


async def test_a_delete_marker_hides_and_its_removal_shows(versioned: Live) -> None:
    version = await put(versioned, b"body")
    deleted = await versioned.ok("DELETE", "/bucket/key")
    marker = deleted.headers["x-amz-version-id"]
    assert (deleted.status, deleted.headers["x-amz-delete-marker"]) == (204, "true")
    live = await versioned.ask("GET", "/bucket/key")
    assert (live.status, live.code, live.headers["x-amz-delete-marker"]) == (404, "NoSuchKey", "true")
    assert live.headers["x-amz-version-id"] == marker
    named = await read(versioned, marker)
    assert (named.status, named.code) == (405, "MethodNotAllowed")
    assert (named.headers["x-amz-delete-marker"], named.headers["allow"]) == ("true", "DELETE")
    assert "last-modified" in named.headers
    assert (await read(versioned, version)).body == b"body"
    removed = await versioned.ok("DELETE", "/bucket/key", query=f"versionId={marker}")
    assert (removed.headers["x-amz-version-id"], removed.headers["x-amz-delete-marker"]) == (marker, "true")
    assert (await versioned.ok("GET", "/bucket/key")).body == b"body"


async def test_a_deleted_version_is_gone_and_the_one_before_it_live(versioned: Live) -> None:
    first, second = await put(versioned, b"one"), await put(versioned, b"two")
    removed = await versioned.ok("DELETE", "/bucket/key", query=f"versionId={second}")
    assert removed.headers["x-amz-version-id"] == second
    assert "x-amz-delete-marker" not in removed.headers
    assert (await versioned.ok("GET", "/bucket/key")).headers["x-amz-version-id"] == first
    gone = await read(versioned, second)
    assert (gone.status, gone.code) == (404, "NoSuchVersion")
    with versioned.store.state.view() as view:
        assert (len(list(view.blobs())), view.condemned_count()) == (1, 1)


async def test_without_versions_a_404_says_that_no_marker_is_why(live: Live) -> None:
    answer = await live.ask("GET", "/bucket/key")
    assert (answer.status, answer.headers["x-amz-delete-marker"]) == (404, "false")
    assert "x-amz-version-id" not in answer.headers


async def test_suspended_the_null_version_is_replaced_and_the_others_stay(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", b"before")
    await keep_versions(live)
    assert (await read(live, "null")).body == b"before"
    kept = await put(live, b"kept")
    await keep_versions(live, "Suspended")
    written = await live.ok("PUT", "/bucket/key", b"null")
    assert "x-amz-version-id" not in written.headers
    assert (await live.ok("GET", "/bucket/key")).headers["x-amz-version-id"] == "null"
    assert (await read(live, "null")).body == b"null"
    assert (await read(live, kept)).body == b"kept"
    marked = await live.ok("DELETE", "/bucket/key")
    assert (marked.headers["x-amz-version-id"], marked.headers["x-amz-delete-marker"]) == ("null", "true")
    assert (await read(live, "null")).status == 405
    assert (await read(live, kept)).body == b"kept"
    assert (await listed(live)).texts("Version/VersionId") == [kept]


async def test_the_list_has_versions_and_markers_newest_first(versioned: Live) -> None:
    ids = [await put(versioned, b"a", "a"), await put(versioned, b"aa", "a")]
    marker = (await versioned.ok("DELETE", "/bucket/a")).headers["x-amz-version-id"]
    other = await put(versioned, b"b", "b")
    page = await listed(versioned)
    assert page.texts("Version/VersionId") == [ids[1], ids[0], other]
    assert page.texts("Version/IsLatest") == ["false", "false", "true"]
    assert page.texts("Version/Size") == ["2", "1", "1"]
    assert page.texts("DeleteMarker/VersionId") == [marker]
    assert page.texts("DeleteMarker/IsLatest") == ["true"]
    assert (await versioned.ok("GET", "/bucket", query="list-type=2")).texts("Contents/Key") == ["b"]


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_pages_of_versions_join_without_gaps(versioned: Live, limit: int) -> None:
    wanted = [
        (key, await put(versioned, key.encode(), key)) for key in ("a", "a", "b/1", "b/2", "c", "c", "c")
    ]
    wanted.sort(key=lambda each: (each[0], -int(each[1], 16)))
    met, query = [], ""
    while True:
        page = await listed(versioned, f"max-keys={limit}{query}")
        met += list(zip(page.texts("Version/Key"), page.texts("Version/VersionId"), strict=True))
        if page.text("IsTruncated") == "false":
            break
        query = (
            f"&key-marker={page.text('NextKeyMarker')}&version-id-marker={page.text('NextVersionIdMarker')}"
        )
    assert met == wanted


async def test_a_version_is_copied(versioned: Live) -> None:
    first = await put(versioned, b"one")
    await put(versioned, b"two")
    copied = await versioned.ok(
        "PUT", "/bucket/copy", headers={"x-amz-copy-source": f"/bucket/key?versionId={first}"}
    )
    assert copied.headers["x-amz-copy-source-version-id"] == first
    assert copied.headers["x-amz-version-id"] not in ("", first)
    assert (await versioned.ok("GET", "/bucket/copy")).body == b"one"
    marker = (await versioned.ok("DELETE", "/bucket/key")).headers["x-amz-version-id"]
    for source, code in (("key", "NoSuchKey"), (f"key?versionId={marker}", "InvalidRequest")):
        refused = await versioned.ask(
            "PUT", "/bucket/copy", headers={"x-amz-copy-source": f"/bucket/{source}"}
        )
        assert refused.code == code


async def test_a_version_becomes_a_part_and_the_upload_a_version(versioned: Live) -> None:
    first = await put(versioned, b"one")
    last = await put(versioned, b"two")
    upload = (await versioned.ok("POST", "/bucket/key", query="uploads")).text("UploadId")
    part = await versioned.ok(
        "PUT",
        "/bucket/key",
        query=f"partNumber=1&uploadId={upload}",
        headers={"x-amz-copy-source": f"/bucket/key?versionId={first}"},
    )
    assert part.headers["x-amz-copy-source-version-id"] == first
    document = (
        f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{part.text('ETag')}</ETag></Part>"
        "</CompleteMultipartUpload>"
    )
    made = await versioned.ok("POST", "/bucket/key", document.encode(), query=f"uploadId={upload}")
    assert (await versioned.ok("GET", "/bucket/key")).body == b"one"
    assert (await listed(versioned)).texts("Version/VersionId") == [
        made.headers["x-amz-version-id"],
        last,
        first,
    ]


async def test_many_versions_are_deleted_at_once(versioned: Live) -> None:
    first, second = await put(versioned, b"one"), await put(versioned, b"two")
    marked = await delete(versioned, f"<Object><Key>key</Key><VersionId>{first}</VersionId></Object>")
    assert marked.texts("Deleted/VersionId") == [first]
    assert marked.texts("Deleted/DeleteMarker") == []
    made = await delete(versioned, "<Object><Key>key</Key></Object>")
    marker = made.text("Deleted/DeleteMarkerVersionId")
    assert made.texts("Deleted/DeleteMarker") == ["true"]
    assert made.texts("Deleted/VersionId") == []
    removed = await delete(versioned, f"<Object><Key>key</Key><VersionId>{marker}</VersionId></Object>")
    assert removed.texts("Deleted/DeleteMarkerVersionId") == [marker]
    assert (await listed(versioned)).texts("Version/VersionId") == [second]
    assert (await listed(versioned)).texts("DeleteMarker/VersionId") == []


async def delete(live: Live, objects: str) -> Answer:
    body = f"<Delete>{objects}</Delete>".encode()
    md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
    return await live.ok("POST", "/bucket", body, query="delete", headers={"Content-MD5": md5})


async def test_a_bucket_with_versions_is_not_empty(versioned: Live) -> None:
    version = await put(versioned, b"body")
    marker = (await versioned.ok("DELETE", "/bucket/key")).headers["x-amz-version-id"]
    assert (await versioned.ask("DELETE", "/bucket")).code == "BucketNotEmpty"
    for each in (version, marker):
        await versioned.ok("DELETE", "/bucket/key", query=f"versionId={each}")
    await versioned.ok("DELETE", "/bucket")


@pytest.mark.parametrize("version", ["", "x", "3HL4kqtJlcpXroDTDmJ", "0123", "0" * 16, "NULL"])
async def test_what_is_no_versions_id_is_refused(versioned: Live, version: str) -> None:
    kept = await put(versioned, b"body")
    asked = [(method, "/bucket/key", f"versionId={version}") for method in ("GET", "DELETE")]
    asked += [("GET", "/bucket/key", f"{name}&versionId={version}") for name in ("acl", "tagging")]
    if version:
        asked.append(("GET", "/bucket", f"versions&key-marker=a&version-id-marker={version}"))
    for method, path, query in asked:
        refused = await versioned.ask(method, path, query=query)
        assert (refused.status, refused.code, refused.text("ArgumentValue")) == (
            400,
            "InvalidArgument",
            version,
        )
    assert (await versioned.ask("HEAD", "/bucket/key", query=f"versionId={version}")).status == 400
    assert (await versioned.ok("GET", "/bucket/key")).headers["x-amz-version-id"] == kept
