"""Owns a store of the bench's own: five nodes on this machine, made for one run; never the one that somebody uses."""

from pathlib import Path
from typing import Self

from bench.signing import Credentials
from tests.integration.cluster import Cluster

LOST = (2, 4)


class OwnStore:
    """Five nodes in `folder`, one launcher each, as the drills start them; stopped when it is left."""

    def __init__(self, folder: Path) -> None:
        self._cluster = Cluster.create(folder)

    def __enter__(self) -> Self:
        self._cluster.start_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._cluster.close()

    @property
    def credentials(self) -> Credentials:
        """The administrator's key."""
        return Credentials(self._cluster.access_key, self._cluster.secret_key)

    @property
    def endpoints(self) -> list[str]:
        """The gateways of the nodes that are up."""
        return self._cluster.endpoints

    def pids(self) -> list[int]:
        """Every process of the store, launchers too."""
        return self._cluster.pids()

    def kill_two(self) -> None:
        """Two nodes end at once, as on a loss of power."""
        self._cluster.kill(*LOST)
