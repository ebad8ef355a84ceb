"""Owns the documents that say what a bucket blocks of public access, and who owns what is written to it."""

from typing import Final

from s3d.access.acl import decode_acl, private
from s3d.access.public_access import OWNERSHIPS, PublicAccessBlock, decode_block, encode_block
from s3d.metadata.rows import BucketRow
from s3d.operations.documents import document, element
from s3d.operations.reply import Reply, xml_reply
from s3d.operations.settings import ACL, BLOCK, OWNERSHIP
from s3d.operations.sub_resources import SubResource
from s3d.protocol.documents import root_of
from s3d.protocol.errors import S3Error

_BLOCKS: Final = {
    "BlockPublicAcls": "block_public_acls",
    "IgnorePublicAcls": "ignore_public_acls",
    "BlockPublicPolicy": "block_public_policy",
    "RestrictPublicBuckets": "restrict_public_buckets",
}
_BOOLEANS: Final = {"true": True, "false": False, "1": True, "0": False}


def _read_block(raw: bytes, _: BucketRow) -> bytes:
    """PublicAccessBlockConfiguration: what is not named is off."""
    found: dict[str, bool] = {}
    for node in root_of(raw, "PublicAccessBlockConfiguration").children:
        value = _BOOLEANS.get(node.text.strip().lower())
        if node.name not in _BLOCKS or value is None:
            raise S3Error("MalformedXML")
        found[_BLOCKS[node.name]] = value
    return encode_block(PublicAccessBlock(**found))


def _show_block(kept: bytes) -> Reply:
    block = decode_block(kept)
    shown = (element(name, bool(getattr(block, field))) for name, field in _BLOCKS.items())
    return xml_reply(document("PublicAccessBlockConfiguration", *shown))


def _read_ownership(raw: bytes, row: BucketRow) -> bytes:
    """OwnershipControls. ACLs are put out of force only where they give nothing to others."""
    root = root_of(raw, "OwnershipControls")
    rules = [node for node in root.children if node.name == "Rule"]
    said = (rules[0].text_of("ObjectOwnership") or "").strip() if len(rules) == 1 else ""
    if said not in OWNERSHIPS:
        raise S3Error("MalformedXML")
    acl = row.settings.get(ACL)
    if said == "BucketOwnerEnforced" and acl and decode_acl(acl) != private(row.account):
        raise S3Error("InvalidBucketAclWithObjectOwnership")
    return said.encode()


def _show_ownership(kept: bytes) -> Reply:
    rule = f"<Rule>{element('ObjectOwnership', kept.decode())}</Rule>"
    return xml_reply(document("OwnershipControls", rule))


PUBLIC_ACCESS: Final = SubResource(
    BLOCK, _read_block, _show_block, absent="NoSuchPublicAccessBlockConfiguration"
)
OWNERSHIP_CONTROLS: Final = SubResource(
    OWNERSHIP, _read_ownership, _show_ownership, absent="OwnershipControlsNotFoundError"
)
