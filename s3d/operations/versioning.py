"""Owns the versioning of a bucket, how versions are named, and what a reply says of them; never a version itself."""

from typing import Final, Literal

from s3d.metadata.commands import PutVersioning
from s3d.metadata.keys import sequence_from
from s3d.metadata.rows import NULL_VERSION, VersionRow
from s3d.metadata.view import View
from s3d.operations import documents
from s3d.operations.bodies import read_document
from s3d.operations.call import Call
from s3d.operations.reply import Reply, xml_reply
from s3d.protocol.conditions import http_date
from s3d.protocol.documents import root_of
from s3d.protocol.errors import S3Error

Status = Literal["Enabled", "Suspended"]
_STATUSES: Final[tuple[Status, ...]] = ("Enabled", "Suspended")


async def get_versioning(call: Call) -> Reply:
    """GetBucketVersioning: empty for a bucket that was never versioned."""
    return xml_reply(documents.versioning(call.bucket.versioning))


async def put_versioning(call: Call) -> Reply:
    """PutBucketVersioning: a bucket that has kept versions once never goes back to a bucket without."""
    status = _status(await read_document(call))
    await call.apply(
        PutVersioning(
            call.store.write_id(call.now_us),
            call.now_us,
            bucket=call.bucket.name,
            status=status,
            incarnation=call.bucket.incarnation,
        )
    )
    return Reply()


def _status(raw: bytes) -> Status:
    """What VersioningConfiguration asks for.

    Raises MalformedXML, IllegalVersioningConfigurationException, NotImplemented (MFA delete: there is no MFA).
    """
    root = root_of(raw, "VersioningConfiguration")
    if (root.text_of("MfaDelete") or "Disabled").strip() != "Disabled":
        raise S3Error("NotImplemented", "MFA delete is not implemented.")
    wanted = root.text_of("Status")
    if wanted is None:
        raise S3Error("IllegalVersioningConfigurationException")
    status = next((each for each in _STATUSES if each == wanted.strip()), None)
    if status is None:
        raise S3Error("MalformedXML")
    return status


def version_named(call: Call) -> str:
    """The version that the query names, "" for none. Raises InvalidArgument where it can be none of ours."""
    version_id = call.request.target.query.get("versionId")
    if version_id is None:
        return ""
    if not version_id:
        raise S3Error("InvalidArgument", "Version id cannot be the empty string", ArgumentName="versionId")
    check_version_id(version_id, "versionId")
    return version_id


def check_version_id(version_id: str, argument: str) -> None:
    """Refuse an id that no version ever has, and that is known without a look. Raises InvalidArgument."""
    if not may_be_version(version_id):
        raise S3Error(
            "InvalidArgument",
            "Invalid version id specified",
            ArgumentName=argument,
            ArgumentValue=version_id[:64],
        )


def may_be_version(version_id: str) -> bool:
    """Is it written as the ids of versions are?"""
    return version_id == NULL_VERSION or bool(sequence_from(version_id))


def made(version_id: str) -> list[tuple[str, str]]:
    """The header that names the version a write made; only a bucket that keeps versions now tells one."""
    return [] if version_id in ("", NULL_VERSION) else [("x-amz-version-id", version_id)]


def marks(marker: VersionRow) -> dict[str, str]:
    """The headers that tell a reader of a delete marker that it is one."""
    return {
        "x-amz-delete-marker": "true",
        "x-amz-version-id": marker.version_id,
        "Last-Modified": http_date(marker.modified_us // 1_000_000),
    }


def marks_of_newest(call: Call, view: View, error: S3Error) -> dict[str, str]:
    """The headers of a 404: whether a delete marker is why. Who may not know that nothing is there learns nothing."""
    if error.code != "NoSuchKey":
        return {}
    if not call.bucket.versioning:
        return {"x-amz-delete-marker": "false"}
    newest = next(view.versions(call.bucket.incarnation, call.key), None)
    return {"x-amz-delete-marker": "false"} if newest is None else marks(newest)
