"""Owns presigned URLs of AWS Signature Version 2, which clients of us-east-1 still make; never the verdict on one.

Source: "Signing and authenticating REST requests (Signature Version 2)", query string request authentication
alternative, S3 user guide. Whatever such a URL does not sign is refused, not ignored.
"""

import hmac
import re
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Final

from s3d.protocol.errors import S3Error
from s3d.protocol.routing import Request

MARKS: Final = frozenset(("AWSAccessKeyId", "Signature"))

_FIELDS: Final = ("AWSAccessKeyId", "Expires", "Signature")
_ACCESS_KEY: Final = re.compile(r"[!-~]{1,128}", re.ASCII)
_EXPIRES: Final = re.compile(r"[1-9][0-9]{0,10}", re.ASCII)
_SIGNATURE: Final = re.compile(r"[A-Za-z0-9+/]{27}=", re.ASCII)

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
class PresignedV2:
    """What a URL says of its own signature. `expires` is the epoch second of its end, in digits as received."""

    access_key: str
    expires: str
    signature: str = field(repr=False)

    @property
    def expires_s(self) -> int:
        """When it ends, in seconds since 1970."""
        return int(self.expires)


def read_presigned(request: Request) -> PresignedV2:
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
    _check_coverage(request)
    return PresignedV2(access_key, expires, signature)


def string_to_sign(request: Request, claim: PresignedV2) -> str:
    """The text that is signed: the Expires of the URL stands where a header's signature has the date."""
    headers = request.headers
    amz_headers = "".join(
        f"{name}:{value}\n" for name, value in sorted(headers.items()) if name.startswith("x-amz-")
    )
    return (
        f"{request.method}\n{headers.get('content-md5', '')}\n{headers.get('content-type', '')}\n"
        f"{claim.expires}\n{amz_headers}{_canonical_resource(request)}"
    )


def sign(secret: str, to_sign: str) -> str:
    """The signature of a string to sign, in base64."""
    return b64encode(hmac.digest(secret.encode(), to_sign.encode(), "sha1")).decode()


def _canonical_resource(request: Request) -> str:
    # The bucket is in the path, which is signed as received; nothing here is chosen by the Host header, so that
    # it does no harm that Version 2 leaves it unsigned.
    target = request.target
    parameters = "&".join(
        f"{name}={value}" if value else name
        for name, value in sorted(target.query.items())
        if name in _SIGNED_PARAMETERS
    )
    return f"{target.raw_path}?{parameters}" if parameters else target.raw_path


def _check_coverage(request: Request) -> None:
    """Every parameter is signed. One that repeats a header must come with that header, which is signed and obeyed."""
    for name, value in request.target.query.items():
        if name in _FIELDS or name in _SIGNED_PARAMETERS:
            continue
        if not name.startswith("x-amz-") and name not in ("content-type", "content-md5"):
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
