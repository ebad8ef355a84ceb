"""Owns how cluster.toml is read: one file in, one checked and resolved Cluster or every fault with its place out."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import tomli

from shardd.contract.blobs import SHARDS_MAX
from shardd.contract.bucket_names import valid_bucket_name
from shardd.contract.cluster import AuthConfig, Cluster, GatewayConfig
from shardd.contract.errors import ConfigurationError

SECRET_SIZE_MIN = 8
S3_PORT_BASE = 8_080

_TLS_FILES = ("tls_certificate", "tls_key", "tls_authority")
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
        gateway=_resolve_gateway(cluster.gateway, folder),
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


def _resolve_gateway(gateway: GatewayConfig, folder: Path) -> GatewayConfig:
    named = {name: getattr(gateway, name) for name in _TLS_FILES}
    absolute = {name: _absolute(folder, path) for name, path in named.items() if path is not None}
    return msgspec.structs.replace(gateway, **absolute)


def _absolute(folder: Path, path: Path) -> Path:
    return Path(os.path.normpath(folder / path))


def _faults(cluster: Cluster, environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(place, reason) of every rule that spans several values and is broken."""
    yield from _erasure_faults(cluster)
    yield from _node_faults(cluster)
    yield from _path_faults(cluster)
    yield from _gateway_faults(cluster.gateway)
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


def _gateway_faults(gateway: GatewayConfig) -> Iterator[tuple[str, str]]:
    """What can be said of the files of TLS without opening them; whether they are a pair is for s3d/certificate.py."""
    if gateway.tls_certificate is None and gateway.tls_key is not None:
        yield "gateway.tls_certificate", "is needed beside tls_key"
    if gateway.tls_key is None and gateway.tls_certificate is not None:
        yield "gateway.tls_key", "is needed beside tls_certificate"
    if gateway.tls_certificate is None and gateway.tls_authority is not None:
        yield "gateway.tls_certificate", "is needed beside tls_authority"
    for name in _TLS_FILES:
        path = getattr(gateway, name)
        if path is not None and not path.is_file():
            yield f"gateway.{name}", f"{path}: no such file"


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
