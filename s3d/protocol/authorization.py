"""Owns how a request states its signature, in its Authorization header or its query; read strictly, not yet believed.

Source: "Authenticating Requests (AWS Signature Version 4)", S3 API reference.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from s3d.protocol.conditions import parse_http_date
from s3d.protocol.errors import S3Error
from s3d.protocol.routing import Request
from s3d.protocol.signature_v2 import MARKS, SCHEME, ClaimV2, read_header, read_presigned
from s3d.protocol.sigv4 import ALGORITHM, SERVICE, TERMINATOR, compact, epoch_s

PRESIGN_EXPIRES_MAX_S: Final = 604_800
UNSIGNED_PAYLOAD: Final = "UNSIGNED-PAYLOAD"

_AUTHORIZATION: Final = re.compile(
    r"AWS4-HMAC-SHA256 +Credential=([^\s,]+) *, *SignedHeaders=([^\s,]+) *, *Signature=([^\s,]*)", re.ASCII
)
_CREDENTIAL: Final = re.compile(
    r"([^/\s,]{1,128})/([0-9]{8})/([^/\s,]{1,64})/([^/\s,]{1,32})/([^/\s,]{1,32})", re.ASCII
)
_SIGNED_HEADERS: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+(?:;[a-z0-9!#$%&'*+.^_`|~-]+)*", re.ASCII)
_SIGNATURE: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_EXPIRES: Final = re.compile(r"-?[0-9]{1,19}", re.ASCII)

_QUERY_FIELDS: Final = (
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
)
_QUERY_MARKS: Final = MARKS.union(_QUERY_FIELDS)

_MALFORMED: Final = "AuthorizationHeaderMalformed"
QUERY_MALFORMED: Final = "AuthorizationQueryParametersError"


class Mechanism(Enum):
    """How a request says who sends it."""

    HEADER = "header"
    QUERY = "query"
    HEADER_V2 = "header, version 2"
    QUERY_V2 = "query, version 2"
    FORM = "form"
    FORM_V2 = "form, version 2"
    ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request says of its own signature. `life_s`: how long a presigned one lasts, 0 for the header's."""

    mechanism: Mechanism
    access_key: str
    scope: str
    signed_headers: str
    signature: str
    amz_date: str
    signed_at_s: int
    payload_hash: str
    life_s: int = 0


def read_claim(request: Request, *, region: str) -> Claim | ClaimV2 | None:
    """The one claim of a request, for this region and S3; None where it makes none.

    Raises AccessDenied, AuthorizationHeaderMalformed, AuthorizationQueryParametersError, InvalidArgument (two claims,
    or a scheme that S3 never had), InvalidRequest (one that we do not take).
    """
    query, authorization = request.target.query, request.headers.get("authorization")
    in_query = bool(query) and not _QUERY_MARKS.isdisjoint(query)
    version_2 = in_query and not MARKS.isdisjoint(query)
    if in_query and (authorization is not None or (version_2 and not query.keys().isdisjoint(_QUERY_FIELDS))):
        raise S3Error(
            "InvalidArgument",
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string "
            "parameter or the Authorization header should be specified",
            ArgumentName="Authorization",
        )
    if authorization is not None:
        if authorization.partition(" ")[0] == SCHEME:
            return read_header(request, authorization)
        return _header_claim(request, authorization, region=region)
    if version_2:
        return read_presigned(request)
    return _query_claim(request, region=region) if in_query else None


