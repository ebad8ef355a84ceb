"""Targets, headers and operations: one reading of each, and no sub-resource taken for a plain request."""

from urllib.parse import quote

import pytest
from botocore.session import get_session
from hypothesis import given, strategies as st

from s3d.protocol.errors import S3Error
from s3d.protocol.routing import (
    HEADERS_MAX,
    Operation,
    Request,
    Router,
    is_admin_target,
    parse_headers,
    parse_target,
)


def refusal(raw: str) -> str:
    """The code with which a target is refused."""
    with pytest.raises(S3Error) as caught:
        parse_target(raw)
    return caught.value.code


@pytest.mark.parametrize(
    ("raw", "bucket", "key", "scope"),
    [
        ("/", "", "", "service"),
        ("/bucket", "bucket", "", "bucket"),
        ("/bucket/", "bucket", "", "bucket"),
        ("/b%75cket/k", "bucket", "k", "object"),
        ("/bucket//", "bucket", "/", "object"),
        ("/bucket//a//b/", "bucket", "/a//b/", "object"),
        ("/bucket/..", "bucket", "..", "object"),
        ("/bucket/a/../b", "bucket", "a/../b", "object"),
        ("/bucket/.", "bucket", ".", "object"),
        ("/bucket/%2e%2e%2f", "bucket", "../", "object"),
        ("/bucket/%252e", "bucket", "%2e", "object"),
        ("/bucket/%5C", "bucket", "\\", "object"),
        ("/bucket/\\", "bucket", "\\", "object"),
        ("/bucket/%00", "bucket", "\x00", "object"),
        ("/bucket/%0d%0a", "bucket", "\r\n", "object"),
        ("/bucket/a+b%2Bc", "bucket", "a+b+c", "object"),
        ("/bucket/%3Fuploads", "bucket", "?uploads", "object"),
        ("/bucket/%23", "bucket", "#", "object"),
        ("/bucket/%EF%BF%BE%F0%9F%98%80%D7%90", "bucket", "\ufffe\U0001f600\u05d0", "object"),
        ("/bucket/" + "k" * 1_024, "bucket", "k" * 1_024, "object"),
        ("/bucket/" + "%E2%82%AC" * 341, "bucket", "€" * 341, "object"),
    ],
)
def test_targets(raw: str, bucket: str, key: str, scope: str) -> None:
    target = parse_target(raw)
    assert (target.bucket, target.key, target.scope) == (bucket, key, scope)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("", "InvalidURI"),
        ("*", "InvalidURI"),
        ("bucket/key", "InvalidURI"),
        ("http://host/bucket/key", "InvalidURI"),
        ("/bucket/k#f", "InvalidURI"),
        ("/bucket/k?a#f", "InvalidURI"),
        ("/bucket/a b", "InvalidURI"),
        ("/bucket/\x7f", "InvalidURI"),
        ("/bucket/ä", "InvalidURI"),
        ("/bucket/%", "InvalidURI"),
        ("/bucket/%4", "InvalidURI"),
        ("/bucket/%zz", "InvalidURI"),
        ("/bucket/%+4", "InvalidURI"),
        ("/bucket/%ff", "InvalidURI"),
        ("/bucket/%c0%af", "InvalidURI"),
        ("/bucket/%ed%a0%80", "InvalidURI"),
        ("/bucket?prefix=%ff", "InvalidURI"),
        ("/bucket?prefix=%", "InvalidURI"),
        ("/bucket/" + "k" * 20_000, "InvalidURI"),
        ("/bucket?" + "&".join(f"a{number}" for number in range(65)), "InvalidURI"),
        ("/bucket/" + "k" * 1_025, "KeyTooLongError"),
        ("/bucket/" + "%E2%82%AC" * 342, "KeyTooLongError"),
        ("//key", "InvalidBucketName"),
        ("/%2Fbucket/key", "InvalidBucketName"),
        ("/bucket%2Fkey", "InvalidBucketName"),
        ("/../key", "InvalidBucketName"),
        ("/-/health", "InvalidBucketName"),
        ("/bucket/key?acl&acl", "InvalidArgument"),
        ("/bucket/key?versionId=a&version%49d=b", "InvalidArgument"),
    ],
)
def test_bad_targets(raw: str, code: str) -> None:
    assert refusal(raw) == code


