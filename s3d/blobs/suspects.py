"""Owns the complaints of reads about shards, until they are filed for repair; never files them."""

from shardd.contract.blobs import BlobId

SUSPECTS_MAX = 10_000  # what does not fit will be complained of again


class Suspects:
    """(blob, shard) pairs that a read did not find or found damaged. `add` is what Blobs takes as `suspect`."""

    def __init__(self) -> None:
        self._shards: dict[BlobId, set[int]] = {}
        self.total = 0  # ever, repeats counted

    def add(self, blob: BlobId, shard: int) -> None:
        """Remember a complaint."""
        self.total += 1
        self.give_back(blob, (shard,))

    def take(self) -> dict[BlobId, tuple[int, ...]]:
        """All complaints since the last call: blob -> its shards in order."""
        taken, self._shards = self._shards, {}
        return {blob: tuple(sorted(shards)) for blob, shards in taken.items()}

    def give_back(self, blob: BlobId, shards: tuple[int, ...]) -> None:
        """Keep complaints that were taken and could not be filed, beside those that came since."""
        if blob in self._shards or len(self._shards) < SUSPECTS_MAX:
            self._shards.setdefault(blob, set()).update(shards)
