"""Owns how far a bout of repair has come: from the first blob that is mended until none is degraded; never mends."""

from dataclasses import dataclass

from s3d.metadata.rows import JobRow

TOLD_EVERY_US = 2_000_000


@dataclass(slots=True)
class Bout:
    """What was done in it. Times in microseconds since 1970."""

    started_us: int = 0  # or when it would have begun, had it never waited for nodes
    worked_us: int = 0
    blobs: int = 0
    moved_bytes: int = 0
    told_us: int = 0

    def work(self, now_us: int) -> None:
        """From now on blobs are mended, until there is news."""
        self.started_us = self.started_us + now_us - self.worked_us if self.blobs else now_us

    def mended(self, moved_bytes: int) -> None:
        """One more blob is whole, or wholer; so many bytes of shards were put for it."""
        self.blobs += 1
        self.moved_bytes += moved_bytes

    def news(self, degraded: int, now_us: int, *, waits: bool = False) -> JobRow | None:
        """The job's row, where it is time to keep it: now and then, and at the end, after which a new bout begins.

        The row of one that `waits` took no time: how fast it was says nothing of when the nodes come back.
        """
        ended, self.worked_us = not degraded, now_us
        if not self.blobs or not (ended or now_us >= self.told_us + TOLD_EVERY_US):
            return None
        row = JobRow(
            b"",
            now_us if waits else self.started_us,
            now_us,
            done=self.blobs,
            total=self.blobs + degraded,
            finished=ended,
            moved_bytes=self.moved_bytes,
        )
        self.told_us = now_us
        if ended:
            self.blobs = self.moved_bytes = 0
        return row
