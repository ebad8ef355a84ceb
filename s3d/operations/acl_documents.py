"""Owns ACLs as requests state them, in headers and in XML, and as replies show them; never who may set one.

Source: S3 API reference, PutBucketAcl and GetBucketAcl.
"""

import re
from collections.abc import Mapping
from typing import Final

from s3d.access.accounts import Accounts
from s3d.access.acl import GRANTS_MAX, GROUPS, PERMISSIONS, Acl, AclGrant, Permission, canned, ordered
from s3d.operations.documents import document, element, owner
from s3d.protocol.documents import root_of
from s3d.protocol.errors import S3Error
from s3d.protocol.xml import Node

CANNED_HEADER: Final = "x-amz-acl"
GRANT_HEADERS: Final[Mapping[str, Permission]] = {
    f"x-amz-grant-{permission.lower().replace('_', '-')}": permission for permission in PERMISSIONS
}

_GRANTEE: Final = re.compile(r'\s*(id|uri|emailAddress)\s*=\s*(?:"([^"]*)"|([^",\s]+))\s*(?:,|$)', re.ASCII)
_XSI: Final = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


def acl_in_headers(
    headers: Mapping[str, str], accounts: Accounts, *, owner: str, bucket_owner: str
) -> Acl | None:
    """The ACL that a request's headers ask for; None where they ask for none.

    Raises InvalidArgument, InvalidRequest (a canned one and grants), UnresolvableGrantByEmailAddress.
    """
    name = headers.get(CANNED_HEADER)
    named = [each for each in GRANT_HEADERS if each in headers]
    if name is None:
        if not named:
            return None
        grants = [
            AclGrant(grantee, GRANT_HEADERS[each])
            for each in named
            for grantee in _grantees(headers[each], accounts)
        ]
        return _limited(grants)
    if named:
        raise S3Error(
            "InvalidRequest", "Specifying both Canned ACLs and Header Grants is not allowed", Header=named[0]
        )
    acl = canned(name, owner=owner, bucket_owner=bucket_owner)
    if acl is None:
        raise S3Error("InvalidArgument", ArgumentName=CANNED_HEADER, ArgumentValue=name)
    return acl


def _grantees(header: str, accounts: Accounts) -> list[str]:
    """The grantees of one header: `id="...", uri="...", emailAddress="..."`."""
    found, at = [], 0
    while at < len(header):
        match = _GRANTEE.match(header, at)
        if match is None:
            raise S3Error("InvalidArgument", "Argument format not recognized", ArgumentValue=header[:256])
        kind, quoted, bare = match.groups()
        found.append(_grantee(kind, quoted if quoted is not None else bare, accounts))
        at = match.end()
    return found


def _grantee(kind: str, name: str, accounts: Accounts) -> str:
    """What an ACL knows a grantee by: the number of an account, or the URI of a group."""
    if kind == "uri":
        if name not in GROUPS:
            raise S3Error("InvalidArgument", "Invalid group uri", ArgumentName="uri", ArgumentValue=name)
        return name
    if kind == "emailAddress":
        account = accounts.account_of_email(name)
        if account is None:
            raise S3Error("UnresolvableGrantByEmailAddress")
        return account
    if not accounts.has_account(name):
        raise S3Error("InvalidArgument", "Invalid id", ArgumentName="CanonicalUser/ID", ArgumentValue=name)
    return name


def read_acl(raw: bytes, accounts: Accounts, *, owner: str) -> Acl:
    """The ACL that an AccessControlPolicy says, of what `owner` owns.

    Raises MalformedACLError, AccessDenied (an ACL gives nothing to another owner), and those of grantees.
    """
    root = root_of(raw, "AccessControlPolicy", fault="MalformedACLError")
    said, listed = root.find("Owner"), root.find("AccessControlList")
    if said is None or listed is None:
        raise S3Error("MalformedACLError")
    if (said.text_of("ID") or "").strip() != owner:
        raise S3Error("AccessDenied")
    return _limited([_grant(node, accounts) for node in listed.children if node.name == "Grant"])


def _grant(node: Node, accounts: Accounts) -> AclGrant:
    grantee, wanted = node.find("Grantee"), (node.text_of("Permission") or "").strip()
    permission = next((each for each in PERMISSIONS if each == wanted), None)
    if grantee is None or permission is None:
        raise S3Error("MalformedACLError")
    for tag, kind in (("ID", "id"), ("EmailAddress", "emailAddress"), ("URI", "uri")):
        name = (grantee.text_of(tag) or "").strip()
        if name:
            return AclGrant(_grantee(kind, name, accounts), permission)
    raise S3Error("MalformedACLError")


def _limited(grants: list[AclGrant]) -> Acl:
    if len(grants) > GRANTS_MAX:
        raise S3Error("MalformedACLError", f"An ACL has at most {GRANTS_MAX} grants.")
    return ordered(grants)


def write_acl(acl: Acl, accounts: Accounts, *, owner_account: str) -> bytes:
    """AccessControlPolicy."""
    grants = "".join(_shown(grant, accounts) for grant in acl.grants)
    return document(
        "AccessControlPolicy",
        owner(owner_account, accounts.owner_name(owner_account)),
        f"<AccessControlList>{grants}</AccessControlList>",
    )


def _shown(grant: AclGrant, accounts: Accounts) -> str:
    if grant.grantee in GROUPS:
        who = f'<Grantee {_XSI} xsi:type="Group">{element("URI", grant.grantee)}</Grantee>'
    else:
        name = accounts.owner_name(grant.grantee)
        who = (
            f'<Grantee {_XSI} xsi:type="CanonicalUser">{element("ID", grant.grantee)}'
            f"{element('DisplayName', name)}</Grantee>"
        )
    return f"<Grant>{who}{element('Permission', grant.permission)}</Grant>"
