"""Owns the tree of errors between gateways and shard servers: wire code, and whether another try may help."""

from typing import ClassVar


class QuoinError(Exception):
    """The root of every error that Quoin itself raises."""


class ConfigurationError(QuoinError):
    """cluster.toml, a flag or the environment is wrong; the message names the file, the place and the reason."""


class ShardError(QuoinError):
    """A request to a shard server failed. `code` is its number on the wire; 0 never travels."""

    code: ClassVar[int] = 0
    retryable: ClassVar[bool] = False


class ShardNotFoundError(ShardError):
    """There is no such extent here. A miss, not a fault."""

    code = 1


class ShardCorruptError(ShardError):
    """The bytes fail their checksum; the record is quarantined."""

    code = 2


class ShardConflictError(ShardError):
    """The same extent and generation is here with other bytes."""

    code = 3


class StaleGenerationError(ShardError):
    """A later generation of the shard is here, or was deleted."""

    code = 4


class StorageFullError(ShardError):
    """No room for new shards; deletes still have room."""

    code = 5


class StorageFailedError(ShardError):
    """The disk refused; the shard server takes no writes until it is started again."""

    code = 6


class BadRequestError(ShardError):
    """The frame or its body breaks the contract; a peer that sends such is not one of ours."""

    code = 7


class TruncatedFrameError(BadRequestError):
    """The stream ended in the middle of a frame."""


class CorruptFrameError(BadRequestError):
    """Magic, checksum, limits or body of a frame are not as wire.py has them."""


class ForbiddenError(ShardError):
    """The peer's role may not do this, or the peer is not who it says."""

    code = 8


class WrongClusterError(ShardError):
    """The request names another cluster."""

    code = 9


class WrongEpochError(ShardError):
    """The request names another membership epoch."""

    code = 10


class UnsupportedVersionError(ShardError):
    """The frame's version is not one that this side speaks."""

    code = 11


class OverloadedError(ShardError):
    """Queues are full; try again."""

    code = 12
    retryable = True


class InternalError(ShardError):
    """The shard server met a fault of its own; its log says more."""

    code = 13


class UnreachableError(ShardError):
    """No connection to the node, or it broke. Never travels."""

    code = 0
    retryable = True


class DeadlineError(ShardError):
    """The node did not answer in time. Never travels."""

    code = 0
    retryable = True


BY_CODE: dict[int, type[ShardError]] = {
    kind.code: kind
    for kind in (
        ShardNotFoundError,
        ShardCorruptError,
        ShardConflictError,
        StaleGenerationError,
        StorageFullError,
        StorageFailedError,
        BadRequestError,
        ForbiddenError,
        WrongClusterError,
        WrongEpochError,
        UnsupportedVersionError,
        OverloadedError,
        InternalError,
    )
}
