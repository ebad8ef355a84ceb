"""Owns where conditions of a request meet rows: once before a body is read, as commands do again at the commit."""

from collections.abc import Mapping
from typing import Final

from s3d.metadata.commands import ANY, Conditions
from s3d.metadata.rows import VersionRow
from s3d.operations.call import Call
from s3d.protocol import conditions
from s3d.protocol.errors import S3Error

_IF_MODIFIED: Final = "x-amz-if-match-last-modified-time"
_IF_SIZE: Final = "x-amz-if-match-size"
_FRESHNESS: Final = {"cache-control": "Cache-Control", "expires": "Expires"}


def check_read(headers: Mapping[str, str], version: VersionRow) -> None:
    """Hold a read of `version` against its conditions. Raises PreconditionFailed, NotModified.

    A 304 says again how long the copy that it confirms may be kept (RFC 9110, 15.4.5).
    """
    try:
        conditions.check_read(headers, etag=version.etag, modified_s=version.modified_us // 1_000_000)
    except S3Error as error:
        if error.code == "NotModified":
            kept = version.attributes.headers
            error.headers |= {header: kept[name] for name, header in _FRESHNESS.items() if name in kept}
        raise


def check_copy_source(headers: Mapping[str, str], version: VersionRow) -> None:
    """Hold the source of a copy against x-amz-copy-source-if-*. Raises PreconditionFailed."""
    conditions.check_copy_source(headers, etag=version.etag, modified_s=version.modified_us // 1_000_000)


def write_conditions(call: Call) -> Conditions:
    """The conditions that the commit must decide. Raises NotImplemented for those that no write takes."""
    headers = call.request.headers
    if "if-match" not in headers and "if-none-match" not in headers:
        return ANY
    wanted = conditions.read_write_conditions(headers)
    return Conditions(wanted.if_match, wanted.if_none_match)


def delete_conditions(call: Call) -> Conditions:
    """The conditions of DeleteObject: on the version that is deleted. Raises NotImplemented, InvalidArgument."""
    wanted, headers = write_conditions(call), call.request.headers
    modified, size = headers.get(_IF_MODIFIED), headers.get(_IF_SIZE)
    if modified is None and size is None:
        return wanted
    return Conditions(
        wanted.if_match,
        wanted.if_none_match,
        -1 if modified is None else conditions.parse_modified(modified),
        -1 if size is None else conditions.parse_size(size),
    )


def check_live(call: Call, wanted: Conditions) -> None:
    """Refuse now what would be refused at the commit, before its body is sent: NoSuchKey, PreconditionFailed."""
    if wanted is ANY:
        return
    with call.store.state.view() as view:
        current = view.current(call.bucket.incarnation, call.key)
    if wanted.if_match:
        if current is None:
            raise S3Error("NoSuchKey", Key=call.request.target.key)
        if wanted.if_match not in ("*", current.etag):
            raise S3Error("PreconditionFailed", Condition="If-Match")
    if current is not None and wanted.if_none_match in ("*", current.etag):
        raise S3Error("PreconditionFailed", Condition="If-None-Match")
