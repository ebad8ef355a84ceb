"""Owns what S3 means by its lists, and with that the whole model: a store in a few dicts that answers any request.

This is the specification that the live store is held against (row T-M4). Where S3's own pages are silent, it says
what its clients have seen S3 do; where this store differs knowingly, the place says so.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar
from urllib.parse import quote

from tests.integration.semantics_state import Bucket, Refused, Upload, Version, in_order
from tests.integration.semantics_uploads import Uploads
from tests.integration.semantics_values import Ask, Chosen, Expected, Xml

E = TypeVar("E")


class Lists(Uploads):
    """Everything, and the lists of it."""

    def list_objects(self, ask: Ask) -> Expected:
        bucket, said = self.bucket(ask.bucket), Said(ask)
        marker = ask.query.get("marker", "")
        found = rolled(bucket.live_keys(), ask, after=marker)
        page, truncated = said.page(found, "max-keys")
        rows: list[Xml] = [
            ("Name", ask.bucket),
            ("Prefix", ask.query.get("prefix", "")),  # the one list whose Prefix is never encoded
            ("Marker", said.name(marker)),
            *said.echo("MaxKeys", "max-keys", prefix=False),
            ("IsTruncated", truncated),
            *self.contents(bucket, page, said, owners=True),
        ]
        if truncated == "true" and said.delimiter:
            rows.append(("NextMarker", said.name(page[-1][0])))
        return Expected(xml=("ListBucketResult", rows))

    def list_objects_v2(self, ask: Ask) -> Expected:
        """The token is a secret of the store: the caller gives it back, the model what it stands for."""
        bucket, said = self.bucket(ask.bucket), Said(ask)
        start_after = ask.query.get("start-after", "")
        found = rolled(bucket.live_keys(), ask, after=ask.behind or start_after)
        page, truncated = said.page(found, "max-keys")
        rows: list[Xml] = [
            ("Name", ask.bucket),
            *said.echo("MaxKeys", "max-keys"),
            ("KeyCount", str(len(page))),
            ("IsTruncated", truncated),
            *self.contents(bucket, page, said, owners=ask.query.get("fetch-owner") == "true"),
        ]
        if start_after:
            rows.append(("StartAfter", said.name(start_after)))
        if "continuation-token" in ask.query:
            rows.append(("ContinuationToken", ask.query["continuation-token"]))
        if truncated == "true":
            rows.append(("NextContinuationToken", said.token))
        return Expected(xml=("ListBucketResult", rows))

    def contents(
        self, bucket: Bucket, page: Sequence[tuple[str, bool]], said: "Said", *, owners: bool
    ) -> Iterator[Xml]:
        """A page of keys and common prefixes."""
        for name, is_prefix in page:
            if is_prefix:
                yield ("CommonPrefixes", [("Prefix", said.name(name))])
                continue
            live = bucket.live(name)
            assert live is not None
            row: list[Xml] = [
                ("Key", said.name(name)),
                ("LastModified", live.when),
                ("ETag", f'"{live.etag}"'),
            ]
            if live.checksum:
                row += [("ChecksumAlgorithm", live.checksum.algorithm), ("ChecksumType", live.checksum.kind)]
            row += [("Size", str(len(live.data))), ("StorageClass", live.storage_class)]
            yield ("Contents", row + ([self.owner] if owners else []))

    def list_versions(self, ask: Ask) -> Expected:
        bucket, said = self.bucket(ask.bucket), Said(ask)
        marker, id_marker = ask.query.get("key-marker", ""), ask.query.get("version-id-marker", "")
        if id_marker and not marker:
            raise Refused(400, "InvalidArgument")
        found = list[tuple[str, Version | None]]()
        for name, is_prefix in rolled(bucket.keys, ask, after=marker, inclusive=bool(id_marker)):
            found += [(name, None)] if is_prefix else [(name, version) for version in bucket.keys[name]]
        if id_marker:
            at = next(
                i
                for i, (name, each) in enumerate(found)
                if each and (name, str(each.id)) == (marker, id_marker)
            )
            found = found[at + 1 :]
        page, truncated = said.page(found, "max-keys")
        rows: list[Xml] = [
            ("Name", ask.bucket),
            ("KeyMarker", said.name(marker)),
            ("VersionIdMarker", id_marker),
            *said.echo("MaxKeys", "max-keys"),
            ("IsTruncated", truncated),
        ]
        for name, version in page:
            if version is None:
                rows.append(("CommonPrefixes", [("Prefix", said.name(name))]))
            else:
                rows.append(self.listed_version(name, version, bucket.newest(name) is version, said))
        if truncated == "true":
            name, version = page[-1]
            rows.append(("NextKeyMarker", said.name(name)))
            rows += [("NextVersionIdMarker", version.id)] if version else []
        return Expected(xml=("ListVersionsResult", rows))

    def listed_version(self, name: str, version: Version, latest: bool, said: "Said") -> Xml:
        """A version or a delete marker."""
        row: list[Xml] = [
            ("Key", said.name(name)),
            ("VersionId", version.id),
            ("IsLatest", "true" if latest else "false"),
            ("LastModified", version.when),
            self.owner,
        ]
        if version.body is None:
            return ("DeleteMarker", row)
        if version.checksum:
            row += [
                ("ChecksumAlgorithm", version.checksum.algorithm),
                ("ChecksumType", version.checksum.kind),
            ]
        etag, size = ("ETag", f'"{version.etag}"'), ("Size", str(len(version.data)))
        return ("Version", [*row, etag, size, ("StorageClass", version.storage_class)])

    def list_uploads(self, ask: Ask) -> Expected:
        bucket, said = self.bucket(ask.bucket), Said(ask)
        marker, id_marker = ask.query.get("key-marker", ""), ask.query.get("upload-id-marker", "")
        of_key: dict[str, list[Upload]] = {}
        for upload in bucket.uploads:
            of_key.setdefault(upload.key, []).append(upload)
        found = list[tuple[str, Upload | None]]()
        for name, is_prefix in rolled(of_key, ask, after=marker, inclusive=bool(marker and id_marker)):
            found += [(name, None)] if is_prefix else [(name, upload) for upload in of_key[name]]
        if marker and id_marker:  # ids are in the order in which the uploads began
            found = [
                (name, each) for name, each in found if name != marker or not each or str(each.id) > id_marker
            ]
        page, truncated = said.page(found, "max-uploads")
        rows: list[Xml] = [
            ("Bucket", ask.bucket),
            ("KeyMarker", said.name(marker)),
            ("UploadIdMarker", id_marker),
            *said.echo("MaxUploads", "max-uploads"),
            ("IsTruncated", truncated),
        ]
        for name, each in page:
            if each is None:
                rows.append(("CommonPrefixes", [("Prefix", said.name(name))]))
            else:
                rows.append(("Upload", self.listed_upload(name, each, said)))
        if truncated == "true":
            name, each = page[-1]
            rows += [("NextKeyMarker", said.name(name)), ("NextUploadIdMarker", each.id if each else "")]
        return Expected(xml=("ListMultipartUploadsResult", rows))

    def listed_upload(self, name: str, upload: Upload, said: "Said") -> list[Xml]:
        """An upload in progress."""
        row: list[Xml] = [
            ("Key", said.name(name)),
            ("UploadId", upload.id),
            ("Initiator", self.owner[1]),
            self.owner,
            ("StorageClass", upload.about.get("x-amz-storage-class", "STANDARD")),
            ("Initiated", upload.when),
        ]
        if upload.algorithm:
            row += [("ChecksumAlgorithm", upload.algorithm), ("ChecksumType", upload.kind)]
        return row

    def list_buckets(self, ask: Ask) -> Expected:
        """Those with a prefix: the store is shared."""
        prefix = ask.query["prefix"]
        rows: list[Xml] = [
            (
                "Bucket",
                [("Name", name), ("CreationDate", self.buckets[name].when)],
            )
            for name in in_order(self.buckets)
            if name.startswith(prefix)
        ]
        said: list[Xml] = [self.owner, ("Buckets", rows or ""), ("Prefix", prefix)]
        return Expected(xml=("ListAllMyBucketsResult", said))


class Said:
    """What the parameters of a list mean for the form of its answer."""

    def __init__(self, ask: Ask) -> None:
        self.query = ask.query
        self.delimiter = ask.query.get("delimiter", "")
        self.encoded = ask.query.get("encoding-type") == "url"
        self.token = Chosen("token")

    def name(self, text: str) -> str:
        """A key or a prefix as the answer writes it."""
        return quote(text, safe="/-_.~") if self.encoded else text

    def page(self, found: Sequence[E], limit: str) -> tuple[Sequence[E], str]:
        """What fits, and whether that is not all. A page of nothing, which can be asked for, is never cut."""
        most = min(1_000, int(self.query.get(limit, 1_000)))
        return found[:most], "true" if most and len(found) > most else "false"

    def echo(self, element: str, limit: str, *, prefix: bool = True) -> list[Xml]:
        """The parameters that every list repeats."""
        rows: list[Xml] = [(element, str(min(1_000, int(self.query.get(limit, 1_000)))))]
        rows += [("Prefix", self.name(self.query.get("prefix", "")))] if prefix else []
        rows += [("Delimiter", self.name(self.delimiter))] if self.delimiter else []
        return rows + ([("EncodingType", "url")] if self.encoded else [])


def rolled(
    names: Mapping[str, object] | Sequence[str], ask: Ask, *, after: str, inclusive: bool = False
) -> list[tuple[str, bool]]:
    """Names behind `after` (and with it, where `inclusive`), or the common prefix in place of all that begin so.

    A marker that is a common prefix itself is behind all of it; one inside of a prefix does not hide the prefix.
    """
    prefix, delimiter = ask.query.get("prefix", ""), ask.query.get("delimiter", "")
    found = list[tuple[str, bool]]()
    for name in sorted(names, key=str.encode):
        behind = name.encode() > after.encode() or (inclusive and name == after)
        if not name.startswith(prefix) or (after and not behind):
            continue
        cut = name.find(delimiter, len(prefix)) if delimiter else -1
        entry = (name, False) if cut < 0 else (name[: cut + len(delimiter)], True)
        if entry not in found and entry != (after, True):
            found.append(entry)
    return found


class Model(Lists):
    """A store of S3, of one account, that answers any request as S3 would."""

    def answer(self, ask: Ask) -> Expected:
        """What the answer must be; what the request changes is changed."""
        try:
            return ANSWERS[ask.operation](self, ask)
        except Refused as refused:
            return refused.expected


ANSWERS: Mapping[str, Callable[[Model, Ask], Expected]] = {
    "CreateBucket": Model.create_bucket,
    "HeadBucket": Model.head_bucket,
    "DeleteBucket": Model.delete_bucket,
    "ListBuckets": Model.list_buckets,
    "PutBucketVersioning": Model.put_versioning,
    "GetBucketVersioning": Model.get_versioning,
    "PutObject": Model.put_object,
    "CopyObject": Model.copy_object,
    "GetObject": Model.get_object,
    "HeadObject": Model.head_object,
    "DeleteObject": Model.delete_object,
    "DeleteObjects": Model.delete_objects,
    "GetObjectAttributes": Model.get_attributes,
    "PutObjectTagging": Model.put_tagging,
    "GetObjectTagging": Model.get_tagging,
    "DeleteObjectTagging": Model.delete_tagging,
    "ListObjects": Model.list_objects,
    "ListObjectsV2": Model.list_objects_v2,
    "ListObjectVersions": Model.list_versions,
    "ListMultipartUploads": Model.list_uploads,
    "CreateMultipartUpload": Model.create_upload,
    "UploadPart": Model.upload_part,
    "UploadPartCopy": Model.upload_part_copy,
    "CompleteMultipartUpload": Model.complete_upload,
    "AbortMultipartUpload": Model.abort_upload,
    "ListParts": Model.list_parts,
}
