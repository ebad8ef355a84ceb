"""Owns the refusal to replace a state that a process has open."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from s3d.admin.holders import holders
from shardd.contract.cluster import Cluster
from shardd.contract.errors import ConfigurationError, QuoinError
from shardd.transport.holds import hold_folder


class LivingStateError(QuoinError):
    """A process has the state open, so it is not replaced."""


@contextmanager
def held_still(cluster: Cluster) -> Iterator[None]:
    """Until the block ends no process has the state open, and no launcher starts one: it would be replaced under it.

    Children that inherit descriptors keep the folders as well. Raises LivingStateError.
    """
    with ExitStack() as held:
        for node in cluster.nodes:
            if not node.path.is_dir():
                continue
            try:
                descriptor = hold_folder(node.path)
            except ConfigurationError as error:
                raise LivingStateError(f"{error}: stop the store first") from error
            held.callback(os.close, descriptor)
            os.set_inheritable(descriptor, True)
        _refuse_living(cluster)
        yield


def _refuse_living(cluster: Cluster) -> None:
    if pids := holders(cluster.metadata.path):
        said = ", ".join(map(str, pids))
        raise LivingStateError(f"{cluster.metadata.path} is in use by process {said}: stop the store first")
