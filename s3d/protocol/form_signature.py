"""Owns how a form states who sends it: a signature over its policy, of Version 4 or 2; never the verdict on one.

Source: "Authenticating requests in browser-based uploads using POST", S3 API reference, and the same of Version 2.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from s3d.protocol import signature_v2
from s3d.protocol.authorization import Mechanism, read_fields
from s3d.protocol.errors import S3Error
from s3d.protocol.sigv4 import sign, signing_key

_POLICY: Final = "policy"
_TOKEN: Final = "x-amz-security-token"  # noqa: S105  the name of a field
_FIELDS: Final = {
    "x-amz-algorithm": "X-Amz-Algorithm",
    "x-amz-credential": "X-Amz-Credential",
    "x-amz-date": "X-Amz-Date",
    "x-amz-signature": "X-Amz-Signature",
}
_FIELDS_V2: Final = {"awsaccesskeyid": "AWSAccessKeyId", "signature": "Signature"}
_ACCESS_KEY: Final = re.compile(r"[!-~]{1,128}", re.ASCII)

# What says who sends the form: nothing of it is said of the object.
CLAIM_FIELDS: Final = frozenset((_POLICY, _TOKEN, *_FIELDS, *_FIELDS_V2))


@dataclass(frozen=True, slots=True)
class FormClaim:
    """What a form says of its own signature, which is over `policy` as it stands. `scope` is "" in Version 2."""

    mechanism: Mechanism
    access_key: str
    scope: str
    signed_at_s: int
    policy: str
    signature: str = field(repr=False)

    def expected(self, secret: str) -> str:
        """The signature that the owner of `secret` makes."""
        if self.mechanism is Mechanism.FORM_V2:
            return signature_v2.sign(secret, self.policy)
        return sign(signing_key(secret, self.scope), self.policy)


def read_form_claim(form: Mapping[str, str], *, region: str) -> FormClaim | None:
    """The one claim of a form, for this region and S3; None where it makes none. Names are in lower case.

    Raises InvalidArgument (two claims, or a part of one), AuthorizationQueryParametersError, AccessDenied,
    InvalidToken.
    """
    version_4, version_2 = _FIELDS.keys() & form.keys(), _FIELDS_V2.keys() & form.keys()
    if version_4 and version_2:
        raise S3Error("InvalidArgument", "Only one auth mechanism allowed", ArgumentName="Signature")
    if not version_4 and not version_2 and _POLICY not in form:
        return None
    if _TOKEN in form:  # nobody has a session here
        raise S3Error("InvalidToken")
    for name, shown in {_POLICY: _POLICY, **(_FIELDS if version_4 else _FIELDS_V2)}.items():
        if not form.get(name):
            raise missing_field(shown)
    return _claim(form, region=region) if version_4 else _claim_v2(form)


def missing_field(name: str) -> S3Error:
    """The error for a form without a field that it needs."""
    return S3Error(
        "InvalidArgument",
        f"Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of the fields.",
        ArgumentName=name,
        ArgumentValue="",
    )


def _claim(form: Mapping[str, str], *, region: str) -> FormClaim:
    algorithm, credential, amz_date, signature = (form[name] for name in _FIELDS)
    access_key, scope, signed_at_s = read_fields(algorithm, credential, amz_date=amz_date, region=region)
    return FormClaim(Mechanism.FORM, access_key, scope, signed_at_s, form[_POLICY], signature)


def _claim_v2(form: Mapping[str, str]) -> FormClaim:
    access_key, signature = (form[name] for name in _FIELDS_V2)
    if not _ACCESS_KEY.fullmatch(access_key):
        raise S3Error("AccessDenied", "The AWSAccessKeyId is malformed.")
    return FormClaim(Mechanism.FORM_V2, access_key, "", 0, form[_POLICY], signature)
