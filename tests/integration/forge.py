"""Owns requests that are wrong in one way: signed rightly, then changed, or signed over something else."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from bench.http1 import request_head
from bench.signing import Credentials, Signed, encode_path, presign, sign
from tests.integration.client import Client, NoReplyError, Reply

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Forge:
    """Where forged requests go and who seems to send them. `key` names an object that is there."""

    host: str
    credentials: Credentials
    bucket: str
    key: str
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    def path(self, key: str | None = None) -> str:
        """The escaped path of a key of the bucket; of the object that is there by default."""
        return encode_path(f"/{self.bucket}/{self.key if key is None else key}")

    def signed(
        self,
        method: str = "PUT",
        *,
        path: str = "",
        query: Headers = (),
        headers: Headers = (),
        body: bytes = b"",
        payload: str = "",
        late_s: float = 0.0,
        credentials: Credentials | None = None,
    ) -> Signed:
        """A request that S3 accepts as it is. `path` is escaped; `late_s` ago it was signed."""
        sent = [("Host", self.host), *headers]
        if method in ("PUT", "POST") and not any(name.lower() == "content-length" for name, _ in headers):
            sent.append(("Content-Length", str(len(body))))
        return sign(
            credentials or self.credentials,
            method,
            path or self.path(),
            headers=sent,
            when=self.clock() - timedelta(seconds=late_s),
            query=query,
            payload=payload or sha256(body).hexdigest(),
        )

    def presigned(
        self, method: str, *, expires_s: int | str = 900, late_s: float = 0.0, query: Headers = ()
    ) -> str:
        """The target of a presigned request for the object that is there."""
        when = self.clock() - timedelta(seconds=late_s)
        credentials, path = self.credentials, self.path()
        return presign(credentials, method, path, host=self.host, when=when, expires_s=expires_s, query=query)

    def bare(self, method: str, target: str, headers: Headers = (), body: bytes = b"") -> bytes:
        """A request without any signature of its own."""
        length = [("Content-Length", str(len(body)))] if body else []
        return request_head(method, target, [("Host", self.host), *headers, *length]) + body


@dataclass(frozen=True, slots=True)
class Row:
    """One bad input: how it is made, and what S3 says: "403 AccessDenied", "400 *" for any code, "a|b" for either."""

    name: str
    make: Callable[[Forge], bytes]
    expected: str
    hang_up: bool = False

    def __str__(self) -> str:
        return self.name


def wire(
    signed: Signed,
    body: bytes = b"",
    *,
    change: Mapping[str, str | None] | None = None,
    extra: Headers = (),
    method: str = "",
    target: str = "",
) -> bytes:
    """A signed request as bytes, after headers were changed (None: left out) or added and the line was changed."""
    change = {name.lower(): value for name, value in (change or {}).items()}
    headers = list[tuple[str, str]]()
    for name, value in signed.headers:
        new = change.get(name.lower(), value)
        if new is not None:
            headers.append((name, new))
    return request_head(method or signed.method, target or signed.target, [*headers, *extra]) + body


def answer(client: Client, data: bytes, *, hang_up: bool = False) -> Reply | None:
    """What the server says to these bytes on a connection of their own; None where it ends that without a word."""
    client.close()
    try:
        return client.exchange(data, hang_up=hang_up)
    except NoReplyError:
        return None
    finally:
        client.close()


def meets(reply: Reply | None, expected: str) -> bool:
    """Whether the answer is one of those that a row allows."""
    allowed = [one.partition(" ") for one in expected.split("|")]
    return reply is not None and any(
        str(reply.status) == status and code in ("", "*", reply.code) for status, _, code in allowed
    )


def state_of(client: Client, buckets: Sequence[str]) -> dict[str, object]:
    """All that can be seen of these buckets: objects with bodies and metadata, unfinished uploads; and of the others,
    their names."""
    seen: dict[str, object] = {"buckets": sorted(client.request("GET", "/").texts("Name"))}
    for bucket in buckets:
        for key, etag in client.list_keys(bucket).items():
            reply = client.get(bucket, key)
            kept = {name: value for name, value in reply.headers.items() if _told_by_writer(name)}
            seen[f"{bucket}/{key}"] = (etag, reply.status, reply.body, kept)
        seen[f"uploads of {bucket}"] = client.request("GET", f"/{bucket}", query=[("uploads", "")]).texts(
            "UploadId"
        )
    return seen


def _told_by_writer(name: str) -> bool:
    return name.startswith(("x-amz-meta-", "content-", "cache-control", "expires", "last-modified"))
