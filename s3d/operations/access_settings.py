"""Owns the operations on what a bucket blocks of public access, and on who owns what is written to it."""

from typing import Final

from s3d.access.acl import decode_acl, private
from s3d.access.public_access import (
    OWNERSHIPS,
    Ownership,
    PublicAccessBlock,
    decode_block,
    encode_block,
)
from s3d.operations.bodies import read_document
from s3d.operations.call import Call
from s3d.operations.documents import document, element
from s3d.operations.orders import root_of
from s3d.operations.reply import Reply, no_content, xml_reply
from s3d.operations.settings import ACL, BLOCK, OWNERSHIP, keep
from s3d.protocol.errors import S3Error
from s3d.protocol.xml import Node

_BLOCKS: Final = {
    "BlockPublicAcls": "block_public_acls",
    "IgnorePublicAcls": "ignore_public_acls",
    "BlockPublicPolicy": "block_public_policy",
    "RestrictPublicBuckets": "restrict_public_buckets",
}
_BOOLEANS: Final = {"true": True, "false": False, "1": True, "0": False}


async def get_public_access_block(call: Call) -> Reply:
    """GetPublicAccessBlock."""
    raw = call.bucket.settings.get(BLOCK)
    if not raw:
        raise S3Error("NoSuchPublicAccessBlockConfiguration", BucketName=call.bucket.name)
    block = decode_block(raw)
    shown = (element(name, bool(getattr(block, field))) for name, field in _BLOCKS.items())
    return xml_reply(document("PublicAccessBlockConfiguration", *shown))


async def put_public_access_block(call: Call) -> Reply:
    """PutPublicAccessBlock: what is not named is off."""
    root = root_of(await read_document(call), "PublicAccessBlockConfiguration")
    found: dict[str, bool] = {}
    for node in root.children:
        value = _BOOLEANS.get(node.text.strip().lower())
        if node.name not in _BLOCKS or value is None:
            raise S3Error("MalformedXML")
        found[_BLOCKS[node.name]] = value
    await keep(call, BLOCK, encode_block(PublicAccessBlock(**found)))
    return Reply()


async def delete_public_access_block(call: Call) -> Reply:
    """DeletePublicAccessBlock, also where there is none."""
    await keep(call, BLOCK, None)
    return no_content()


async def get_ownership(call: Call) -> Reply:
    """GetBucketOwnershipControls."""
    said = call.bucket.settings.get(OWNERSHIP)
    if not said:
        raise S3Error("OwnershipControlsNotFoundError", BucketName=call.bucket.name)
    rule = f"<Rule>{element('ObjectOwnership', said.decode())}</Rule>"
    return xml_reply(document("OwnershipControls", rule))


async def put_ownership(call: Call) -> Reply:
    """PutBucketOwnershipControls. ACLs are put out of force only where they give nothing to others."""
    ownership = _ownership(root_of(await read_document(call), "OwnershipControls"))
    raw = call.bucket.settings.get(ACL)
    if ownership == "BucketOwnerEnforced" and raw and decode_acl(raw) != private(call.bucket.account):
        raise S3Error("InvalidBucketAclWithObjectOwnership")
    await keep(call, OWNERSHIP, ownership.encode())
    return Reply()


async def delete_ownership(call: Call) -> Reply:
    """DeleteBucketOwnershipControls, also where there are none."""
    await keep(call, OWNERSHIP, None)
    return no_content()


def _ownership(root: Node) -> Ownership:
    rules = [node for node in root.children if node.name == "Rule"]
    said = (rules[0].text_of("ObjectOwnership") or "").strip() if len(rules) == 1 else ""
    found = next((each for each in OWNERSHIPS if each == said), None)
    if found is None:
        raise S3Error("MalformedXML")
    return found
