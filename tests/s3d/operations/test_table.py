"""The catalog is all of S3: each request that botocore makes is found by its name; what nobody serves says so."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.config import Config
from botocore.model import OperationModel, Shape

from s3d.operations.catalog import OPERATIONS
from s3d.operations.table import HANDLERS, router
from s3d.protocol.routing import Request, parse_target
from tests.s3d.live import Live

# Names of one operation that the API once had: the request is the same.
FORMER = {
    "GetBucketLifecycle": "GetBucketLifecycleConfiguration",
    "PutBucketLifecycle": "PutBucketLifecycleConfiguration",
    "GetBucketNotification": "GetBucketNotificationConfiguration",
    "PutBucketNotification": "PutBucketNotificationConfiguration",
}
# What goes to hosts of its own, where a bucket's store is never asked.
ELSEWHERE = {
    "WriteGetObjectResponse": "to the route that S3 Object Lambda gave",
    "ListDirectoryBuckets": "to the control host of S3 Express: the same GET / as ListBuckets",
}
# What S3 has and botocore's model does not.
NOT_IN_MODEL = {
    "PostObject": "forms of browsers, which no SDK sends",
    "PreflightBucket": "OPTIONS, which browsers send",
    "PreflightObject": "OPTIONS, which browsers send",
    "AppendObject": "botocore's PutObject with WriteOffsetBytes, of directory buckets alone",
}
# Parameters that make of their operation another one.
MAKES_ANOTHER = {"PutObject": ("WriteOffsetBytes",)}
NAMED = {"Bucket": "bucket", "Key": "key", "CopySource": "bucket/source", "RenameSource": "bucket/source"}
SIMPLE: Mapping[str, Any] = {
    "boolean": True,
    "integer": 1,
    "long": 1,
    "blob": b"x",
    "timestamp": datetime(2025, 1, 1, tzinfo=UTC),
    "map": {"k": "v"},
}


class Stopped(Exception):
    """A request at the moment that it would be sent."""

    def __init__(self, request: AWSPreparedRequest) -> None:
        super().__init__()
        self.request = request


def stop(request: AWSPreparedRequest, **_: object) -> None:
    raise Stopped(request)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A client of botocore that stops at the door."""
    style = {"addressing_style": "path", "disable_s3_express_session_auth": True}
    made = boto3.session.Session().client(
        "s3",
        endpoint_url="http://127.0.0.1:1",
        region_name="us-east-1",
        aws_access_key_id="A",
        aws_secret_access_key="S",
        config=Config(signature_version="s3v4", s3=style, proxies={}),
    )
    made.meta.events.register("before-send.s3", stop)
    yield made
    made.close()


def value_of(name: str, shape: Shape) -> Any:
    """The least value that a shape of the model takes."""
    if name in NAMED:
        return NAMED[name]
    if shape.type_name == "structure":
        required = shape.required_members or [*shape.members][: len(shape.members) and 1]
        return {member: value_of(member, shape.members[member]) for member in required}
    if shape.type_name == "list":
        return [value_of("", shape.member)]
    if shape.type_name == "string":
        return shape.enum[0] if getattr(shape, "enum", None) else "1" * shape.metadata.get("min", 1)
    return SIMPLE[shape.type_name]


def least(model: OperationModel) -> dict[str, Any]:
    """The parameters that an operation needs."""
    shape = model.input_shape
    return (
        {}
        if shape is None
        else {name: value_of(name, shape.members[name]) for name in shape.required_members}
    )


def most(model: OperationModel) -> dict[str, Any]:
    """All that an operation takes in its query and headers: arguments, which make no other operation of it."""
    members = model.input_shape.members if model.input_shape else {}
    left_out = MAKES_ANOTHER.get(model.name, ())
    return least(model) | {
        name: value_of(name, shape)
        for name, shape in members.items()
        if shape.serialization.get("location") in ("querystring", "header", "headers")
        and name not in left_out
    }


def prepared(
    client: Any, name: str, fill: Callable[[OperationModel], dict[str, Any]] = least
) -> AWSPreparedRequest:
    """The HTTP request that botocore makes of an operation."""
    call = getattr(client, methods(client)[name])
    with pytest.raises(Stopped) as stopped:
        call(**fill(client.meta.service_model.operation_model(name)))
    return stopped.value.request


def methods(client: Any) -> dict[str, str]:
    """Each operation's method of a client."""
    return {operation: method for method, operation in client.meta.method_to_api_mapping.items()}


def target_of(request: AWSPreparedRequest) -> tuple[str, str]:
    """(path, query) of a request, still encoded."""
    parts = urlsplit(request.url)
    return parts.path or "/", parts.query


MODEL = boto3.session.Session()._session.get_service_model("s3")
ASKED_HERE = [name for name in MODEL.operation_names if name not in ELSEWHERE]


@pytest.mark.parametrize("fill", [least, most])
@pytest.mark.parametrize("name", ASKED_HERE)
def test_every_request_is_found_by_its_name(client: Any, name: str, fill: Any) -> None:
    sent = prepared(client, name, fill)
    path, query = target_of(sent)
    headers = {header.lower(): "" for header in sent.headers}
    found = router().resolve(Request(sent.method, parse_target(f"{path}?{query}"), headers))
    wanted = FORMER.get(name, name)
    assert (found.name, found.handler) == (wanted, HANDLERS.get(wanted))


def test_the_catalog_is_that_of_the_model() -> None:
    ours = {operation.name for operation in OPERATIONS}
    theirs = {FORMER.get(name, name) for name in ASKED_HERE}
    assert (ours - theirs, theirs - ours) == (set(NOT_IN_MODEL), set())


def test_every_permission_is_named() -> None:
    assert all(re.fullmatch(r"s3(express)?:[A-Z][A-Za-z]+", operation.permission) for operation in OPERATIONS)


def test_names_are_unique() -> None:
    names = [operation.name for operation in OPERATIONS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", [name for name in ASKED_HERE if FORMER.get(name, name) not in HANDLERS])
async def test_what_is_not_built_says_so(shared: Live, client: Any, name: str) -> None:
    sent = prepared(client, name)
    path, query = target_of(sent)
    headers = {
        header: value if isinstance(value, str) else value.decode()
        for header, value in sent.headers.items()
        if header.lower().startswith("x-amz-")
        and header.lower() not in ("x-amz-date", "x-amz-content-sha256")
    }
    before = shared.shards()
    answer = await shared.ask(sent.method, unquote(path), b"x", query=unquote(query), headers=headers)
    assert (answer.status, answer.code) == (501, "NotImplemented")
    assert FORMER.get(name, name) in answer.text("Message")
    assert shared.shards() == before
    assert (await shared.ask("HEAD", "/bucket")).status == 200


async def test_what_no_sdk_sends_and_is_not_built_says_so_too(shared: Live) -> None:
    answer = await shared.ask("PUT", "/bucket/key", b"x", headers={"x-amz-write-offset-bytes": "1"})
    assert (answer.status, answer.code) == (501, "NotImplemented")
    assert "AppendObject" in answer.text("Message")
