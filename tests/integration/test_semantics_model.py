"""The model of S3 says what S3's own pages say: the examples of the user guide, without any store."""

from typing import Any

import pytest

from tests.integration.client import Reply
from tests.integration.semantics_model import Model
from tests.integration.semantics_values import Ask, Chosen, Expected, When, Xml, faults

ENABLED = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
SUSPENDED = b"<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>"


class Told(Model):
    """A model that makes its own ids, as a store would."""

    def tell(self, operation: str, key: str = "", **said: Any) -> Expected:
        """The answer of a store that chose the ids."""
        said.setdefault("asked_s", 1_000.0)
        expected = self.answer(Ask(operation, "bucket", key, **said))
        for value in expected.headers.values():
            if isinstance(value, Chosen) and not isinstance(value, When):
                value.holds(value.value or f"id-{self.answers()}")
        return expected

    def answers(self) -> int:
        """A number that was never given before."""
        self.given = getattr(self, "given", 0) + 1
        return self.given

    def listed(self, operation: str, element: str, **query: str) -> list[str]:
        """The names in a list."""
        rows: list[Xml] = self.tell(
            operation, query={name.replace("_", "-"): said for name, said in query.items()}
        ).xml[1]  # type: ignore[index]
        return [dict(row[1]).get("Key") or dict(row[1])["Prefix"] for row in rows if row[0] == element]


@pytest.fixture
def model() -> Told:
    made = Told()
    made.tell("CreateBucket")
    return made


def test_without_versions_an_object_takes_the_place_of_the_one_before(model: Told) -> None:
    model.tell("PutObject", "k", body=b"1")
    assert model.tell("PutObject", "k", body=b"2").headers.keys() == {"etag"}
    assert model.tell("GetObject", "k").body == b"2"
    assert model.tell("DeleteObject", "k").headers == {}
    assert (model.tell("GetObject", "k").code, model.tell("DeleteObject", "k").status) == ("NoSuchKey", 204)


def test_a_delete_marker_hides_and_its_removal_shows(model: Told) -> None:
    model.tell("PutBucketVersioning", body=ENABLED)
    model.tell("PutObject", "k", body=b"1")
    marker = model.tell("DeleteObject", "k").headers
    assert marker["x-amz-delete-marker"] == "true"
    hidden = model.tell("GetObject", "k")
    assert (hidden.status, hidden.headers["x-amz-delete-marker"]) == (404, "true")
    query = {"versionId": str(marker["x-amz-version-id"])}
    named = model.tell("GetObject", "k", query=query)
    assert (named.status, named.code, named.headers["allow"]) == (405, "MethodNotAllowed", "DELETE")
    assert model.tell("DeleteObject", "k", query=query).headers["x-amz-delete-marker"] == "true"
    assert model.tell("GetObject", "k").body == b"1"


def test_suspended_the_null_version_is_replaced_and_the_others_stay(model: Told) -> None:
    model.tell("PutObject", "k", body=b"null 1")
    model.tell("PutBucketVersioning", body=ENABLED)
    kept = model.tell("PutObject", "k", body=b"kept").headers["x-amz-version-id"]
    model.tell("PutBucketVersioning", body=SUSPENDED)
    assert "x-amz-version-id" not in model.tell("PutObject", "k", body=b"null 2").headers
    assert [str(each.id) for each in model.buckets["bucket"].keys["k"]] == ["null", str(kept)]
    assert model.tell("DeleteObject", "k").headers == {
        "x-amz-version-id": "null",
        "x-amz-delete-marker": "true",
    }
    assert model.tell("GetObject", "k", query={"versionId": "null"}).status == 405
    assert model.tell("GetObject", "k", query={"versionId": str(kept)}).body == b"kept"
    assert model.tell("DeleteBucket").code == "BucketNotEmpty"


