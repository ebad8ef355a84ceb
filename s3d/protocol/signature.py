"""Owns the verdict on who sent a request, by its AWS signature; never what they may do.

What is not listed here is refused: there is at most one claim a request (authorization.py), and every pair of
mechanism and payload mode is decided by `_check_mode`.
"""

import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from s3d.protocol import signature_v2
from s3d.protocol.authorization import (
    PRESIGN_EXPIRES_MAX_S,
    UNSIGNED_PAYLOAD,
    Claim,
    Mechanism,
    read_claim,
)
from s3d.protocol.errors import S3Error
from s3d.protocol.form_signature import read_form_claim
from s3d.protocol.routing import Request
from s3d.protocol.signature_v2 import ClaimV2
from s3d.protocol.sigv4 import canonical_request, iso, sign, signing_key, string_to_sign

SKEW_MAX_S: Final = 900

_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)

# Signed with when nobody has the key id, so that the answer takes as long as for one that is known.
_NOBODYS_SECRET: Final = "0" * 40


class PayloadMode(Enum):
    """What x-amz-content-sha256 says of the body; WHOLE stands for a SHA-256 in hexadecimal.

    FORM_FILE: the object is one part of the body, which ends where the form says, and nothing is said of its bytes.
    """

    UNSIGNED = UNSIGNED_PAYLOAD
    WHOLE = "SHA256"
    SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    SIGNED_CHUNKS_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
    UNSIGNED_CHUNKS_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    FORM_FILE = "the file of a form"


_UNNAMED_MODES: Final = (PayloadMode.WHOLE, PayloadMode.FORM_FILE)
_NAMED_MODES: Final = {mode.value: mode for mode in PayloadMode if mode not in _UNNAMED_MODES}


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


class Verifier:
    """Checks signatures for one region, with secrets found by `secret_of(access key id)`, None where unknown."""

    def __init__(self, region: str, secret_of: Callable[[str], str | None]) -> None:
        self._region = region
        self._secret_of = secret_of

    def verify(self, request: Request, *, now_s: float) -> Verified:
        """Who sent `request`, at `now_s` seconds since 1970. Raises S3Error with S3's code for the fault."""
        claim = read_claim(request, region=self._region)
        if claim is None:
            payload_hash = request.headers.get("x-amz-content-sha256", UNSIGNED_PAYLOAD)
            mode = _payload_mode(payload_hash)
            _check_mode(Mechanism.ANONYMOUS, mode)
            return Verified(Mechanism.ANONYMOUS, mode, sha256=_sha256(payload_hash, mode))
        if isinstance(claim, ClaimV2):
            return self._check_v2(request, claim, now_s=now_s)
        mode = _payload_mode(claim.payload_hash)
        _check_mode(claim.mechanism, mode)
        _check_time(claim, now_s)
        _check_coverage(request.headers, claim.signed_headers)
        return self._check_signature(request, claim, mode=mode)

    def verify_form(self, outer: Verified, form: Mapping[str, str], *, now_s: float) -> Verified:
        """Who sent a form, by its fields (names in lower case); `outer` is what the request around it said.

        Raises S3Error with S3's code for the fault. The policy that is signed is for post_policy.py.
        """
        if outer.mechanism is not Mechanism.ANONYMOUS or outer.payload is not PayloadMode.UNSIGNED:
            raise S3Error(
                "InvalidArgument",
                "Only one auth mechanism allowed; a form states its signature in its fields",
                ArgumentName="Authorization",
            )
        claim = read_form_claim(form, region=self._region)
        mechanism = Mechanism.ANONYMOUS if claim is None else claim.mechanism
        _check_mode(mechanism, PayloadMode.FORM_FILE)
        if claim is None:
            return Verified(mechanism, PayloadMode.FORM_FILE)
        if claim.signed_at_s - now_s > SKEW_MAX_S:
            raise S3Error("AccessDenied", "Request is not yet valid", ServerTime=iso(now_s))
        secret = self._secret_of(claim.access_key)
        expected = claim.expected(_NOBODYS_SECRET if secret is None else secret)
        matches = hmac.compare_digest(expected.encode(), claim.signature.encode())
        if secret is None:
            raise S3Error("InvalidAccessKeyId", AWSAccessKeyId=claim.access_key)
        if not matches:
            raise S3Error("SignatureDoesNotMatch", AWSAccessKeyId=claim.access_key, StringToSign=claim.policy)
        return Verified(mechanism, PayloadMode.FORM_FILE, claim.access_key)

    def _check_signature(self, request: Request, claim: Claim, *, mode: PayloadMode) -> Verified:
        secret = self._secret_of(claim.access_key)
        key = signing_key(_NOBODYS_SECRET if secret is None else secret, claim.scope)
        canonical = canonical_request(
            request, signed_headers=claim.signed_headers, payload_hash=claim.payload_hash
        )
        to_sign = string_to_sign(canonical, amz_date=claim.amz_date, scope=claim.scope)
        matches = hmac.compare_digest(sign(key, to_sign), claim.signature)
        if secret is None:
            raise S3Error("InvalidAccessKeyId", AWSAccessKeyId=claim.access_key)
        if not matches:
            raise S3Error(
                "SignatureDoesNotMatch",
                AWSAccessKeyId=claim.access_key,
                StringToSign=to_sign,
                CanonicalRequest=canonical,
            )
        _check_no_token(request)
        return Verified(
            claim.mechanism,
            mode,
            claim.access_key,
            _sha256(claim.payload_hash, mode),
            claim.amz_date,
            claim.scope,
            claim.signature,
            key,
        )

    def _check_v2(self, request: Request, claim: ClaimV2, *, now_s: float) -> Verified:
        payload_hash = request.headers.get("x-amz-content-sha256", UNSIGNED_PAYLOAD)
        mode = _payload_mode(payload_hash)
        mechanism = Mechanism.QUERY_V2 if claim.presigned else Mechanism.HEADER_V2
        _check_mode(mechanism, mode)
        _check_time_v2(claim, now_s)
        secret = self._secret_of(claim.access_key)
        to_sign = signature_v2.strings_to_sign(request, claim)
        expected = [
            signature_v2.sign(_NOBODYS_SECRET if secret is None else secret, text) for text in to_sign
        ]
        matches = any(hmac.compare_digest(one, claim.signature) for one in expected)
        if secret is None:
            raise S3Error("InvalidAccessKeyId", AWSAccessKeyId=claim.access_key)
        if not matches:
            raise S3Error("SignatureDoesNotMatch", AWSAccessKeyId=claim.access_key, StringToSign=to_sign[0])
        _check_no_token(request)
        return Verified(mechanism, mode, claim.access_key, _sha256(payload_hash, mode))


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


