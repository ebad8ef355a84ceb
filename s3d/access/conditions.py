"""Owns the conditions of policies: their operators and the keys they may ask for; never what a request says of a key.

Source: IAM user guide, "IAM JSON policy elements: Condition operators"; S3 user guide, "condition keys for Amazon S3".
"""

import base64
import binascii
import ipaddress
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal

from s3d.access.condition_keys import is_known
from s3d.access.patterns import expand, fits, literal
from shardd.contract.errors import QuoinError

VALUES_MAX: Final = 1_000
READINGS_CACHED_MAX: Final = 4_096

Values = Callable[[str], tuple[str, ...] | None]  # what a request says of a key in lower case; None: nothing
Quantifier = Literal["", "forallvalues", "foranyvalue"]


class ConditionError(QuoinError):
    """A condition is not one of the language: the message says why, for the author of the policy."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One key under one operator. `key` is in lower case; `values` are as they stand in the policy."""

    operator: str
    key: str
    values: tuple[str, ...]
    quantifier: Quantifier = ""
    if_exists: bool = False


@dataclass(frozen=True, slots=True)
class Operator:
    """`matches(said, wanted)` of one value each; `negated`: true where nothing matches, or nothing is said.

    `reads` refuses a wanted value that can never match; `patterns`: variables and wildcards in it are filled in.
    """

    matches: Callable[[str, str], bool]
    reads: Callable[[str], Any]
    negated: bool = False
    patterns: bool = False


_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,32}(?:\.[0-9]{1,32})?", re.ASCII)
_DATE: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9:.]{1,24}(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?", re.ASCII
)


def holds(condition: Condition, said: Values) -> bool:
    """Whether a request that says `said` meets `condition`."""
    values = said(condition.key)
    if condition.operator == "null":
        return (values is None) == (condition.values[0].lower() == "true")
    operator = OPERATORS[condition.operator]
    if not values:
        if condition.quantifier:
            return condition.quantifier == "forallvalues"
        return condition.if_exists or operator.negated
    wanted = _wanted(condition, said) if operator.patterns else condition.values
    verdicts = (any(operator.matches(value, each) for each in wanted) != operator.negated for value in values)
    if condition.quantifier == "foranyvalue":
        return any(verdicts)
    return all(verdicts) if condition.quantifier or operator.negated else any(verdicts)


def _wanted(condition: Condition, said: Values) -> tuple[str, ...]:
    def value_of(name: str) -> str | None:
        values = said(_family_key(name))
        return values[0] if values and len(values) == 1 else None

    expanded = (expand(value, value_of) for value in condition.values)
    return tuple(value for value in expanded if value is not None)


def read_conditions(document: object) -> tuple[Condition, ...]:
    """The conditions of a statement, `{operator: {key: value or values}}`; all of them must hold. ConditionError."""
    if not isinstance(document, Mapping):
        raise ConditionError("Condition must be an object")
    found: list[Condition] = []
    for name, tests in document.items():
        if not isinstance(tests, Mapping) or not tests:
            raise ConditionError(f"Conditions under {name} must be an object")
        found += [_condition(name, key, values) for key, values in tests.items()]
    return tuple(found)


def _condition(name: str, key: str, document: object) -> Condition:
    quantifier, operator, if_exists = _operator(name)
    if not is_known(key):
        raise ConditionError("Policy has an invalid condition key")
    listed = document if isinstance(document, list) else [document]
    if not 1 <= len(listed) <= VALUES_MAX:
        raise ConditionError("A condition has too few values, or too many")
    values = tuple(map(_text, listed))
    for value in values:
        if "${" not in value:
            OPERATORS[operator].reads(value)
    return Condition(operator, _family_key(key), values, quantifier, if_exists)


def _family_key(key: str) -> str:
    """The key in lower case, but for the tag in it: tags are told apart by case."""
    family, slash, tag = key.partition("/")
    return family.lower() + slash + tag


