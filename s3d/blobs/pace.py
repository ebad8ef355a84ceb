"""Owns how fast background work may go: bytes a second, fewer while clients wait for it; never the work."""

import asyncio
from typing import Final

from s3d.blobs.foreground import Foreground

JUDGED_EVERY_S: Final = 0.5
AT_REST_S: Final = 2.0  # without work for so long: what clients see now is what they see undisturbed
LATE_TIMES: Final = 2.0  # clients wait so many times as long as undisturbed: the work gives way
PROMPT_S: Final = 0.02  # nobody waits who is served within this
SHARE_MIN: Final = 0.1  # of the rate, which work keeps however late clients are: it must end some day
STEP: Final = 0.1  # of the rate, by which it recovers


def next_rate(rate: float, most: float, *, waits: bool) -> float:
    """The rate after `rate`, of at most `most`: halved while clients wait, given back little by little."""
    return max(most * SHARE_MIN, rate / 2) if waits else min(most, rate + most * STEP)


class Pace:
    """Lets `bytes_per_s` pass, evenly; after a rest at most one second's worth at once.

    All jobs of a process that copy shards share one, and one process at a time has these jobs.
    """

    def __init__(self, bytes_per_s: float, foreground: Foreground) -> None:
        self._most = self._rate = bytes_per_s
        self._foreground = foreground
        self._paid_until_s = 0.0
        self._judged_s = 0.0
        self._served = 0
        self._undisturbed_s = PROMPT_S

    def due_s(self, size: int) -> float:
        """When `size` more bytes may pass, by the clock of the loop; who asks is counted on to let them."""
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._judged_s + JUDGED_EVERY_S:
            self._judge(now_s)
        start_s = max(self._paid_until_s, now_s - 1.0)
        self._paid_until_s = start_s + size / self._rate
        return self._paid_until_s

    def _judge(self, now_s: float) -> None:
        """Look at what clients were given since the last look; after a rest, at what they are used to."""
        late_s, served = self._foreground.latency.p95_s, self._foreground.served
        if now_s > max(self._judged_s, self._paid_until_s) + AT_REST_S:
            self._undisturbed_s, self._rate = max(PROMPT_S, late_s), self._most
        else:
            waits = served > self._served and late_s > LATE_TIMES * self._undisturbed_s
            self._rate = next_rate(self._rate, self._most, waits=waits)
        self._judged_s, self._served = now_s, served
