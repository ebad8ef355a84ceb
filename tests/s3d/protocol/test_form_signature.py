"""Who sent a form: botocore signs it, we judge; one claim at most, and what is changed in it is not believed."""

from typing import Any

import pytest

from s3d.protocol.authorization import Mechanism
from s3d.protocol.errors import S3Error
from s3d.protocol.signature import PayloadMode, Verified
from tests.s3d.forms import signed_fields
from tests.s3d.protocol.signing import ACCESS_KEY, NOW_S, REGION, SECRET, VERIFIER, presigned, signed

AROUND = Verified(Mechanism.ANONYMOUS, PayloadMode.UNSIGNED)
QUERY = "AuthorizationQueryParametersError"


def fields(version: int, *, keys: tuple[str, str] = (ACCESS_KEY, SECRET)) -> dict[str, str]:
    """The fields that sign a policy, by names in lower case."""
    said = signed_fields({"conditions": []}, version=version, keys=keys)
    return {name.lower(): value for name, value in said.items()}


def verify(form: dict[str, str], outer: Verified = AROUND, now_s: float = NOW_S) -> Verified:
    return VERIFIER.verify_form(outer, form, now_s=now_s)


def refusal(form: dict[str, str], **options: Any) -> tuple[int, str]:
    with pytest.raises(S3Error) as caught:
        verify(form, **options)
    return caught.value.status, caught.value.code


@pytest.mark.parametrize(("version", "mechanism"), [(4, Mechanism.FORM), (2, Mechanism.FORM_V2)])
def test_what_botocore_signs_is_believed(version: int, mechanism: Mechanism) -> None:
    assert verify(fields(version)) == Verified(mechanism, PayloadMode.FORM_FILE, ACCESS_KEY)


def test_a_form_without_a_claim_is_nobodys() -> None:
    assert verify({"key": "k"}) == Verified(Mechanism.ANONYMOUS, PayloadMode.FORM_FILE)


@pytest.mark.parametrize(
    ("version", "name"), [(4, name) for name in fields(4)] + [(2, name) for name in fields(2)]
)
def test_a_claim_is_whole_or_refused(version: int, name: str) -> None:
    form = fields(version)
    for lost in ({each: form[each] for each in form if each != name}, form | {name: ""}):
        assert refusal(lost) == (400, "InvalidArgument")


@pytest.mark.parametrize("version", [4, 2])
@pytest.mark.parametrize("change", ["policy", "signature", "secret", "reversed", "not ASCII"])
def test_what_was_changed_is_not_believed(version: int, change: str) -> None:
    form = fields(version, keys=(ACCESS_KEY, "wrong" if change == "secret" else SECRET))
    name = "x-amz-signature" if version == 4 else "signature"
    form |= {
        "policy": {"policy": form["policy"][:-4] + "fQ=="},
        "signature": {name: ("1" if form[name][0] == "0" else "0") + form[name][1:]},
        "secret": {},
        "reversed": {name: form[name][::-1]},
        "not ASCII": {name: "ä"},
    }[change]
    assert refusal(form) == (403, "SignatureDoesNotMatch")


@pytest.mark.parametrize("version", [4, 2])
def test_who_is_not_known(version: int) -> None:
    assert refusal(fields(version, keys=("AKNOBODY", SECRET))) == (403, "InvalidAccessKeyId")
    assert refusal(fields(version, keys=("AKNOBODY", "0" * 40))) == (403, "InvalidAccessKeyId")
    assert refusal(fields(version, keys=("AKOTHER", SECRET))) == (403, "SignatureDoesNotMatch")


@pytest.mark.parametrize("version", [4, 2])
@pytest.mark.parametrize(
    "outer",
    [
        signed("POST", "/bucket").verify(),
        presigned("POST", "/bucket").verify(),
        Verified(Mechanism.ANONYMOUS, PayloadMode.WHOLE, sha256="0" * 64),
        Verified(Mechanism.ANONYMOUS, PayloadMode.UNSIGNED_CHUNKS_TRAILER),
    ],
)
def test_a_form_in_a_request_that_says_more_is_refused(version: int, outer: Verified) -> None:
    assert refusal(fields(version), outer=outer) == (400, "InvalidArgument")
    assert refusal({"key": "k"}, outer=outer) == (400, "InvalidArgument")


def test_one_claim_only() -> None:
    both = fields(4) | fields(2)
    assert refusal(both) == (400, "InvalidArgument")
    for name in ("awsaccesskeyid", "signature"):
        assert refusal(fields(4) | {name: "x"}) == (400, "InvalidArgument")


def test_nobody_has_a_session() -> None:
    for version in (2, 4):
        assert refusal(fields(version) | {"x-amz-security-token": "t"}) == (400, "InvalidToken")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-amz-algorithm", "aws4-hmac-sha256"),
        ("x-amz-algorithm", "AWS4-ECDSA-P256-SHA256"),
        ("x-amz-date", "2025-11-21T08:00:00Z"),
        ("x-amz-date", "20251122T080000Z"),
        ("x-amz-date", "20251321T080000Z"),
        ("x-amz-credential", f"{ACCESS_KEY}/20251121/{REGION}/s3"),
        ("x-amz-credential", f"{ACCESS_KEY}/20251121/{REGION}/s3/aws4_request/x"),
        ("x-amz-credential", f"{ACCESS_KEY}/20251120/{REGION}/s3/aws4_request"),
        ("x-amz-credential", f"{ACCESS_KEY}/20251121/eu-west-1/s3/aws4_request"),
        ("x-amz-credential", f"{ACCESS_KEY}/20251121/{REGION}/iam/aws4_request"),
        ("x-amz-credential", f"{ACCESS_KEY}/20251121/{REGION}/s3/aws5_request"),
    ],
)
def test_what_a_claim_must_look_like(name: str, value: str) -> None:
    assert refusal(fields(4) | {name: value}) == (400, QUERY)


def test_an_access_key_is_visible_ascii() -> None:
    assert refusal(fields(2) | {"awsaccesskeyid": "a b"}) == (403, "AccessDenied")


def test_time_is_for_the_policy_but_for_what_is_not_yet() -> None:
    assert verify(fields(4), now_s=NOW_S + 864_000).access_key == ACCESS_KEY
    assert verify(fields(4), now_s=NOW_S - 900).access_key == ACCESS_KEY
    assert refusal(fields(4), now_s=NOW_S - 901) == (403, "AccessDenied")
