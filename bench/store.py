"""Owns a store of the bench's own: five nodes on this machine, made for one run; never the one that somebody uses."""

import subprocess
from pathlib import Path
from typing import Self

from bench.signing import Credentials
from tests.integration.cluster import Cluster

LEFT = (1, 3, 5)


class OwnStore:
    """Five nodes in `folder` under one launcher, as `bin/s3d` starts them; stopped when it is left."""

    def __init__(self, folder: Path, *, checkout: Path | None = None) -> None:
        """`checkout`: whose store it is, where it is not this one's; with an environment of its own, made first."""
        self._cluster = Cluster.create(folder, together=True)
        if checkout is not None:
            subprocess.run([checkout / "bin/environment", "runtime"], check=True, stdout=subprocess.DEVNULL)
            self._cluster.program = checkout / "bin/s3d"

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

    @property
    def state_path(self) -> Path:
        """Where its metadata is."""
        return self._cluster.folder / "data/metadata"

    def pids(self) -> list[int]:
        """Every process of the store, launchers too."""
        return self._cluster.pids()

    def lose_two(self) -> None:
        """The store goes on with the same data and two nodes down."""
        self._cluster.stop()
        self._cluster.together = False
        self._cluster.start(*LEFT)
