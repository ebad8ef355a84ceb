"""Owns the words for stored bytes: blob, stripe, unit, shard, extent, their sizes and the checksum of a unit.

blob    |------------------------- size bytes -------------------------|
stripe  | k units of data, m of parity |  ...  | last: ceil(rest/k)    |
shard i | unit i of stripe 0 | unit i of stripe 1 | ... | last unit    |   0 <= i < k+m
extent  | 16 units of one shard (1 MiB) | ... | what is left           |   one record, one message
"""

import secrets
import struct
from typing import NewType

import google_crc32c

BlobId = NewType("BlobId", bytes)
NodeId = NewType("NodeId", int)

BLOB_ID_SIZE = 16
UNIT_SIZE = 65_536
EXTENT_UNITS_MAX = 16
EXTENT_SIZE_MAX = UNIT_SIZE * EXTENT_UNITS_MAX
SHARDS_MAX = 255

_SEED = struct.Struct(">16sBI")


def new_blob_id(now_ms: int) -> BlobId:
    """A UUIDv7 (RFC 9562, 5.7): 48 bits of `now_ms`, milliseconds since 1970, then chance. Never reused."""
    tail = bytearray(secrets.token_bytes(10))
    tail[0] = 0x70 | tail[0] & 0x0F
    tail[2] = 0x80 | tail[2] & 0x3F
    return BlobId(now_ms.to_bytes(6, "big") + bytes(tail))


def crc32c(data: bytes, initial: int = 0) -> int:
    """CRC32C (RFC 3720, B.4) of `data`, going on from the CRC `initial`."""
    return int(google_crc32c.extend(initial, data))


def shard_seed(blob: BlobId, shard: int, unit: int) -> int:
    """What the CRC of unit number `unit` of a shard starts from: a unit in the wrong place cannot look right."""
    return crc32c(_SEED.pack(blob, shard, unit))


def unit_crc(blob: BlobId, shard: int, unit: int, data: bytes) -> int:
    """The end-to-end checksum of one unit: made by the gateway on PUT, checked on receipt, scrub and GET."""
    return crc32c(data, shard_seed(blob, shard, unit))


def units_in(length: int) -> int:
    """How many units `length` bytes of one shard are."""
    return -(-length // UNIT_SIZE)


def shard_length(size: int, data_shards: int) -> int:
    """Bytes of each shard of a blob of `size` bytes: full units, then one of ceil(rest/k)."""
    stripes, rest = divmod(size, UNIT_SIZE * data_shards)
    return stripes * UNIT_SIZE + -(-rest // data_shards)
