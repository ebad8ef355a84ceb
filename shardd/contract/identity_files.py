"""Owns the names of the files in a cluster's secrets_path; never reads one."""

import re

from shardd.contract.blobs import NodeId
from shardd.contract.errors import ConfigurationError
from shardd.contract.hello import PeerName, Role

AUTHORITY_FILE = "ca.pem"
AUTHORITY_KEY_FILE = "ca.key"
CLUSTER_FILE = "cluster.id"

_STEMS = {Role.GATEWAY: "gateway", Role.SHARD_SERVER: "shard"}


def file_stem(name: PeerName) -> str:
    """The name of a peer's files without .pem or .key: node-3-gateway, node-3-shard, admin."""
    return "admin" if name.role is Role.ADMINISTRATOR else f"node-{name.node}-{_STEMS[name.role]}"


def parse_stem(stem: str) -> PeerName:
    """The reverse of `file_stem`; ConfigurationError for any other string."""
    if stem == "admin":
        return PeerName(Role.ADMINISTRATOR, NodeId(0))
    match = re.fullmatch(r"node-([1-9][0-9]{0,9})-(gateway|shard)", stem, re.ASCII)
    if not match:
        raise ConfigurationError(f"{stem} is not the name of a peer's files")
    role = Role.GATEWAY if match[2] == "gateway" else Role.SHARD_SERVER
    return PeerName(role, NodeId(int(match[1])))
