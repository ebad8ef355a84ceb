"""Owns signed requests for tests: botocore signs them, so that our own arithmetic is held against another's."""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any
from unittest import mock

from botocore.auth import HmacV1Auth, HmacV1QueryAuth, S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from s3d.protocol.routing import Request, parse_headers, parse_target
from s3d.protocol.signature import Verified, Verifier

HOST = "127.0.0.1:8081"
REGION = "us-east-1"
ACCESS_KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
NOW_S = 1_763_712_000  # 2025-11-21T08:00:00Z
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
V2_TARGET = "/bucket/some/key?versionId=v1&response-content-type=a%2Fb"
V2_HEADERS = {
    "x-amz-meta-a": "b c",
    "x-amz-acl": "private",
    "Content-Type": "text/plain",
    "Content-MD5": "md5",
}

VERIFIER = Verifier(REGION, {ACCESS_KEY: SECRET, "AKOTHER": "another"}.get)


@dataclass(frozen=True)
class Wire:
    """A request as it comes off the wire; headers are a list, so that a name can come twice."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]

    def with_header(self, name: str, value: str | None) -> "Wire":
        """The same with one header replaced, added, or (None) gone."""
        kept = tuple(each for each in self.headers if each[0].lower() != name.lower())
        return replace(self, headers=kept if value is None else (*kept, (name, value)))

    def header(self, name: str) -> str:
        """The value of a header that is there."""
        return next(value for each, value in self.headers if each.lower() == name.lower())

    def request(self) -> Request:
        """What routing makes of it."""
        raw = [(name.encode(), value.encode()) for name, value in self.headers]
        return Request(self.method, parse_target(self.target), parse_headers(raw))

    def verify(self, now_s: float = NOW_S, verifier: Verifier = VERIFIER) -> Verified:
        """What the signature says of it."""
        return verifier.verify(self.request(), now_s=now_s)


class _HeaderSigner(S3SigV4Auth):
    """botocore's signer, which signs the x-amz-content-sha256 that is there instead of one of its own."""

    def payload(self, request: AWSRequest) -> str:
        return request.context.get("content", "") or super().payload(request)

    def add_auth(self, request: AWSRequest) -> None:
        request.context["content"] = request.headers.get("x-amz-content-sha256", "")
        super().add_auth(request)


def _clock(at_s: float) -> Any:
    moment = datetime.fromtimestamp(at_s, UTC)
    return mock.patch("botocore.auth.get_current_datetime", lambda *_, **__: moment.replace(tzinfo=None))


def signed(
    method: str,
    target: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = b"",
    **options: Any,
) -> Wire:
    """A request signed in its headers. Options: at_s, access_key, secret, region, service."""
    request = AWSRequest(method, f"http://{HOST}{target}", headers=dict(headers or {}), data=body)
    with _clock(options.get("at_s", NOW_S)):
        _signer(_HeaderSigner, options).add_auth(request)
    return Wire(method, target, (*_host(headers), *request.headers.items()))


def presigned(
    method: str,
    target: str,
    *,
    expires_s: int = 3_600,
    headers: Mapping[str, str] | None = None,
    **options: Any,
) -> Wire:
    """A request signed in its query. Options: those of `signed`."""
    request = AWSRequest(method, f"http://{HOST}{target}", headers=dict(headers or {}))
    with _clock(options.get("at_s", NOW_S)):
        _signer(S3SigV4QueryAuth, options, expires=expires_s).add_auth(request)
    sent = tuple(request.headers.items())
    return Wire(method, request.url.removeprefix(f"http://{HOST}"), (*_host(headers), *sent))


