"""Owns what a cluster needs before its first start: its authority, certificates and the administrator's key.

Runs as a process of its own (`python -m s3d.bootstrap -config FILE`), so that the launcher stays small: keys and
certificates take a library of 20 MB that it needs once. Any number may run at once; they agree.
"""

import time
from collections.abc import Iterator
from pathlib import Path

from s3d.access import administrator
from shardd.contract import flags
from shardd.contract.cluster import Cluster
from shardd.contract.hello import PeerName, Role
from shardd.contract.identity_files import AUTHORITY_FILE, AUTHORITY_KEY_FILE, CLUSTER_FILE, file_stem

RENEW_AFTER_S = 300 * 86_400.0  # well before half of a certificate's life, after which it is made anew


def is_due(cluster: Cluster, now_s: float) -> bool:
    """Whether something is missing or old. On a machine without the authority's key nothing can be made here."""
    folder = cluster.secrets_path
    if (folder / AUTHORITY_FILE).exists() and not (folder / AUTHORITY_KEY_FILE).exists():
        return False
    wanted = [folder / CLUSTER_FILE, folder / AUTHORITY_FILE]
    if not cluster.auth:
        wanted.append(folder / administrator.CREDENTIALS_FILE)
    certificates = [folder / f"{file_stem(name)}.pem" for name in _peers(cluster)]
    return not all(path.exists() for path in wanted) or any(_is_old(path, now_s) for path in certificates)


def prepare(cluster: Cluster) -> None:
    """Makes all that is missing in the cluster's secrets_path."""
    from shardd.transport import authority  # loaded where it is needed only

    authority.make_cluster_authority(cluster.secrets_path)
    for name in _peers(cluster):
        authority.issue(cluster.secrets_path, role=name.role, node=name.node)
    if not cluster.auth:
        administrator.make(cluster.secrets_path)


def _peers(cluster: Cluster) -> Iterator[PeerName]:
    for node in cluster.nodes:
        yield PeerName(Role.SHARD_SERVER, node.id)
        yield PeerName(Role.GATEWAY, node.id)


def _is_old(path: Path, now_s: float) -> bool:
    try:
        return now_s - path.stat().st_mtime > RENEW_AFTER_S
    except FileNotFoundError:
        return True


def main() -> None:
    """Prepares the cluster of -config unless nothing is due."""
    cluster = flags.load_or_exit(
        flags.parser("s3d.bootstrap", "Makes a cluster's first keys.").parse_args().config
    )
    if is_due(cluster, time.time()):
        prepare(cluster)


if __name__ == "__main__":
    main()
