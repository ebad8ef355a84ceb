"""Owns the errors of blobs: too few shards to write or read, no room, a lost lease, a read that fails in the middle."""

from shardd.contract.errors import QuoinError


class NotEnoughShardsError(QuoinError):
    """Too few shards could be stored to acknowledge, or be read to answer. Try again later (503)."""


class NoRoomError(NotEnoughShardsError):
    """Enough nodes are up, and too few of them have room for new shards (507); deletes still have."""


class LeaseLostError(QuoinError):
    """Another process may do the job by now: this one stops where it is."""


class NoBufferError(QuoinError):
    """The uploads of this process hold all the memory that they may: send more slowly (503)."""


class BlobReadError(NotEnoughShardsError):
    """The rest of a blob cannot be read now, after some of it was given out: a reply must be cut off."""
