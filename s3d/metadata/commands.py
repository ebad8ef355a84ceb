"""Owns the commands that change the state; never applies one (machine/ does).

A command carries all that apply needs: its time, its preconditions, the incarnation of its bucket (0 where the
caller has seen none and any will do). Errors in outcomes are the names of S3's error codes.
"""

from typing import Annotated, Literal

import msgspec

from s3d.metadata.command import (
    ANY as ANY,
    Command as Command,
    CommandError as CommandError,
    Conditions as Conditions,
)
from s3d.metadata.fields import (
    DELETE_KEYS_MAX,
    Account,
    Blob,
    Key,
    Md5,
    Name,
    PartNumber,
    Places,
    Sequence,
    Time,
    Upload,
)
from s3d.metadata.rows import Attributes, BlobRow
from s3d.metadata.upkeep_commands import (
    AddNode as AddNode,
    Condemn as Condemn,
    CondemnUnnamed as CondemnUnnamed,
    ImportNodes as ImportNodes,
    MarkDegraded as MarkDegraded,
    NodeAddress as NodeAddress,
    RegisterNode as RegisterNode,
    Relocate as Relocate,
    SaveJob as SaveJob,
    SetNodeState as SetNodeState,
    StopJob as StopJob,
    Swept as Swept,
    SweptItem as SweptItem,
    TakeLease as TakeLease,
)


class CreateBucket(Command, frozen=True, array_like=True, tag=True, kw_only=True):
    """Errors: BucketAlreadyOwnedByYou, BucketAlreadyExists."""

    bucket: Name
    account: Account
    region: str = ""
    settings: dict[str, bytes] = msgspec.field(default_factory=dict)


class DeleteBucket(Command, frozen=True, array_like=True, tag=True, kw_only=True):
    """Uploads in progress are aborted. Errors: NoSuchBucket, BucketNotEmpty, AccessDenied (stands in cluster.toml)."""

    bucket: Name
    incarnation: Sequence = 0
    grace_us: Time = 0


class ConfiguredBucket(msgspec.Struct, frozen=True, array_like=True):
    """One [[buckets]] entry."""

    name: Name
    account: Account
    region: str = ""
    public: bool = False
    kind: str = "standard"
    encryption: bool = False


class ImportBuckets(Command, frozen=True, array_like=True, tag=True, kw_only=True):
    """Make the buckets of cluster.toml exist as it says; those that no longer stand there become ordinary ones."""

    buckets: tuple[ConfiguredBucket, ...]


class PutBucketSetting(Command, frozen=True, array_like=True, tag=True, kw_only=True):
    """Keep the document of a sub-resource (policy, cors ...), or forget it (None). Errors: NoSuchBucket."""

    bucket: Name
    name: Name
    document: bytes | None
    incarnation: Sequence = 0


class PutVersioning(Command, frozen=True, array_like=True, tag=True, kw_only=True):
    """Keep versions from now on ("Enabled"), or only those there are ("Suspended"). Errors: NoSuchBucket."""

    bucket: Name
    status: Literal["Enabled", "Suspended"]
    incarnation: Sequence = 0


class PutObject(Command, frozen=True, array_like=True, tag=True, kw_only=True):
    """Make `blob` the live object of `key`. A refused command condemns its blob itself.

    `strays`: places of shards that were given up and may have become durable all the same; they are condemned.

    Errors: NoSuchBucket, NoSuchKey (If-Match on nothing), PreconditionFailed, OperationAborted (condemned blob).
    """

    bucket: Name
    key: Key
    blob: Blob
    row: BlobRow
    etag: Md5
    attributes: Attributes
    incarnation: Sequence = 0
    conditions: Conditions = ANY
    degraded: bool = False
    grace_us: Time = 0
    strays: Places = ()


class CopyObject(Command, frozen=True, array_like=True, tag=True, kw_only=True):
    """Make the version `sequence` of a source key the live object of `key`; its blobs are shared, no byte moves.

    Errors: those of PutObject; OperationAborted where that version is gone (look the source up again, then retry).
    """

    bucket: Name
    key: Key
    source_incarnation: Sequence
    source_key: Key
    source_sequence: Sequence
    attributes: Attributes
    incarnation: Sequence = 0
    conditions: Conditions = ANY
    grace_us: Time = 0


class DeletedKey(msgspec.Struct, frozen=True, array_like=True):
    """A key to delete, or one version of it ("" the live object, "null" or an id)."""

    key: Key
    version_id: str = ""
    conditions: Conditions = ANY


class DeleteObjects(Command, frozen=True, array_like=True, tag=True, kw_only=True):
    """Delete up to 1,000 keys. `results` has one outcome a key, in order: its error is PreconditionFailed or none.

    What is not there is deleted with success, whatever its conditions, as S3 answers. Errors: NoSuchBucket.
    """

    bucket: Name
    keys: Annotated[tuple[DeletedKey, ...], msgspec.Meta(max_length=DELETE_KEYS_MAX)]
    incarnation: Sequence = 0
    grace_us: Time = 0


