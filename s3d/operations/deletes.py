"""Owns the deletion of objects, one or a thousand at a time; never their bytes: those go when nobody reads them."""

from collections.abc import Iterator, Sequence
from typing import Final

from s3d.metadata.commands import DeletedKey, DeleteObjects
from s3d.metadata.fields import DELETE_KEYS_MAX
from s3d.metadata.outcomes import Outcome
from s3d.operations import documents, orders
from s3d.operations.authorise import Named, permits_each
from s3d.operations.bodies import read_document
from s3d.operations.call import Call
from s3d.operations.preconditions import delete_conditions
from s3d.operations.reply import Reply, xml_reply
from s3d.operations.versioning import may_be_version, version_named
from s3d.protocol.checksums import read_claims
from s3d.protocol.errors import ERRORS, S3Error
from s3d.protocol.routing import KEY_SIZE_BYTES_MAX

# What is not there is deleted, whatever condition was on it (S3 API reference, DeleteObject, If-Match).
_GONE_ALREADY: Final = ("", "NoSuchKey", "NoSuchVersion")


async def delete_object(call: Call) -> Reply:
    """DeleteObject: 204, also where there was nothing."""
    version_id = version_named(call)
    named = DeletedKey(call.key, version_id, delete_conditions(call))
    outcome = (await _delete(call, (named,)))[0]
    if outcome.error not in _GONE_ALREADY:
        raise S3Error(outcome.error)
    shown = version_id or (outcome.version_id if call.bucket.versioning else "")
    return Reply(204, headers=_marks(shown, outcome), length=-1)


def _marks(version_id: str, outcome: Outcome) -> list[tuple[str, str]]:
    headers = [("x-amz-version-id", version_id)] if version_id else []
    return [*headers, ("x-amz-delete-marker", "true")] if outcome.delete_marker else headers


async def delete_objects(call: Call) -> Reply:
    """DeleteObjects: one command for all keys that the caller may delete, and an answer for each."""
    claims = read_claims(call.request.headers, call.verified)
    if claims.md5 is None and claims.algorithm is None:
        raise S3Error("InvalidRequest", "Missing required header for this request: Content-MD5")
    request = orders.read_delete(await read_document(call), keys_max=DELETE_KEYS_MAX)
    answers: list[documents.Deleted] = []
    allowed: list[orders.ObjectIdentifier] = []
    for item, error in zip(request.objects, _refusals(call, request.objects), strict=True):
        if error:
            answers.append(
                documents.Deleted(item.key, item.version_id, error=error, message=ERRORS[error].message)
            )
        else:
            allowed.append(item)
    outcomes = await _delete(
        call, tuple(DeletedKey(item.key.encode(), item.version_id, item.conditions) for item in allowed)
    )
    for item, outcome in zip(allowed, outcomes, strict=True):
        answers.append(_answer(item, outcome))
    shown = [answer for answer in answers if answer.error or not request.quiet]
    return xml_reply(documents.delete_result(shown))


def _refusals(call: Call, items: Sequence[orders.ObjectIdentifier]) -> Iterator[str]:
    """The error of each key that may not be deleted, or whose version can be none of ours; "" for the others."""
    fitting = [Named(item.key, item.version_id) for item in items if _fits(item)]
    allowed = iter(permits_each(call, "s3:DeleteObject", fitting))
    for item in items:
        if not _fits(item):
            yield "KeyTooLongError"
        else:
            yield _fault_of_version(item) if next(allowed) else "AccessDenied"


def _fits(item: orders.ObjectIdentifier) -> bool:
    return len(item.key.encode()) <= KEY_SIZE_BYTES_MAX


def _fault_of_version(item: orders.ObjectIdentifier) -> str:
    """S3 takes a version that is gone for deleted, and tells who names what never was one."""
    return "" if not item.version_id or may_be_version(item.version_id) else "NoSuchVersion"


def _answer(item: orders.ObjectIdentifier, outcome: Outcome) -> documents.Deleted:
    error = "" if outcome.error in _GONE_ALREADY else outcome.error
    return documents.Deleted(
        item.key,
        item.version_id,
        error=error,
        message=ERRORS[error].message if error else "",
        marker_version_id=outcome.version_id if outcome.delete_marker else "",
    )


async def _delete(call: Call, named: tuple[DeletedKey, ...]) -> tuple[Outcome, ...]:
    if not named:
        return ()
    outcome = await call.apply(
        DeleteObjects(
            call.store.write_id(call.now_us),
            call.now_us,
            bucket=call.bucket.name,
            keys=named,
            incarnation=call.bucket.incarnation,
            grace_us=call.store.grace_us,
        )
    )
    return outcome.results
