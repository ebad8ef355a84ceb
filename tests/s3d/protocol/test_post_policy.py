"""Policies of POST forms: every condition decides, every field is decided on, and what is no policy is refused."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from s3d.protocol.errors import S3Error
from s3d.protocol.post_policy import CONDITIONS_MAX, PostPolicy, read_post_policy

NOW_S = 1_763_712_000  # 2025-11-21T08:00:00Z
LATER = "2025-11-21T09:00:00Z"
FORM = {
    "bucket": "b",
    "key": "user/a.txt",
    "content-type": "text/plain",
    "x-amz-meta-colour": "blue",
    "policy": "p",
    "awsaccesskeyid": "k",
    "signature": "s",
    "x-amz-signature": "s",
    "x-ignore-me": "i",
    "x-amz-checksum-crc32": "AAAAAA==",
}
MET: list[Any] = [
    {"bucket": "b"},
    ["starts-with", "$key", "user/"],
    ["eq", "$Content-Type", "text/plain"],
    {"x-amz-meta-colour": "blue"},
]


def encoded(document: object) -> str:
    text = document if isinstance(document, str) else json.dumps(document)
    return base64.b64encode(text.encode()).decode()


def policy(*conditions: Any, expiration: object = LATER) -> PostPolicy:
    return read_post_policy(encoded({"expiration": expiration, "conditions": list(conditions)}))


def refusal(made: PostPolicy, form: dict[str, str], now_s: float = NOW_S) -> str:
    """The sentence with which a form is refused; "" where it is not."""
    try:
        made.check(form, now_s=now_s)
    except S3Error as error:
        assert (error.code, error.status) == ("AccessDenied", 403)
        return error.message.removeprefix("Invalid according to Policy: ")
    return ""


def test_a_form_that_meets_every_condition() -> None:
    assert refusal(policy(*MET), FORM) == ""


@pytest.mark.parametrize("number", range(len(MET)))
def test_a_field_without_its_condition_is_one_too_many(number: int) -> None:
    conditions = [each for place, each in enumerate(MET) if place != number]
    name = ("bucket", "key", "content-type", "x-amz-meta-colour")[number]
    assert refusal(policy(*conditions), FORM) == f"Extra input fields: {name}"


@pytest.mark.parametrize(
    "name", ["acl", "tagging", "success_action_redirect", "x-amz-algorithm", "x-amz-date", "anything"]
)
def test_no_field_is_let_in_that_no_condition_names(name: str) -> None:
    assert refusal(policy(*MET), FORM | {name: ""}) == f"Extra input fields: {name}"


@pytest.mark.parametrize(
    ("condition", "value", "holds"),
    [
        ({"acl": "private"}, "private", True),
        ({"acl": "private"}, "Private", False),
        ({"acl": "private"}, "private ", False),
        ({"AcL": "private"}, "private", True),
        (["eq", "$acl", "private"], "private", True),
        (["EQ", "$aCl", "private"], "private", True),
        (["eq", "$acl", "priv"], "private", False),
        (["eq", "$acl", ""], "private", False),
        (["eq", "$acl", ""], "", True),
        (["eq", "$acl", ""], None, False),
        (["starts-with", "$acl", "priv"], "private", True),
        (["StArTs-WiTh", "$acl", "priv"], "private", True),
        (["starts-with", "$acl", "Priv"], "private", False),
        (["starts-with", "$acl", "private-"], "private", False),
        (["starts-with", "$acl", ""], "anything", True),
        (["starts-with", "$acl", ""], None, False),
        (["starts-with", "$acl", r"\$a"], r"\$a.txt", True),
        (["starts-with", "$acl", "a,"], "a,b", True),
    ],
)
def test_conditions(condition: Any, value: str | None, holds: bool) -> None:
    form = FORM if value is None else FORM | {"acl": value}
    operator = "eq" if isinstance(condition, dict) else condition[0]
    said = refusal(policy(*MET, condition), form)
    assert said == "" if holds else said.startswith(f'Policy Condition failed: ["{operator}", "$')


@pytest.mark.parametrize(
    ("sent", "holds"),
    [
        ("image/png", True),
        ("image/png,image/gif", True),
        ("image/png, image/gif", True),
        ("image/png,text/html", False),
    ],
)
def test_a_list_of_content_types_is_held_one_by_one(sent: str, holds: bool) -> None:
    made = policy({"bucket": "b"}, ["starts-with", "$Content-Type", "image/"])
    assert (refusal(made, {"bucket": "b", "content-type": sent}) == "") is holds


def test_it_ends_at_its_time() -> None:
    for expiration in (LATER, "2025-11-21T09:00:00.000Z"):
        made = policy(*MET, expiration=expiration)
        assert refusal(made, FORM, NOW_S + 3_600) == ""
        assert refusal(made, FORM, NOW_S + 3_600.001) == "Policy expired."


def size_refusal(made: PostPolicy, size_bytes: int, *, whole: bool) -> str:
    try:
        made.check_size(size_bytes, whole=whole)
    except S3Error as error:
        return error.code
    return ""


def test_sizes() -> None:
    made = policy(["content-length-range", 10, 20])
    assert [size_refusal(made, size, whole=True) for size in (9, 10, 20, 21)] == [
        "EntityTooSmall",
        "",
        "",
        "EntityTooLarge",
    ]
    assert [size_refusal(made, size, whole=False) for size in (0, 9, 20, 21)] == [
        "",
        "",
        "",
        "EntityTooLarge",
    ]
    assert size_refusal(policy(["content-length-range", 0, 0]), 1, whole=False) == "EntityTooLarge"
    assert size_refusal(policy(["Content-Length-Range", "0", "5"]), 6, whole=False) == "EntityTooLarge"
    both = policy(["content-length-range", 0, 9], ["content-length-range", 3, 20])
    assert (both.size_bytes_min, both.size_bytes_max) == (3, 9)
    assert size_refusal(policy(), 1 << 50, whole=True) == ""


BAD = [
    ("", "Invalid JSON."),
    ("[]", "Invalid JSON."),
    ("{", "Invalid JSON."),
    ("\ufeff{}", "Invalid JSON."),
    ('{"expiration": 1, "expiration": 2}', "Invalid JSON."),
    ("[" * 15_000, "Invalid JSON."),
    ('{"conditions": []}', "Policy missing expiration."),
    ({"EXPIRATION": LATER, "conditions": []}, "Unexpected: 'EXPIRATION'."),
    ({"expiration": LATER}, "Policy missing conditions."),
    ({"expiration": LATER, "conditions": {}}, "Policy missing conditions."),
    ({"expiration": LATER, "CONDITIONS": []}, "Unexpected: 'CONDITIONS'."),
    ({"expiration": LATER, "conditions": [{"a": "b"}] * (CONDITIONS_MAX + 1)}, "Too many conditions."),
]
TIMES = (
    "",
    "2025-11-21",
    "2025-11-21 09:00:00",
    "2025-11-21T09:00:00",
    "2025-11-21T09:00:00+00:00",
    "2025-13-21T09:00:00Z",
    "2025-11-21T25:00:00Z",
    "٢٠٢٥-11-21T09:00:00Z",
    1_763_715_600,
    None,
)
CONDITIONS: tuple[Any, ...] = (
    {},
    {"a": "b", "c": "d"},
    {"a": 1},
    {"a": None},
    "a",
    1,
    None,
    [],
    ["eq"],
    ["eq", "$a"],
    ["eq", "$a", "b", "c"],
    ["eq", "a", "b"],
    ["eq", "$", "b"],
    ["eq", "$a", 1],
    ["ends-with", "$a", "b"],
    [["eq"], "$a", "b"],
    ["content-length-range"],
    ["content-length-range", 0],
    ["content-length-range", 0, 1, 2],
    ["content-length-range", -1, 0],
    ["content-length-range", 2, 1],
    ["content-length-range", 0, 1.5],
    ["content-length-range", False, True],
    ["content-length-range", "0", "1_0"],
    ["content-length-range", "0", "٣"],
    ["content-length-range", 0, 10**20],
)


@pytest.mark.parametrize(("document", "why"), BAD)
def test_what_is_no_policy(document: object, why: str) -> None:
    with pytest.raises(S3Error, match=why.replace(".", r"\.")) as caught:
        read_post_policy(encoded(document))
    assert (caught.value.code, caught.value.status) == ("InvalidPolicyDocument", 400)


@pytest.mark.parametrize("expiration", TIMES)
def test_what_is_no_time(expiration: object) -> None:
    with pytest.raises(S3Error, match="Invalid 'expiration' value"):
        policy(expiration=expiration)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_what_is_no_condition(condition: object) -> None:
    with pytest.raises(S3Error) as caught:
        policy(condition)
    assert caught.value.code == "InvalidPolicyDocument"


@pytest.mark.parametrize("field", ["!", "e30", "e30=\n", "ä", "/w=="])
def test_what_is_no_base64_of_text(field: str) -> None:
    with pytest.raises(S3Error, match="Invalid Base64 encoding"):
        read_post_policy(field)


def test_escapes_of_s3s_own() -> None:
    text = r'{"expiration": "?", "conditions": [["eq", "$key", "\$a\\\\$b\vc\u0064"]]}'.replace("?", LATER)
    made = read_post_policy(encoded(text))
    assert made.conditions[0].value == "$a\\\\$b\x0bcd"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_json_is_a_policy_or_is_refused(conditions: Any) -> None:
    for document in (
        conditions,
        {"expiration": LATER, "conditions": conditions},
        {"expiration": LATER, "conditions": [conditions]},
    ):
        try:
            made = read_post_policy(encoded(document))
        except S3Error as error:
            assert error.code == "InvalidPolicyDocument"
        else:
            assert refusal(made, {"bucket": "b"})  # no condition, or none of a form that says so little
