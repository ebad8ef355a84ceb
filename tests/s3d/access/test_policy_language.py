"""The language of policies: what a document says, whom and what it reaches, and every way that it is refused."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, strategies as st

from s3d.access.policy_language import (
    POLICY_BYTES_MAX,
    Identity,
    MalformedPolicyError,
    Policy,
    Verdict,
    judge,
    parse_policy,
)

ANN = Identity("111111111111", "arn:aws:iam::111111111111:user/ann")
BOB = Identity("222222222222", "arn:aws:iam::222222222222:user/bob")
NOBODY = Identity()
STATEMENT: dict[str, object] = {
    "Effect": "Allow",
    "Principal": "*",
    "Action": "s3:GetObject",
    "Resource": "arn:aws:s3:::photos/*",
}
ALLOWED, DELEGATED, DENIED, SILENT = (
    Verdict(allows=True),
    Verdict(delegates=True),
    Verdict(denies=True),
    Verdict(),
)


def document(*statements: Mapping[str, object], **top: object) -> bytes:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)} | top).encode()


def policy(*statements: Mapping[str, object]) -> Policy:
    """The policy of "photos" with statements that differ from STATEMENT so; None leaves a field out."""
    said = [
        {key: value for key, value in {**STATEMENT, **each}.items() if value is not None}
        for each in statements
    ]
    return parse_policy(document(*said), "photos")


def verdict(
    said: Policy,
    action: str = "s3:GetObject",
    resource: str = "photos/a",
    *,
    who: Identity = BOB,
    facts: Mapping[str, tuple[str, ...]] | None = None,
) -> Verdict:
    return judge(said.statements, action, resource, who, (facts or {}).get)


@pytest.mark.parametrize(
    ("principal", "who", "expected"),
    [
        ("*", BOB, ALLOWED),
        ("*", NOBODY, ALLOWED),
        ({"AWS": "*"}, NOBODY, ALLOWED),
        ({"AWS": BOB.account}, BOB, DELEGATED),
        ({"AWS": f"arn:aws:iam::{BOB.account}:root"}, BOB, DELEGATED),
        ({"AWS": [ANN.account, BOB.arn]}, BOB, ALLOWED),
        ({"AWS": BOB.arn}, ANN, SILENT),
        ({"AWS": BOB.arn}, NOBODY, SILENT),
        ({"CanonicalUser": BOB.account}, BOB, DELEGATED),
        ({"Service": "logging.s3.amazonaws.com"}, BOB, SILENT),
        ({"AWS": "arn:aws:iam::s3tenant1:root"}, BOB, SILENT),
    ],
)
def test_principals(principal: object, who: Identity, expected: Verdict) -> None:
    assert verdict(policy({"Principal": principal}), who=who) == expected


@pytest.mark.parametrize(
    ("who", "expected"),
    [(ANN, SILENT), (BOB, DENIED), (NOBODY, DENIED), (Identity(ANN.account, "other"), SILENT)],
)
def test_denial_of_all_others(who: Identity, expected: Verdict) -> None:
    said = policy({"Effect": "Deny", "Principal": None, "NotPrincipal": {"AWS": ANN.account}})
    assert verdict(said, who=who) == expected


@pytest.mark.parametrize(
    ("fields", "action", "expected"),
    [
        ({"Action": "s3:GetObject"}, "s3:GetObject", ALLOWED),
        ({"Action": "S3:getobject"}, "s3:GetObject", ALLOWED),
        ({"Action": "s3:Get*"}, "s3:GetObjectAcl", ALLOWED),
        ({"Action": "s3:GetObject"}, "s3:GetObjectAcl", SILENT),
        ({"Action": ["s3:PutObject", "s3:Get?bject"]}, "s3:GetObject", ALLOWED),
        ({"Action": "*"}, "s3:DeleteBucket", ALLOWED),
        ({"Action": None, "NotAction": "s3:Get*"}, "s3:GetObject", SILENT),
        ({"Action": None, "NotAction": "s3:Get*"}, "s3:PutObject", ALLOWED),
    ],
)
def test_actions(fields: dict[str, object], action: str, expected: Verdict) -> None:
    assert verdict(policy(fields), action) == expected


@pytest.mark.parametrize(
    ("fields", "resource", "expected"),
    [
        ({"Resource": "arn:aws:s3:::photos/*"}, "photos/a/b", ALLOWED),
        ({"Resource": "arn:aws:s3:::photos/*"}, "photos", SILENT),
        ({"Resource": "arn:aws:s3:::photos"}, "photos", ALLOWED),
        ({"Resource": "arn:aws:s3:::photos"}, "photos/a", SILENT),
        ({"Resource": "arn:aws:s3:::photos/a?c"}, "photos/abc", ALLOWED),
        ({"Resource": "arn:aws:s3:::photos/A"}, "photos/a", SILENT),
        ({"Resource": ["arn:aws:s3:::*", "arn:aws:s3:::*/*"]}, "photos/a", ALLOWED),
        ({"Resource": "*"}, "photos", ALLOWED),
        ({"Resource": None, "NotResource": "arn:aws:s3:::photos/secret/*"}, "photos/secret/a", SILENT),
        ({"Resource": None, "NotResource": "arn:aws:s3:::photos/secret/*"}, "photos/open", ALLOWED),
        ({"Resource": "arn:aws:s3:::photos/[ab]"}, "photos/a", SILENT),
        ({"Resource": "arn:aws:s3:::photos/[ab]"}, "photos/[ab]", ALLOWED),
        ({"Resource": "arn:aws:s3:::photos/${*}"}, "photos/a", SILENT),
        ({"Resource": "arn:aws:s3:::photos/${*}"}, "photos/*", ALLOWED),
    ],
)
def test_resources(fields: dict[str, object], resource: str, expected: Verdict) -> None:
    assert verdict(policy(fields), resource=resource) == expected


def test_variables_in_resources() -> None:
    home = {"Resource": "arn:aws:s3:::photos/${aws:username}/*"}
    facts = {"aws:username": ("bob",)}
    assert verdict(policy(home), resource="photos/bob/a", facts=facts) == ALLOWED
    assert verdict(policy(home), resource="photos/ann/a", facts=facts) == SILENT
    assert verdict(policy(home), resource="photos//a") == SILENT
    assert verdict(policy(home), resource="photos/x/a", facts={"aws:username": ("*",)}) == SILENT
    old = parse_policy(document(STATEMENT | home, Version="2008-10-17"), "photos")
    assert verdict(old, resource="photos/bob/a", facts=facts) == SILENT


def test_a_denial_wins_wherever_it_stands() -> None:
    deny = {"Effect": "Deny", "Resource": "arn:aws:s3:::photos/secret/*"}
    for said in (policy({}, deny), policy(deny, {})):
        assert verdict(said) == ALLOWED
        assert verdict(said, resource="photos/secret/a") == DENIED


def test_conditions_narrow_a_statement() -> None:
    said = policy({"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}})
    assert verdict(said, facts={"aws:sourceip": ("10.1.1.1",)}) == ALLOWED
    assert verdict(said, facts={"aws:sourceip": ("11.1.1.1",)}) == SILENT
    assert verdict(said) == SILENT


def test_one_statement_needs_no_list_and_a_policy_no_version() -> None:
    raw = json.dumps({"Id": "x", "Statement": STATEMENT}).encode()
    assert verdict(parse_policy(raw, "photos")) == ALLOWED


def changed(**fields: object) -> bytes:
    return document({key: value for key, value in (STATEMENT | fields).items() if value is not None})


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"null",
        b'"{}"',
        b"{",
        b"{}",
        b"\xff{}",
        b'{"Statement": NaN}',
        b'{"a":' * 3_000 + b"1" + b"}" * 3_000,
        document(),
        document("Allow"),  # type: ignore[arg-type]
        document(STATEMENT, Version="2020-01-01"),
        document(STATEMENT, Version=2012),
        document(STATEMENT, Id=1),
        document(STATEMENT, Extra=1),
        document(STATEMENT | {"Sid": "a"}, STATEMENT | {"Sid": "a"}),
        document(STATEMENT).replace(b'"Effect"', b'"Effect": "Deny", "Effect"'),
        changed(Extra="a"),
        changed(Sid=1),
        changed(Effect="allow"),
        changed(Effect=None),
        changed(Principal=None),
        changed(Principal="ann"),
        changed(Principal={}),
        changed(Principal={"AWS": []}),
        changed(Principal={"AWS": "ann"}),
        changed(Principal={"AWS": 111111111111}),
        changed(Principal={"Robot": "*"}),
        changed(Principal={"AWS": "arn:aws:iam::111111111111:ann"}),
        changed(Principal={"AWS": "arn:aws:iam::111111111111:user/*"}),
        changed(NotPrincipal="*"),
        changed(Principal=None, NotPrincipal={"AWS": "111111111111"}),
        changed(Action=None),
        changed(Action=[]),
        changed(Action=1),
        changed(Action="GetObject"),
        changed(Action="ec2:Run"),
        changed(Action="s3:Get Object"),
        changed(NotAction="s3:GetObject"),
        changed(Resource=None),
        changed(Resource="photos/*"),
        changed(Resource="arn:aws:s3:::videos/*"),
        changed(Resource="arn:aws:s3:::"),
        changed(Resource="arn:aws:ec2:::photos"),
        changed(NotResource="arn:aws:s3:::photos"),
        changed(Condition="a"),
        changed(Condition={"StringLike": {"aws:Nonsense": "a"}}),
        changed(Condition={"StringNearly": {"aws:Referer": "a"}}),
        changed(Sid="x" * POLICY_BYTES_MAX),
    ],
)
def test_documents_that_are_no_policy(raw: bytes) -> None:
    with pytest.raises(MalformedPolicyError):
        parse_policy(raw, "photos")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["Allow", "*", "s3:*"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*STATEMENT, "Condition", "AWS", "StringLike", "Sid"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(_JSON)
def test_any_json_is_a_policy_or_refused(statement: Any) -> None:
    raw = json.dumps({"Statement": statement}).encode()
    try:
        said = parse_policy(raw, "photos")
    except MalformedPolicyError:
        return
    assert said.statements
