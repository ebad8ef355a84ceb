"""Owns what all writers and readers of a process share: the nodes, the byte budgets, the coding threads; no blob."""

from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from s3d.blobs.budget import Budget
from s3d.blobs.foreground import Foreground
from s3d.blobs.hedging import Hedges
from s3d.shards.fleet import Fleet
from shardd.contract.blobs import BlobId
from shardd.transport import threads

CODING_THREADS: Final = 2

Suspect = Callable[[BlobId, int], None]


def coding_threads() -> ThreadPoolExecutor:
    """The threads for `coding`. They run from now on: a system that gives no thread later stops no upload."""
    return threads.running(CODING_THREADS, "coding")


@dataclass(frozen=True, slots=True)
class Resources:
    """`uploads`: windows that are full, or soon will be; `slow`: what came of those that fill slowly.

    `coding`: threads that work out parity and checksums of big windows. `suspect` is told of each (blob, shard)
    that a read did not find or found damaged, so that it gets repaired; it must not block.
    """

    fleet: Fleet
    uploads: Budget
    slow: Budget
    downloads: Budget
    coding: Executor
    suspect: Suspect
    hedges: Hedges = field(default_factory=Hedges)
    foreground: Foreground = field(default_factory=Foreground)
