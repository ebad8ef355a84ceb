"""Owns cluster.toml: its structs, every default and limit, and the one way to load it."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import tomli

from shardd.contract.blobs import SHARDS_MAX, NodeId
from shardd.contract.bucket_names import valid_bucket_name
from shardd.contract.errors import ConfigurationError

MIB = 1 << 20
GIB = 1 << 30

Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
Fraction = Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]
Seconds = Annotated[float, msgspec.Meta(ge=0.0)]
Text = Annotated[str, msgspec.Meta(min_length=1)]
AccountId = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{12}\Z")]
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


class GatewayConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[gateway]: limits of one gateway process, and the pace of the work behind it."""

    buffer_bytes: Annotated[int, msgspec.Meta(ge=16 * MIB)] = 128 * MIB
    connections_max: Annotated[int, msgspec.Meta(ge=1)] = 10_000
    condemned_grace_s: Seconds = 900.0
    upload_life_s: Seconds = 7 * 86_400.0
    repair_mb_per_s: Annotated[float, msgspec.Meta(gt=0.0)] = 100.0
    repair_interval_s: Annotated[float, msgspec.Meta(gt=0.0)] = 1.0
    auto_create_buckets: bool = False


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


class Cluster(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of cluster.toml, checked and resolved by `load`."""

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
    secrets_path: Path = Path("data/cluster")  # the CA, certificates and the administrator's key

    def node(self, node: NodeId) -> NodeConfig:
        """The entry of `node`; KeyError where the file has none."""
        for entry in self.nodes:
            if entry.id == node:
                return entry
        raise KeyError(node)


SECRET_SIZE_MIN = 8
S3_PORT_BASE = 8_080

_VALIDATION = re.compile(r"(?P<reason>.*?)(?: - at `\$\.?(?P<place>.*)`)?", re.DOTALL)
_PLACE = re.compile(r"(?P<table>\w+)(?:\[(?P<index>[0-9]+)\])?(?:\.(?P<key>\w+))?")
_WRONG_KEY = re.compile(r"Object (?P<what>contains unknown|missing required) field `(?P<key>.*)`")


def load(path: Path, environment: Mapping[str, str] = os.environ) -> Cluster:
    """The cluster of the file `path`: every path absolute, every port and secret in its place.

    Relative paths start at the file's folder. Secrets named by `secret_access_key_env` come from `environment`.
    Raises ConfigurationError, whose message has a line `FILE: PLACE: REASON` for each fault that was found.
    """
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: byte {error.start} is not UTF-8") from error
    try:
        cluster = msgspec.convert(tomli.loads(text), Cluster, dec_hook=_convert)
    except tomli.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}:{error.lineno}:{error.colno}: {error.msg}") from error
    except msgspec.ValidationError as error:
        raise ConfigurationError(_sentence(path, text, *_read(error))) from error
    cluster = _resolve(cluster, path.absolute().parent)
    faults = [_sentence(path, text, place, reason) for place, reason in _faults(cluster, environment)]
    if faults:
        raise ConfigurationError("\n".join(faults))
    return msgspec.structs.replace(
        cluster, auth=tuple(_with_secret(entry, environment) for entry in cluster.auth)
    )


def _convert(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str) and value:
        return Path(value).expanduser()
    raise ValueError(f"Expected a path, got {value!r}")


def _read(error: msgspec.ValidationError) -> tuple[str, str]:
    """Place and reason of msgspec's `REASON - at `$.PLACE``, in the words of somebody who wrote the file."""
    found = _VALIDATION.fullmatch(str(error))
    assert found is not None
    place, reason = found["place"] or "", found["reason"]
    if key := _WRONG_KEY.fullmatch(reason):
        place = f"{place}.{key['key']}" if place else key["key"]
        return place, "unknown key" if "unknown" in key["what"] else "missing"
    return place or "file", (reason[0].lower() + reason[1:]).replace("`", "")


def _sentence(path: Path, text: str, place: str, reason: str) -> str:
    line = _line_of(text, place)
    return f"{path}: {place}: {reason}" + (f" (line {line})" if line else "")


def _line_of(text: str, place: str) -> int:
    """The line of `place`, as `nodes[2].port`, or of its table where the key is missing; 0 where neither is found."""
    found = _PLACE.match(place)
    assert found is not None
    table, index, key = found["table"], int(found["index"] or 0), found["key"]
    seen: Counter[str] = Counter()
    here, best = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.partition("#")[0].replace(" ", "")
        if bare.startswith("["):
            here = bare.strip("[]")
            seen[here] += 1
            if here == table and seen[here] == index + 1:
                best = number
        elif bare.startswith(f"{key or table}=") and (
            here == table and seen[here] == index + 1 if key else not here
        ):
            return number
    return best


def _resolve(cluster: Cluster, folder: Path) -> Cluster:
    replace = msgspec.structs.replace
    return replace(
        cluster,
        nodes=tuple(
            replace(node, path=_absolute(folder, node.path), s3_port=node.s3_port or S3_PORT_BASE + node.id)
            for node in cluster.nodes
        ),
        metadata=replace(cluster.metadata, path=_absolute(folder, cluster.metadata.path)),
        secrets_path=_absolute(folder, cluster.secrets_path),
        buckets=tuple(replace(bucket, region=bucket.region or cluster.region) for bucket in cluster.buckets),
        auth=tuple(
            replace(entry, secret_access_key_file=str(_absolute(folder, Path(entry.secret_access_key_file))))
            if entry.secret_access_key_file
            else entry
            for entry in cluster.auth
        ),
    )


def _absolute(folder: Path, path: Path) -> Path:
    return Path(os.path.normpath(folder / path))


def _faults(cluster: Cluster, environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(place, reason) of every rule that spans several values and is broken."""
    yield from _erasure_faults(cluster)
    yield from _node_faults(cluster)
    yield from _path_faults(cluster)
    storage = cluster.storage
    if storage.refuse_above_full <= storage.compact_above_full:
        yield "storage.refuse_above_full", "must be above compact_above_full"
    if cluster.metadata.engine == "etcd":
        yield "metadata.engine", 'this version has "local" only'
    names = [bucket.name for bucket in cluster.buckets]
    for index, name in enumerate(names):
        if not valid_bucket_name(name):
            yield f"buckets[{index}].name", f"{name!r} is not a bucket name"
        if name in names[:index]:
            yield f"buckets[{index}].name", f"{name!r} is there twice"
    keys = [entry.access_key_id for entry in cluster.auth]
    for index, entry in enumerate(cluster.auth):
        if entry.access_key_id in keys[:index]:
            yield f"auth[{index}].access_key_id", f"{entry.access_key_id!r} is there twice"
        try:
            _with_secret(entry, environment)
        except ConfigurationError as error:
            yield f"auth[{index}].secret_access_key", str(error)


def _erasure_faults(cluster: Cluster) -> Iterator[tuple[str, str]]:
    rs, shards = cluster.rs, cluster.rs.data + cluster.rs.parity
    if shards > SHARDS_MAX:
        yield "rs", f"data + parity is {shards}, at most {SHARDS_MAX} shards"
    elif shards > len(cluster.nodes):
        yield "rs", f"data + parity is {shards}, but there are {len(cluster.nodes)} nodes"
    if rs.spare > rs.parity:
        yield "rs.ack_spare", f"{rs.spare} losses cannot be survived with parity {rs.parity}"


def _node_faults(cluster: Cluster) -> Iterator[tuple[str, str]]:
    seen: dict[tuple[str, object], str] = {}
    for index, node in enumerate(cluster.nodes):
        if node.s3_port > 65_535:
            yield f"nodes[{index}].s3_port", f"the default {S3_PORT_BASE} + id is over 65535; name one"
        for key, fact in (
            ("id", node.id),
            ("port", (node.host, node.port)),
            ("s3_port", (node.host, node.s3_port)),
        ):
            place = f"nodes[{index}].{key}"
            first = seen.setdefault((key, fact), place)
            if first != place:
                yield place, f"{getattr(node, key)} is {first} too"


def _path_faults(cluster: Cluster) -> Iterator[tuple[str, str]]:
    """Nobody's folder lies in another's: who wipes a node must not wipe the metadata with it."""
    places: list[tuple[str, str, Path]] = [
        ("metadata.path", "", cluster.metadata.path),
        ("secrets_path", "", cluster.secrets_path),
    ]
    places += [(f"nodes[{index}].path", node.host, node.path) for index, node in enumerate(cluster.nodes)]
    for index, (place, host, path) in enumerate(places):
        for other, other_host, other_path in places[:index]:
            if host and other_host and host != other_host:
                continue
            if path.is_relative_to(other_path) or other_path.is_relative_to(path):
                yield place, f"{path} and {other} overlap"


def _with_secret(entry: AuthConfig, environment: Mapping[str, str]) -> AuthConfig:
    sources = [entry.secret_access_key, entry.secret_access_key_file, entry.secret_access_key_env]
    if sum(map(bool, sources)) != 1:
        raise ConfigurationError("needs exactly one of secret_access_key, ..._file and ..._env")
    secret = entry.secret_access_key
    if entry.secret_access_key_file:
        try:
            secret = Path(entry.secret_access_key_file).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{entry.secret_access_key_file}: {error}") from error
    elif entry.secret_access_key_env:
        secret = environment.get(entry.secret_access_key_env, "")
    if len(secret) < SECRET_SIZE_MIN:
        raise ConfigurationError(f"a secret has at least {SECRET_SIZE_MIN} characters")
    return msgspec.structs.replace(
        entry, secret_access_key=secret, secret_access_key_file="", secret_access_key_env=""
    )
