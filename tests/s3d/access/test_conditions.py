"""Conditions of policies: every operator, what a missing key means, many values, and what is no condition."""

from collections.abc import Mapping

import pytest

from s3d.access.conditions import ConditionError, holds, read_conditions

ANN = "arn:aws:iam::111111111111:user/ann"


def meets(operator: str, key: str, wanted: object, said: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether a request that says `said` meets {operator: {key: wanted}}."""
    conditions = read_conditions({operator: {key: wanted}})
    return all(holds(condition, said.get) for condition in conditions)


@pytest.mark.parametrize(
    ("operator", "wanted", "said", "expected"),
    [
        ("StringEquals", "a", "a", True),
        ("StringEquals", "a", "A", False),
        ("StringEquals", "a*", "ab", False),
        ("StringEquals", ["a", "b"], "b", True),
        ("StringEquals", [], None, ConditionError),
        ("StringNotEquals", ["a", "b"], "b", False),
        ("StringNotEquals", ["a", "b"], "c", True),
        ("StringNotEquals", "a", None, True),
        ("StringEqualsIgnoreCase", "aB", "Ab", True),
        ("StringNotEqualsIgnoreCase", "aB", "Ab", False),
        ("StringLike", "a*c", "abc", True),
        ("StringLike", "a?c", "abbc", False),
        ("StringLike", "a*", None, False),
        ("StringLikeIfExists", "a*", None, True),
        ("StringLikeIfExists", "a*", "b", False),
        ("StringNotLike", "a*", "b", True),
        ("StringNotLike", "a*", "ab", False),
        ("StringNotLike", "a*", None, True),
        ("stringequals", "a", "a", True),
        ("NumericEquals", "10", "10.0", True),
        ("NumericEquals", 10, "10", True),
        ("NumericNotEquals", "10", "11", True),
        ("NumericNotEquals", "10", None, True),
        ("NumericLessThan", "10", "9", True),
        ("NumericLessThan", "10", "10", False),
        ("NumericLessThanEquals", "10", "10", True),
        ("NumericGreaterThan", "10", "11", True),
        ("NumericGreaterThanEquals", "10", "9", False),
        ("NumericLessThan", "10", "many", False),
        ("NumericLessThan", "10", None, False),
        ("NumericEquals", "ten", None, ConditionError),
        ("NumericEquals", "1_0", None, ConditionError),
        ("NumericEquals", "nan", None, ConditionError),
        ("DateLessThan", "2025-01-01T00:00:00Z", "2024-12-31T23:59:59Z", True),
        ("DateLessThan", "2025-01-01", "2025-01-01T00:00:00+00:00", False),
        ("DateGreaterThanEquals", "2025-01-01T00:00:00Z", "2025-01-01T00:00:00Z", True),
        ("DateEquals", "2025-01-01T01:00:00+01:00", "2025-01-01T00:00:00Z", True),
        ("DateGreaterThan", "0", "2025-01-01", True),
        ("DateGreaterThan", "yesterday", None, ConditionError),
        ("Bool", "true", "true", True),
        ("Bool", True, "true", True),
        ("Bool", False, "true", False),
        ("Bool", "maybe", None, ConditionError),
        ("BinaryEquals", "QmluYXJ5", "QmluYXJ5", True),
        ("BinaryEquals", "!", None, ConditionError),
        ("IpAddress", "10.0.0.0/8", "10.1.2.3", True),
        ("IpAddress", "10.0.0.0/8", "::ffff:10.1.2.3", True),
        ("IpAddress", ["10.0.0.0/8", "192.0.2.1"], "192.0.2.1", True),
        ("IpAddress", "10.0.0.0/8", "11.1.2.3", False),
        ("IpAddress", "2001:db8::/32", "2001:db8::1", True),
        ("IpAddress", "2001:db8::/32", "10.0.0.1", False),
        ("IpAddress", "10.0.0.0/8", "no address", False),
        ("NotIpAddress", "10.0.0.0/8", "10.1.2.3", False),
        ("NotIpAddress", "10.0.0.0/8", None, True),
        ("IpAddress", "10.0.0.0/33", None, ConditionError),
        ("ArnEquals", ANN, ANN, True),
        ("ArnLike", "arn:aws:iam::*:user/*", ANN, True),
        ("ArnLike", "arn:*:user/ann", ANN, False),
        ("ArnNotLike", "arn:aws:iam::*:user/*", ANN, False),
        ("ArnNotEquals", ANN, None, True),
        ("Null", "true", None, True),
        ("Null", "true", "a", False),
        ("Null", "false", "a", True),
        ("Null", "perhaps", None, ConditionError),
        ("NullIfExists", "true", None, ConditionError),
        ("StringSimilar", "a", None, ConditionError),
        ("ForSomeValues:StringEquals", "a", None, ConditionError),
        ("StringEquals", {"a": "b"}, None, ConditionError),
        ("StringEquals", None, None, ConditionError),
    ],
)
def test_operators(operator: str, wanted: object, said: str | None, expected: object) -> None:
    facts = {} if said is None else {"aws:referer": (said,)}
    if expected is ConditionError:
        with pytest.raises(ConditionError):
            read_conditions({operator: {"aws:Referer": wanted}})
    else:
        assert meets(operator, "aws:Referer", wanted, facts) is expected


@pytest.mark.parametrize(
    ("operator", "said", "expected"),
    [
        ("ForAllValues:StringEquals", ("a", "b"), True),
        ("ForAllValues:StringEquals", ("a", "c"), False),
        ("ForAllValues:StringEquals", None, True),
        ("ForAnyValue:StringEquals", ("c", "b"), True),
        ("ForAnyValue:StringEquals", ("c", "d"), False),
        ("ForAnyValue:StringEquals", None, False),
        ("ForAnyValue:StringNotEquals", ("a", "c"), True),
        ("ForAnyValue:StringNotEquals", ("a", "b"), False),
        ("ForAllValues:StringNotEquals", ("c", "d"), True),
        ("ForAllValues:StringNotEquals", ("c", "a"), False),
    ],
)
def test_keys_of_many_values(operator: str, said: tuple[str, ...] | None, expected: bool) -> None:
    facts = {} if said is None else {"s3:requestobjecttagkeys": said}
    assert meets(operator, "s3:RequestObjectTagKeys", ["a", "b"], facts) is expected


def test_all_conditions_must_hold() -> None:
    document = {
        "StringEquals": {"s3:prefix": "a", "s3:delimiter": "/"},
        "Bool": {"aws:SecureTransport": "false"},
    }
    said = {"s3:prefix": ("a",), "s3:delimiter": ("/",), "aws:securetransport": ("false",)}
    conditions = read_conditions(document)
    assert len(conditions) == 3
    assert all(holds(condition, said.get) for condition in conditions)
    for key in said:
        fewer = {name: value for name, value in said.items() if name != key}
        assert not all(holds(condition, fewer.get) for condition in conditions)


def test_variables_are_what_the_request_says_and_never_wild() -> None:
    said = {"aws:username": ("ann*",), "s3:prefix": ("home/ann*/x",)}
    assert meets("StringLike", "s3:prefix", "home/${aws:username}/*", said)
    assert meets("StringEquals", "s3:prefix", "home/${aws:username}/x", said)
    assert not meets(
        "StringLike", "s3:prefix", "home/${aws:username}/*", said | {"s3:prefix": ("home/anna/x",)}
    )
    assert not meets("StringLike", "s3:prefix", "home/${aws:userid}/*", said)
    assert meets("StringLike", "s3:prefix", "home/${aws:userid, 'ann*'}/*", said)
    assert not meets("StringNotLike", "s3:prefix", "home/${aws:username}/*", said)


def test_tags_are_told_apart_by_case_and_keys_are_not() -> None:
    said = {"s3:existingobjecttag/Team": ("red",)}
    assert meets("StringEquals", "S3:ExistingObjectTag/Team", "red", said)
    assert not meets("StringEquals", "s3:ExistingObjectTag/team", "red", said)


@pytest.mark.parametrize(
    "key", ["aws:Nonsense", "s3:nonsense", "ec2:Region", "s3:ExistingObjectTag/", "s3:ExistingObjectTag", ""]
)
def test_keys_that_no_request_has_are_refused(key: str) -> None:
    with pytest.raises(ConditionError, match="condition key"):
        read_conditions({"StringEquals": {key: "a"}})


@pytest.mark.parametrize("document", [[], "a", {"StringEquals": {}}, {"StringEquals": []}, None])
def test_documents_that_are_no_conditions(document: object) -> None:
    with pytest.raises(ConditionError):
        read_conditions(document)