def _operator(name: str) -> tuple[Quantifier, str, bool]:
    head, colon, rest = name.partition(":")
    quantifier: Quantifier = ""
    if colon:
        match head.lower():
            case "forallvalues":
                quantifier = "forallvalues"
            case "foranyvalue":
                quantifier = "foranyvalue"
            case _:
                raise ConditionError(f"Invalid Condition type : {name}")
    operator = (rest if colon else head).lower()
    if_exists = operator.endswith("ifexists")
    operator = operator.removesuffix("ifexists")
    if operator not in OPERATORS or (operator == "null" and (if_exists or colon)):
        raise ConditionError(f"Invalid Condition type : {name}")
    return quantifier, operator, if_exists


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise ConditionError("A condition's value must be text, a number or a boolean")


@lru_cache(maxsize=READINGS_CACHED_MAX)
def _number(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ConditionError(f"not a number: {text}")
    return float(text)


@lru_cache(maxsize=READINGS_CACHED_MAX)
def _date(text: str) -> float:
    """Seconds since 1970 of a date in ISO 8601, or of such a number."""
    if _NUMBER.fullmatch(text):
        return float(text)
    try:
        if not _DATE.fullmatch(text):
            raise ValueError("not ISO 8601")
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConditionError(f"not a date: {text}") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


@lru_cache(maxsize=READINGS_CACHED_MAX)
def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise ConditionError(f"not an address: {text}") from error


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ConditionError(f"not a boolean: {text}")
    return text.lower() == "true"


def _binary(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ConditionError(f"not base64: {text}") from error


def _address_in(said: str, wanted: str) -> bool:
    """Whether an address is in a network; one of IPv4 that came over an IPv6 socket is one of IPv4."""
    try:
        address = ipaddress.ip_address(said)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address in _network(wanted)


def _arn_like(said: str, wanted: str) -> bool:
    """Each of the six fields fits the pattern's field: a star never reaches over a colon."""
    ours, theirs = said.split(":", 5), wanted.split(":", 5)
    return len(ours) == len(theirs) == 6 and all(map(fits, theirs, ours))


def _compared(
    read: Callable[[str], float], compare: Callable[[float, float], bool]
) -> Callable[[str, str], bool]:
    def matches(said: str, wanted: str) -> bool:
        try:
            left = read(said)
        except ConditionError:
            return False
        return math.isfinite(left) and compare(left, read(wanted))

    return matches


_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "equals": float.__eq__,
    "lessthan": float.__lt__,
    "lessthanequals": float.__le__,
    "greaterthan": float.__gt__,
    "greaterthanequals": float.__ge__,
}


def _operators() -> dict[str, Operator]:
    table = {
        "null": Operator(str.__eq__, _boolean),
        "bool": Operator(lambda said, wanted: said.lower() == wanted.lower(), _boolean),
        "binaryequals": Operator(str.__eq__, _binary),
    }
    positive = {
        "stringequals": (
            "stringnotequals",
            Operator(lambda said, wanted: said == literal(wanted), str, patterns=True),
        ),
        "stringequalsignorecase": (
            "stringnotequalsignorecase",
            Operator(lambda said, wanted: said.lower() == literal(wanted).lower(), str, patterns=True),
        ),
        "stringlike": (
            "stringnotlike",
            Operator(lambda said, wanted: fits(wanted, said), str, patterns=True),
        ),
        "ipaddress": ("notipaddress", Operator(_address_in, _network)),
        "arnlike": ("arnnotlike", Operator(_arn_like, str, patterns=True)),
        "arnequals": ("arnnotequals", Operator(_arn_like, str, patterns=True)),
        "numericequals": ("numericnotequals", Operator(_compared(_number, float.__eq__), _number)),
        "dateequals": ("datenotequals", Operator(_compared(_date, float.__eq__), _date)),
    }
    for name, (opposite, operator) in positive.items():
        table[name] = operator
        table[opposite] = Operator(operator.matches, operator.reads, negated=True, patterns=operator.patterns)
    for name, compare in _COMPARISONS.items():
        table.setdefault(f"numeric{name}", Operator(_compared(_number, compare), _number))
        table.setdefault(f"date{name}", Operator(_compared(_date, compare), _date))
    return table


OPERATORS: Final = _operators()
