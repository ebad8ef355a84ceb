"""Owns the rows of the state: their structs, and the bytes that a row is stored as; never a table, never a key.

    row   | version 1 B | length 4 B, big endian | msgpack array, `length` bytes | CRC32C 4 B, big endian |

The CRC covers the key that the row is stored under, then everything before the CRC: a row in the wrong place, or
under a damaged key, cannot look right. Fields are never moved or removed; one may be added at the end with a
default, which rows written before it then have. Anything else is a new version.
"""

import struct
from functools import cache
from typing import Annotated, Any, TypeVar

import msgspec

from shardd.contract.blobs import SHARDS_MAX, crc32c
from shardd.contract.errors import QuoinError

VERSION = 1
NULL_VERSION = "null"
UNKNOWN = -1
STANDARD = "STANDARD"
SLICES_INLINE_MAX = 64  # slices of a version that stand in its own row; more are in pages
SLICES_PER_PAGE = 500
LEASE_US_MAX = 60_000_000
ACTIVE, DRAINING, REMOVED = "active", "draining", "removed"  # what a node is in the cluster

_HEADER = struct.Struct(">BI")
_CHECKSUM_SIZE = 4
_OVERHEAD = _HEADER.size + _CHECKSUM_SIZE


class RowError(QuoinError):
    """A row of the state is not what was written."""


class RowTruncatedError(RowError):
    """The row ends before it should."""


class RowVersionError(RowError):
    """The row's version is not one that this program reads."""


class RowChecksumError(RowError):
    """The row, or the key that it stands under, was changed."""


class RowMissingError(RowError):
    """A row that another row names is not there."""


class Row(msgspec.Struct, frozen=True, array_like=True):
    """What every row is."""


class BucketRow(Row, frozen=True, array_like=True):
    """A bucket. `incarnation` is unique to this life of the name: the apply sequence of its creation."""

    name: str
    incarnation: int
    account: str  # 12 digits
    created_us: int
    region: str = ""
    public: bool = False
    kind: str = "standard"
    encryption: bool = False
    configured: bool = False  # stands in cluster.toml: the API cannot delete it
    versioning: str = ""  # "", "Enabled" or "Suspended"
    settings: dict[
        str, bytes
    ] = {}  # policy, cors, tagging, acl ...: the name of the sub-resource -> its document


class AccountBucketRow(Row, frozen=True, array_like=True):
    """That an account owns a bucket; the key says which."""

    created_us: int


class ObjectRow(Row, frozen=True, array_like=True):
    """A live key: what a list says of it, and the sequence of the version that is current."""

    sequence: int
    size: int
    etag: str  # hex without quotes, `-N` after it where N parts made it
    modified_us: int
    owner: str = ""
    storage_class: str = STANDARD
    version_id: str = NULL_VERSION
    checksum_algorithm: str = ""
    checksum_type: str = ""


class Slice(msgspec.Struct, frozen=True, array_like=True):
    """A run of an object's bytes that one blob holds: the whole body, or the part `number`."""

    blob: bytes
    size: int
    etag: str
    number: int = 1
    checksum: str = ""  # base64, of the algorithm of the version


class Attributes(msgspec.Struct, frozen=True, array_like=True):
    """What the writer of an object said about it; kept with each version and with each upload."""

    owner: str = ""
    content_type: str = ""
    headers: dict[
        str, str
    ] = {}  # cache-control, content-disposition, content-encoding, content-language, expires ...
    metadata: dict[str, str] = {}  # x-amz-meta-*, without the prefix
    storage_class: str = STANDARD
    checksum_algorithm: str = ""  # "CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"
    checksum_type: str = ""  # "FULL_OBJECT" or "COMPOSITE"
    checksums: dict[str, str] = {}  # algorithm -> base64
    tags: dict[str, str] = {}
    settings: dict[str, bytes] = {}  # acl, retention, legal hold, encryption ...: name -> document


class VersionRow(Row, frozen=True, array_like=True):
    """One version of a key, or a delete marker (no slices). Slices beyond SLICES_INLINE_MAX are in pages."""

    sequence: int
    version_id: str
    size: int
    etag: str
    modified_us: int
    attributes: Attributes
    slices: tuple[Slice, ...] = ()
    # Of each page: (offset of its first byte, number of its first part).
    pages: tuple[tuple[int, int], ...] = ()
    parts: int = 0  # how many parts a multipart upload had; 0 for other objects
    upload: str = ""  # the upload that made it
    delete_marker: bool = False
    # The sequence of the version "null" of the key when this one was made; 0 where it had none.
    null: int = UNKNOWN


class SlicesRow(Row, frozen=True, array_like=True):
    """A page of the slices of a version with many parts."""

    slices: tuple[Slice, ...]


class BlobRow(Row, frozen=True, array_like=True):
    """A blob: how it is coded and where its shards are, (node, generation) each; node 0 stores nothing."""

    size: int
    codec: int
    k: int
    m: int
    unit: int
    shards: Annotated[tuple[tuple[int, int], ...], msgspec.Meta(max_length=SHARDS_MAX)]
    references: int = 1
    created_us: int = 0
    filed: int = 0  # 1 + the survivors that its degraded row is filed under; 0 where it has none
    spent: int = 0  # generations up to this one may be condemned where the row does not say

    @property
    def next_generation(self) -> int:
        """The generation for shards that are put somewhere else: above all that a delete may still be on its way to."""
        return 1 + max(self.spent, max((generation for _, generation in self.shards), default=0))

    @property
    def stored(self) -> int:
        """How many shards are stored somewhere."""
        return sum(1 for node, _ in self.shards if node)


