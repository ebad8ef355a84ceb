"""Owns cluster.toml: its structs, every default and limit, and the errors that name file, place and reason."""

from pathlib import Path
from typing import Literal

import msgspec

from shardd.contract.blobs import NodeId

MIB = 1 << 20
GIB = 1 << 30


class ErasureConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[rs]: k data and m parity shards, and how many further losses a write survives before it is acknowledged."""

    data: int = 3
    parity: int = 2
    ack_spare: int | None = None
    codec: Literal["isal", "zfec"] = "isal"

    @property
    def spare(self) -> int:
        """The effective `ack_spare`: 1, or 0 where parity < 2, unless the file says otherwise."""
        return (1 if self.parity >= 2 else 0) if self.ack_spare is None else self.ack_spare


class NodeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One [[nodes]] entry. `path` is absolute once loaded; `s3_port` 0 means 8080 + id until loaded."""

    id: NodeId
    host: str
    port: int
    path: Path
    s3_port: int = 0
    zone: str = ""
    workers: int = 1


class MetadataConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[metadata]: which log orders the commands, and where the machine's state lives."""

    engine: Literal["local", "etcd"] = "local"
    path: Path = Path("data/metadata")
    endpoints: tuple[str, ...] = ()
    map_size_bytes: int = 64 * GIB


class QuicConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[quic]: engine and the largest datagram that may be probed for."""

    engine: Literal["qh3", "aioquic"] = "qh3"
    max_datagram_size: int = 16_000


class StorageConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[storage]: limits of a shard server."""

    segment_bytes: int = 256 * MIB
    compact_below_live: float = 0.70
    compact_above_full: float = 0.85
    refuse_above_full: float = 0.95


class GatewayConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[gateway]: limits of one gateway process, and the pace of the work behind it."""

    buffer_bytes: int = 128 * MIB
    connections_max: int = 10_000
    condemned_grace_s: float = 900.0
    upload_life_s: float = 7 * 86_400.0
    repair_mb_per_s: float = 100.0
    repair_interval_s: float = 1.0
    auto_create_buckets: bool = False


class BucketConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One [[buckets]] entry: exists after start, cannot be deleted by the API."""

    name: str
    region: str = ""
    public: bool = False
    type: str = "standard"
    encryption: bool = False
    account_id: str = ""


class PolicyConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Allow `actions` (as "s3:GetObject", "s3:*", "admin:*", "*") on buckets whose name fits the pattern `bucket`."""

    bucket: str
    actions: tuple[str, ...]


class AuthConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One [[auth]] entry: an access key, its account of 12 digits and what it may do; no policy allows nothing."""

    access_key_id: str
    secret_access_key: str = ""
    secret_access_key_file: str = ""
    secret_access_key_env: str = ""
    account_id: str = "000000000000"
    display_name: str = ""
    email: str = ""
    policy: tuple[PolicyConfig, ...] = ()


class Cluster(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of cluster.toml, checked and resolved by `load`."""

    version: str
    nodes: tuple[NodeConfig, ...]
    region: str = "us-east-1"
    rs: ErasureConfig = ErasureConfig()
    metadata: MetadataConfig = MetadataConfig()
    quic: QuicConfig = QuicConfig()
    storage: StorageConfig = StorageConfig()
    gateway: GatewayConfig = GatewayConfig()
    buckets: tuple[BucketConfig, ...] = ()
    auth: tuple[AuthConfig, ...] = ()
    secrets_path: Path = Path("data/cluster")  # the CA, certificates and the administrator's key

    def node(self, node: NodeId) -> NodeConfig:
        """The entry of `node`; KeyError where the file has none."""
        for entry in self.nodes:
            if entry.id == node:
                return entry
        raise KeyError(node)
