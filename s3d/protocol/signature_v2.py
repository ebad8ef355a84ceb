"""Owns AWS Signature Version 2, in the Authorization header and in presigned URLs; never the verdict on one.

Source: "Signing and authenticating REST requests (Signature Version 2)", S3 user guide. Version 2 signs the method, the
path, two headers, a date and the x-amz- headers: a parameter of the query that it leaves unsigned is refused, not
ignored, so that nobody can turn a request that was seen into another one. Of a body it signs what Content-MD5 or an
x-amz- header says; where neither came, only TLS protects the body, as it does one of UNSIGNED-PAYLOAD in version 4.
"""

import hmac
import re
from base64 import b64encode
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Final

from s3d.protocol.errors import S3Error
from s3d.protocol.routing import Request

SCHEME: Final = "AWS"
MARKS: Final = frozenset(("AWSAccessKeyId", "Signature"))

_FIELDS: Final = ("AWSAccessKeyId", "Expires", "Signature")
_ACCESS_KEY: Final = re.compile(r"[!-~]{1,128}", re.ASCII)
_EXPIRES: Final = re.compile(r"[1-9][0-9]{0,10}", re.ASCII)
_SIGNATURE: Final = re.compile(r"[A-Za-z0-9+/]{27}=", re.ASCII)
_AUTHORIZATION: Final = re.compile(r"AWS +([!-9;-~]{1,128}):([A-Za-z0-9+/]{27}=)", re.ASCII)
_DATE: Final = re.compile(
    r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), )?[0-9]{2} (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [0-9]{4} "
    r"[0-9]{2}:[0-9]{2}:[0-9]{2} (?:GMT|[+]0000)",
    re.ASCII,
)

# What the canonical resource takes from the query: the sub-resources and overrides that signers know.
_SIGNED_PARAMETERS: Final = frozenset(
    (
        "accelerate",
        "acl",
        "analytics",
        "cors",
        "delete",
        "inventory",
        "lifecycle",
        "location",
        "logging",
        "metrics",
        "notification",
        "object-lock",
        "partNumber",
        "policy",
        "replication",
        "requestPayment",
        "response-cache-control",
        "response-content-disposition",
        "response-content-encoding",
        "response-content-language",
        "response-content-type",
        "response-expires",
        "restore",
        "select",
        "select-type",
        "tagging",
        "torrent",
        "uploadId",
        "uploads",
        "versionId",
        "versioning",
        "versions",
        "website",
    )
)


@dataclass(frozen=True, slots=True)
class ClaimV2:
    """What a request says of its own signature. `date` stands in the string to sign, as received.

    `time_s`, seconds since 1970: when it was signed, or where it is `presigned`, when its life ends.
    """

    access_key: str
    date: str
    time_s: int
    presigned: bool
    signature: str = field(repr=False)


def read_presigned(request: Request) -> ClaimV2:
    """The claim of a request whose query has one of MARKS. Raises AccessDenied."""
    query = request.target.query
    access_key, expires, signature = (query.get(name, "") for name in _FIELDS)
    if not access_key or not expires or not signature:
        raise S3Error(
            "AccessDenied", f"Query-string authentication requires the {', '.join(_FIELDS)} parameters."
        )
    if not _EXPIRES.fullmatch(expires):
        raise S3Error("AccessDenied", "Invalid date (should be seconds since epoch)")
    if not _ACCESS_KEY.fullmatch(access_key) or not _SIGNATURE.fullmatch(signature):
        raise S3Error("AccessDenied", "The AWSAccessKeyId or the Signature is malformed.")
    _check_coverage(request, presigned=True)
    return ClaimV2(access_key, expires, int(expires), presigned=True, signature=signature)


def read_header(request: Request, authorization: str) -> ClaimV2:
    """The claim of a request whose Authorization is of SCHEME. Raises AccessDenied, InvalidArgument."""
    found = _AUTHORIZATION.fullmatch(authorization)
    if found is None:
        raise S3Error(
            "InvalidArgument",
            "AWS authorization header is invalid. Expected AwsAccessKeyId:signature",
            ArgumentName="Authorization",
        )
    headers = request.headers
    # Its line is signed there, and the other date counts for nothing.
    in_amz_headers = "x-amz-date" in headers
    date = headers["x-amz-date"] if in_amz_headers else headers.get("date", "")
    time_s = _epoch_s(date)
    if time_s is None:
        raise S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
    _check_coverage(request, presigned=False)
    access_key, signature = found.groups()
    return ClaimV2(access_key, "" if in_amz_headers else date, time_s, presigned=False, signature=signature)


def _epoch_s(date: str) -> int | None:
    """Seconds since 1970 of a date as RFC 1123 has it, in GMT; None for anything else, and for earlier ones."""
    if not _DATE.fullmatch(date):
        return None
    try:
        time_s = int(parsedate_to_datetime(date).timestamp())
    except ValueError:
        return None
    return time_s if time_s >= 0 else None


def strings_to_sign(request: Request, claim: ClaimV2) -> tuple[str, ...]:
    """The text that is signed, in each way that signers have: some end the path of a bucket with a slash, always.

    Raises AccessDenied where it could stand for another request too.
    """
    headers = request.headers
    amz_headers = "".join(
        f"{name}:{value}\n" for name, value in sorted(headers.items()) if name.startswith("x-amz-")
    )
    target, parameters = request.target, _canonical_parameters(request)
    start = (
        f"{request.method}\n{headers.get('content-md5', '')}\n{headers.get('content-type', '')}\n"
        f"{claim.date}\n{amz_headers}{target.resource_path}"
    )
    bare = target.scope == "bucket" and not target.resource_path.endswith("/")
    return (start + parameters, f"{start}/{parameters}") if bare else (start + parameters,)


def sign(secret: str, to_sign: str) -> str:
    """The signature of a string to sign, in base64."""
    return b64encode(hmac.digest(secret.encode(), to_sign.encode(), "sha1")).decode()


def _canonical_parameters(request: Request) -> str:
    signed = [
        f"{name}={value}" if value else name
        for name, value in sorted(request.target.query.items())
        if name in _SIGNED_PARAMETERS
    ]
    parameters = "&".join(signed)
    # Values are signed decoded: with "%26versionId%3D1" one would read like a value and another parameter.
    read = [piece for piece in parameters.split("&") if piece.partition("=")[0] in _SIGNED_PARAMETERS]
    if len(read) != len(signed):
        raise S3Error("AccessDenied", "A query parameter cannot be told from several by Signature Version 2.")
    return f"?{parameters}" if parameters else ""


def _check_coverage(request: Request, *, presigned: bool) -> None:
    """Every parameter is signed. In a presigned URL one may repeat a header, which is signed and obeyed."""
    for name, value in request.target.query.items():
        if name in _SIGNED_PARAMETERS or (presigned and name in _FIELDS):
            continue
        repeated = name.startswith("x-amz-") or name in ("content-type", "content-md5")
        if not presigned or not repeated:
            raise S3Error(
                "AccessDenied",
                "There were query parameters present in the request which Signature Version 2 does not sign",
                ParametersNotSigned=name,
            )
        if request.headers.get(name) != value.strip(" \t"):
            raise S3Error(
                "AccessDenied",
                "A header that the query of the presigned URL has must be sent with the same value",
                HeaderNotFound=name,
            )
