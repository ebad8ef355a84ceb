"""Owns whether the disk answers so soon that the loop may wait for it; never what is asked of the disk."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SLOW_S = 0.01  # many times what a flash disk needs for a few KiB, and for their fdatasync
REST_S = 1.0


class Promptness:
    """True as long as no work has taken long for `REST_S`: a disk that gets slow stops the loop once a second.

    Measured, five nodes on two cores, CPU of the shard servers: a PUT of 4 KiB 1.0 ms so, 1.4 by way of a thread and
    back, a GET 0.5 and 0.7.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rests_until_s = clock()

    def __bool__(self) -> bool:
        return self._clock() >= self._rests_until_s

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Around work on the disk."""
        began_s = self._clock()
        yield
        now_s = self._clock()
        if now_s - began_s > SLOW_S:
            self._rests_until_s = now_s + REST_S
