"""What is public: a policy for everyone, unless a condition that no stranger meets keeps the world out."""

import json

import pytest

from s3d.access.policy_language import parse_policy
from s3d.access.public_access import PublicAccessBlock, decode_block, encode_block, is_public

FIXED = {"StringEquals": {"aws:SourceVpc": "vpc-1"}}


@pytest.mark.parametrize(
    ("fields", "public"),
    [
        ({}, True),
        ({"Principal": {"AWS": "*"}}, True),
        ({"Principal": {"AWS": ["111111111111", "*"]}}, True),
        ({"Principal": {"AWS": "111111111111"}}, False),
        ({"Effect": "Deny"}, False),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/32"}}}, False),
        ({"Condition": {"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "2001:db8::/32"]}}}, False),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}}, True),
        ({"Condition": {"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "0.0.0.0/1"]}}}, True),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "::/0"}}}, True),
        ({"Condition": {"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}, True),
        ({"Condition": {"IpAddressIfExists": {"aws:SourceIp": "10.0.0.0/8"}}}, True),
        ({"Condition": FIXED}, False),
        ({"Condition": {"StringEqualsIfExists": {"aws:SourceVpc": "vpc-1"}}}, True),
        ({"Condition": {"ForAllValues:StringEquals": {"aws:SourceVpc": "vpc-1"}}}, True),
        ({"Condition": {"StringNotEquals": {"aws:SourceVpc": "vpc-1"}}}, True),
        ({"Condition": {"StringLike": {"aws:SourceVpc": "vpc-*"}}}, True),
        ({"Condition": {"StringLike": {"aws:Referer": "http://example.com"}}}, True),
        ({"Condition": {"StringEquals": {"s3:prefix": "a"}}}, True),
    ],
)
def test_policies(fields: dict[str, object], public: bool) -> None:
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "*"} | fields
    raw = json.dumps({"Statement": [statement]}).encode()
    assert is_public(parse_policy(raw, "photos")) is public


def test_one_public_statement_is_enough() -> None:
    narrow = {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*", "Condition": FIXED}
    wide = {"Effect": "Allow", "Principal": "*", "Action": "s3:ListBucket", "Resource": "*"}
    assert not is_public(parse_policy(json.dumps({"Statement": narrow}).encode(), "photos"))
    assert is_public(parse_policy(json.dumps({"Statement": [narrow, wide]}).encode(), "photos"))


def test_the_bytes_that_a_block_is_kept_as() -> None:
    block = PublicAccessBlock(ignore_public_acls=True, restrict_public_buckets=True)
    assert decode_block(encode_block(block)) == block
    assert decode_block(b'{"ignore_public_acls":true,"restrict_public_buckets":true}') == block