class PutObjectSetting(Command, frozen=True, array_like=True, tag=True, kw_only=True):
    """Keep a document with a version (acl, retention ...), or forget it (None); nothing else of it changes.

    `version_id`: "" the live object, "null" or an id. `sequence`: of the version that the caller saw under it; 0 is
    any. Errors: NoSuchBucket, NoSuchKey, NoSuchVersion, MethodNotAllowed (a delete marker), OperationAborted (another
    version is there now).
    """

    bucket: Name
    key: Key
    name: Name
    document: bytes | None
    version_id: str = ""
    incarnation: Sequence = 0
    sequence: Sequence = 0


class PutObjectTags(Command, frozen=True, array_like=True, tag=True, kw_only=True):
    """Give a version these tags in place of those it has; nothing else of it changes. Errors: PutObjectSetting's."""

    bucket: Name
    key: Key
    tags: dict[str, str]
    version_id: str = ""
    incarnation: Sequence = 0


class CreateUpload(Command, frozen=True, array_like=True, tag=True, kw_only=True):
    """Begin a multipart upload. `upload`: the id, ASCII; one that grows with time lists in S3's order. NoSuchBucket."""

    bucket: Name
    key: Key
    upload: Upload
    attributes: Attributes
    incarnation: Sequence = 0


class PutPart(Command, frozen=True, array_like=True, tag=True, kw_only=True):
    """Make `blob` a part; the one of that number before it is condemned, and so is the blob of a refused command.

    `strays` as for PutObject. Errors: NoSuchBucket, NoSuchUpload, OperationAborted (condemned blob).
    """

    bucket: Name
    key: Key
    upload: Upload
    number: PartNumber
    blob: Blob
    row: BlobRow
    etag: Md5
    checksum: str = ""
    incarnation: Sequence = 0
    degraded: bool = False
    grace_us: Time = 0
    strays: Places = ()


class CopyPart(Command, frozen=True, array_like=True, tag=True, kw_only=True):
    """Make the blob of a source version of one slice a part; no byte moves. Errors: PutPart's and CopyObject's."""

    bucket: Name
    key: Key
    upload: Upload
    number: PartNumber
    source_incarnation: Sequence
    source_key: Key
    source_sequence: Sequence
    checksum: str = ""
    incarnation: Sequence = 0
    grace_us: Time = 0


class NamedPart(msgspec.Struct, frozen=True, array_like=True):
    """A part as CompleteMultipartUpload names it. `checksum` is compared where it is given."""

    number: int
    etag: str
    checksum: str = ""


class CompleteUpload(Command, frozen=True, array_like=True, tag=True, kw_only=True):
    """Make the parts the live object of `key`; parts that are not named are condemned.

    Done again with the same parts while that object lives, it succeeds again. `checksums` are those of the whole
    object, worked out by the caller from the parts: apply compares each named part's ETag, so they belong together.
    Errors: NoSuchBucket, NoSuchUpload, MalformedXML (no parts), InvalidPart, InvalidPartOrder, EntityTooSmall,
    NoSuchKey, PreconditionFailed. The upload stands after an error.
    """

    bucket: Name
    key: Key
    upload: Upload
    parts: tuple[NamedPart, ...]
    checksums: dict[str, str] = msgspec.field(default_factory=dict)
    incarnation: Sequence = 0
    conditions: Conditions = ANY
    grace_us: Time = 0


class AbortUpload(Command, frozen=True, array_like=True, tag=True, kw_only=True):
    """Forget an upload; its blobs are condemned. Errors: NoSuchBucket, NoSuchUpload.

    They have a grace like others: a part that was copied may be the blob of an object that somebody still reads.
    """

    bucket: Name
    key: Key
    upload: Upload
    incarnation: Sequence = 0
    grace_us: Time = 0


AnyCommand = (
    CreateBucket
    | DeleteBucket
    | ImportBuckets
    | PutBucketSetting
    | PutVersioning
    | PutObject
    | CopyObject
    | DeleteObjects
    | PutObjectSetting
    | PutObjectTags
    | CreateUpload
    | PutPart
    | CopyPart
    | CompleteUpload
    | AbortUpload
    | Condemn
    | CondemnUnnamed
    | Relocate
    | MarkDegraded
    | Swept
    | RegisterNode
    | ImportNodes
    | AddNode
    | SetNodeState
    | TakeLease
    | SaveJob
    | StopJob
)


_encoder = msgspec.msgpack.Encoder()
_decoder: "msgspec.msgpack.Decoder[AnyCommand]" = msgspec.msgpack.Decoder(AnyCommand)


def check_command(command: Command) -> bytes:
    """The msgpack of `command`; CommandError where it is not what its fields say.

    One that passes cannot harm those beside it.
    """
    try:
        raw = _encoder.encode(command)
        _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeError, OverflowError, TypeError) as error:
        raise CommandError(f"{type(command).__name__}: {error}") from error
    return raw


def encode_command(command: Command) -> bytes:
    """The msgpack of a command, as a log carries it."""
    return _encoder.encode(command)


def decode_command(raw: bytes) -> AnyCommand:
    """The command that encode_command wrote; msgspec.ValidationError where it is none."""
    return _decoder.decode(raw)
