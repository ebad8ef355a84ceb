"""Owns the decision whether somebody may do something: one pure evaluator, and what it does not allow is denied.

A key's own policy of [[auth]], the policy of a bucket, ACLs, what blocks public access, and `public` of cluster.toml
meet here and nowhere else. Source: S3 user guide, "How Amazon S3 authorizes a request for an object operation".
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

from s3d.access.acl import Acl, Permission, allows, private
from s3d.access.conditions import Values
from s3d.access.policy_language import NOTHING, Identity, Policy, Statement, Verdict, judge
from s3d.access.public_access import NO_BLOCK, OWNERSHIP_DEFAULT, Ownership, PublicAccessBlock, is_public

GRANTS_CACHED_MAX: Final = 16_384

# What anybody may do with a public bucket (feature B12): read objects, see that it is there and list it.
PUBLIC_ACTIONS: Final = frozenset(("s3:GetObject", "s3:ListBucket"))

# An owner who locked itself out by a policy can still take the policy away.
_POLICY_ACTIONS: Final = frozenset(("s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"))

# S3 user guide, "Mapping of ACL permissions and access policy permissions".
_BUCKET_PERMISSIONS: Final[dict[str, Permission]] = {
    "s3:ListBucket": "READ",
    "s3:ListBucketVersions": "READ",
    "s3:ListBucketMultipartUploads": "READ",
    "s3:PutObject": "WRITE",
    "s3:DeleteObject": "WRITE",
    "s3:AbortMultipartUpload": "WRITE",
    "s3:ListMultipartUploadParts": "WRITE",
    "s3:GetBucketAcl": "READ_ACP",
    "s3:PutBucketAcl": "WRITE_ACP",
}
_OBJECT_PERMISSIONS: Final[dict[str, Permission]] = {
    "s3:GetObject": "READ",
    "s3:GetObjectVersion": "READ",
    "s3:GetObjectAttributes": "READ",
    "s3:GetObjectVersionAttributes": "READ",
    "s3:GetObjectTorrent": "READ",
    "s3:GetObjectAcl": "READ_ACP",
    "s3:GetObjectVersionAcl": "READ_ACP",
    "s3:PutObjectAcl": "WRITE_ACP",
    "s3:PutObjectVersionAcl": "WRITE_ACP",
}


@dataclass(frozen=True, slots=True)
class Grant:
    """Allow `actions` on buckets: patterns both, in which "*" is any text and "?" any sign."""

    bucket: str
    actions: tuple[str, ...]


class Grantee(Hashable, Protocol):
    """What the evaluator needs to know of a principal: how policies name it, and its own policy."""

    @property
    def identity(self) -> Identity: ...
    @property
    def statements(self) -> tuple[Statement, ...]: ...


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What is known of an object that is acted on; without an ACL it is its owner's alone."""

    owner: str
    acl: Acl | None = None


