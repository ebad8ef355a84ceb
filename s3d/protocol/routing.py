"""Owns what a request is about: one parse of its target and headers, and which operation of S3 it names."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal
from urllib.parse import quote, unquote_to_bytes

from s3d.protocol.errors import S3Error
from shardd.contract.bucket_names import valid_bucket_name

Scope = Literal["service", "bucket", "object"]
Handler = Callable[..., Any]

TARGET_LENGTH_MAX: Final = 16_384
KEY_SIZE_BYTES_MAX: Final = 1_024
QUERY_PARAMETERS_MAX: Final = 64
HEADERS_MAX: Final = 128
ADMIN_PREFIX: Final = "/-/"

UNRESERVED: Final = "-._~"  # beside letters and digits (RFC 3986, 2.3): what SigV4 leaves as it is
_VISIBLE_ASCII: Final = re.compile(r"[!-~]+", re.ASCII)
_BAD_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})", re.ASCII)
_PLAIN_PATH: Final = re.compile(r"[A-Za-z0-9\-._~/]*", re.ASCII)

# They select only beside a sub-resource; alone they are any tool's words, which S3 leaves alone.
_ARGUMENTS: Final = frozenset(("id", "annotationName"))

# Headers that HTTP or S3 let come more than once; their values are one list.
_LIST_HEADERS: Final = frozenset(
    (
        "accept",
        "accept-encoding",
        "accept-language",
        "cache-control",
        "connection",
        "cookie",
        "if-match",
        "if-none-match",
        "pragma",
        "te",
        "via",
        "x-amz-object-attributes",
        "x-amz-optional-object-attributes",
        "x-forwarded-for",
        "x-forwarded-proto",
    )
)


@dataclass(frozen=True)
class Target:
    """A request target, resolved once: the signature, the policy and the operation all read this object.

    `bucket` and `key` are "" where the target names none. `query` holds decoded names and values; `raw_path` and
    `raw_query` are as they came. `hosted`: the bucket is named by the Host header, and the whole path is the key.
    """

    raw_path: str
    raw_query: str
    bucket: str
    key: str
    query: Mapping[str, str]
    hosted: bool = False

    @property
    def scope(self) -> Scope:
        """What the target names: the service, a bucket or an object."""
        return "object" if self.key else "bucket" if self.bucket else "service"

    @cached_property
    def canonical_path(self) -> str:
        """The path as SigV4 signs it: decoded once and encoded once, whatever the client left unencoded."""
        if _PLAIN_PATH.fullmatch(self.raw_path):
            return self.raw_path
        return quote(unquote_to_bytes(self.raw_path), safe=f"/{UNRESERVED}")

    @property
    def resource_path(self) -> str:
        """The path as Version 2 signs it: of an object it is the same, whichever way the bucket is named."""
        return f"/{self.bucket}{self.raw_path}" if self.hosted else self.raw_path


@dataclass(frozen=True, slots=True)
class Request:
    """The facts of a request that its signature covers. Header names are in lower case, values stripped."""

    method: str
    target: Target
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of S3: how a request names it, what it takes to be allowed, and who answers.

    `query` are parameters that must be there ("acl", or "list-type=2" with its value), `headers` likewise;
    `optional` are parameters that select another operation elsewhere but are only an argument here.
    No handler: 501 NotImplemented.
    """

    name: str
    method: str
    scope: Scope
    permission: str
    query: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    handler: Handler | None = None


def percent_encode(data: bytes | str) -> str:
    """SigV4's UriEncode: everything but unreserved characters, upper-case hexadecimal."""
    return quote(data, safe=UNRESERVED)


def is_admin_target(raw: str) -> bool:
    """Whether a raw target is under /-/, where no bucket can be: health, metrics and the administrators' API."""
    return raw.startswith(ADMIN_PREFIX)


def parse_target(raw: str, hosted: str = "") -> Target:
    """The target of a request line in origin form, as received; `hosted`: the bucket that Host names (hosts.py).

    Raises InvalidURI (400), KeyTooLongError (400), InvalidBucketName (400), InvalidArgument (400, a repeated
    parameter). Every key of 1 to 1,024 bytes of UTF-8 is an ordinary key: "..", "//" and "%2F" mean nothing here.
    """
    if len(raw) > TARGET_LENGTH_MAX or not raw.startswith("/") or not _VISIBLE_ASCII.fullmatch(raw):
        raise S3Error("InvalidURI")
    raw_path, _, raw_query = raw.partition("?")
    if "#" in raw:
        raise S3Error("InvalidURI")
    raw_bucket, _, raw_key = ("", "", raw_path[1:]) if hosted else raw_path[1:].partition("/")
    bucket, key = hosted or percent_decode(raw_bucket), percent_decode(raw_key)
    if (bucket or key) and not valid_bucket_name(bucket):
        raise S3Error("InvalidBucketName", BucketName=bucket)
    if len(key) > KEY_SIZE_BYTES_MAX // 4 and len(key.encode()) > KEY_SIZE_BYTES_MAX:
        raise S3Error("KeyTooLongError", Size=str(len(key.encode())), MaxSizeAllowed=str(KEY_SIZE_BYTES_MAX))
    query = parse_query(raw_query) if raw_query else {}
    return Target(raw_path, raw_query, bucket, key, query, bool(hosted))


