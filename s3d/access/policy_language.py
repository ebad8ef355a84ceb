"""Owns the language of policies: a document read into statements, or refused; and which statements a request meets.

Source: IAM user guide, "Grammar of the IAM JSON policy language"; S3 user guide, "Bucket policies".
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NoReturn

from s3d.access.conditions import Condition, ConditionError, Values, holds, read_conditions
from s3d.access.patterns import expand, fits
from shardd.contract.errors import QuoinError

POLICY_BYTES_MAX: Final = 20_480
STATEMENTS_MAX: Final = 512
POLICIES_CACHED_MAX: Final = 256  # each may be some hundred KiB once it is read
NO_DOCUMENT: Final = b""  # what stays where a policy was deleted: the bucket may hold what others own

_VERSIONS: Final = ("2012-10-17", "2008-10-17")
_TOP: Final = frozenset(("Version", "Id", "Statement"))
_FIELDS: Final = frozenset(
    [
        "Sid",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
    ]
)
_ACTION: Final = re.compile(r"\*|s3:[a-z0-9*?]{1,128}", re.ASCII | re.IGNORECASE)
_RESOURCE: Final = re.compile(r"arn:aws(?:-cn|-us-gov)?:s3:::(.{1,2048})", re.ASCII | re.DOTALL)
_ACCOUNT: Final = re.compile(r"[0-9]{12}", re.ASCII)
_PRINCIPAL_ARN: Final = re.compile(
    r"arn:aws(?:-cn|-us-gov)?:(?:iam|sts)::([A-Za-z0-9_-]{1,64}):(root|(?:user|role|assumed-role|federated-user)/[^*?]{1,576})",
    re.ASCII,
)
_PRINCIPAL_KINDS: Final = frozenset(("AWS", "CanonicalUser", "Service", "Federated"))


class MalformedPolicyError(QuoinError):
    """A document is no bucket policy: the message says why, for its author."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks, as policies name them; an anonymous one has neither account nor ARN."""

    account: str = ""
    arn: str = ""


