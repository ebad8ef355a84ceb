"""Owns the step before every operation: may this caller do it, and on which bucket; never how the caller is known."""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from s3d.access.audit import Entry
from s3d.access.policy import GRANTED, Decision, Resource, evaluate, granted
from s3d.metadata.commands import CreateBucket
from s3d.metadata.rows import BucketRow, VersionRow
from s3d.metadata.view import View
from s3d.operations.call import FOUND_NOTHING, NOT_JUDGED, Call
from s3d.operations.settings import ACL, DECIDING, POLICY, resource_of
from s3d.protocol.errors import S3Error

_MAKE_THEIR_BUCKET: Final = ("PutObject", "CopyObject", "CreateMultipartUpload")

# A request that names a version takes another permission.
_OF_VERSIONS: Final[Mapping[str, str]] = {
    "s3:GetObject": "s3:GetObjectVersion",
    "s3:DeleteObject": "s3:DeleteObjectVersion",
    "s3:GetObjectAcl": "s3:GetObjectVersionAcl",
    "s3:PutObjectAcl": "s3:PutObjectVersionAcl",
    "s3:GetObjectTagging": "s3:GetObjectVersionTagging",
    "s3:PutObjectTagging": "s3:PutObjectVersionTagging",
    "s3:DeleteObjectTagging": "s3:DeleteObjectVersionTagging",
    "s3:GetObjectAttributes": "s3:GetObjectVersionAttributes",
}

# What is decided about a key, whatever is stored under it; everything else on a key is about the object there.
_ABOUT_KEYS: Final = frozenset(
    (
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:DeleteObjectVersion",
        "s3:AbortMultipartUpload",
        "s3:ListMultipartUploadParts",
    )
)

# Headers of a write that do more than write: whoever sends them needs the permission for that too.
_FURTHER: Final[Mapping[str, Mapping[str, str]]] = {
    "s3:PutObject": {
        "x-amz-acl": "s3:PutObjectAcl",
        "x-amz-grant-read": "s3:PutObjectAcl",
        "x-amz-grant-write": "s3:PutObjectAcl",
        "x-amz-grant-read-acp": "s3:PutObjectAcl",
        "x-amz-grant-write-acp": "s3:PutObjectAcl",
        "x-amz-grant-full-control": "s3:PutObjectAcl",
        "x-amz-tagging": "s3:PutObjectTagging",
        "x-amz-object-lock-mode": "s3:PutObjectRetention",
        "x-amz-object-lock-retain-until-date": "s3:PutObjectRetention",
        "x-amz-object-lock-legal-hold": "s3:PutObjectLegalHold",
    },
    "s3:CreateBucket": {
        "x-amz-acl": "s3:PutBucketAcl",
        "x-amz-grant-read": "s3:PutBucketAcl",
        "x-amz-grant-write": "s3:PutBucketAcl",
        "x-amz-grant-read-acp": "s3:PutBucketAcl",
        "x-amz-grant-write-acp": "s3:PutBucketAcl",
        "x-amz-grant-full-control": "s3:PutBucketAcl",
        "x-amz-object-ownership": "s3:PutBucketOwnershipControls",
        "x-amz-bucket-object-lock-enabled": "s3:PutBucketObjectLockConfiguration",
    },
}
_NO_TAGS: Final[Mapping[str, str]] = {}
_FURTHER_DENIED: Final = Decision(False, "a header of the request takes a grant that the key has not")
_BY_KEY: Final = Decision(True, "each key is decided on its own")
_ABSENT: Final = Decision(False, "there is no such bucket")
_UNLISTED: Final = Decision(False, "nothing is there, and who may not list may not know")


class Named(NamedTuple):
    """A key ("": the bucket itself), and which version of it ("": the live one)."""

    key: str
    version_id: str


def authorise(call: Call) -> None:
    """Let `call` pass, with the bucket that it names. Raises AccessDenied, NoSuchBucket.

    A key that could not do it in any bucket of that name learns nothing of the bucket.
    """
    operation, target = call.operation, call.request.target
    name, at = target.bucket, Named(target.key, target.query.get("versionId", ""))
    action = action_on(operation.permission, at.version_id)
    if operation.scope == "service" or operation.name == "CreateBucket":
        decision = evaluate(call.principal, action, Resource(name))
        _conclude(call, action, name, "", _with_further(call, action, name, decision))
        return
    with call.store.state.view() as view:
        row = _bucket(call, view, action=action, name=name, key=at.key)
        if operation.name == "DeleteObjects" and settles_by_key(row):
            decision = _BY_KEY
        else:
            decision = decide(call, view, action=action, row=row, at=at)
    call.row = row
    _conclude(call, action, name, at.key, _with_further(call, action, name, decision))