def parse_query(raw: str) -> dict[str, str]:
    """Names and values of a query string in order, "+" a space. Raises InvalidURI, InvalidArgument (repeated)."""
    pieces = [piece for piece in raw.split("&") if piece]
    if len(pieces) > QUERY_PARAMETERS_MAX:
        raise S3Error("InvalidURI", "The query string has too many parameters.")
    query: dict[str, str] = {}
    for piece in pieces:
        raw_name, _, raw_value = piece.partition("=")
        name = percent_decode(raw_name.replace("+", " "))
        if name in query:
            raise S3Error("InvalidArgument", "A query parameter appears more than once.", ArgumentName=name)
        query[name] = percent_decode(raw_value.replace("+", " "))
    return query


def percent_decode(raw: str) -> str:
    """The text that a percent-encoded part of a URI stands for. Raises InvalidURI."""
    if "%" not in raw:
        return raw
    if _BAD_PERCENT.search(raw):
        raise S3Error("InvalidURI")
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError as error:
        raise S3Error("InvalidURI") from error


def parse_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers as received -> lower-case names and stripped values, one entry a name.

    Lists and user metadata that come more than once are joined by a comma, as S3 does; anything else that does is
    refused (400 InvalidArgument), since two readers could pick two values. Raises AccessDenied for our own
    x-s3d-* names, which only we may say, and RequestHeaderSectionTooLarge.
    """
    headers: dict[str, str] = {}
    count = 0
    for raw_name, raw_value in raw:
        count += 1
        try:
            name, value = raw_name.decode("ascii").lower(), raw_value.decode().strip(" \t")
        except UnicodeDecodeError:
            name, value = _in_latin_1(raw_name, raw_value)
        if name in headers:
            if name not in _LIST_HEADERS and not name.startswith("x-amz-meta-"):
                raise S3Error("InvalidArgument", "A header appears more than once.", ArgumentName=name)
            value = f"{headers[name]},{value}"
        elif name.startswith("x-s3d-"):
            raise S3Error("AccessDenied")
        headers[name] = value
    if count > HEADERS_MAX:
        raise S3Error("RequestHeaderSectionTooLarge")
    return headers


def _in_latin_1(raw_name: bytes, raw_value: bytes) -> tuple[str, str]:
    """User metadata that is no UTF-8, as older clients write it. Raises InvalidArgument for any other header."""
    if not raw_name.isascii() or not raw_name.lower().startswith(b"x-amz-meta-"):
        raise S3Error("InvalidArgument", "A header is neither ASCII nor UTF-8.")
    return raw_name.decode("ascii").lower(), raw_value.decode("iso-8859-1").strip(" \t")


class Router:
    """Finds the operation that a request names: the most specific one, never a more general one by accident."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._selectors = frozenset().union(*map(_names, operations)) - _ARGUMENTS
        self._plain: dict[tuple[str, Scope], list[Operation]] = {}
        self._qualified: dict[tuple[str, Scope], list[Operation]] = {}
        for operation in sorted(operations, key=lambda each: -len(each.query) - len(each.headers)):
            if not operation.query:
                self._plain.setdefault((operation.method, operation.scope), []).append(operation)
            self._qualified.setdefault((operation.method, operation.scope), []).append(operation)

    def resolve(self, request: Request) -> Operation:
        """The operation of `request`; it may have no handler yet.

        Raises MethodNotAllowed (405) where S3 has none: a sub-resource of S3 that stands in the query must be the
        operation's own or its argument, so "?acl" is never a plain PUT, DELETE or list.
        """
        target, headers = request.target, request.headers
        query = target.query
        present = self._selectors.intersection(query) if query else ()
        for operation in (self._qualified if present else self._plain).get(
            (request.method, target.scope), ()
        ):
            if (
                all(name in headers for name in operation.headers)
                and all(_has(query, name) for name in operation.query)
                and _names(operation).union(operation.optional).issuperset(present)
            ):
                return operation
        if "list-type" in query and not _has(query, "list-type=2"):
            raise S3Error("InvalidArgument", "Invalid List Type specified in Query", ArgumentName="list-type")
        raise S3Error("MethodNotAllowed", Method=request.method, ResourceType=target.scope.upper())


def _has(query: Mapping[str, str], wanted: str) -> bool:
    name, _, value = wanted.partition("=")
    return name in query and (not value or query[name] == value)


def _names(operation: Operation) -> frozenset[str]:
    return frozenset(name.partition("=")[0] for name in operation.query)
