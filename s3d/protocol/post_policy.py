"""Owns the policy of a POST form: what its document says, and whether a form meets it; never who signed it.

Source: "POST Policy", S3 API reference. Fields are named in any case, values are compared as they are.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from s3d.protocol.errors import S3Error

CONDITIONS_MAX: Final = 100
SIZE_BYTES_UNLIMITED: Final = 10**19 - 1  # the greatest number that a policy can say

# Fields that need no condition. A checksum asks for nothing: it can only have the upload refused.
_EXEMPT: Final = frozenset(("awsaccesskeyid", "file", "policy", "signature", "x-amz-signature"))
_EXEMPT_PREFIXES: Final = ("x-ignore-", "x-amz-checksum-")

_LENGTH_RANGE: Final = "content-length-range"
_EXPIRATION: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]{1,9})?Z", re.ASCII
)
_NUMBER: Final = re.compile(r"[0-9]{1,19}", re.ASCII)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_OWN_ESCAPES: Final = {"$": "$", "v": "\\u000b"}  # S3 has two that JSON has not

Operator = Literal["eq", "starts-with"]


@dataclass(frozen=True, slots=True)
class Condition:
    """What one field must be. `field` is in lower case; `shown` is the condition as it was written."""

    operator: Operator
    field: str
    value: str
    shown: str

    def holds(self, fields: Mapping[str, str]) -> bool:
        """Whether the field is there and is so."""
        value = fields.get(self.field)
        if value is None:
            return False
        if self.operator == "eq":
            return value == self.value
        # Content-Type may be a list, of which each must be so.
        listed = value.split(",") if self.field == "content-type" else (value,)
        return all(each.strip(" ").startswith(self.value) for each in listed)


@dataclass(frozen=True, slots=True)
class PostPolicy:
    """A policy. `expires_s`: seconds since 1970; sizes are of the file, in bytes."""

    expires_s: int
    conditions: tuple[Condition, ...]
    size_bytes_min: int = 0
    size_bytes_max: int = SIZE_BYTES_UNLIMITED

    def check(self, fields: Mapping[str, str], *, now_s: float) -> None:
        """Hold a form against it, all but the file's size. Raises AccessDenied.

        `fields`: by lower-case name, ${filename} filled in, and "bucket" the one that the request names.
        """
        if now_s > self.expires_s:
            raise _refused("Policy expired.")
        for condition in self.conditions:
            if not condition.holds(fields):
                raise _refused(f"Policy Condition failed: {condition.shown}")
        named = {condition.field for condition in self.conditions}
        extra = [name for name in fields if name not in named and not _exempt(name)]
        if extra:
            raise _refused(f"Extra input fields: {', '.join(extra)}")

    def check_size(self, size_bytes: int, *, whole: bool) -> None:
        """Hold the file, or as much of it as has come, against it. Raises EntityTooLarge, EntityTooSmall."""
        if size_bytes > self.size_bytes_max:
            raise S3Error(
                "EntityTooLarge", ProposedSize=str(size_bytes), MaxSizeAllowed=str(self.size_bytes_max)
            )
        if whole and size_bytes < self.size_bytes_min:
            raise S3Error(
                "EntityTooSmall", ProposedSize=str(size_bytes), MinSizeAllowed=str(self.size_bytes_min)
            )


def read_post_policy(field: str) -> PostPolicy:
    """The policy that a form has in its field, in base64. Raises InvalidPolicyDocument."""
    top = _document(field)
    unknown = [name for name in top if name not in ("expiration", "conditions")]
    if unknown:
        raise _invalid(f"Unexpected: '{unknown[0]}'.")
    if "expiration" not in top:
        raise _invalid("Policy missing expiration.")
    listed = top.get("conditions")
    if not isinstance(listed, list):
        raise _invalid("Policy missing conditions.")
    if len(listed) > CONDITIONS_MAX:
        raise _invalid("Too many conditions.")
    least, most = 0, SIZE_BYTES_UNLIMITED
    conditions = []
    for each in listed:
        if isinstance(each, list) and each and _is(each[0], _LENGTH_RANGE):
            lower, upper = _range(each)
            least, most = max(least, lower), min(most, upper)
        else:
            conditions.append(_condition(each))
    return PostPolicy(_expires_s(top["expiration"]), tuple(conditions), least, most)


def _document(field: str) -> dict[str, object]:
    try:
        text = base64.b64decode(field.encode("ascii"), validate=True).decode()
    except (UnicodeError, binascii.Error) as error:
        raise _invalid("Invalid Base64 encoding.") from error
    escaped = _ESCAPE.sub(lambda found: _OWN_ESCAPES.get(found[1], found[0]), text)
    try:
        top = json.loads(escaped, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise _invalid("Invalid JSON.") from error
    if not isinstance(top, dict):
        raise _invalid("Invalid JSON.")
    return top


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object of JSON whose names come once: of two, readers would pick different ones."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name comes twice")
    return found


def _expires_s(said: object) -> int:
    found = _EXPIRATION.fullmatch(said) if isinstance(said, str) else None
    try:
        if found is None:
            raise ValueError("not of the form")
        year, month, day, hour, minute, second = map(int, found.groups())
        return int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp())
    except ValueError as error:
        raise _invalid(f"Invalid 'expiration' value: '{said}'") from error


def _condition(said: object) -> Condition:
    if isinstance(said, dict):
        if len(said) != 1:
            raise _invalid(
                "Invalid Simple-Condition: Simple-Conditions must have exactly one property specified."
            )
        ((name, value),) = said.items()
        if not isinstance(value, str):
            raise _invalid("Invalid Simple-Condition: value must be a string.")
        return Condition("eq", name.lower(), value, _shown(["eq", f"${name}", value]))
    if not isinstance(said, list) or len(said) != 3 or not all(isinstance(each, str) for each in said):
        raise _invalid("Invalid Condition: it is neither an object nor a list of three texts.")
    operator, name, value = said
    if not name.startswith("$") or len(name) < 2:
        raise _invalid("Invalid Condition: the name of a field must begin with '$'.")
    known: tuple[Operator, ...] = ("eq", "starts-with")
    for each in known:
        if _is(operator, each):
            return Condition(each, name[1:].lower(), value, _shown(said))
    raise _invalid(f"Invalid Condition: unknown operation '{operator}'.")


def _range(said: list[object]) -> tuple[int, int]:
    sizes = [_size(each) for each in said[1:]]
    if len(sizes) != 2 or sizes[0] > sizes[1]:
        raise _invalid("Invalid content-length-range: it takes two sizes, the smaller one first.")
    return sizes[0], sizes[1]


def _size(said: object) -> int:
    text = str(said) if isinstance(said, int | str) and not isinstance(said, bool) else ""
    if not _NUMBER.fullmatch(text):
        raise _invalid("Invalid content-length-range: a size is not a number.")
    return int(text)


def _is(said: object, word: str) -> bool:
    return isinstance(said, str) and said.lower() == word


def _exempt(name: str) -> bool:
    return name in _EXEMPT or name.startswith(_EXEMPT_PREFIXES)


def _shown(condition: list[str]) -> str:
    return json.dumps(condition, ensure_ascii=False)


def _refused(why: str) -> S3Error:
    return S3Error("AccessDenied", f"Invalid according to Policy: {why}")


def _invalid(why: str) -> S3Error:
    return S3Error("InvalidPolicyDocument", f"Invalid Policy: {why}")