def authorise_source(call: Call, name: str, key: str, version_id: str) -> BucketRow:
    """The bucket of an object that `call` copies, if its caller may read it. Raises AccessDenied, NoSuchBucket."""
    action = action_on("s3:GetObject", version_id)
    with call.store.state.view() as view:
        row = _bucket(call, view, action=action, name=name, key=key)
        decision = decide(call, view, action=action, row=row, at=Named(key, version_id))
    _conclude(call, action, name, key, decision)
    return row


def authorise_too(call: Call, view: View, permission: str) -> None:
    """Hold `call` against a second permission on the object that it names. Raises AccessDenied."""
    row, target = call.bucket, call.request.target
    at = Named(target.key, target.query.get("versionId", ""))
    action = action_on(permission, at.version_id)
    _conclude(call, action, row.name, at.key, decide(call, view, action=action, row=row, at=at))


def permits(call: Call, permission: str, key: str, version_id: str = "") -> bool:
    """May the caller do what takes `permission` on a key of the call's bucket that its document names?"""
    return permits_each(call, permission, (Named(key, version_id),))[0]


def permits_each(call: Call, permission: str, named: Iterable[Named]) -> list[bool]:
    """`permits` for many keys, all of them as they are at one moment."""
    answers = []
    with call.store.state.view() as view:
        for at in named:
            action = action_on(permission, at.version_id)
            decision = decide(call, view, action=action, row=call.bucket, at=at)
            record(call, action, call.bucket.name, at.key, decision)
            answers.append(decision.allowed)
    return answers


def _bucket(call: Call, view: View, *, action: str, name: str, key: str) -> BucketRow:
    """The bucket of that name. Where there is none, a key that could do nothing in it is only told that."""
    row = view.bucket(name)
    if row is None:
        if call.principal is not None and not granted(call.principal, action, name):
            _conclude(call, action, name, key, evaluate(call.principal, action, Resource(name)))
        record(call, action, name, key, _ABSENT)
        raise S3Error("NoSuchBucket", BucketName=name)
    return row


async def make_missing(call: Call) -> bool:
    """Make the bucket of a PUT that found none, where `[gateway] auto_create_buckets` and the key's policy say so."""
    store, name = call.store, call.request.target.bucket
    wanted = store.cluster.gateway.auto_create_buckets and call.operation.name in _MAKE_THEIR_BUCKET
    if call.principal is None or not wanted:
        return False
    decision = evaluate(call.principal, "s3:CreateBucket", Resource(name))
    record(call, "s3:CreateBucket", name, "", decision)
    if not decision.allowed:
        return False
    command = CreateBucket(store.write_id(call.now_us), call.now_us, bucket=name, account=call.account)
    return (await store.apply(command)).error in ("", "BucketAlreadyOwnedByYou")


def action_on(permission: str, version_id: str) -> str:
    """The action that policies know a permission by, where a version may be named."""
    return _OF_VERSIONS.get(permission, permission) if version_id else permission


def settles_by_key(row: BucketRow) -> bool:
    """Whether documents of the bucket may tell one key from another, so that each is decided when it is met."""
    return bool(row.settings.get(POLICY) or row.settings.get(ACL))


def decide(call: Call, view: View, *, action: str, row: BucketRow, at: Named) -> Decision:
    """May the caller do `action` on a bucket, or on what is at `at` in it?

    The owner's keys in a bucket without documents are what most requests are: they need no look at the object.
    """
    principal, key = call.principal, at.key
    if (
        principal is not None
        and principal.account == row.account
        and DECIDING.isdisjoint(row.settings)
        and granted(principal, action, row.name)
    ):
        return GRANTED
    if not key or action in _ABOUT_KEYS:
        return judge(call, action, row, key)
    version = view.find(row.incarnation, key.encode(), at.version_id)
    call.judged = FOUND_NOTHING if version is None else version.sequence
    if version is not None:
        return judge(call, action, row, key, version=version)
    decision = judge(call, action, row, key)
    if decision.explicit:
        return decision
    return GRANTED if may_list(call, row, key) else _UNLISTED


