"""Owns how many reads may be asked twice: a share of all reads, and their count; never which or when."""

HEDGE_SHARE = 0.05
HEDGES_AT_ONCE_MAX = 64.0  # what may be saved up: enough for all clients of a node that stops
HEDGES_AT_FIRST = 8.0  # the rest is earned: a gateway that just began knows of no node how prompt it is
HEDGE_AFTER_S = 0.02  # nothing is hedged sooner, however prompt its node is


class Hedges:
    """The budget of a process: `HEDGE_SHARE` of the reads of shards.

    `asked`: reads of shards in all; whoever asks adds them. `sent`, `won` (they came before what they replaced) and
    `refused` count hedged spans, for the metrics.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.sent = 0
        self.won = 0
        self.refused = 0
        self._seen = 0  # of `asked`, when `_free` was worked out: a read costs an addition, a hedge the rest
        self._free = HEDGES_AT_FIRST

    def take(self, reads: int) -> bool:
        """May so many reads be asked beside those that are late?"""
        earned = (self.asked - self._seen) * HEDGE_SHARE
        self._free, self._seen = min(HEDGES_AT_ONCE_MAX, self._free + earned), self.asked
        if reads > self._free:
            self.refused += 1
            return False
        self._free -= reads
        self.sent += 1
        return True

    def counts(self) -> dict[str, int]:
        """What the metrics show."""
        return {
            "hedged_reads": self.sent,
            "hedged_reads_won": self.won,
            "hedged_reads_refused": self.refused,
        }