@dataclass(frozen=True, slots=True)
class Resource:
    """What is acted on. `bucket` "" is the service; `owner` "" is nobody: a bucket that does not exist (yet)."""

    bucket: str = ""
    owner: str = ""
    public: bool = False
    key: str = ""
    policy: Policy | None = None
    acl: Acl | None = None
    ownership: Ownership = OWNERSHIP_DEFAULT
    block: PublicAccessBlock = NO_BLOCK
    stored: StoredObject | None = None

    @property
    def name(self) -> str:
        """As resources are called in policies, without what all have before it."""
        return f"{self.bucket}/{self.key}" if self.key else self.bucket


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether it is allowed, and the reason, for the log. `explicit`: a policy denies it in so many words."""

    allowed: bool
    reason: str
    explicit: bool = False


GRANTED: Final = Decision(True, "a grant of the key")
_PUBLIC: Final = Decision(True, "the bucket is public")
_POLICY: Final = Decision(True, "the bucket's policy")
_ACL: Final = Decision(True, "an access control list")
_ANONYMOUS: Final = Decision(False, "nobody is signed in")
_FOREIGN: Final = Decision(False, "it is another account's")
_NO_GRANT: Final = Decision(False, "no grant of the key")
_DENIED: Final = Decision(False, "the bucket's policy denies it", explicit=True)
_NOBODY: Final = Identity()


def silent(_key: str) -> None:
    """What is said of any key by a request that no condition can be about."""
    return


def statements_of(grants: Iterable[Grant]) -> tuple[Statement, ...]:
    """The policy of a key in the language of all policies."""
    return tuple(
        Statement(
            allows=True, actions=tuple(action.lower() for action in grant.actions), buckets=(grant.bucket,)
        )
        for grant in grants
    )


@lru_cache(maxsize=GRANTS_CACHED_MAX)
def granted(principal: Grantee, action: str, bucket: str) -> bool:
    """Whether the own policy of a key allows `action` on a bucket and what is in it: half of every decision.

    It has no conditions, so that what was decided once stays so for as long as the principal is the same.
    """
    return judge(principal.statements, action, bucket, principal.identity, silent).allows


def evaluate(
    principal: Grantee | None, action: str, resource: Resource, *, said: Values = silent
) -> Decision:
    """May `principal` (None: anonymous) do `action`, as "s3:GetObject", on `resource`?

    An explicit denial ends it. The owner's keys need a grant of their own. Everybody else needs the bucket's policy
    or an ACL to let them in, and with a key a grant of their own too; in a public bucket reading needs nothing.
    """
    who = principal.identity if principal is not None else _NOBODY
    own = principal is not None and granted(principal, action, resource.bucket)
    if not resource.owner:
        return GRANTED if own else _ANONYMOUS if principal is None else _NO_GRANT
    verdict = _verdict(action, resource, who, said)
    owner = bool(who.account) and who.account == resource.owner
    if verdict.denies:
        return GRANTED if owner and own and action in _POLICY_ACTIONS else _DENIED
    if own and who.account == _holder(action, resource):
        return GRANTED
    if _policy_admits(verdict, action, resource, owner=owner, own=own or principal is None):
        return _POLICY
    if (own or principal is None) and _acl_admits(action, resource, who.account):
        return _ACL
    if resource.public and action in PUBLIC_ACTIONS and resource.block == NO_BLOCK:
        return _PUBLIC
    return _ANONYMOUS if principal is None else _FOREIGN if not owner else _NO_GRANT


def _verdict(action: str, resource: Resource, who: Identity, said: Values) -> Verdict:
    if resource.policy is None:
        return NOTHING
    return judge(resource.policy.statements, action, resource.name, who, said)


def _holder(action: str, resource: Resource) -> str:
    """The account that an action is up to: the bucket's, but for what is in an object that another account wrote."""
    stored = resource.stored
    if stored is None or resource.ownership == "BucketOwnerEnforced" or action not in _OBJECT_PERMISSIONS:
        return resource.owner
    return stored.owner


def _policy_admits(verdict: Verdict, action: str, resource: Resource, *, owner: bool, own: bool) -> bool:
    """Whether what the policy allows holds: it speaks for what the bucket's account owns, and strangers can be out.

    Within the account a policy that names the key is enough; one that names the account leaves it to the key's own.
    """
    if not (verdict.allows or verdict.delegates) or _holder(action, resource) != resource.owner:
        return False
    if owner:
        return verdict.allows
    assert resource.policy is not None, "a verdict comes of a policy"
    return own and not (resource.block.restrict_public_buckets and is_public(resource.policy))


def _acl_admits(action: str, resource: Resource, account: str) -> bool:
    if resource.ownership == "BucketOwnerEnforced":
        return False
    permission = _OBJECT_PERMISSIONS.get(action)
    if permission is None:
        permission, acl = _BUCKET_PERMISSIONS.get(action), resource.acl
    elif resource.stored is None:
        return False
    else:
        acl = resource.stored.acl or private(resource.stored.owner)
    if permission is None or acl is None:
        return False
    return allows(acl, permission, account, ignore_public=resource.block.ignore_public_acls)
