"""Owns the proof of requests.py: who may ask what, and every fault that a request can have."""

import msgspec
import pytest

from shardd import requests
from shardd.contract import messages
from shardd.contract.blobs import EXTENT_SIZE_MAX, NodeId
from shardd.contract.errors import BadRequestError, ForbiddenError, WrongClusterError, WrongEpochError
from shardd.contract.hello import PeerName, Role
from shardd.contract.wire import Frame

CLUSTER = b"c" * 16
BLOB = b"b" * 16
PUT = messages.PutExtent(BLOB, 0, 0, 1, 70_000, bytes(8))
GET = messages.GetUnits(BLOB, 0, 0, 0, 16)
DELETE = messages.DeleteShards([(BLOB, 0, 1)])
STAT = messages.StatShard(BLOB, 0)
LIST = messages.ListShards()
STATUS = messages.GetStatus()


def admit(
    body: object,
    *,
    role: Role = Role.GATEWAY,
    cluster: bytes = CLUSTER,
    epoch: int = 0,
    size: int | None = None,
) -> None:
    put_size = body.length if isinstance(body, messages.PutExtent) else 0
    frame = Frame(body, cluster, epoch, [], put_size if size is None else size)
    requests.admit(frame, peer=PeerName(role, NodeId(1)), cluster=CLUSTER)


@pytest.mark.parametrize("body", [PUT, GET, DELETE, STAT, LIST, STATUS])
def test_a_gateway_may_ask_everything(body: object) -> None:
    admit(body)


@pytest.mark.parametrize("body", [STAT, LIST, STATUS])
def test_an_administrator_may_look(body: object) -> None:
    admit(body, role=Role.ADMINISTRATOR)


@pytest.mark.parametrize("body", [PUT, GET, DELETE])
def test_an_administrator_may_not_touch(body: object) -> None:
    with pytest.raises(ForbiddenError):
        admit(body, role=Role.ADMINISTRATOR)


@pytest.mark.parametrize("body", [PUT, GET, DELETE, STAT, LIST, STATUS])
def test_a_shard_server_may_ask_nothing(body: object) -> None:
    with pytest.raises(ForbiddenError):
        admit(body, role=Role.SHARD_SERVER)


def test_another_cluster_or_epoch_is_refused() -> None:
    with pytest.raises(WrongClusterError):
        admit(GET, cluster=b"d" * 16)
    with pytest.raises(WrongEpochError):
        admit(GET, epoch=1)


@pytest.mark.parametrize(
    "body",
    [
        msgspec.structs.replace(PUT, blob=b"short"),
        msgspec.structs.replace(PUT, shard=-1),
        msgspec.structs.replace(PUT, shard=255),
        msgspec.structs.replace(PUT, extent=1 << 32),
        msgspec.structs.replace(PUT, generation=-1),
        msgspec.structs.replace(PUT, generation=1 << 32),
        msgspec.structs.replace(PUT, crcs=bytes(4)),
        msgspec.structs.replace(PUT, crcs=bytes(9)),
        msgspec.structs.replace(PUT, length=EXTENT_SIZE_MAX + 1, crcs=bytes(4 * 17)),
        msgspec.structs.replace(PUT, identity=bytes(requests.IDENTITY_SIZE_MAX + 1)),
        msgspec.structs.replace(GET, first=16),
        msgspec.structs.replace(GET, first=-1),
        msgspec.structs.replace(GET, count=0),
        msgspec.structs.replace(GET, first=1),
        msgspec.structs.replace(GET, blob=b""),
        msgspec.structs.replace(STAT, shard=1 << 70),
        messages.DeleteShards([]),
        messages.DeleteShards([(BLOB, 0, 1)] * 1_001),
        messages.DeleteShards([(BLOB, 0, 1), (BLOB, 0, -1)]),
        messages.DeleteShards([(b"", 0, 1)]),
        messages.ListShards(b"short"),
        messages.ListShards(b"", 0),
        messages.ListShards(b"", 1_001),
    ],
)
def test_what_cannot_be_done_is_a_bad_request(body: object) -> None:
    with pytest.raises(BadRequestError):
        admit(body)


@pytest.mark.parametrize("size", [69_999, 70_001, 0])
def test_a_put_says_how_long_its_payload_is(size: int) -> None:
    with pytest.raises(BadRequestError):
        admit(PUT, size=size)


@pytest.mark.parametrize("body", [GET, DELETE, STAT, LIST, STATUS])
def test_only_a_put_has_a_payload(body: object) -> None:
    with pytest.raises(BadRequestError):
        admit(body, size=1)


def test_a_put_of_nothing_is_one() -> None:
    admit(messages.PutExtent(BLOB, 0, 0, 0, 0, b"", True, b"who"))
