"""Owns the round of scrub through all segments: what is verified next, and when; never what damage means.

A pass is spread over the period, at most a fifth of the writer's time, and goes on after a restart where it was: its
progress is a small file beside the shards, and losing that costs a pass from the beginning.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from shardd.contract.cluster import StorageConfig
from shardd.engine.scrub import STEP_BYTES
from shardd.engine.store import ShardStore

SLACK = 0.8  # of the period that a pass takes: a node that is down for some days still ends in time
WORK_SHARE_MAX = 0.2
SAVE_INTERVAL_S = 10.0
DAY_S = 86_400.0

log = logging.getLogger(__name__)


class Progress(msgspec.Struct):
    """How far scrub has come in one life of the data folder. Times in microseconds since 1970."""

    incarnation: bytes
    started_us: int = 0
    segment: int = 0
    position: int = 0
    records: int = 0
    damaged: int = 0
    passes: int = 0
    done_bytes: int = 0
    total_bytes: int = 0  # done, and what is left as the segments are now


class Scrubbing:
    """Verifies every record of `store` once in `[storage] scrub_days`. `step` is for one thread."""

    def __init__(
        self,
        store: ShardStore,
        file: Path,
        *,
        limits: StorageConfig,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._file = file
        self._period_s = limits.scrub_days * DAY_S
        self._segment_bytes = limits.segment_bytes
        self._clock = clock
        self._saved_s = clock()
        self.progress = _load(file, store.incarnation)

    def step(self, now_us: int) -> float:
        """Verify the next few MiB; the seconds after which the next step is due. Raises ShardError."""
        began_s, progress = self._clock(), self.progress
        segments = self._store.segments()
        left = [number for number in segments if number >= progress.segment]
        if not left:
            self._end_pass()
            return self._pause_s(len(segments), 0.0)
        if progress.started_us == 0:
            progress.started_us = now_us
        number = left[0]
        start = progress.position if number == progress.segment else 0
        seen = self._store.scrub_step(number, start)
        stop = seen.position or max(start, segments[number])
        done_bytes = progress.done_bytes + stop - start
        rest_bytes = sum(segments[number] for number in left) - stop
        progress.total_bytes = done_bytes + max(0, rest_bytes)  # first: status reads them in between
        progress.done_bytes = done_bytes
        progress.records += seen.records
        progress.damaged += seen.damaged
        progress.segment, progress.position = (number, seen.position) if seen.position else (number + 1, 0)
        if seen.quarantined:
            log.error("scrub: %d records of segment %d are quarantined", seen.quarantined, number)
        if began_s >= self._saved_s + SAVE_INTERVAL_S:
            self.save()
        return self._pause_s(len(segments), self._clock() - began_s)

    def save(self) -> None:
        """Keep the progress. A disk that refuses costs a pass, not the store."""
        self._saved_s = self._clock()
        draft = self._file.with_suffix(".new")
        try:
            draft.write_bytes(msgspec.json.encode(self.progress))
            draft.replace(self._file)
        except OSError as error:
            log.warning("%s: %s", self._file, error.strerror)

    def _end_pass(self) -> None:
        done = self.progress
        if done.started_us:
            log.info("scrub: %d records verified, %d stretches damaged", done.records, done.damaged)
            self.progress = Progress(done.incarnation, passes=done.passes + 1)
            self.save()

    def _pause_s(self, segments: int, worked_s: float) -> float:
        # A store without a segment will have one: what comes into it must not wait a period for its first pass.
        steps = max(1, max(1, segments) * self._segment_bytes // STEP_BYTES)
        return max(SLACK * self._period_s / steps, worked_s * (1 / WORK_SHARE_MAX - 1))


def _load(file: Path, incarnation: bytes) -> Progress:
    try:
        progress = msgspec.json.decode(file.read_bytes(), type=Progress)
    except (OSError, msgspec.MsgspecError):
        return Progress(incarnation)
    return progress if progress.incarnation == incarnation else Progress(incarnation)