def test_query_is_decoded_once_and_in_order() -> None:
    query = parse_target("/bucket?b=%2525&a=x+y%2Bz&flag&=empty&c==&&").query
    assert list(query.items()) == [("b", "%25"), ("a", "x y+z"), ("flag", ""), ("", "empty"), ("c", "=")]


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=100), st.text("/-._~%+ é", max_size=20))
def test_every_key_comes_back(key: str, safe: str) -> None:
    raw = quote(key, safe="/" + "".join(sign for sign in safe if sign in "-._~+"))
    target = parse_target(f"/bucket/{raw}")
    assert target.key == key
    assert target.canonical_path == "/bucket/" + quote(key, safe="/-._~")


def test_admin_targets_can_be_no_bucket() -> None:
    assert is_admin_target("/-/health")
    assert not is_admin_target("/bucket/-/health")
    assert not is_admin_target("/-bucket")


def test_headers_are_read_once() -> None:
    raw = [(b"X-Amz-Meta-A", b" 1 "), (b"x-amz-meta-a", b"2"), (b"If-Match", b'"a"'), (b"if-match", b'"b"')]
    assert parse_headers([*raw, (b"Content-Type", b"\tt\xc3\xa4xt ")]) == {
        "x-amz-meta-a": "1,2",
        "if-match": '"a","b"',
        "content-type": "täxt",
    }


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ([(b"Range", b"bytes=0-1"), (b"range", b"bytes=0-2")], "InvalidArgument"),
        ([(b"x-amz-copy-source", b"/a/b"), (b"X-Amz-Copy-Source", b"/a/b")], "InvalidArgument"),
        ([(b"Content-Length", b"1"), (b"Content-Length", b"1")], "InvalidArgument"),
        ([(b"a", b"\xff")], "InvalidArgument"),
        ([(b"X-S3D-Account", b"1")], "AccessDenied"),
        ([(b"a%d" % number, b"") for number in range(HEADERS_MAX + 1)], "RequestHeaderSectionTooLarge"),
    ],
)
def test_bad_headers(raw: list[tuple[bytes, bytes]], code: str) -> None:
    with pytest.raises(S3Error) as caught:
        parse_headers(raw)
    assert caught.value.code == code


PART = ("partNumber", "uploadId")
ROUTER = Router(
    (
        Operation("ListBuckets", "GET", "service", "s3:ListAllMyBuckets"),
        Operation("ListObjects", "GET", "bucket", "s3:ListBucket"),
        Operation("ListObjectsV2", "GET", "bucket", "s3:ListBucket", ("list-type=2",)),
        Operation("ListUploads", "GET", "bucket", "s3:ListBucketMultipartUploads", ("uploads",)),
        Operation("ListAnalytics", "GET", "bucket", "s3:GetAnalytics", ("analytics",)),
        Operation("GetAnalytics", "GET", "bucket", "s3:GetAnalytics", ("analytics", "id")),
        Operation("DeleteBucket", "DELETE", "bucket", "s3:DeleteBucket"),
        Operation("PutBucketAcl", "PUT", "bucket", "s3:PutBucketAcl", ("acl",)),
        Operation("GetObject", "GET", "object", "s3:GetObject", optional=("partNumber",)),
        Operation("PutObject", "PUT", "object", "s3:PutObject"),
        Operation("CopyObject", "PUT", "object", "s3:PutObject", headers=("x-amz-copy-source",)),
        Operation("UploadPart", "PUT", "object", "s3:PutObject", PART),
        Operation("UploadPartCopy", "PUT", "object", "s3:PutObject", PART, ("x-amz-copy-source",)),
        Operation("Select", "POST", "object", "s3:GetObject", ("select", "select-type=2")),
    )
)


def resolved(method: str, target: str, *headers: str) -> str:
    """The name of the operation, or the code of the refusal."""
    try:
        return ROUTER.resolve(Request(method, parse_target(target), dict.fromkeys(headers, ""))).name
    except S3Error as error:
        return error.code


