"""Owns the lists of S3: what their parameters mean, and the pages that answer them; never how a page is found."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from s3d.metadata.listing import (
    ListedObject,
    ListedUpload,
    ListedVersion,
    Page,
    Query,
    list_buckets as buckets_page,
    list_objects as objects_page,
    list_uploads as uploads_page,
    list_versions as versions_page,
)
from s3d.operations import documents
from s3d.operations.call import Call
from s3d.operations.documents import document, element
from s3d.operations.reply import Reply, xml_reply
from s3d.operations.settings import ownership_of
from s3d.operations.tokens import read_token, write_token
from s3d.operations.versioning import check_version_id
from s3d.protocol.errors import S3Error
from s3d.protocol.xml import escape

PAGE_MAX: Final = 1_000
BUCKETS_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Asked:
    """What every list of keys is asked with. `written` writes a key or prefix as the caller wants it encoded."""

    prefix: str
    delimiter: str
    limit: int
    encoding: str
    written: Callable[[str], str]

    def query(self, incarnation: int) -> Query:
        """The same, for the metadata."""
        return Query(incarnation, self.prefix.encode(), self.delimiter.encode(), self.limit)

    def echo(self, limit_name: str, extra: str = "", *, plain_prefix: bool = False) -> str:
        """The parameters, as every answer repeats them. `plain_prefix`: the prefix is not encoded."""
        return "".join(
            (
                f"<Prefix>{(escape if plain_prefix else self.written)(self.prefix)}</Prefix>",
                f"<Delimiter>{self.written(self.delimiter)}</Delimiter>" if self.delimiter else "",
                element(limit_name, self.limit),
                element("EncodingType", self.encoding) if self.encoding else "",
                extra,
            )
        )


def _asked(call: Call, limit_name: str) -> Asked:
    encoding = call.argument("encoding-type")
    if encoding not in ("", "url"):
        raise S3Error(
            "InvalidArgument", "Invalid Encoding Method specified in Request", ArgumentName="encoding-type"
        )
    return Asked(
        prefix=call.argument("prefix"),
        delimiter=call.argument("delimiter"),
        limit=call.number(limit_name, PAGE_MAX, most=PAGE_MAX),
        encoding=encoding,
        written=_encoded if encoding else escape,
    )


def _encoded(text: str) -> str:
    return quote(text, safe="/-_.~")


class Owners(dict[str, str]):
    """The element that says who owns an object, by its account; made once an account a page, empty unless `shown`."""

    def __init__(self, call: Call, *, shown: bool = True) -> None:
        super().__init__()
        self._call = call
        self._shown = shown

    def __missing__(self, account: str) -> str:
        row = self._call.bucket
        of_bucket = not account or ownership_of(row) == "BucketOwnerEnforced"
        owner = row.account if of_bucket else account
        name = self._call.store.accounts.owner_name(owner)
        self[account] = made = documents.owner(owner, name) if self._shown else ""
        return made


async def list_objects(call: Call) -> Reply:
    """ListObjects, the first version: goes on behind a marker that is a key or a common prefix.

    botocore decodes no Prefix in this answer, though it does in all the others: here it is repeated as it was meant.
    """
    asked = _asked(call, "max-keys")
    marker = call.argument("marker")
    with call.store.state.view() as view:
        page = objects_page(view, asked.query(call.bucket.incarnation), after=marker.encode())
    following = asked.written(page.next.decode()) if page.truncated and asked.delimiter else ""
    return xml_reply(
        document(
            "ListBucketResult",
            element("Name", call.bucket.name),
            asked.echo("MaxKeys", f"<Marker>{asked.written(marker)}</Marker>", plain_prefix=True),
            f"<NextMarker>{following}</NextMarker>" if following else "",
            element("IsTruncated", page.truncated),
            _contents(page, asked, Owners(call)),
        )
    )


async def list_objects_v2(call: Call) -> Reply:
    """ListObjectsV2: goes on behind a token that only this bucket gave out."""
    asked = _asked(call, "max-keys")
    start_after = call.argument("start-after")
    token = call.request.target.query.get("continuation-token")
    after = read_token(token, call.bucket.incarnation) if token else start_after.encode()
    with call.store.state.view() as view:
        page = objects_page(view, asked.query(call.bucket.incarnation), after=after)
    following = write_token(page.next, call.bucket.incarnation) if page.truncated else ""
    owners = Owners(call, shown=call.argument("fetch-owner") == "true")
    return xml_reply(
        document(
            "ListBucketResult",
            element("Name", call.bucket.name),
            asked.echo(
                "MaxKeys", f"<StartAfter>{asked.written(start_after)}</StartAfter>" if start_after else ""
            ),
            element("ContinuationToken", token) if token is not None else "",
            element("NextContinuationToken", following) if following else "",
            element("KeyCount", len(page.entries) + len(page.prefixes)),
            element("IsTruncated", page.truncated),
            _contents(page, asked, owners),
        )
    )


def _contents(page: Page[ListedObject], asked: Asked, owners: Owners) -> str:
    written, entry = asked.written, documents.contents
    keys = "".join([entry(written(key.decode()), row, owners[row.owner]) for key, row in page.entries])
    return keys + documents.common_prefixes(written(prefix.decode()) for prefix in page.prefixes)


async def list_versions(call: Call) -> Reply:
    """ListObjectVersions; in a bucket that never had versions each key has one, `null`."""
    asked = _asked(call, "max-keys")
    after, after_version = call.argument("key-marker"), call.argument("version-id-marker")
    if after_version and not after:
        raise S3Error(
            "InvalidArgument",
            "A version-id marker cannot be specified without a key marker.",
            ArgumentName="version-id-marker",
        )
    if after_version:
        check_version_id(after_version, "version-id-marker")
    with call.store.state.view() as view:
        page = versions_page(
            view, asked.query(call.bucket.incarnation), after=after.encode(), after_version=after_version
        )
    owners = Owners(call)
    return xml_reply(
        document(
            "ListVersionsResult",
            element("Name", call.bucket.name),
            asked.echo("MaxKeys", f"<KeyMarker>{asked.written(after)}</KeyMarker>"),
            element("VersionIdMarker", after_version),
            f"<NextKeyMarker>{asked.written(page.next.decode())}</NextKeyMarker>" if page.truncated else "",
            element("NextVersionIdMarker", page.next_id) if page.truncated and page.next_id else "",
            element("IsTruncated", page.truncated),
            *(_version(entry, asked, owners[entry.row.attributes.owner]) for entry in page.entries),
            documents.common_prefixes(asked.written(prefix.decode()) for prefix in page.prefixes),
        )
    )


def _version(entry: ListedVersion, asked: Asked, owner: str) -> str:
    row = entry.row
    known = (
        f"<Key>{asked.written(entry.key.decode())}</Key>{element('VersionId', row.version_id)}"
        f"{element('IsLatest', entry.latest)}{element('LastModified', documents.stamp(row.modified_us))}"
    )
    if row.delete_marker:
        return f"<DeleteMarker>{known}{owner}</DeleteMarker>"
    said = row.attributes
    checksum = documents.checksum_kind(said.checksum_algorithm, said.checksum_type)
    return (
        f"<Version>{known}<ETag>&quot;{row.etag}&quot;</ETag>{checksum}<Size>{row.size}</Size>{owner}"
        f"<StorageClass>{said.storage_class}</StorageClass></Version>"
    )


async def list_uploads(call: Call) -> Reply:
    """ListMultipartUploads, in order of key and of the time they began."""
    asked = _asked(call, "max-uploads")
    after, after_upload = call.argument("key-marker"), call.argument("upload-id-marker")
    if not after_upload.isascii() or len(after_upload) > 128:
        raise S3Error("InvalidArgument", "Invalid uploadId marker", ArgumentName="upload-id-marker")
    with call.store.state.view() as view:
        page = uploads_page(
            view,
            asked.query(call.bucket.incarnation),
            after=after.encode(),
            after_upload=after_upload if after else "",
        )
    owners = Owners(call)
    return xml_reply(
        document(
            "ListMultipartUploadsResult",
            element("Bucket", call.bucket.name),
            f"<KeyMarker>{asked.written(after)}</KeyMarker>",
            element("UploadIdMarker", after_upload),
            f"<NextKeyMarker>{asked.written(page.next.decode())}</NextKeyMarker>" if page.truncated else "",
            element("NextUploadIdMarker", page.next_id) if page.truncated else "",
            asked.echo("MaxUploads"),
            element("IsTruncated", page.truncated),
            *(_upload(entry, asked, owners[entry.row.attributes.owner]) for entry in page.entries),
            documents.common_prefixes(asked.written(prefix.decode()) for prefix in page.prefixes),
        )
    )


def _upload(entry: ListedUpload, asked: Asked, owner: str) -> str:
    row = entry.row
    # Whoever begins an upload owns it.
    initiator = owner.removeprefix("<Owner>").removesuffix("</Owner>")
    return (
        f"<Upload><Key>{asked.written(entry.key.decode())}</Key>{element('UploadId', row.upload)}"
        f"<Initiator>{initiator}</Initiator>{owner}"
        f"{element('StorageClass', row.attributes.storage_class)}"
        f"{element('Initiated', documents.stamp(row.initiated_us))}"
        f"{documents.checksum_kind(row.attributes.checksum_algorithm, row.attributes.checksum_type)}</Upload>"
    )


async def list_buckets(call: Call) -> Reply:
    """ListBuckets: those of the caller's account, all at once unless a page is asked for."""
    paged = "max-buckets" in call.request.target.query
    limit = call.number("max-buckets", BUCKETS_MAX, most=BUCKETS_MAX) if paged else None
    if limit == 0:
        raise S3Error("InvalidArgument", "max-buckets must be at least 1", ArgumentName="max-buckets")
    prefix = call.argument("prefix")
    token = call.request.target.query.get("continuation-token")
    after = read_token(token, 0).decode() if token else ""
    with call.store.state.view() as view:
        rows, more = buckets_page(view, call.account, prefix=prefix, after=after, limit=limit)
    name = call.store.accounts.owner_name(call.account)
    following = write_token(rows[-1].name.encode(), 0) if more else ""
    wanted, ours = call.argument("bucket-region"), call.store.cluster.region
    shown = [row for row in rows if wanted in ("", row.region or ours)]
    return xml_reply(
        documents.buckets(shown, account=call.account, name=name, token=following, prefix=prefix)
    )
