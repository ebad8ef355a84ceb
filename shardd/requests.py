"""Owns which requests may pass: who may ask what, and what a request must look like; never does one."""

from collections.abc import Mapping

from shardd.contract import messages
from shardd.contract.blobs import (
    BLOB_ID_SIZE,
    EXTENT_SIZE_MAX,
    EXTENT_UNITS_MAX,
    SHARDS_MAX,
    units_in,
)
from shardd.contract.errors import BadRequestError, ForbiddenError, WrongClusterError, WrongEpochError
from shardd.contract.hello import PeerName, Role
from shardd.contract.wire import Frame

DELETES_MAX = 1_000
PAGE_MAX = 1_000
IDENTITY_SIZE_MAX = 64 * 1024
EXTENTS_MAX = 1 << 32
GENERATIONS_MAX = 1 << 32
CRC_SIZE = 4
PLACE_SIZE = BLOB_ID_SIZE + 1
EPOCH = 0  # until membership can change

_READ_ONLY = frozenset({messages.StatShard, messages.ListShards, messages.GetStatus})
_MAY: Mapping[Role, frozenset[type]] = {
    Role.GATEWAY: _READ_ONLY | {messages.PutExtent, messages.GetUnits, messages.DeleteShards},
    Role.ADMINISTRATOR: _READ_ONLY,
    Role.SHARD_SERVER: frozenset(),
}


def admit(frame: Frame, *, peer: PeerName, cluster: bytes) -> None:
    """Raises ForbiddenError, WrongClusterError, WrongEpochError or BadRequestError; a frame that passes can be done."""
    if type(frame.body) not in _MAY[peer.role]:
        raise ForbiddenError(f"{peer.role} of node {peer.node} may not {type(frame.body).__name__}")
    if frame.cluster != cluster:
        raise WrongClusterError("the request names another cluster")
    if frame.epoch != EPOCH:
        raise WrongEpochError(f"the request names epoch {frame.epoch}; here it is {EPOCH}")
    fault = _fault(frame)
    if fault:
        raise BadRequestError(fault)


def _fault(frame: Frame) -> str:
    """What is wrong with a request; nothing: an empty string."""
    body = frame.body
    if frame.payload_size and type(body) is not messages.PutExtent:
        return "a payload where none belongs"
    match body:
        case messages.PutExtent():
            return _fault_of_place(body.blob, body.shard, body.extent) or _fault_of_put(
                body, frame.payload_size
            )
        case messages.GetUnits():
            fits = 0 <= body.first < EXTENT_UNITS_MAX and 1 <= body.count <= EXTENT_UNITS_MAX - body.first
            return _fault_of_place(body.blob, body.shard, body.extent) or ("" if fits else "no such units")
        case messages.StatShard():
            return _fault_of_place(body.blob, body.shard, 0)
        case messages.ListShards():
            fits = len(body.after) in (0, PLACE_SIZE) and 1 <= body.limit <= PAGE_MAX
            return "" if fits else "no such page"
        case messages.DeleteShards():
            return _fault_of_delete(body)
    return ""


def _fault_of_place(blob: bytes, shard: int, extent: int) -> str:
    if len(blob) != BLOB_ID_SIZE:
        return f"a blob's id has {BLOB_ID_SIZE} bytes"
    if not (0 <= shard < SHARDS_MAX and 0 <= extent < EXTENTS_MAX):
        return "no such shard or extent"
    return ""


def _fault_of_put(body: messages.PutExtent, payload_size: int) -> str:
    if body.length != payload_size or not 0 <= body.length <= EXTENT_SIZE_MAX:
        return f"length {body.length} with a payload of {payload_size} bytes"
    if len(body.crcs) != CRC_SIZE * units_in(body.length):
        return "as many checksums as units are needed"
    if not 0 <= body.generation < GENERATIONS_MAX:
        return "no such generation"
    if len(body.identity) > IDENTITY_SIZE_MAX:
        return "the identity is too long"
    return ""


def _fault_of_delete(body: messages.DeleteShards) -> str:
    if not 1 <= len(body.shards) <= DELETES_MAX:
        return f"1 to {DELETES_MAX} shards can be deleted at once"
    for blob, shard, generation in body.shards:
        fault = _fault_of_place(blob, shard, 0)
        if fault or not 0 <= generation < GENERATIONS_MAX:
            return fault or "no such generation"
    return ""
