"""Owns AWS Signature Version 4 as a client makes it, for whole and for chunked bodies; never opens a socket.

Written apart from the store's verifier, so that each proves the other. Source: the S3 API reference, "Authenticating
Requests (AWS Signature Version 4)" and "Transferring Payload in Multiple Chunks".
"""

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"
STREAMING = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
STREAMING_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
STREAMING_UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
CHUNK_SIZE = 65_536  # what Go clients send

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who signs, and for which region and service."""

    access_key: str
    secret_key: str
    region: str = "us-east-1"
    service: str = "s3"


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed request: its target as sent, its headers, and what the signatures of its chunks start from."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    signature: str
    scope: str
    date: str
    key: bytes

    def header(self, name: str) -> str:
        """The value of the header `name` (any case); KeyError where there is none."""
        for have, value in self.headers:
            if have.lower() == name.lower():
                return value
        raise KeyError(name)


def encode_path(path: str) -> str:
    """A path as S3 signs and sends it: UTF-8, every byte but the unreserved and the slash escaped once."""
    return quote(path, safe="/-_.~")


def encode_query(query: Iterable[tuple[str, str]]) -> str:
    """A query as S3 signs it: escaped, then sorted by name and value."""
    return "&".join(f"{name}={value}" for name, value in sorted((_escape(n), _escape(v)) for n, v in query))


def signing_key(credentials: Credentials, day: str) -> bytes:
    """The HMAC chain over day, region, service and terminator."""
    key = ("AWS4" + credentials.secret_key).encode()
    for part in (day, credentials.region, credentials.service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def sign(
    credentials: Credentials,
    method: str,
    path: str,
    *,
    headers: Headers,
    when: datetime,
    query: Sequence[tuple[str, str]] = (),
    payload: str = EMPTY_SHA256,
) -> Signed:
    """Signs in the Authorization header. `path` is already escaped; `headers` hold `host`; `payload` is the
    SHA-256 of the body in hex, or one of the words above."""
    date = when.strftime("%Y%m%dT%H%M%SZ")
    sent = [*headers, ("x-amz-date", date), ("x-amz-content-sha256", payload)]
    names = ";".join(sorted(name.lower() for name, _ in sent))
    canonical_query = encode_query(query)
    scope, key, signature = _signature(
        credentials, date, _canonical(method, path, canonical_query, sent, names, payload)
    )
    credential = f"{credentials.access_key}/{scope}"
    sent.append(
        (
            "Authorization",
            f"AWS4-HMAC-SHA256 Credential={credential},SignedHeaders={names},Signature={signature}",
        )
    )
    target = path + ("?" + canonical_query if query else "")
    return Signed(method, target, tuple(sent), signature, scope, date, key)


def presign(
    credentials: Credentials,
    method: str,
    path: str,
    *,
    host: str,
    when: datetime,
    expires_s: int | str = 900,
    query: Sequence[tuple[str, str]] = (),
) -> str:
    """The target of a presigned request: its path and its query with the signature in it."""
    date = when.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{date[:8]}/{credentials.region}/{credentials.service}/aws4_request"
    full = [
        *query,
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
        ("X-Amz-Credential", f"{credentials.access_key}/{scope}"),
        ("X-Amz-Date", date),
        ("X-Amz-Expires", str(expires_s)),
        ("X-Amz-SignedHeaders", "host"),
    ]
    canonical = _canonical(method, path, encode_query(full), [("host", host)], "host", UNSIGNED)
    _, _, signature = _signature(credentials, date, canonical)
    return f"{path}?{encode_query(full)}&X-Amz-Signature={signature}"


def chunk_digests(data: bytes, size: int = CHUNK_SIZE) -> list[str]:
    """SHA-256 of each chunk: they depend on the body alone, so one body's serve any number of requests."""
    return [hashlib.sha256(data[at : at + size]).hexdigest() for at in range(0, len(data), size)]


def sign_chunks(signed: Signed, digests: Sequence[str]) -> list[str]:
    """The chained signatures of the chunks with these digests, and of the empty one that ends the body."""
    signatures, previous = [], signed.signature
    prefix = f"AWS4-HMAC-SHA256-PAYLOAD\n{signed.date}\n{signed.scope}\n"
    for digest in (*digests, EMPTY_SHA256):
        text = f"{prefix}{previous}\n{EMPTY_SHA256}\n{digest}"
        previous = hmac.digest(signed.key, text.encode(), "sha256").hex()
        signatures.append(previous)
    return signatures


def sign_trailer(signed: Signed, previous: str, trailer: bytes) -> str:
    """The signature over trailing headers: `trailer` is their lines, each ended by a line feed alone."""
    digest = hashlib.sha256(trailer).hexdigest()
    text = f"AWS4-HMAC-SHA256-TRAILER\n{signed.date}\n{signed.scope}\n{previous}\n{digest}"
    return hmac.digest(signed.key, text.encode(), "sha256").hex()


def chunked_length(size: int, chunk_size: int = CHUNK_SIZE) -> int:
    """Bytes on the wire of a body of `size` bytes in signed chunks."""
    full, rest = divmod(size, chunk_size)
    overhead = len(";chunk-signature=") + 64 + 4
    length = full * (len(f"{chunk_size:x}") + overhead + chunk_size)
    if rest:
        length += len(f"{rest:x}") + overhead + rest
    return length + 1 + overhead


def chunked_body(
    signed: Signed, data: bytes, *, digests: Sequence[str] | None = None, chunk_size: int = CHUNK_SIZE
) -> list[bytes | memoryview]:
    """The body in signed chunks, as pieces to be sent in order; the data itself is not copied."""
    digests = chunk_digests(data, chunk_size) if digests is None else digests
    view, pieces, ending = memoryview(data), list[bytes | memoryview](), ""
    for at, signature in zip(
        range(0, len(digests) * chunk_size, chunk_size), sign_chunks(signed, digests), strict=False
    ):
        piece = view[at : at + chunk_size]
        pieces += [f"{ending}{len(piece):x};chunk-signature={signature}\r\n".encode(), piece]
        ending = "\r\n"
    last = sign_chunks(signed, digests)[-1]
    pieces.append(f"{ending}0;chunk-signature={last}\r\n\r\n".encode())
    return pieces


def _escape(text: str) -> str:
    return quote(text, safe="-_.~")


def _canonical(method: str, path: str, query: str, headers: Headers, names: str, payload: str) -> str:
    pairs = sorted((name.lower(), " ".join(value.split())) for name, value in headers)
    # By name alone: ":" comes after the hyphen of a longer name.
    lines = (f"{name}:{value}" for name, value in pairs)
    return "\n".join((method, path, query, *lines, "", names, payload))


def _signature(credentials: Credentials, date: str, canonical: str) -> tuple[str, bytes, str]:
    scope = f"{date[:8]}/{credentials.region}/{credentials.service}/aws4_request"
    key = signing_key(credentials, date[:8])
    text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    return scope, key, hmac.digest(key, text.encode(), "sha256").hex()
