"""Owns the decision whether somebody may do something: one pure evaluator, and what it does not allow is denied."""

import fnmatch
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

PATTERNS_CACHED_MAX: Final = 4_096

# What anybody may do with a public bucket (feature B12): read objects, see that it is there and list it.
PUBLIC_ACTIONS: Final = frozenset(("s3:GetObject", "s3:ListBucket"))


@dataclass(frozen=True, slots=True)
class Grant:
    """Allow `actions` on buckets: patterns both, in which "*" is any text and "?" any sign."""

    bucket: str
    actions: tuple[str, ...]


class Grantee(Protocol):
    """What the evaluator needs to know of a principal."""

    @property
    def account(self) -> str: ...
    @property
    def grants(self) -> tuple[Grant, ...]: ...


@dataclass(frozen=True, slots=True)
class Resource:
    """What is acted on. `bucket` "" is the service; `owner` "" is nobody: a bucket that does not exist (yet)."""

    bucket: str = ""
    owner: str = ""
    public: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether it is allowed, and the reason, for the log."""

    allowed: bool
    reason: str


_PUBLIC: Final = Decision(True, "the bucket is public")
_GRANTED: Final = Decision(True, "a grant of the key")
_ANONYMOUS: Final = Decision(False, "nobody is signed in")
_FOREIGN: Final = Decision(False, "the bucket is another account's")
_NO_GRANT: Final = Decision(False, "no grant of the key")


def evaluate(principal: Grantee | None, action: str, resource: Resource) -> Decision:
    """May `principal` (None: anonymous) do `action`, as "s3:GetObject", on `resource`?

    Everybody may read a public bucket. Beyond that a grant of the key's own policy is needed, and the bucket must be
    its account's, or not exist.
    """
    if resource.public and action in PUBLIC_ACTIONS:
        return _PUBLIC
    if principal is None:
        return _ANONYMOUS
    if resource.owner and resource.owner != principal.account:
        return _FOREIGN
    granted = any(
        fits(grant.bucket, resource.bucket) and any(fits(pattern, action) for pattern in grant.actions)
        for grant in principal.grants
    )
    return _GRANTED if granted else _NO_GRANT


def fits(pattern: str, text: str) -> bool:
    """Whether `text` fits `pattern`, all of it, case and all."""
    return pattern == "*" or pattern == text or _compiled(pattern).fullmatch(text) is not None


@lru_cache(maxsize=PATTERNS_CACHED_MAX)
def _compiled(pattern: str) -> re.Pattern[str]:
    """The shell's patterns without its brackets; fnmatch writes expressions that never backtrack over a star."""
    return re.compile(fnmatch.translate(pattern.replace("[", "[[]")))
