"""Owns PutObject, GetObject and HeadObject: the life of a PUT and of a GET, in order."""

from typing import Final, NamedTuple

from s3d.metadata.commands import PutObject
from s3d.metadata.rows import Slice, VersionRow
from s3d.metadata.view import View
from s3d.operations import attributes as headers_of
from s3d.operations.authorise import Named, absent, check_judged, permits
from s3d.operations.bodies import Received, name_body, store_body
from s3d.operations.call import Call
from s3d.operations.ownership import begin_object
from s3d.operations.preconditions import check_live, check_read, write_conditions
from s3d.operations.reading import first_and_rest, plan_of
from s3d.operations.reply import Reply
from s3d.operations.versioning import made, marks, marks_of_newest, version_named
from s3d.protocol.conditions import parse_range, range_applies
from s3d.protocol.errors import S3Error

_CHECKSUM_MODE: Final = "x-amz-checksum-mode"


class Extent(NamedTuple):
    """Bytes [start, stop) of an object; `partial` where they were asked for by themselves, `part` where as a part."""

    start: int
    stop: int
    partial: bool = False
    part: Slice | None = None


async def put_object(call: Call) -> Reply:
    """PutObject. Nothing is stored before the headers and preconditions hold; nothing is answered before the commit."""
    attributes = begin_object(call).of(headers_of.attributes_of(call.request.headers))
    conditions = write_conditions(call)
    check_live(call, conditions)
    received = await store_body(call, attributes=attributes)
    outcome = await name_body(
        call,
        received,
        PutObject(
            call.store.write_id(call.now_us),
            call.now_us,
            bucket=call.bucket.name,
            key=call.key,
            blob=received.stored.blob,
            row=received.stored.row,
            etag=received.etag,
            attributes=received.describe(attributes),
            incarnation=call.bucket.incarnation,
            conditions=conditions,
            degraded=received.stored.degraded,
            grace_us=call.store.grace_us,
            strays=received.stored.strays,
        ),
    )
    return Reply(headers=_written(received, outcome.version_id))


def _written(received: Received, version_id: str) -> list[tuple[str, str]]:
    headers = [("ETag", f'"{received.etag}"'), *headers_of.checksum_headers(received.checksums)]
    if received.checksums:
        headers.append(("x-amz-checksum-type", "FULL_OBJECT"))
    return [*headers, *made(version_id)]


async def head_object(call: Call) -> Reply:
    """HeadObject: the headers of GetObject, with the length of a body that is not sent."""
    with call.store.state.view() as view:
        version = find_version(call, view)
        check_read(call.request.headers, version)
        extent = _extent(call, view, version)
    status = 206 if extent.partial else 200
    return Reply(status, headers=_read(call, version, extent), length=extent.stop - extent.start)


async def get_object(call: Call) -> Reply:
    """GetObject. The reply begins only after the first bytes of the body are verified."""
    with call.store.state.view() as view:
        version = find_version(call, view)
        check_read(call.request.headers, version)
        extent = _extent(call, view, version)
        plan = plan_of(view, version, extent.start, extent.stop)
    headers = _read(call, version, extent)
    first, rest = await first_and_rest(call.store, plan)
    return Reply(
        206 if extent.partial else 200,
        headers=headers,
        body=first,
        rest=rest,
        length=extent.stop - extent.start,
    )


def find_version(call: Call, view: View) -> VersionRow:
    """The version of the object that a read asks for.

    Raises NoSuchKey, NoSuchVersion, InvalidArgument (no version's id), MethodNotAllowed (a delete marker).
    """
    version_id = version_named(call)
    version = view.find(call.bucket.incarnation, call.key, version_id)
    if version is None:
        code = "NoSuchVersion" if version_id else "NoSuchKey"
        error = absent(call, call.bucket, call.request.target.key, code)
        error.headers.update(marks_of_newest(call, view, error))
        raise error
    if version.delete_marker:
        raise S3Error("MethodNotAllowed", headers=marks(version) | {"Allow": "DELETE"})
    check_judged(call, version, row=call.bucket, at=Named(call.request.target.key, version_id))
    return version


def _extent(call: Call, view: View, version: VersionRow) -> Extent:
    """The bytes that a read asks for by Range or partNumber."""
    header = call.header("range")
    if "partNumber" in call.request.target.query:
        if header:
            raise S3Error("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
        return _part_extent(call, view, version)
    modified_s = version.modified_us // 1_000_000
    if not header or not range_applies(call.request.headers, etag=version.etag, modified_s=modified_s):
        return Extent(0, version.size)
    extent = parse_range(header, version.size)
    return Extent(0, version.size) if extent is None else Extent(*extent, partial=True)


def _part_extent(call: Call, view: View, version: VersionRow) -> Extent:
    number = call.number("partNumber", 0, most=10_001)
    if not 1 <= number <= 10_000:
        raise S3Error(
            "InvalidArgument",
            "Part number must be an integer between 1 and 10000, inclusive",
            ArgumentName="partNumber",
            ArgumentValue=call.argument("partNumber")[:64],
        )
    if not version.parts and number == 1:
        return Extent(0, version.size, partial=version.size > 0)
    found = view.part_of(version, number) if version.parts else None
    if found is None:
        raise S3Error("InvalidPart", ActualPartCount=str(version.parts or 1), PartNumberRequested=str(number))
    offset, part = found
    return Extent(offset, offset + part.size, partial=part.size > 0, part=part)


def _read(call: Call, version: VersionRow, extent: Extent) -> list[tuple[str, str]]:
    query = call.request.target.query
    overrides = query if query and any(name.startswith("response-") for name in query) else {}
    if overrides and not call.verified.access_key:
        raise S3Error(
            "InvalidRequest", "Request specific response headers cannot be used for anonymous GET requests."
        )
    start, stop, partial, part = extent
    asked = call.header(_CHECKSUM_MODE).upper() == "ENABLED"
    checksums = asked and part is None and (not partial or (start, stop) == (0, version.size))
    headers = headers_of.reply_headers(version, checksums=checksums, overrides=overrides)
    if part is not None:
        headers += headers_of.part_headers(version, part, checksums=asked)
    if call.bucket.versioning:
        headers.append(("x-amz-version-id", version.version_id))
    tags = version.attributes.tags
    if tags and permits(call, "s3:GetObjectTagging", call.request.target.key, call.argument("versionId")):
        headers.append(("x-amz-tagging-count", str(len(tags))))
    if partial:
        headers.append(("Content-Range", f"bytes {start}-{stop - 1}/{version.size}"))
    return headers
