"""Owns the patterns of policies: "*" is any text, "?" any sign, "${name}" what a request says; never their meaning."""

import fnmatch
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

PATTERNS_CACHED_MAX: Final = 1_024  # of up to 2 KiB each, which compile to ten times that

# "${*}", "${?}" and "${$}" are those signs themselves (IAM user guide, "Policy variables").
_LITERALS: Final = {"${*}": "[*]", "${?}": "[?]", "${$}": "$"}
_SIGN: Final = re.compile(r"\$\{([*?$])\}")
_TOKEN: Final = re.compile(r"\$\{[*?$]\}|\[")
_VARIABLE: Final = re.compile(r"\$\{([^}*?$,]{1,256})(?:, *'([^']{0,256})')?\}")
_WILD: Final = re.compile(r"[*?$]")


def fits(pattern: str, text: str) -> bool:
    """Whether `text` fits `pattern`, all of it, case and all."""
    return pattern == "*" or pattern == text or _compiled(pattern).fullmatch(text) is not None


def expand(pattern: str, value_of: Callable[[str], str | None]) -> str | None:
    """`pattern` with its variables filled in, so that what a request says is never wild; None where one has no value.

    Source: IAM user guide, "IAM policy elements: Variables and tags".
    """
    if "${" not in pattern:
        return pattern
    missing = False

    def filled(found: re.Match[str]) -> str:
        nonlocal missing
        value = value_of(found.group(1))
        if value is None:
            value = found.group(2)
        if value is None:
            missing = True
            return ""
        return _WILD.sub(lambda sign: f"${{{sign.group()}}}", value)

    expanded = _VARIABLE.sub(filled, pattern)
    return None if missing else expanded


def literal(text: str) -> str:
    """`text` where no sign is wild: only the variables for single signs mean another."""
    return _SIGN.sub(r"\1", text) if "${" in text else text


@lru_cache(maxsize=PATTERNS_CACHED_MAX)
def _compiled(pattern: str) -> re.Pattern[str]:
    """The shell's patterns without its brackets; fnmatch writes expressions that never backtrack over a star."""
    return re.compile(fnmatch.translate(_TOKEN.sub(_literal, pattern)))


def _literal(found: re.Match[str]) -> str:
    return _LITERALS.get(found.group(), "[[]")