@dataclass(frozen=True, slots=True)
class Principals:
    """Whom a statement is about: everyone, accounts as a whole, or users by their ARN."""

    everyone: bool = False
    accounts: frozenset[str] = frozenset()
    users: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement. Of each pair one is used: a tuple that `inverted` turns round ("NotAction"). Patterns as written.

    `buckets` stands in statements of [[auth]] only: patterns of the bucket's name, whatever is in the bucket.
    """

    allows: bool
    actions: tuple[str, ...]
    sid: str = ""
    actions_inverted: bool = False
    resources: tuple[str, ...] = ()
    resources_inverted: bool = False
    buckets: tuple[str, ...] = ()
    principals: Principals = Principals(everyone=True)
    principals_inverted: bool = False
    conditions: tuple[Condition, ...] = ()
    variables: bool = False  # from version 2012-10-17 on, ${name} in a resource is what the request says


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy as a whole; the order of its statements means nothing."""

    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a policy says: whether a statement denies, allows, or allows an account whose own policies decide."""

    denies: bool = False
    allows: bool = False
    delegates: bool = False


NOTHING: Final = Verdict()
_DENIES: Final = Verdict(denies=True)


def judge(
    statements: Iterable[Statement], action: str, resource: str, who: Identity, said: Values
) -> Verdict:
    """What `statements` say of `who` doing `action` ("s3:GetObject") on `resource` ("bucket" or "bucket/key")."""
    allows = delegates = False
    for statement in statements:
        reached = _reaches(statement, who)
        if not reached or not _meets(statement, action, resource, said):
            continue
        if not statement.allows:
            return _DENIES
        allows |= reached > 1
        delegates |= reached == 1
    return Verdict(allows=allows, delegates=delegates) if allows or delegates else NOTHING


def _reaches(statement: Statement, who: Identity) -> int:
    """2: the statement is about everyone, or this very user; 1: about the account; 0: about others."""
    principals = statement.principals
    found = 0
    if principals.everyone or (who.arn and who.arn in principals.users):
        found = 2
    elif who.account and who.account in principals.accounts:
        found = 1
    if statement.principals_inverted:
        return 0 if found else 2
    return found


def _meets(statement: Statement, action: str, resource: str, said: Values) -> bool:
    lower = action.lower()
    acted = any(fits(pattern, lower) for pattern in statement.actions)
    if acted == statement.actions_inverted:
        return False
    if statement.buckets:
        bucket = resource.partition("/")[0]
        return any(fits(pattern, bucket) for pattern in statement.buckets)
    patterns: Sequence[str] = statement.resources
    if statement.variables:
        patterns = _expanded(patterns, said)
    if any(fits(pattern, resource) for pattern in patterns) == statement.resources_inverted:
        return False
    return all(holds(condition, said) for condition in statement.conditions)


def _expanded(patterns: Sequence[str], said: Values) -> list[str]:
    def value_of(name: str) -> str | None:
        values = said(name.lower())
        return values[0] if values and len(values) == 1 else None

    return [filled for pattern in patterns if (filled := expand(pattern, value_of)) is not None]


@lru_cache(maxsize=POLICIES_CACHED_MAX)
def parse_policy(document: bytes, bucket: str) -> Policy:
    """The policy of `bucket` that `document` is. Raises MalformedPolicyError; parsed once for the same bytes."""
    if len(document) > POLICY_BYTES_MAX:
        raise MalformedPolicyError("Policy exceeds the maximum allowed document size.")
    if not document.lstrip().startswith(b"{"):
        raise MalformedPolicyError("Policies must be valid JSON and the first byte must be '{'")
    try:
        top = json.loads(document.decode(), object_pairs_hook=_once, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedPolicyError("This policy contains invalid Json") from error
    _check_fields(top, _TOP)
    version = top.get("Version", "2008-10-17")
    if version not in _VERSIONS:
        raise MalformedPolicyError("The policy must contain a valid version string")
    if not isinstance(top.get("Id", ""), str):
        raise MalformedPolicyError("Id must be a string")
    if "Statement" not in top:
        raise MalformedPolicyError("Missing required field Statement")
    listed = top["Statement"] if isinstance(top["Statement"], list) else [top["Statement"]]
    if not 1 <= len(listed) <= STATEMENTS_MAX:
        raise MalformedPolicyError("Could not parse the policy: Statement is empty!")
    statements = tuple(_statement(each, bucket, variables=version == "2012-10-17") for each in listed)
    sids = [statement.sid for statement in statements if statement.sid]
    if len(set(sids)) < len(sids):
        raise MalformedPolicyError("Statement IDs (SID) in a single policy must be unique.")
    return Policy(statements)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object of JSON whose names come once: of two, readers would pick different ones."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name comes twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _check_fields(document: object, known: frozenset[str]) -> None:
    if not isinstance(document, dict):
        raise MalformedPolicyError("Policy has invalid syntax: an object is expected")
    for name in document:
        if name not in known:
            raise MalformedPolicyError(f"Unknown field {name}")


def _statement(document: object, bucket: str, *, variables: bool) -> Statement:
    _check_fields(document, _FIELDS)
    assert isinstance(document, dict)
    effect, sid = document.get("Effect"), document.get("Sid", "")
    if effect not in ("Allow", "Deny"):
        raise MalformedPolicyError(f"Invalid effect: {effect}")
    if not isinstance(sid, str):
        raise MalformedPolicyError("Sid must be a string")
    principals, others = _either(document, "Principal")
    if others and effect == "Allow":
        raise MalformedPolicyError("Allow with NotPrincipal is not allowed.")
    actions, actions_inverted = _either(document, "Action")
    resources, resources_inverted = _either(document, "Resource")
    patterns = tuple(_resource(each, bucket) for each in _texts(resources, "Resource"))
    try:
        conditions = read_conditions(document.get("Condition", {}))
    except ConditionError as error:
        raise MalformedPolicyError(str(error)) from error
    return Statement(
        allows=effect == "Allow",
        sid=sid,
        principals=_principals(principals),
        principals_inverted=others,
        actions=tuple(map(_action, _texts(actions, "Action"))),
        actions_inverted=actions_inverted,
        resources=patterns,
        resources_inverted=resources_inverted,
        conditions=conditions,
        variables=variables and any("${" in each for each in patterns),
    )


def _either(document: Mapping[str, object], name: str) -> tuple[object, bool]:
    """(value, whether it is the opposite that stands there) of `name` or Not`name`, of which exactly one must."""
    opposite = f"Not{name}"
    if (name in document) == (opposite in document):
        raise MalformedPolicyError(f"Exactly one of {name} and {opposite} is required")
    return (document[opposite], True) if opposite in document else (document[name], False)


def _texts(value: object, name: str) -> list[str]:
    listed = value if isinstance(value, list) else [value]
    texts = [each for each in listed if isinstance(each, str)]
    if not texts or len(texts) < len(listed):
        raise MalformedPolicyError(f"{name} must be a string, or a list of them")
    return texts


def _action(text: str) -> str:
    if not _ACTION.fullmatch(text):
        raise MalformedPolicyError("Policy has invalid action")
    return text.lower()


def _resource(text: str, bucket: str) -> str:
    """The pattern of "bucket" or "bucket/key" that an ARN is; one that can never be of this bucket is a mistake."""
    if text == "*":
        return text
    found = _RESOURCE.fullmatch(text)
    if found is None or not fits(found.group(1).partition("/")[0], bucket):
        raise MalformedPolicyError("Policy has invalid resource")
    return found.group(1)


def _principals(value: object) -> Principals:
    if value == "*":
        return Principals(everyone=True)
    if not isinstance(value, dict) or not value or not _PRINCIPAL_KINDS.issuperset(value):
        raise MalformedPolicyError("Invalid policy syntax.")
    everyone = False
    accounts: set[str] = set()
    users: set[str] = set()
    for kind, named in value.items():
        for text in _texts(named, "Principal"):
            if text == "*" and kind in ("AWS", "CanonicalUser"):
                everyone = True
            elif kind == "CanonicalUser" or (kind == "AWS" and _ACCOUNT.fullmatch(text)):
                accounts.add(text)
            elif kind == "AWS":
                _add_arn(text, accounts, users)
    return Principals(everyone, frozenset(accounts), frozenset(users))


def _add_arn(text: str, accounts: set[str], users: set[str]) -> None:
    found = _PRINCIPAL_ARN.fullmatch(text)
    if found is None:
        raise MalformedPolicyError("Invalid principal in policy")
    if found.group(2) == "root":
        accounts.add(found.group(1))
    else:
        users.add(text)
