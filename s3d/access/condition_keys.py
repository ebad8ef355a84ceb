"""Owns the names that conditions of policies may ask for; never what a request says of one.

Source: IAM user guide, "AWS global condition context keys"; service authorization reference, "Amazon S3".
"""

from typing import Final

# A policy that asks for anything else is refused: a Deny under a key that no request ever has would look like a lock
# and be none. Keys of AWS's networks, organisations and federation are known, and never said: as there, a request
# from outside of them lacks them.
GLOBAL_KEYS: Final = frozenset(
    (
        "aws:currenttime",
        "aws:epochtime",
        "aws:securetransport",
        "aws:sourceip",
        "aws:useragent",
        "aws:referer",
        "aws:username",
        "aws:userid",
        "aws:principaltype",
        "aws:principalaccount",
        "aws:principalarn",
        "aws:principalisawsservice",
        "aws:requestedregion",
        "aws:resourceaccount",
        "aws:viaawsservice",
        "aws:sourcevpc",
        "aws:sourcevpce",
        "aws:vpcsourceip",
        "aws:sourcearn",
        "aws:sourceaccount",
        "aws:sourceowner",
        "aws:sourceorgid",
        "aws:sourceorgpaths",
        "aws:principalorgid",
        "aws:principalorgpaths",
        "aws:principalservicename",
        "aws:principalservicenameslist",
        "aws:federatedprovider",
        "aws:resourceorgid",
        "aws:resourceorgpaths",
        "aws:multifactorauthpresent",
        "aws:multifactorauthage",
        "aws:tokenissuetime",
        "aws:calledvia",
        "aws:calledviafirst",
        "aws:calledvialast",
        "aws:ec2instancesourcevpc",
        "aws:ec2instancesourceprivateipv4",
        "aws:tagkeys",
    )
)
S3_KEYS: Final = frozenset(
    (
        "s3:prefix",
        "s3:delimiter",
        "s3:max-keys",
        "s3:versionid",
        "s3:authtype",
        "s3:signatureversion",
        "s3:signatureage",
        "s3:tlsversion",
        "s3:locationconstraint",
        "s3:resourceaccount",
        "s3:x-amz-acl",
        "s3:x-amz-content-sha256",
        "s3:x-amz-copy-source",
        "s3:x-amz-metadata-directive",
        "s3:x-amz-server-side-encryption",
        "s3:x-amz-server-side-encryption-aws-kms-key-id",
        "s3:x-amz-server-side-encryption-customer-algorithm",
        "s3:x-amz-storage-class",
        "s3:x-amz-website-redirect-location",
        "s3:x-amz-object-ownership",
        "s3:x-amz-grant-full-control",
        "s3:x-amz-grant-read",
        "s3:x-amz-grant-read-acp",
        "s3:x-amz-grant-write",
        "s3:x-amz-grant-write-acp",
        "s3:object-lock-mode",
        "s3:object-lock-legal-hold",
        "s3:object-lock-retain-until-date",
        "s3:object-lock-remaining-retention-days",
        "s3:requestobjecttagkeys",
        "s3:if-match",
        "s3:if-none-match",
        "s3:objectcreationoperation",
        "s3:dataaccesspointarn",
        "s3:dataaccesspointaccount",
        "s3:accesspointnetworkorigin",
        "s3:inventoryaccessibleoptionalfields",
    )
)
KEY_FAMILIES: Final = (
    "s3:existingobjecttag/",
    "s3:requestobjecttag/",
    "aws:principaltag/",
    "aws:requesttag/",
    "aws:resourcetag/",
)


def is_known(key: str) -> bool:
    """Whether conditions may ask for `key`; names are the same in any case."""
    lower = key.lower()
    return (
        lower in S3_KEYS
        or lower in GLOBAL_KEYS
        or any(lower.startswith(family) and lower != family for family in KEY_FAMILIES)
    )
