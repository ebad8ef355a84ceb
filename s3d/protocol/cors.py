"""Owns the rules by which a browser may use a bucket from another origin, and what they answer; never who may do what.

Source: S3 user guide, "Elements of a CORS configuration"; the Fetch standard, "HTTP-network CORS protocol".
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec

from s3d.protocol.documents import root_of
from s3d.protocol.errors import S3Error
from s3d.protocol.xml import Node

RULES_MAX: Final = 100
ID_LENGTH_MAX: Final = 255
DOCUMENT_BYTES_MAX: Final = 65_536
METHODS: Final = ("GET", "PUT", "POST", "DELETE", "HEAD")
REQUEST_METHOD: Final = "access-control-request-method"
REQUEST_HEADERS: Final = "access-control-request-headers"

_AGE: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_VISIBLE: Final = re.compile(r"[!-~]{1,1024}", re.ASCII)


class Rule(msgspec.Struct, frozen=True):
    """One rule. `age_s`: how long a browser may remember the answer to a preflight; -1 where it is not said."""

    methods: tuple[str, ...]
    origins: tuple[str, ...]
    headers: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    age_s: int = -1
    name: str = ""


def read_rules(raw: bytes) -> tuple[Rule, ...]:
    """The rules of a CORSConfiguration. Raises MalformedXML, InvalidRequest."""
    if len(raw) > DOCUMENT_BYTES_MAX:
        raise S3Error("MalformedXML", "The CORS configuration is longer than 64 KiB.")
    root = root_of(raw, "CORSConfiguration")
    nodes = [node for node in root.children if node.name == "CORSRule"]
    if not 1 <= len(nodes) <= RULES_MAX:
        raise S3Error("MalformedXML")
    return tuple(map(_rule, nodes))


def _rule(node: Node) -> Rule:
    name, age = (node.text_of("ID") or "").strip(), (node.text_of("MaxAgeSeconds") or "").strip()
    if len(name) > ID_LENGTH_MAX or (age and not _AGE.fullmatch(age)):
        raise S3Error("MalformedXML")
    rule = Rule(
        _texts(node, "AllowedMethod"),
        _texts(node, "AllowedOrigin"),
        _texts(node, "AllowedHeader"),
        _texts(node, "ExposeHeader"),
        int(age) if age else -1,
        name,
    )
    if not rule.methods or not rule.origins:
        raise S3Error("MalformedXML")
    for method in rule.methods:
        if method not in METHODS:
            raise S3Error(
                "InvalidRequest",
                f"Found unsupported HTTP method in CORS config. Unsupported method is {method}",
            )
    for kind, texts in (("AllowedOrigin", rule.origins), ("AllowedHeader", rule.headers)):
        for text in texts:
            if text.count("*") > 1:
                raise S3Error("InvalidRequest", f'{kind} "{text}" can not have more than one wildcard.')
    for text in rule.exposed:
        if "*" in text:
            raise S3Error("InvalidRequest", f'ExposeHeader "{text}" contains wildcard.')
    return rule


def _texts(node: Node, name: str) -> tuple[str, ...]:
    texts = tuple(child.text.strip() for child in node.children if child.name == name)
    if not all(map(_VISIBLE.fullmatch, texts)):  # they go into headers of replies
        raise S3Error("MalformedXML")
    return texts


def encode_rules(rules: tuple[Rule, ...]) -> bytes:
    """The document that a bucket keeps."""
    return msgspec.json.encode(rules)


@lru_cache(maxsize=256)
def decode_rules(raw: bytes) -> tuple[Rule, ...]:
    """What encode_rules wrote."""
    return msgspec.json.decode(raw, type=tuple[Rule, ...])


def find_rule(rules: Sequence[Rule], origin: str, method: str, headers: Sequence[str] = ()) -> Rule | None:
    """The first rule that lets a script of `origin` send `method` with `headers`."""
    for rule in rules:
        if (
            method in rule.methods
            and any(_fits(pattern, origin) for pattern in rule.origins)
            and all(any(_fits(known.lower(), header) for known in rule.headers) for header in headers)
        ):
            return rule
    return None


def _fits(pattern: str, text: str) -> bool:
    before, star, after = pattern.partition("*")
    if not star:
        return pattern == text
    return len(text) >= len(before) + len(after) and text.startswith(before) and text.endswith(after)


def requested_headers(value: str) -> list[str]:
    """The names in Access-Control-Request-Headers, in lower case."""
    return [name.strip().lower() for name in value.split(",") if name.strip()]


def answer(rule: Rule, origin: str) -> list[tuple[str, str]]:
    """The headers that let a browser hand the reply to a script of `origin`.

    A rule for any origin is answered with the star, which browsers do not take where credentials are sent.
    """
    anyone = "*" in rule.origins
    headers = [
        ("Access-Control-Allow-Origin", "*" if anyone else origin),
        ("Access-Control-Allow-Methods", ", ".join(rule.methods)),
        ("Vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"),
    ]
    if not anyone:
        headers.append(("Access-Control-Allow-Credentials", "true"))
    if rule.exposed:
        headers.append(("Access-Control-Expose-Headers", ", ".join(rule.exposed)))
    if rule.age_s >= 0:
        headers.append(("Access-Control-Max-Age", str(rule.age_s)))
    return headers
