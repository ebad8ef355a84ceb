"""Owns how a store is: what room it has, whether it takes puts, what it says of itself; never changes a shard."""

from shardd import __version__
from shardd.contract.cluster import StorageConfig
from shardd.contract.errors import ShardError, StorageFailedError, StorageFullError
from shardd.contract.messages import Status
from shardd.engine.filesystem import Room
from shardd.engine.index import PENDING_ROWS_MAX, Index
from shardd.engine.journal import FAILED, Journal

ROOM_LIFE_US = 100_000
UNFLUSHED_ROWS_MAX = 8 * PENDING_ROWS_MAX


class Condition:
    """Of one store."""

    def __init__(self, journal: Journal, index: Index, limits: StorageConfig) -> None:
        self._journal = journal
        self._index = index
        self._limits = limits
        self._room, self._room_at_us = journal.room(), 0

    def refusal(self, now_us: int) -> ShardError | None:
        """Why no put is taken now; None where puts are taken."""
        if self._failed:
            return StorageFailedError(FAILED)
        # At most ROOM_LIFE_US old: statvfs for every commit would cost a tenth of a small one.
        if abs(now_us - self._room_at_us) >= ROOM_LIFE_US:
            self._room, self._room_at_us = self._journal.room(), now_us
        return StorageFullError("no room for new shards") if self._is_full(self._room) else None

    def status(self, now_us: int) -> Status:
        """What the store says of itself."""
        try:
            room = self._journal.room()
        except OSError:
            room = Room(0, 0)
        state = "full" if self._is_full(room) else "ok"
        totals = self._index.totals
        return Status(
            state="failed" if self._failed else state,
            node=self._journal.origin.node,
            incarnation=self._journal.origin.incarnation,
            version=__version__,
            time_us=now_us,
            free_bytes=room.free_bytes,
            total_bytes=room.total_bytes,
            shards=totals.shards,
            shard_bytes=totals.shard_bytes,
            segments=len(self._journal.segments),
            quarantined=totals.quarantined,
            losses=totals.losses,
        )

    @property
    def _failed(self) -> bool:
        return self._journal.failed or self._index.broken

    def _is_full(self, room: Room) -> bool:
        return (
            room.full > self._limits.refuse_above_full
            or not self._journal.has_spare
            or self._index.pending > UNFLUSHED_ROWS_MAX
        )
