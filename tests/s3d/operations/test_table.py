"""The catalog is all of S3, and what nobody serves is refused by its name."""

import re

import botocore.session
import pytest

from s3d.operations.catalog import OPERATIONS
from s3d.operations.table import HANDLERS, router
from s3d.protocol.routing import Request, parse_target
from tests.s3d.live import Live

MODEL = botocore.session.get_session().get_service_model("s3")
# Names of one operation that the API once had, or that go to hosts of their own.
FORMER = {
    "GetBucketLifecycle": "GetBucketLifecycleConfiguration",
    "PutBucketLifecycle": "PutBucketLifecycleConfiguration",
    "GetBucketNotification": "GetBucketNotificationConfiguration",
    "PutBucketNotification": "PutBucketNotificationConfiguration",
}
ELSEWHERE = ("WriteGetObjectResponse", "ListDirectoryBuckets")


def request_of(name: str) -> Request:
    """The least request that botocore's model makes of an operation."""
    model = MODEL.operation_model(name)
    path = model.http["requestUri"].replace("{Bucket}", "bucket").replace("{Key+}", "key")
    headers = {}
    for member in model.input_shape.required_members if model.input_shape else ():
        place = model.input_shape.members[member].serialization
        if place.get("location") == "querystring":
            path += f"{'&' if '?' in path else '?'}{place['name']}=1"
        if place.get("location") == "header":
            headers[place["name"].lower()] = "1"
    return Request(model.http["method"], parse_target(path), headers)


@pytest.mark.parametrize("name", [name for name in MODEL.operation_names if name not in ELSEWHERE])
def test_every_operation_of_s3_is_found_by_its_name(name: str) -> None:
    assert router().resolve(request_of(name)).name == FORMER.get(name, name)


def test_every_permission_is_named() -> None:
    assert all(re.fullmatch(r"s3(express)?:[A-Z][A-Za-z]+", operation.permission) for operation in OPERATIONS)


def test_names_are_unique() -> None:
    names = [operation.name for operation in OPERATIONS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", [each.name for each in OPERATIONS if each.name not in HANDLERS])
async def test_what_is_not_built_says_so(shared: Live, name: str) -> None:
    operation = next(each for each in OPERATIONS if each.name == name)
    path = "/bucket/key" if operation.scope == "object" else "/bucket"
    headers = dict.fromkeys(operation.headers, "1")
    before = shared.shards()
    answer = await shared.ask(operation.method, path, b"x", query="&".join(operation.query), headers=headers)
    assert (answer.status, answer.code) == (501, "NotImplemented")
    assert name in answer.text("Message")
    assert shared.shards() == before
    assert (await shared.ask("HEAD", "/bucket")).status == 200
