"""Owns what all writers and readers of a process share: the nodes, the byte budgets, the coding threads; no blob."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field

from s3d.blobs.budget import Budget
from s3d.blobs.hedging import Hedges
from s3d.shards.fleet import Fleet
from shardd.contract.blobs import BlobId

Suspect = Callable[[BlobId, int], None]


@dataclass(frozen=True, slots=True)
class Resources:
    """`coding`: threads that work out parity and checksums of big windows. `suspect` is told of each (blob, shard)
    that a read did not find or found damaged, so that it gets repaired; it must not block."""

    fleet: Fleet
    uploads: Budget
    downloads: Budget
    coding: Executor
    suspect: Suspect
    hedges: Hedges = field(default_factory=Hedges)