@pytest.mark.parametrize(
    ("operation", "headers", "status"),
    [
        ("PutObject", {"if-none-match": "*"}, 412),
        ("PutObject", {"if-match": '"other"'}, 412),
        ("PutObject", {"if-match": "*"}, 200),
        ("GetObject", {"if-none-match": "*"}, 304),
        ("GetObject", {"if-match": '"other"'}, 412),
        ("GetObject", {"if-modified-since": "Mon, 01 Jan 2001 00:00:00 GMT"}, 304),
        ("GetObject", {"if-unmodified-since": "Thu, 01 Jan 1970 00:00:00 GMT"}, 412),
        ("GetObject", {"if-match": "*", "if-unmodified-since": "Thu, 01 Jan 1970 00:00:00 GMT"}, 200),
        ("GetObject", {"range": "bytes=-0"}, 416),
        ("GetObject", {"range": "bytes=1-"}, 206),
        ("DeleteObject", {"if-match": '"other"'}, 412),
    ],
)
def test_conditions(model: Told, operation: str, headers: dict[str, str], status: int) -> None:
    model.tell("PutObject", "k", body=b"body")
    assert model.tell(operation, "k", headers=headers).status == status
    absent = model.tell("PutObject", "absent", headers={"if-match": "*"})
    assert (absent.status, absent.code) == (404, "NoSuchKey")


def test_lists_roll_up_and_go_on_behind_what_they_said(model: Told) -> None:
    for key in ("photos/2006/a", "photos/2006/b", "photos/x", "sample", "\U0001f600", "\uffee"):
        model.tell("PutObject", key)
    assert model.listed("ListObjects", "Contents")[-2:] == ["\uffee", "\U0001f600"]
    assert model.listed("ListObjects", "CommonPrefixes", delimiter="/") == ["photos/"]
    assert model.listed("ListObjects", "CommonPrefixes", delimiter="/", prefix="photos/") == ["photos/2006/"]
    assert model.listed("ListObjects", "CommonPrefixes", delimiter="/", marker="photos/") == []
    assert model.listed("ListObjects", "CommonPrefixes", delimiter="/", marker="photos/2006/a") == ["photos/"]
    assert model.listed("ListObjects", "Contents", max_keys="1", prefix="s") == ["sample"]
    assert model.listed("ListObjects", "Contents", max_keys="0") == []


def test_an_upload_is_an_object_when_it_is_completed(model: Told) -> None:
    begun = model.tell("CreateMultipartUpload", "k")
    dict(begun.xml[1])["UploadId"].holds("upload")  # type: ignore[index]
    query = {"uploadId": "upload", "partNumber": "2"}
    etag = str(model.tell("UploadPart", "k", query=query, body=b"part").headers["etag"]).strip('"')
    said: dict[str, Any] = {"query": {"uploadId": "upload"}}
    assert model.tell("CompleteMultipartUpload", "k", items=[(2, "0" * 32)], **said).code == "InvalidPart"
    assert (
        model.tell("CompleteMultipartUpload", "k", items=[(2, etag)] * 2, **said).code == "InvalidPartOrder"
    )
    for _ in range(2):
        assert model.tell("CompleteMultipartUpload", "k", items=[(2, etag)], **said).code == ""
    assert model.tell("GetObject", "k", query={"partNumber": "2"}).headers["x-amz-mp-parts-count"] == "1"
    assert model.tell("GetObject", "k", query={"partNumber": "1"}).code == "InvalidPart"
    assert model.tell("AbortMultipartUpload", "k", **said).code == "NoSuchUpload"


def test_a_reply_that_is_not_as_expected_is_a_fault() -> None:
    wanted = Expected(headers={"etag": '"e"'}, xml=("R", [("A", "1"), ("B", "2")]))
    right = Reply(200, {"etag": '"e"', "date": "now"}, b"<R><B>2</B><A>1</A></R>")
    assert faults(wanted, right) == []
    for wrong in (
        Reply(201, right.headers, right.body),
        Reply(200, right.headers | {"x-amz-version-id": "null"}, right.body),
        Reply(200, {}, right.body),
        Reply(200, right.headers, b"<R><B>2</B></R>"),
        Reply(200, right.headers, b"<R><B>2</B><A>2</A></R>"),
    ):
        assert faults(wanted, wrong)


def test_what_the_store_chooses_is_the_same_ever_after() -> None:
    one, other = Chosen("id", unlike=(given := set())), Chosen("id", unlike=given)
    assert one.holds("a") and one.holds("a") and not one.holds("b")
    assert not other.holds("a") and other.holds("b")
    first = When("modified", asked_s=1_000)
    assert not first.holds("Thu, 01 Jan 1970 00:16:37 GMT")
    assert first.holds("Thu, 01 Jan 1970 00:16:40 GMT") and first.holds("1970-01-01T00:16:40.000Z")
    assert not When("modified", asked_s=1_000, after=first).holds("1970-01-01T00:16:39.000Z")
