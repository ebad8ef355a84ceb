"""Owns the types of the fields of commands, and with them every limit of the metadata."""

from typing import Annotated

from msgspec import Meta

from shardd.contract.blobs import BLOB_ID_SIZE, SHARDS_MAX

WRITE_ID_SIZE = 16
KEY_BYTES_MAX = 1_024
TIME_US_MAX = (1 << 62) - 1  # so that a time with a grace still fits into 8 bytes
DELETE_KEYS_MAX = 1_000
PARTS_MAX = 10_000
PART_SIZE_BYTES_MIN = 5 << 20
OUTCOMES_WINDOW = 65_536  # how many outcomes the state remembers

WriteId = Annotated[bytes, Meta(min_length=WRITE_ID_SIZE, max_length=WRITE_ID_SIZE)]
Blob = Annotated[bytes, Meta(min_length=BLOB_ID_SIZE, max_length=BLOB_ID_SIZE)]
Key = Annotated[bytes, Meta(min_length=1, max_length=KEY_BYTES_MAX)]
Name = Annotated[str, Meta(min_length=1, max_length=255)]
Account = Annotated[str, Meta(pattern=r"\A[0-9A-Za-z]{0,64}\Z")]
Upload = Annotated[str, Meta(pattern=r"\A[0-9A-Za-z_.~-]{1,128}\Z")]
Md5 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{32}\Z")]
PartNumber = Annotated[int, Meta(ge=1, le=PARTS_MAX)]
Time = Annotated[int, Meta(ge=0, le=TIME_US_MAX)]  # microseconds since 1970, or of a grace
Sequence = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Node = Annotated[int, Meta(ge=0, le=(1 << 32) - 1)]
Port = Annotated[int, Meta(ge=1, le=65_535)]
Shard = Annotated[int, Meta(ge=0, lt=SHARDS_MAX)]
Holder = Annotated[bytes, Meta(min_length=16, max_length=16)]  # a process, for as long as it lives
Generation = Annotated[int, Meta(ge=0, le=(1 << 32) - 1)]
Placement = tuple[tuple[Node, Generation], ...]  # of each shard; node 0 stores nothing
Places = tuple[tuple[Node, Shard, Generation], ...]
