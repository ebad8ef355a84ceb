"""Owns what cluster.toml may say: its structs, every default and limit; never reads a file (cluster_file.py)."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from shardd.contract.blobs import SHARDS_MAX, NodeId

MIB = 1 << 20
GIB = 1 << 30

Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
Fraction = Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]
Seconds = Annotated[float, msgspec.Meta(ge=0.0)]
Text = Annotated[str, msgspec.Meta(min_length=1)]
AccountId = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{12}\Z")]
DomainName = Annotated[str, msgspec.Meta(pattern=r"^(?=.{1,253}\Z)[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*\Z")]
AccessKeyId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{3,128}\Z")]


class ErasureConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[rs]: k data and m parity shards, and how many further losses a write survives before it is acknowledged."""

    data: Annotated[int, msgspec.Meta(ge=1, le=SHARDS_MAX)] = 3
    parity: Annotated[int, msgspec.Meta(ge=0, le=SHARDS_MAX)] = 2
    ack_spare: Annotated[int, msgspec.Meta(ge=0)] | None = None
    codec: Literal["isal", "zfec"] = "isal"

    @property
    def spare(self) -> int:
        """The effective `ack_spare`: 1, or 0 where parity < 2, unless the file says otherwise."""
        return (1 if self.parity >= 2 else 0) if self.ack_spare is None else self.ack_spare


class NodeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One [[nodes]] entry. `path` is absolute once loaded; `s3_port` 0 means 8080 + id until loaded."""

    id: Annotated[NodeId, msgspec.Meta(ge=1, le=65_535)]
    host: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9.:_-]+\Z")]
    port: Port
    path: Path
    s3_port: Port = 0
    zone: str = ""
    workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1


class MetadataConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[metadata]: which log orders the commands, and where the machine's state lives."""

    engine: Literal["local", "etcd"] = "local"
    path: Path = Path("data/metadata")
    endpoints: tuple[Text, ...] = ()
    map_size_bytes: Annotated[int, msgspec.Meta(ge=16 * MIB, multiple_of=4096)] = 64 * GIB
    snapshot_interval_s: Annotated[float, msgspec.Meta(ge=1.0)] = 3_600.0
    # Of commands since the last snapshot, and one is made sooner.
    snapshot_journal_bytes: Annotated[int, msgspec.Meta(ge=1)] = 512 * MIB
    snapshots_keep: Annotated[int, msgspec.Meta(ge=1)] = 24  # in each node's folder


class QuicConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[quic]: engine and the largest datagram that may be probed for."""

    engine: Literal["qh3", "aioquic"] = "qh3"
    max_datagram_size: Annotated[int, msgspec.Meta(ge=1_200, le=65_507)] = 16_000


class StorageConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[storage]: limits of a shard server."""

    segment_bytes: Annotated[int, msgspec.Meta(ge=4 * MIB, le=4 * GIB)] = 256 * MIB
    compact_below_live: Fraction = 0.70
    compact_above_full: Fraction = 0.85
    refuse_above_full: Fraction = 0.95
    scrub_days: Annotated[float, msgspec.Meta(gt=0.0)] = 30.0


class GatewayConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[gateway]: limits of one gateway process, and the pace of the work behind it."""

    buffer_bytes: Annotated[int, msgspec.Meta(ge=16 * MIB)] = 128 * MIB
    connections_max: Annotated[int, msgspec.Meta(ge=1)] = 10_000
    connections_per_ip_max: Annotated[int, msgspec.Meta(ge=1)] = 2_500  # no address takes more than a quarter
    condemned_grace_s: Seconds = 900.0
    upload_life_s: Seconds = 7 * 86_400.0
    reconcile_days: Annotated[float, msgspec.Meta(gt=0.0)] = 7.0
    repair_mb_per_s: Annotated[float, msgspec.Meta(gt=0.0)] = 100.0
    repair_interval_s: Annotated[float, msgspec.Meta(gt=0.0)] = 1.0
    auto_create_buckets: bool = False
    domains: tuple[DomainName, ...] = ()  # a Host bucket.DOMAIN names a bucket, beside the path's
    tls_certificate: Path | None = None  # PEM, the chain in order; with it s3_port speaks TLS alone
    tls_key: Path | None = None
    # PEM, for clients whose system does not know who signed the certificate.
    tls_authority: Path | None = None


class BucketConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One [[buckets]] entry: exists after start, cannot be deleted by the API. `region`: else the cluster's."""

    name: str
    region: str = ""
    public: bool = False
    type: str = "standard"
    encryption: bool = False
    account_id: AccountId = ""


class PolicyConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Allow `actions` (as "s3:GetObject", "s3:*", "admin:*", "*") on buckets whose name fits the pattern `bucket`."""

    bucket: Text
    actions: tuple[Text, ...]


class AuthConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One [[auth]] entry: an access key, its account of 12 digits and what it may do; no policy allows nothing.

    The secret stands here, in a file or in an environment variable; once loaded it is in `secret_access_key`.
    """

    access_key_id: AccessKeyId
    secret_access_key: str = ""
    secret_access_key_file: str = ""
    secret_access_key_env: str = ""
    account_id: AccountId = "000000000000"
    display_name: str = ""
    email: str = ""
    policy: tuple[PolicyConfig, ...] = ()


class LimitConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One [[limits]] entry: how many requests each account may make of one gateway process, of `actions` together.

    `account_id`: that account alone, "anonymous" whoever does not sign; else each account has a budget of its own.
    `burst`: how many at once after a pause; 0 stands for those of one second.
    """

    requests_per_s: Annotated[float, msgspec.Meta(gt=0.0)]
    burst: Annotated[int, msgspec.Meta(ge=0)] = 0
    account_id: Annotated[str, msgspec.Meta(pattern=r"^([0-9]{12}|anonymous)\Z")] = ""
    actions: tuple[Text, ...] = ("*",)


class Cluster(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of cluster.toml, checked and resolved by cluster_file.load."""

    version: Literal["1.0"]
    nodes: Annotated[tuple[NodeConfig, ...], msgspec.Meta(min_length=1)]
    region: Text = "us-east-1"
    rs: ErasureConfig = ErasureConfig()
    metadata: MetadataConfig = MetadataConfig()
    quic: QuicConfig = QuicConfig()
    storage: StorageConfig = StorageConfig()
    gateway: GatewayConfig = GatewayConfig()
    buckets: tuple[BucketConfig, ...] = ()
    auth: tuple[AuthConfig, ...] = ()
    limits: tuple[LimitConfig, ...] = ()
    secrets_path: Path = Path("data/cluster")  # the CA, certificates and the administrator's key

    def node(self, node: NodeId) -> NodeConfig:
        """The entry of `node`; KeyError where the file has none."""
        for entry in self.nodes:
            if entry.id == node:
                return entry
        raise KeyError(node)

    def endpoint(self, node: NodeConfig) -> str:
        """The URL of a node's gateways; over TLS by a name that their certificate has."""
        host = f"[{node.host}]" if ":" in node.host else node.host
        if self.gateway.tls_certificate is None:
            return f"http://{host}:{node.s3_port}"
        return f"https://{self.gateway.domains[0] if self.gateway.domains else host}:{node.s3_port}"
