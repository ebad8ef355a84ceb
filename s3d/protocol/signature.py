"""Owns the proof of who sent a request: AWS Signature Version 4 in headers or query; never what they may do.

Source: "Authenticating Requests (AWS Signature Version 4)", S3 API reference. What is not listed here is refused:
there is exactly one mechanism a request, and every pair of mechanism and payload mode is decided by `_check_mode`.
"""

import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from s3d.protocol.errors import S3Error
from s3d.protocol.routing import Request
from s3d.protocol.sigv4 import (
    ALGORITHM,
    SERVICE,
    TERMINATOR,
    canonical_request,
    epoch_s,
    iso,
    sign,
    signing_key,
    string_to_sign,
)

SKEW_MAX_S: Final = 900
PRESIGN_EXPIRES_MAX_S: Final = 604_800

_CREDENTIAL: Final = re.compile(
    r"([^/\s,]{1,128})/([0-9]{8})/([^/\s,]{1,64})/([^/\s,]{1,32})/([^/\s,]{1,32})", re.ASCII
)
_AUTHORIZATION: Final = re.compile(
    r"AWS4-HMAC-SHA256 +Credential=([^\s,]+) *, *SignedHeaders=([^\s,]+) *, *Signature=([^\s,]*)", re.ASCII
)
_SIGNED_HEADERS: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+(?:;[a-z0-9!#$%&'*+.^_`|~-]+)*", re.ASCII)
_SIGNATURE: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_EXPIRES: Final = re.compile(r"-?[0-9]{1,19}", re.ASCII)

_QUERY_FIELDS: Final = (
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
)
_QUERY_MARKS: Final = frozenset((*_QUERY_FIELDS, "AWSAccessKeyId", "Signature"))

# Signed with when nobody has the key id, so that the answer takes as long as for one that is known.
_NOBODYS_SECRET: Final = "0" * 40


class Mechanism(Enum):
    """How a request says who sends it."""

    HEADER = "header"
    QUERY = "query"
    ANONYMOUS = "anonymous"


class PayloadMode(Enum):
    """What x-amz-content-sha256 says of the body; WHOLE stands for a SHA-256 in hexadecimal."""

    UNSIGNED = "UNSIGNED-PAYLOAD"
    WHOLE = "SHA256"
    SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    SIGNED_CHUNKS_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
    UNSIGNED_CHUNKS_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


_NAMED_MODES: Final = {mode.value: mode for mode in PayloadMode if mode is not PayloadMode.WHOLE}


@dataclass(frozen=True, slots=True)
class Verified:
    """A request whose signature holds, or that has none (`access_key` ""). No handler runs without one.

    `sha256` is what the body must have in mode WHOLE, lower-case hexadecimal. The last four fields continue the
    chain of chunk signatures.
    """

    mechanism: Mechanism
    payload: PayloadMode
    access_key: str = ""
    sha256: str = ""
    amz_date: str = ""
    scope: str = ""
    signature: str = field(default="", repr=False)
    signing_key: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a request says of its own signature, in good form but not yet believed."""

    mechanism: Mechanism
    access_key: str
    scope: str
    signed_headers: str
    signature: str
    amz_date: str
    payload_hash: str


class Verifier:
    """Checks signatures for one region, with secrets found by `secret_of(access key id)`, None where unknown."""

    def __init__(self, region: str, secret_of: Callable[[str], str | None]) -> None:
        self._region = region
        self._secret_of = secret_of

    def verify(self, request: Request, *, now_s: float) -> Verified:
        """Who sent `request`, at `now_s` seconds since 1970. Raises S3Error with S3's code for the fault."""
        match _mechanism(request):
            case Mechanism.ANONYMOUS:
                return _anonymous(request)
            case Mechanism.HEADER:
                claim = self._header_claim(request, now_s)
            case Mechanism.QUERY:
                claim = self._query_claim(request, now_s)
        mode = _payload_mode(claim.payload_hash)
        _check_mode(claim.mechanism, mode)
        _check_coverage(request.headers, claim.signed_headers)
        return self._check_signature(request, claim, mode)

    def _header_claim(self, request: Request, now_s: float) -> _Claim:
        headers = request.headers
        found = _AUTHORIZATION.fullmatch(headers["authorization"])
        if found is None:
            raise _unreadable_authorization(headers["authorization"])
        credential, signed_headers, signature = found.groups()
        malformed = "AuthorizationHeaderMalformed"
        amz_date = headers.get("x-amz-date", "")
        signed_at_s = epoch_s(amz_date)
        if signed_at_s is None:
            raise S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
        access_key, scope = self._credential(credential, amz_date, malformed)
        _check_form(signed_headers, signature, malformed)
        if "x-amz-content-sha256" not in headers:
            raise S3Error("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
        if abs(now_s - signed_at_s) > SKEW_MAX_S:
            raise _too_skewed(amz_date, now_s)
        payload_hash = headers["x-amz-content-sha256"]
        return _Claim(Mechanism.HEADER, access_key, scope, signed_headers, signature, amz_date, payload_hash)

    def _query_claim(self, request: Request, now_s: float) -> _Claim:
        query = request.target.query
        malformed = "AuthorizationQueryParametersError"
        if "AWSAccessKeyId" in query:
            raise _unsupported_mechanism()
        if any(name not in query for name in _QUERY_FIELDS):
            raise S3Error(
                malformed,
                f"Query-string authentication version 4 requires the {', '.join(_QUERY_FIELDS)} parameters.",
            )
        algorithm, credential, amz_date, expires, signed_headers, signature = (
            query[name] for name in _QUERY_FIELDS
        )
        if algorithm != ALGORITHM:
            raise S3Error(malformed, f'X-Amz-Algorithm only supports "{ALGORITHM}"')
        signed_at_s = epoch_s(amz_date)
        if signed_at_s is None:
            raise S3Error(malformed, "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
        access_key, scope = self._credential(credential, amz_date, malformed)
        _check_form(signed_headers, signature, malformed)
        _check_life(signed_at_s, _expires_s(expires), now_s)
        payload_hash = request.headers.get("x-amz-content-sha256") or query.get("X-Amz-Content-Sha256")
        return _Claim(
            Mechanism.QUERY,
            access_key,
            scope,
            signed_headers,
            signature,
            amz_date,
            payload_hash or PayloadMode.UNSIGNED.value,
        )

    def _credential(self, credential: str, amz_date: str, malformed: str) -> tuple[str, str]:
        """(access key id, scope) of a credential that is for this day, region and service."""
        found = _CREDENTIAL.fullmatch(credential)
        if found is None:
            raise S3Error(
                malformed,
                'The Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".',
            )
        access_key, date, region, service, terminator = found.groups()
        if date != amz_date[:8]:
            raise S3Error(
                malformed, f'Invalid credential date "{date}". This date is not the same as X-Amz-Date.'
            )
        if region != self._region:
            raise S3Error(
                malformed, f"the region '{region}' is wrong; expecting '{self._region}'", Region=self._region
            )
        if service != SERVICE:
            raise S3Error(malformed, f'incorrect service "{service}". This endpoint belongs to "{SERVICE}".')
        if terminator != TERMINATOR:
            raise S3Error(malformed, f'incorrect terminal "{terminator}". This endpoint uses "{TERMINATOR}".')
        return access_key, f"{date}/{region}/{service}/{terminator}"

    def _check_signature(self, request: Request, claim: _Claim, mode: PayloadMode) -> Verified:
        secret = self._secret_of(claim.access_key)
        date, region, _ = claim.scope.split("/", 2)
        key = signing_key(_NOBODYS_SECRET if secret is None else secret, date, region)
        canonical = canonical_request(request, claim.signed_headers, claim.payload_hash)
        to_sign = string_to_sign(claim.amz_date, claim.scope, canonical)
        expected = sign(key, to_sign)
        matches = hmac.compare_digest(expected, claim.signature)
        if secret is None:
            raise S3Error("InvalidAccessKeyId", AWSAccessKeyId=claim.access_key)
        if not matches:
            raise S3Error(
                "SignatureDoesNotMatch",
                AWSAccessKeyId=claim.access_key,
                StringToSign=to_sign,
                CanonicalRequest=canonical,
            )
        if "x-amz-security-token" in request.headers or "X-Amz-Security-Token" in request.target.query:
            raise S3Error("InvalidToken")
        sha256 = claim.payload_hash.lower() if mode is PayloadMode.WHOLE else ""
        return Verified(
            claim.mechanism, mode, claim.access_key, sha256, claim.amz_date, claim.scope, claim.signature, key
        )


def _mechanism(request: Request) -> Mechanism:
    in_query = not _QUERY_MARKS.isdisjoint(request.target.query)
    authorization = request.headers.get("authorization")
    if in_query and authorization is not None:
        raise S3Error(
            "InvalidArgument",
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string "
            "parameter or the Authorization header should be specified",
            ArgumentName="Authorization",
        )
    if authorization == "":
        raise S3Error("AccessDenied")
    if authorization is not None:
        return Mechanism.HEADER
    return Mechanism.QUERY if in_query else Mechanism.ANONYMOUS


def _anonymous(request: Request) -> Verified:
    payload_hash = request.headers.get("x-amz-content-sha256", PayloadMode.UNSIGNED.value)
    mode = _payload_mode(payload_hash)
    _check_mode(Mechanism.ANONYMOUS, mode)
    return Verified(
        Mechanism.ANONYMOUS, mode, sha256=payload_hash.lower() if mode is PayloadMode.WHOLE else ""
    )


def _payload_mode(payload_hash: str) -> PayloadMode:
    mode = _NAMED_MODES.get(payload_hash)
    if mode is not None:
        return mode
    if _SHA256.fullmatch(payload_hash):
        return PayloadMode.WHOLE
    raise S3Error(
        "InvalidArgument",
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, "
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.",
        ArgumentName="x-amz-content-sha256",
        ArgumentValue=payload_hash,
    )


def _check_mode(mechanism: Mechanism, mode: PayloadMode) -> None:
    """The closed table of what may come together: chunk signatures need the chain that only a header starts."""
    match mechanism, mode:
        case Mechanism.HEADER, (
            PayloadMode.UNSIGNED
            | PayloadMode.WHOLE
            | PayloadMode.SIGNED_CHUNKS
            | PayloadMode.SIGNED_CHUNKS_TRAILER
            | PayloadMode.UNSIGNED_CHUNKS_TRAILER
        ):
            return
        case (
            (Mechanism.QUERY | Mechanism.ANONYMOUS),
            (PayloadMode.UNSIGNED | PayloadMode.WHOLE | PayloadMode.UNSIGNED_CHUNKS_TRAILER),
        ):
            return
        case _:
            raise S3Error("AccessDenied", "Signed chunks require an Authorization header.")


def _check_form(signed_headers: str, signature: str, malformed: str) -> None:
    names = signed_headers.split(";")
    if not _SIGNED_HEADERS.fullmatch(signed_headers) or sorted(set(names)) != names:
        raise S3Error(
            malformed, "The SignedHeaders are not a sorted list of lower-case names without repetition."
        )
    if not _SIGNATURE.fullmatch(signature):
        raise S3Error(malformed, "The Signature is not 64 lower-case hexadecimal digits.")


def _check_coverage(headers: Mapping[str, str], signed_headers: str) -> None:
    """What is not signed can be changed on the way: the host, and every x-amz- header that we would obey.

    x-amz-content-sha256 needs no listing, since the canonical request ends with it.
    """
    signed = signed_headers.split(";")
    unsigned = [
        name
        for name in headers
        if name.startswith("x-amz-") and name not in signed and name != "x-amz-content-sha256"
    ]
    if "host" not in signed or "host" not in headers:
        unsigned.append("host")
    if unsigned:
        raise S3Error(
            "AccessDenied",
            "There were headers present in the request which were not signed",
            HeadersNotSigned=", ".join(unsigned),
        )


def _check_life(signed_at_s: int, expires_s: int, now_s: float) -> None:
    if signed_at_s - now_s > SKEW_MAX_S:
        raise S3Error("AccessDenied", "Request is not yet valid", ServerTime=iso(now_s))
    if now_s > signed_at_s + expires_s:
        raise S3Error(
            "AccessDenied",
            "Request has expired",
            Expires=iso(signed_at_s + expires_s),
            ServerTime=iso(now_s),
        )


def _expires_s(value: str) -> int:
    malformed = "AuthorizationQueryParametersError"
    if not _EXPIRES.fullmatch(value):
        raise S3Error(malformed, "X-Amz-Expires should be a number")
    expires_s = int(value)
    if expires_s < 0:
        raise S3Error(malformed, "X-Amz-Expires must be non-negative")
    if expires_s == 0:
        raise S3Error(malformed, "X-Amz-Expires must be at least one second")
    if expires_s > PRESIGN_EXPIRES_MAX_S:
        raise S3Error(
            malformed,
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less "
            f"than {PRESIGN_EXPIRES_MAX_S} seconds",
        )
    return expires_s


def _too_skewed(amz_date: str, now_s: float) -> S3Error:
    return S3Error(
        "RequestTimeTooSkewed",
        RequestTime=amz_date,
        ServerTime=iso(now_s),
        MaxAllowedSkewMilliseconds=str(SKEW_MAX_S * 1_000),
    )


def _unsupported_mechanism() -> S3Error:
    return S3Error(
        "InvalidRequest",
        f"The authorization mechanism you have provided is not supported. Please use {ALGORITHM}.",
    )


def _unreadable_authorization(value: str) -> S3Error:
    """S3 tells apart a scheme that it once knew, one that it never knew, and a broken one that it knows."""
    scheme, _, rest = value.partition(" ")
    if scheme == ALGORITHM:
        return S3Error("AuthorizationHeaderMalformed")
    if scheme == "AWS4-ECDSA-P256-SHA256" or (scheme == "AWS" and ":" in rest):
        return _unsupported_mechanism()
    if scheme == "AWS":
        return S3Error(
            "InvalidArgument", "AWS authorization header is invalid. Expected AwsAccessKeyId:signature"
        )
    return S3Error("InvalidArgument", "Unsupported Authorization Type", ArgumentName="Authorization")