@pytest.mark.parametrize(
    ("method", "target", "name"),
    [
        ("GET", "/?x-id=ListBuckets", "ListBuckets"),
        ("GET", "/bucket", "ListObjects"),
        ("GET", "/bucket?prefix=a&unknown=1&id=3", "ListObjects"),
        ("GET", "/bucket?list-type=2&prefix=a", "ListObjectsV2"),
        ("GET", "/bucket?list-type=3", "InvalidArgument"),
        ("GET", "/bucket?uploads", "ListUploads"),
        ("GET", "/bucket?uploads=&prefix=a", "ListUploads"),
        ("GET", "/bucket?analytics", "ListAnalytics"),
        ("GET", "/bucket?analytics&id=a", "GetAnalytics"),
        ("GET", "/bucket?analytics&uploads", "MethodNotAllowed"),
        ("PUT", "/bucket?acl", "PutBucketAcl"),
        ("DELETE", "/bucket", "DeleteBucket"),
        ("DELETE", "/bucket?acl", "MethodNotAllowed"),
        ("DELETE", "/bucket?uploads", "MethodNotAllowed"),
        ("DELETE", "/bucket?ACL", "DeleteBucket"),
        ("PUT", "/bucket/key", "PutObject"),
        ("PUT", "/bucket/key?acl", "MethodNotAllowed"),
        ("PUT", "/bucket/key?analytics", "MethodNotAllowed"),
        ("PUT", "/bucket/key?uploadId=a", "MethodNotAllowed"),
        ("PUT", "/bucket/key?partNumber=1", "MethodNotAllowed"),
        ("PUT", "/bucket/key?uploadId=a&partNumber=1&x-id=UploadPart", "UploadPart"),
        ("PUT", "/bucket/%3Facl", "PutObject"),
        ("GET", "/bucket/key?partNumber=1&versionId=null", "GetObject"),
        ("GET", "/bucket/key?uploadId=a", "MethodNotAllowed"),
        ("POST", "/bucket/key?select&select-type=2", "Select"),
        ("POST", "/bucket/key?select&select-type=1", "MethodNotAllowed"),
        ("PATCH", "/bucket/key", "MethodNotAllowed"),
        ("get", "/bucket/key", "MethodNotAllowed"),
    ],
)
def test_the_most_specific_operation_and_no_other(method: str, target: str, name: str) -> None:
    assert resolved(method, target) == name


def test_headers_select_too() -> None:
    assert resolved("PUT", "/bucket/key", "x-amz-copy-source") == "CopyObject"
    assert resolved("PUT", "/bucket/key?uploadId=a&partNumber=1", "x-amz-copy-source") == "UploadPartCopy"
    assert resolved("GET", "/bucket/key", "x-amz-copy-source") == "GetObject"


def test_every_operation_of_botocore_is_found_by_its_own_request() -> None:
    """The rule of `Router` is enough for the whole of S3: two operations never answer the same request."""
    model = get_session().get_service_model("s3")
    operations, requests = [], {}
    for name in model.operation_names:
        shape = model.operation_model(name)
        path, _, query = shape.http["requestUri"].partition("?")
        members = shape.input_shape.members if shape.input_shape else {}
        required = shape.input_shape.required_members if shape.input_shape else []
        wanted = {
            kind: tuple(
                members[each].serialization["name"]
                for each in required
                if members[each].serialization.get("location") == kind
            )
            for kind in ("querystring", "header")
        }
        names = (*(each for each in query.split("&") if each), *wanted["querystring"])
        scope = "object" if "Key" in path else "bucket" if "Bucket" in path else "service"
        key = (shape.http["method"], scope, names, wanted["header"])
        if (name.endswith("Lifecycle") and not name.startswith("Delete")) or name.endswith(
            "BucketNotification"
        ):
            continue  # older names of the same requests
        if name in ("ListDirectoryBuckets", "WriteGetObjectResponse"):
            continue  # on hosts of their own
        optional = ("partNumber",) if name in ("GetObject", "HeadObject") else ()
        operations.append(Operation(name, key[0], key[1], "", names, wanted["header"], optional))  # type: ignore[arg-type]
        requests[name] = key
    router = Router(operations)
    for name, (method, scope, names, headers) in requests.items():
        path = {"service": "/", "bucket": "/bucket", "object": "/bucket/key"}[scope]
        request = Request(method, parse_target(f"{path}?{'&'.join(names)}"), dict.fromkeys(headers, ""))
        assert router.resolve(request).name == name
