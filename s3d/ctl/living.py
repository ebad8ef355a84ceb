"""Owns the refusal to replace a state that a process has open."""

from s3d.admin.holders import holders
from shardd.contract.cluster import Cluster
from shardd.contract.errors import QuoinError


class LivingStateError(QuoinError):
    """A process has the state open, so it is not replaced."""


def refuse_living(cluster: Cluster) -> None:
    """Raises LivingStateError where a process of this machine has the state open."""
    if pids := holders(cluster.metadata.path):
        said = ", ".join(map(str, pids))
        raise LivingStateError(f"{cluster.metadata.path} is in use by process {said}: stop the store first")
