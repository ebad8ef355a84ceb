"""Owns what "public" means, the four settings that block it, and who owns what is written to a bucket.

Source: S3 user guide, "Blocking public access to your Amazon S3 storage" and "Controlling ownership of objects".
"""

import ipaddress
from functools import lru_cache
from typing import Final, Literal

import msgspec

from s3d.access.conditions import Condition
from s3d.access.policy_language import Policy, Statement

Ownership = Literal["ObjectWriter", "BucketOwnerPreferred", "BucketOwnerEnforced"]
OWNERSHIPS: Final[tuple[Ownership, ...]] = ("ObjectWriter", "BucketOwnerPreferred", "BucketOwnerEnforced")

# What holds in a bucket that nobody said it of. S3 made "BucketOwnerEnforced" the default in 2023; programs older
# than that, and Ceph's conformance suite, expect ACLs to work in a new bucket, and with none set both mean the same.
OWNERSHIP_DEFAULT: Final[Ownership] = "ObjectWriter"

_BLOCKS_CACHED_MAX: Final = 256

# A statement for everyone is not public where it holds for a fixed value of one of these only.
_NARROWING_KEYS: Final = frozenset(
    (
        "aws:sourcearn",
        "aws:sourcevpc",
        "aws:sourcevpce",
        "aws:sourceowner",
        "aws:sourceaccount",
        "aws:sourceorgid",
        "aws:userid",
        "aws:username",
        "aws:principalorgid",
        "aws:principalorgpaths",
        "aws:principalarn",
        "aws:principalaccount",
        "aws:vpcsourceip",
        "s3:dataaccesspointarn",
        "s3:dataaccesspointaccount",
        "s3:x-amz-server-side-encryption-aws-kms-key-id",
    )
)
_FIXING_OPERATORS: Final = frozenset(
    ["stringequals", "stringequalsignorecase", "stringlike", "arnequals", "arnlike"]
)
_WIDEST_IPV4: Final = 8  # a network of more addresses than this many bits leave is the world
_WIDEST_IPV6: Final = 32


class PublicAccessBlock(msgspec.Struct, frozen=True):
    """PublicAccessBlockConfiguration."""

    block_public_acls: bool = False
    ignore_public_acls: bool = False
    block_public_policy: bool = False
    restrict_public_buckets: bool = False


NO_BLOCK: Final = PublicAccessBlock()
_encoder = msgspec.json.Encoder()
_decoder: "msgspec.json.Decoder[PublicAccessBlock]" = msgspec.json.Decoder(PublicAccessBlock)


def encode_block(block: PublicAccessBlock) -> bytes:
    """The bytes that the four settings are kept as."""
    return _encoder.encode(block)


@lru_cache(maxsize=_BLOCKS_CACHED_MAX)
def decode_block(raw: bytes) -> PublicAccessBlock:
    """The settings that encode_block wrote."""
    return _decoder.decode(raw)


def is_public(policy: Policy) -> bool:
    """Whether a bucket's policy allows something to everyone, wherever they are."""
    return any(_public(statement) for statement in policy.statements)


def _public(statement: Statement) -> bool:
    if not statement.allows or not statement.principals.everyone:
        return False
    return not any(_narrows(condition) for condition in statement.conditions)


def _narrows(condition: Condition) -> bool:
    """Whether a condition keeps the world out: it names fixed values, and must hold even where nothing is said."""
    if condition.if_exists or condition.quantifier == "forallvalues":
        return False
    if condition.operator == "ipaddress" and condition.key == "aws:sourceip":
        return all(map(_narrow_network, condition.values))
    return (
        condition.operator in _FIXING_OPERATORS
        and condition.key in _NARROWING_KEYS
        and not any(sign in value for value in condition.values for sign in ("*", "?", "${"))
    )


def _narrow_network(text: str) -> bool:
    network = ipaddress.ip_network(text, strict=False)
    return network.prefixlen >= (_WIDEST_IPV4 if network.version == 4 else _WIDEST_IPV6)
