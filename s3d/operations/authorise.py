"""Owns the step before every operation: may this caller do it, and on which bucket; never how the caller is known."""

import logging
from typing import Final

from s3d.access.accounts import Principal
from s3d.access.policy import PUBLIC_ACTIONS, Decision, Resource, evaluate
from s3d.metadata.commands import CreateBucket
from s3d.metadata.rows import BucketRow
from s3d.operations.call import Store, resource_of
from s3d.protocol.errors import S3Error
from s3d.protocol.routing import Operation, Target

_MAKE_THEIR_BUCKET: Final = ("PutObject", "CopyObject", "CreateMultipartUpload")

_log = logging.getLogger(__name__)


def authorise(
    store: Store, principal: Principal | None, operation: Operation, target: Target
) -> BucketRow | None:
    """The bucket that `operation` is allowed on, None where it needs none. Raises AccessDenied, NoSuchBucket.

    The key's own policy is asked before any row is read, so nobody learns from it what exists; but what anybody may
    do with a public bucket takes a look at the bucket.
    """
    action = operation.permission
    decision = evaluate(principal, action, Resource(target.bucket))
    if not decision.allowed and action not in PUBLIC_ACTIONS:
        raise _denied(decision, principal, operation, target)
    if operation.scope == "service" or operation.name == "CreateBucket":
        return None
    with store.state.view() as view:
        row = view.bucket(target.bucket)
    if row is None:
        if principal is not None and not decision.allowed:
            raise _denied(decision, principal, operation, target)
        raise S3Error("NoSuchBucket", BucketName=target.bucket)
    decision = evaluate(principal, action, resource_of(row))
    if not decision.allowed:
        raise _denied(decision, principal, operation, target)
    return row


async def make_missing(
    store: Store, principal: Principal | None, operation: Operation, target: Target
) -> bool:
    """Make the bucket of a PUT that found none, where `[gateway] auto_create_buckets` and the key's policy say so."""
    wanted = store.cluster.gateway.auto_create_buckets and operation.name in _MAKE_THEIR_BUCKET
    if principal is None or not wanted:
        return False
    if not evaluate(principal, "s3:CreateBucket", Resource(target.bucket)).allowed:
        return False
    now_us = store.clock_us()
    command = CreateBucket(store.write_id(now_us), now_us, bucket=target.bucket, account=principal.account)
    return (await store.apply(command)).error in ("", "BucketAlreadyOwnedByYou")


def _denied(decision: Decision, principal: Principal | None, operation: Operation, target: Target) -> S3Error:
    _log.info(
        "denied %s on bucket %r to %s: %s",
        operation.name,
        target.bucket,
        principal.access_key if principal is not None else "nobody",
        decision.reason,
    )
    return S3Error("AccessDenied")


def check_owner(row: BucketRow | None, expected: str | None) -> None:
    """Hold the bucket against the account that a client says it belongs to. Raises AccessDenied.

    `expected`: x-amz-expected-bucket-owner, or of the source of a copy x-amz-source-expected-bucket-owner.
    """
    if expected is not None and row is not None and row.account != expected:
        raise S3Error("AccessDenied")