def _sha256(payload_hash: str, mode: PayloadMode) -> str:
    return payload_hash.lower() if mode is PayloadMode.WHOLE else ""


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
        case (Mechanism.HEADER_V2 | Mechanism.QUERY_V2, PayloadMode.UNSIGNED | PayloadMode.WHOLE):
            return
        case ((Mechanism.FORM | Mechanism.FORM_V2 | Mechanism.ANONYMOUS), PayloadMode.FORM_FILE):
            return
        case _:
            raise S3Error("AccessDenied", "Such chunks require an Authorization header.")


def _check_time(claim: Claim, now_s: float) -> None:
    """Within 15 minutes of our clock; a presigned request from 15 minutes before its time to the end of its life."""
    if claim.mechanism is Mechanism.HEADER:
        _check_skew(claim.signed_at_s, now_s, said=claim.amz_date)
        return
    if claim.signed_at_s - now_s > SKEW_MAX_S:
        raise S3Error("AccessDenied", "Request is not yet valid", ServerTime=iso(now_s))
    _check_unexpired(claim.signed_at_s + claim.life_s, now_s)


def _check_time_v2(claim: ClaimV2, now_s: float) -> None:
    """Within 15 minutes of our clock; a presigned request to the end of its life, which is within a week."""
    if not claim.presigned:
        _check_skew(claim.time_s, now_s, said=iso(claim.time_s))
        return
    if claim.time_s - now_s > PRESIGN_EXPIRES_MAX_S:
        raise S3Error("AccessDenied", f"Expires must be at most {PRESIGN_EXPIRES_MAX_S} seconds ahead")
    _check_unexpired(claim.time_s, now_s)


def _check_skew(signed_at_s: int, now_s: float, *, said: str) -> None:
    if abs(now_s - signed_at_s) > SKEW_MAX_S:
        raise S3Error(
            "RequestTimeTooSkewed",
            RequestTime=said,
            ServerTime=iso(now_s),
            MaxAllowedSkewMilliseconds=str(SKEW_MAX_S * 1_000),
        )


def _check_unexpired(expires_s: int, now_s: float) -> None:
    if now_s > expires_s:
        raise S3Error("AccessDenied", "Request has expired", Expires=iso(expires_s), ServerTime=iso(now_s))


def _check_no_token(request: Request) -> None:
    """Nobody has a session here. Version 2's parameter comes with its header (signature_v2.py)."""
    if "x-amz-security-token" in request.headers or "X-Amz-Security-Token" in request.target.query:
        raise S3Error("InvalidToken")


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
