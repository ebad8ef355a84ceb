"""Owns how promptly this gateway's clients are given what they read; never what is done about it."""

from s3d.shards.verdict import Latency


class Foreground:
    """Spans that clients read: how many, and the time under which 95 of 100 of them were there."""

    __slots__ = ("latency", "served")

    def __init__(self) -> None:
        self.latency = Latency()
        self.served = 0

    def add(self, took_s: float) -> None:
        """A span was there after so long."""
        self.served += 1
        self.latency.add(took_s)