class UploadRow(Row, frozen=True, array_like=True):
    """A multipart upload that is neither completed nor aborted."""

    upload: str
    initiated_us: int
    attributes: Attributes


class PartRow(Row, frozen=True, array_like=True):
    """One part of an upload, in one blob."""

    number: int
    blob: bytes
    size: int
    etag: str
    modified_us: int
    checksum: str = ""  # base64, of the algorithm of the upload


class OutcomeRow(Row, frozen=True, array_like=True):
    """What became of a command: the msgpack of its Outcome, and the index it was applied at."""

    index: int
    outcome: bytes


class WriteRow(Row, frozen=True, array_like=True):
    """Which write took a place of the window of outcomes."""

    write_id: bytes


class DegradedRow(Row, frozen=True, array_like=True):
    """A blob that lacks shards or has some out of place. `suspects` are shards that a read or a list did not find."""

    since_us: int
    suspects: tuple[int, ...] = ()


class CondemnedRow(Row, frozen=True, array_like=True):
    """Shards that must go once it is due: (node, shard, generation) each. `whole`: the blob itself is condemned."""

    blob: bytes
    places: tuple[tuple[int, int, int], ...]
    whole: bool = True


class CondemnedBlobRow(Row, frozen=True, array_like=True):
    """That a blob is condemned, so no command may name it; when its shards may go."""

    due_us: int


class NodeRow(Row, frozen=True, array_like=True):
    """A node of the cluster and the life of its data folder that was seen last, empty before the first.

    A port of 0 is of a row that was written before rows ruled who is a member.
    """

    node: int
    incarnation: bytes
    since_us: int
    host: str = ""
    port: int = 0
    s3_port: int = 0
    zone: str = ""
    state: str = ACTIVE
    joined_us: int = 0  # 0: the cluster began with it

    @property
    def member(self) -> bool:
        """Whether it may hold shards that rows name."""
        return bool(self.port) and self.state != REMOVED


class LeaseRow(Row, frozen=True, array_like=True):
    """That one process, and no other, does a job until then."""

    holder: bytes
    until_us: int

    def holds(self, now_us: int) -> bool:
        """Whether it is in force; one that ends too far off was given by a clock that was wrong."""
        return now_us < self.until_us <= now_us + LEASE_US_MAX


class JobRow(Row, frozen=True, array_like=True):
    """How far a job has come. `subject`: what this run is about, such as the incarnation of a node.

    `started_us`: when it began, or would have, had it not been interrupted; so that what is done since tells its speed.
    `cursor`: where the next process goes on; `found`: what it came for, as shards that are missing; `moved_bytes`: of
    shards, by all processes of this run.
    """

    subject: bytes
    started_us: int
    updated_us: int
    cursor: bytes = b""
    done: int = 0
    total: int = 0
    found: int = 0
    finished: bool = False
    moved_bytes: int = 0
    stopped: bool = False  # by an operator, until it is started again

    @property
    def stands(self) -> bool:
        """Nothing was done that says how long the rest takes: it waits, or has only begun."""
        return self.updated_us <= self.started_us

    def resumed(self, now_us: int) -> "JobRow":
        """The same now: the time in which nobody did it is left out."""
        idle_us = max(0, now_us - self.updated_us)
        return msgspec.structs.replace(self, started_us=self.started_us + idle_us, updated_us=now_us)


class AppliedRow(Row, frozen=True, array_like=True):
    """How far the state has come: the log's uuid and the index of the last command."""

    log: bytes
    index: int


R = TypeVar("R", bound=Row)
_encoder = msgspec.msgpack.Encoder()


@cache
def _decoder(kind: type[R]) -> "msgspec.msgpack.Decoder[R]":
    return msgspec.msgpack.Decoder(kind)


def encode_row(key: bytes, row: Row) -> bytes:
    """The bytes that `row` is stored as under `key`."""
    body = _encoder.encode(row)
    head = _HEADER.pack(VERSION, len(body)) + body
    return head + crc32c(head, crc32c(key)).to_bytes(_CHECKSUM_SIZE, "big")


def decode_row(kind: type[R], key: bytes, raw: bytes) -> R:
    """The row of type `kind` stored under `key`. Raises one of the three RowErrors where it is damaged."""
    if len(raw) < _OVERHEAD:
        raise RowTruncatedError(f"a {kind.__name__} of {len(raw)} bytes")
    if raw[0] != VERSION:
        raise RowVersionError(f"a {kind.__name__} of version {raw[0]}")
    if crc32c(raw[:-4], crc32c(key)) != int.from_bytes(raw[-4:], "big"):
        raise _damage(kind, raw)
    try:
        row: R = _decoder(kind).decode(raw[5:-4])
    except msgspec.DecodeError as error:
        raise RowChecksumError(f"a whole row that is no {kind.__name__}: {error}") from error
    return row


def check_row(key: bytes, raw: bytes) -> None:
    """Is it a whole row of any type that was stored under `key`? Raises one of the three RowErrors."""
    if len(raw) < _OVERHEAD:
        raise RowTruncatedError(f"a row of {len(raw)} bytes")
    if raw[0] != VERSION:
        raise RowVersionError(f"a row of version {raw[0]}")
    if crc32c(raw[:-4], crc32c(key)) != int.from_bytes(raw[-4:], "big"):
        raise _damage(Row, raw)


def _damage(kind: type[Any], raw: bytes) -> RowError:
    _, length = _HEADER.unpack_from(raw)
    if len(raw) < length + _OVERHEAD:
        return RowTruncatedError(f"a {kind.__name__} of {len(raw)} bytes should have {length + _OVERHEAD}")
    return RowChecksumError(f"a {kind.__name__} of {len(raw)} bytes fails its checksum")