def check_tags(call: Call, version: VersionRow, tags: Mapping[str, str]) -> None:
    """Decide on new tags too, which stand in the document of a request. Raises AccessDenied."""
    target, row = call.request.target, call.bucket
    action = action_on(call.operation.permission, target.query.get("versionId", ""))
    said = call.facts.about(owner=row.account, tags=version.attributes.tags, new_tags=tags)
    decision = evaluate(call.principal, action, resource_of(row, target.key, version), said=said)
    _conclude(call, action, row.name, target.key, decision)


def check_judged(call: Call, version: VersionRow, *, row: BucketRow, at: Named) -> None:
    """Decide again where what is about to be read is not what was decided on: it was just written. AccessDenied."""
    if call.judged in (NOT_JUDGED, version.sequence):
        return
    source = (row, at.key) != (call.row, call.request.target.key)
    action = action_on("s3:GetObject" if source else call.operation.permission, at.version_id)
    decision = judge(call, action, row, at.key, version=version)
    _conclude(call, action, row.name, at.key, decision)


def judge(
    call: Call, action: str, row: BucketRow, key: str, *, version: VersionRow | None = None
) -> Decision:
    """May the caller do `action` on `key` of a bucket, given what is stored there?"""
    tags = _NO_TAGS if version is None else version.attributes.tags
    said = call.facts.about(owner=row.account, tags=tags)
    return evaluate(call.principal, action, resource_of(row, key, version), said=said)


def may_list(call: Call, row: BucketRow, key: str) -> bool:
    """Whether the caller may know that nothing is under `key`: who may list it may."""
    said = call.facts.about(owner=row.account, tags=_NO_TAGS, prefix=key)
    return evaluate(call.principal, "s3:ListBucket", resource_of(row), said=said).allowed


def absent(call: Call, row: BucketRow, key: str, code: str) -> S3Error:
    """The error for what is not there: `code`, or AccessDenied for who may not know."""
    if may_list(call, row, key):
        return S3Error(code, Key=key)
    record(call, call.operation.permission, row.name, key, _UNLISTED)
    return S3Error("AccessDenied")


def _with_further(call: Call, action: str, bucket: str, decision: Decision) -> Decision:
    """`decision`, unless the request does more than write and the key's own policy does not allow that.

    Whoever writes an object owns it and may set its ACL and tags: only the key's own policy can be narrower.
    """
    further = _FURTHER.get(action)
    if not decision.allowed or further is None or call.principal is None:
        return decision
    for header in further.keys() & call.request.headers.keys():
        if not granted(call.principal, further[header], bucket):
            return _FURTHER_DENIED
    return decision


def _conclude(call: Call, action: str, bucket: str, key: str, decision: Decision) -> None:
    record(call, action, bucket, key, decision)
    if not decision.allowed:
        raise S3Error("AccessDenied")


def record_disbelief(call: Call, error: S3Error) -> None:
    """Put into the audit log that a call, or its body, is not from whom it says that it is.

    A key id that is somebody's is told; any other may be a secret in the wrong place.
    """
    claimed = error.extras.get("AWSAccessKeyId", "") if error.code == "SignatureDoesNotMatch" else ""
    reason = f"{error.code}, as {claimed}" if claimed else error.code
    target = call.request.target
    record(call, call.operation.permission, target.bucket, target.key, Decision(False, reason))


def record(call: Call, action: str, bucket: str, key: str, decision: Decision) -> None:
    """Put a decision into the audit log."""
    principal = call.principal
    call.store.audit.record(
        Entry(
            call.now_us,
            call.request_id,
            call.remote,
            "" if principal is None else principal.access_key,
            "" if principal is None else principal.account,
            call.operation.name,
            action,
            bucket,
            key,
            decision.allowed,
            decision.reason,
        )
    )


def check_owner(row: BucketRow | None, expected: str | None) -> None:
    """Hold the bucket against the account that a client says it belongs to. Raises AccessDenied.

    `expected`: x-amz-expected-bucket-owner, or of the source of a copy x-amz-source-expected-bucket-owner.
    """
    if expected is not None and row is not None and row.account != expected:
        raise S3Error("AccessDenied")
