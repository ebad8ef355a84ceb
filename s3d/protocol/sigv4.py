"""Owns the arithmetic of AWS Signature Version 4, and our own clients' headers by it; never a verdict."""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from s3d.protocol.errors import S3Error
from s3d.protocol.routing import Request, percent_encode

ALGORITHM: Final = "AWS4-HMAC-SHA256"
SERVICE: Final = "s3"
TERMINATOR: Final = "aws4_request"
SIGNING_KEYS_CACHED_MAX: Final = 1_024

_DATE: Final = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})Z", re.ASCII)
_SPACES: Final = re.compile(r"[ \t]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Key:
    """Who signs, and for which region."""

    access: str
    secret: str
    region: str


@lru_cache(maxsize=SIGNING_KEYS_CACHED_MAX)
def signing_key(secret: str, scope: str) -> bytes:
    """The key that signs for a scope, date/region/service/terminator: four HMACs, so it is kept."""
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def sign(key: bytes, to_sign: str) -> str:
    """The signature of a string to sign, in lower-case hexadecimal."""
    return hmac.digest(key, to_sign.encode(), "sha256").hex()


def string_to_sign(canonical: str, *, amz_date: str, scope: str) -> str:
    """Task 2 of SigV4, for a canonical request."""
    return f"{ALGORITHM}\n{amz_date}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"


def canonical_request(request: Request, *, signed_headers: str, payload_hash: str) -> str:
    """Task 1 of SigV4, from the resolved target and the headers as they are read everywhere else."""
    target, headers = request.target, request.headers
    try:
        values = [(name, headers[name]) for name in signed_headers.split(";")]
    except KeyError as error:
        raise S3Error(
            "AccessDenied", "A signed header is not in the request.", HeaderNotFound=str(error.args[0])
        ) from error
    lines = "".join(f"{name}:{_collapse(value)}\n" for name, value in values)
    query = _canonical_query(target.query) if target.query else ""
    return f"{request.method}\n{target.canonical_path}\n{query}\n{lines}\n{signed_headers}\n{payload_hash}"


def signed_headers(
    key: Key,
    line: tuple[str, str, str],
    *,
    headers: Sequence[tuple[str, str]],
    body: bytes = b"",
    now_s: float,
) -> list[tuple[str, str]]:
    """These headers, all of them signed, with the signature; names are in lower case. `now_s` is Unix time.

    `line`: method, path and query as they are sent: escaped as SigV4 wants it, the query's names in order.
    """
    digest, date = hashlib.sha256(body).hexdigest(), compact(now_s)
    scope = f"{date[:8]}/{key.region}/{SERVICE}/{TERMINATOR}"
    own = sorted([*headers, ("x-amz-content-sha256", digest), ("x-amz-date", date)])
    names = ";".join(name for name, _ in own)
    canonical = "\n".join((*line, *(f"{name}:{value}" for name, value in own), "", names, digest))
    signature = sign(signing_key(key.secret, scope), string_to_sign(canonical, amz_date=date, scope=scope))
    claim = f"Credential={key.access}/{scope}, SignedHeaders={names}, Signature={signature}"
    return [*own, ("authorization", f"{ALGORITHM} {claim}")]


def _canonical_query(query: Mapping[str, str]) -> str:
    pairs = sorted(
        (percent_encode(name), percent_encode(value))
        for name, value in query.items()
        if name != "X-Amz-Signature"
    )
    return "&".join(f"{name}={value}" for name, value in pairs)


def _collapse(value: str) -> str:
    return _SPACES.sub(" ", value) if "  " in value or "\t" in value else value


@lru_cache(maxsize=256)
def epoch_s(amz_date: str) -> int | None:
    """Seconds since 1970 of a time as yyyymmddThhmmssZ; None for anything else."""
    found = _DATE.fullmatch(amz_date)
    if found is None:
        return None
    try:
        year, month, day, hour, minute, second = map(int, found.groups())
        return int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp())
    except ValueError:
        return None


def compact(time_s: float) -> str:
    """A time in seconds since 1970 as x-amz-date has it."""
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y%m%dT%H%M%SZ")


def iso(time_s: float) -> str:
    """A time in seconds since 1970 as errors of S3 show it."""
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