def _host(headers: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    """The Host header, unless a test has one of its own among `headers`."""
    return () if headers and "Host" in headers else (("Host", HOST),)


def presigned_v2_of(
    method: str = "PUT",
    target: str = V2_TARGET,
    *,
    headers: Mapping[str, str] = V2_HEADERS,
    expires_s: int = 3_600,
    keys: tuple[str, str] = (ACCESS_KEY, SECRET),
) -> Wire:
    """A request signed in its query by Version 2 at NOW_S, sent with the headers that were signed."""
    request = AWSRequest(method, f"http://{HOST}{target}", headers=dict(headers))
    with mock.patch("botocore.auth.time.time", lambda: NOW_S):
        HmacV1QueryAuth(Credentials(*keys), expires_s).add_auth(request)
    return Wire(method, request.url.removeprefix(f"http://{HOST}"), (("Host", HOST), *headers.items()))


def signed_v2(
    method: str = "PUT",
    target: str = V2_TARGET,
    *,
    headers: Mapping[str, str] = V2_HEADERS,
    date: str = formatdate(NOW_S, usegmt=True),
    keys: tuple[str, str] = (ACCESS_KEY, SECRET),
) -> Wire:
    """A request signed in its Authorization header by Version 2, at a date as its header has it."""
    request = AWSRequest(method, f"http://{HOST}{target}", headers=dict(headers))
    with mock.patch.object(HmacV1Auth, "_get_date", lambda _: date):
        HmacV1Auth(Credentials(*keys)).add_auth(request)
    return Wire(method, target, (("Host", HOST), *request.headers.items()))


def resigned_v2(wire: Wire) -> Wire:
    """The request with the signature of the developer guide's text, where botocore's is not that: x-amz-date."""
    headers = wire.request().headers
    lines = [wire.method, headers.get("content-md5", ""), headers.get("content-type", "")]
    lines.append("" if "x-amz-date" in headers else headers["date"])
    lines += sorted(f"{name}:{value}" for name, value in headers.items() if name.startswith("x-amz-"))
    digest = hmac.digest(SECRET.encode(), "\n".join((*lines, wire.target)).encode(), "sha1")
    return wire.with_header("Authorization", f"AWS {ACCESS_KEY}:{b64encode(digest).decode()}")


def _signer(kind: Any, options: Mapping[str, Any], **more: Any) -> Any:
    credentials = Credentials(options.get("access_key", ACCESS_KEY), options.get("secret", SECRET))
    return kind(credentials, options.get("service", "s3"), options.get("region", REGION), **more)


def streaming(
    mode: str, size: int, *, trailer: str = "", target: str = "/bucket/key", **headers: str
) -> tuple[Wire, Verified]:
    """A PUT whose body comes in chunks, and what its signature says."""
    sent = {"x-amz-content-sha256": mode, "x-amz-decoded-content-length": str(size), **headers}
    if trailer:
        sent["x-amz-trailer"] = trailer
    wire = signed("PUT", target, headers=sent)
    return wire, wire.verify()


class Chunks:
    """Writes aws-chunked bodies by hand, as Go clients sign them."""

    def __init__(self, verified: Verified) -> None:
        self._verified = verified
        self._previous = verified.signature

    def chunk(self, data: bytes) -> bytes:
        """One signed chunk."""
        content = f"{EMPTY_SHA256}\n{hashlib.sha256(data).hexdigest()}"
        signature = self._sign("AWS4-HMAC-SHA256-PAYLOAD", content)
        head = f"{len(data):x};chunk-signature={signature}\r\n".encode()
        return head + (data + b"\r\n" if data else b"")

    def trailer(self, *lines: str) -> bytes:
        """Trailers of the form "name:value" and their signature, up to the end of the body."""
        content = hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
        signature = self._sign("AWS4-HMAC-SHA256-TRAILER", content)
        body = "".join(f"{line}\r\n" for line in (*lines, f"x-amz-trailer-signature:{signature}"))
        return body.encode() + b"\r\n"

    def body(self, data: bytes, size: int) -> bytes:
        """All of `data` in signed chunks of `size` bytes, with the last and the end."""
        pieces = [self.chunk(data[start : start + size]) for start in range(0, len(data), size)]
        return b"".join((*pieces, self.chunk(b""), b"\r\n"))

    def _sign(self, kind: str, content: str) -> str:
        verified = self._verified
        key = f"AWS4{SECRET}".encode()
        for part in verified.scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        text = f"{kind}\n{verified.amz_date}\n{verified.scope}\n{self._previous}\n{content}"
        self._previous = hmac.digest(key, text.encode(), "sha256").hex()
        return self._previous