def _header_claim(request: Request, authorization: str, *, region: str) -> Claim:
    headers = request.headers
    found = _AUTHORIZATION.fullmatch(authorization)
    if found is None:
        raise _unreadable(authorization)
    credential, signed_headers, signature = found.groups()
    amz_date = headers["x-amz-date"] if "x-amz-date" in headers else _compact(headers.get("date", ""))
    signed_at_s = epoch_s(amz_date)
    if signed_at_s is None:
        raise S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
    access_key, scope = _read_credential(credential, amz_date, region=region, malformed=_MALFORMED)
    _check_form(signed_headers, signature, malformed=_MALFORMED)
    if "x-amz-content-sha256" not in headers:
        raise S3Error("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
    return Claim(
        Mechanism.HEADER,
        access_key,
        scope,
        signed_headers,
        signature,
        amz_date,
        signed_at_s,
        headers["x-amz-content-sha256"],
    )


def _compact(date: str) -> str:
    """A Date header as x-amz-date would say it; a signer may use either."""
    date_s = parse_http_date(date)
    return "" if date_s is None else compact(date_s)


def _query_claim(request: Request, *, region: str) -> Claim:
    query = request.target.query
    if any(name not in query for name in _QUERY_FIELDS):
        raise S3Error(
            QUERY_MALFORMED,
            f"Query-string authentication version 4 requires the {', '.join(_QUERY_FIELDS)} parameters.",
        )
    algorithm, credential, amz_date, expires, signed_headers, signature = (
        query[name] for name in _QUERY_FIELDS
    )
    access_key, scope, signed_at_s = read_fields(algorithm, credential, amz_date=amz_date, region=region)
    _check_form(signed_headers, signature, malformed=QUERY_MALFORMED)
    payload_hash = request.headers.get("x-amz-content-sha256") or query.get("X-Amz-Content-Sha256")
    return Claim(
        Mechanism.QUERY,
        access_key,
        scope,
        signed_headers,
        signature,
        amz_date,
        signed_at_s,
        payload_hash or UNSIGNED_PAYLOAD,
        _life_s(expires),
    )


def read_fields(algorithm: str, credential: str, *, amz_date: str, region: str) -> tuple[str, str, int]:
    """(access key id, scope, time of the signature) as a query states them, or a form."""
    if algorithm != ALGORITHM:
        raise S3Error(QUERY_MALFORMED, f'X-Amz-Algorithm only supports "{ALGORITHM}"')
    signed_at_s = epoch_s(amz_date)
    if signed_at_s is None:
        raise S3Error(QUERY_MALFORMED, "X-Amz-Date must be in the ISO8601 Long Format yyyyMMdd'T'HHmmss'Z'")
    return *_read_credential(credential, amz_date, region=region, malformed=QUERY_MALFORMED), signed_at_s


def _read_credential(credential: str, amz_date: str, *, region: str, malformed: str) -> tuple[str, str]:
    """(access key id, scope) of a credential that is for this day, region and service."""
    found = _CREDENTIAL.fullmatch(credential)
    if found is None:
        raise S3Error(
            malformed,
            'The Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".',
        )
    access_key, date, named_region, service, terminator = found.groups()
    if date != amz_date[:8]:
        raise S3Error(
            malformed, f'Invalid credential date "{date}". This date is not the same as X-Amz-Date.'
        )
    if named_region != region:
        raise S3Error(malformed, f"the region '{named_region}' is wrong; expecting '{region}'", Region=region)
    if service != SERVICE:
        raise S3Error(malformed, f'incorrect service "{service}". This endpoint belongs to "{SERVICE}".')
    if terminator != TERMINATOR:
        raise S3Error(malformed, f'incorrect terminal "{terminator}". This endpoint uses "{TERMINATOR}".')
    return access_key, f"{date}/{region}/{service}/{terminator}"


def _check_form(signed_headers: str, signature: str, *, malformed: str) -> None:
    names = signed_headers.split(";")
    if not _SIGNED_HEADERS.fullmatch(signed_headers) or sorted(set(names)) != names:
        raise S3Error(
            malformed, "The SignedHeaders are not a sorted list of lower-case names without repetition."
        )
    if not _SIGNATURE.fullmatch(signature):
        raise S3Error(malformed, "The Signature is not 64 lower-case hexadecimal digits.")


def _life_s(expires: str) -> int:
    if not _EXPIRES.fullmatch(expires):
        raise S3Error(QUERY_MALFORMED, "X-Amz-Expires should be a number")
    life_s = int(expires)
    if not 1 <= life_s <= PRESIGN_EXPIRES_MAX_S:
        raise S3Error(
            "AccessDenied", f"X-Amz-Expires must be between 1 and {PRESIGN_EXPIRES_MAX_S} seconds, one week"
        )
    return life_s


def _unreadable(authorization: str) -> S3Error:
    """S3 tells apart a scheme of its own that we do not take, one that it never knew, and a broken one."""
    scheme = authorization.partition(" ")[0]
    if not authorization:
        return S3Error("AccessDenied")
    if scheme == ALGORITHM:
        return S3Error(_MALFORMED)
    if scheme == "AWS4-ECDSA-P256-SHA256":
        return S3Error(
            "InvalidRequest",
            f"The authorization mechanism you have provided is not supported. Please use {ALGORITHM}.",
        )
    return S3Error("InvalidArgument", "Unsupported Authorization Type", ArgumentName="Authorization")
