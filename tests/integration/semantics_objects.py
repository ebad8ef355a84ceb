"""Owns what S3 means by buckets, objects, versions, copies and tags: the model's half without uploads and lists."""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import replace
from email.utils import parsedate_to_datetime
from hashlib import md5
from urllib.parse import parse_qsl, unquote

from tests.integration.semantics_state import (
    DIGESTS,
    NULL,
    Bucket,
    Checksum,
    Part,
    Refused,
    Version,
)
from tests.integration.semantics_values import Ask, Chosen, Expected, Text, When, Xml

KEPT = ("content-type", "cache-control", "content-disposition", "x-amz-storage-class")
STATED = "FULL_OBJECT"


class Objects:
    """Buckets and objects. `chosen`: the version ids and upload ids that each key ever had."""

    def __init__(self) -> None:
        self.buckets: dict[str, Bucket] = {}
        self.chosen: dict[str, set[str]] = {}
        self.owner: Xml = ("Owner", [("ID", Chosen("account")), ("DisplayName", Chosen("name"))])

    def bucket(self, name: str) -> Bucket:
        """The bucket of that name. Refused where there is none."""
        if name not in self.buckets:
            raise Refused(404, "NoSuchBucket")
        return self.buckets[name]

    def create_bucket(self, ask: Ask) -> Expected:
        """Done again by its owner it succeeds, in us-east-1."""
        self.buckets.setdefault(ask.bucket, Bucket(ask.bucket, When("created", asked_s=ask.asked_s)))
        return Expected(headers={"location": f"/{ask.bucket}"})

    def head_bucket(self, ask: Ask) -> Expected:
        self.bucket(ask.bucket)
        return Expected(headers={"x-amz-bucket-region": "us-east-1", "content-type": "application/xml"})

    def delete_bucket(self, ask: Ask) -> Expected:
        """Versions and delete markers keep a bucket; uploads go with it."""
        if self.bucket(ask.bucket).keys:
            raise Refused(409, "BucketNotEmpty")
        del self.buckets[ask.bucket]
        return Expected(204)

    def put_versioning(self, ask: Ask) -> Expected:
        bucket = self.bucket(ask.bucket)
        bucket.versioning = "Enabled" if b"Enabled" in ask.body else "Suspended"
        return Expected()

    def get_versioning(self, ask: Ask) -> Expected:
        status = self.bucket(ask.bucket).versioning
        return Expected(xml=("VersioningConfiguration", [("Status", status)] if status else ""))

    def put_object(self, ask: Ask) -> Expected:
        bucket = self.bucket(ask.bucket)
        self.check_write(bucket, ask)
        etag, checksum = check_body(ask)
        about, tags = described(ask.headers)
        made = Version("", self.when(bucket, ask), ask.body, etag, about, tags, checksum)
        said = checksum.headers() if checksum else {}
        return Expected(headers={"etag": f'"{etag}"', **said, **self.add(bucket, ask.key, made)})

    def add(self, bucket: Bucket, key: str, version: Version) -> dict[str, Text]:
        """Make a version the newest, with its id; what the reply to its writer says of that."""
        if bucket.versioning != "Enabled":
            version.id = NULL
            bucket.add(key, version)
            return {}
        version.id = Chosen("version", unlike=self.chosen.setdefault(f"{bucket.name}/{key}", set()))
        bucket.add(key, version)
        return {"x-amz-version-id": version.id}

    def when(self, bucket: Bucket, ask: Ask) -> When:
        """The time of what is made of a key now: never before that of what it hides."""
        live = bucket.live(ask.key)
        return When("modified", asked_s=ask.asked_s, after=live.when if live else None)

    def check_write(self, bucket: Bucket, ask: Ask) -> None:
        """If-Match and If-None-Match of a write, on the live object."""
        live = bucket.live(ask.key)
        match, none = (ask.headers.get(name, "").strip('"') for name in ("if-match", "if-none-match"))
        if match and live is None:
            raise Refused(404, "NoSuchKey")
        if match and live is not None and match not in ("*", live.etag):
            raise Refused(412, "PreconditionFailed")
        if none and live is not None and none in ("*", live.etag):
            raise Refused(412, "PreconditionFailed")

    def read(self, ask: Ask, *, head: bool) -> Expected:
        """GetObject and HeadObject: which version, whether at all, and which of its bytes."""
        bucket, version = self.found(ask)
        check_read(ask.headers, version)
        headers = told(bucket, version)
        data, part = version.data, None
        if "partNumber" in ask.query:
            start, part = part_at(version, int(ask.query["partNumber"]))
            stop = start + len(part.body)
            if version.parts:
                headers["x-amz-mp-parts-count"] = str(len(version.parts))
        else:
            start, stop = wanted_range(ask.headers.get("range", ""), len(data))
        if stop < 0 or (
            part is not None and start == stop
        ):  # no range was asked for, or a part without a byte
            partial, stop = False, len(data) if part is None else stop
        else:
            partial = True
            headers["content-range"] = f"bytes {start}-{stop - 1}/{len(data)}"
        if "x-amz-checksum-mode" in ask.headers:
            in_part = part is not None and bool(version.parts)
            stated = part.checksum if part is not None and in_part else version.checksum
            if stated and (in_part or (start, stop) == (0, len(data))):
                headers |= stated.headers()
        if head:
            headers["content-length"] = str(stop - start)
        return Expected(206 if partial else 200, headers=headers, body=b"" if head else data[start:stop])

    def get_object(self, ask: Ask) -> Expected:
        return self.read(ask, head=False)

    def head_object(self, ask: Ask) -> Expected:
        return self.read(ask, head=True)

    def found(self, ask: Ask) -> tuple[Bucket, Version]:
        """The bucket and the version that a request is about. Refused as S3 says what is missing, and why."""
        bucket, version_id = self.bucket(ask.bucket), ask.query.get("versionId", "")
        version = bucket.find(ask.key, version_id) if version_id else bucket.newest(ask.key)
        if version is None:
            if version_id:
                raise Refused(404, "NoSuchVersion")
            raise Refused(404, "NoSuchKey", x_amz_delete_marker="false")
        if version.body is None:
            marks = {"x_amz_delete_marker": "true", "x_amz_version_id": version.id}
            if version_id:
                raise Refused(405, "MethodNotAllowed", last_modified=version.when, allow="DELETE", **marks)
            raise Refused(404, "NoSuchKey", last_modified=version.when, **marks)
        return bucket, version

    def delete_object(self, ask: Ask) -> Expected:
        bucket, version_id = self.bucket(ask.bucket), ask.query.get("versionId", "")
        match = ask.headers.get("if-match", "").strip('"')
        marker, made = self.delete(bucket, ask, ask.key, version_id, match=match)
        headers: dict[str, Text] = {"x-amz-version-id": made} if made else {}
        return Expected(204, headers=headers | ({"x-amz-delete-marker": "true"} if marker else {}))

    def delete(
        self, bucket: Bucket, ask: Ask, key: str, version_id: str, *, match: str = ""
    ) -> tuple[bool, Text]:
        """Whether a delete marker was made or removed, and the id of what went or came. What is not there is gone."""
        target = bucket.find(key, version_id) if version_id else bucket.newest(key)
        if match and target is None:
            return False, version_id
        if match and target is not None and match not in ("*", target.etag):
            raise Refused(412, "PreconditionFailed")
        if version_id or not bucket.versioning:
            bucket.drop(key, target)
            return target is not None and target.body is None, version_id
        marker = Version("", self.when(bucket, replace(ask, key=key)))
        return True, self.add(bucket, key, marker).get("x-amz-version-id", NULL)

    def delete_objects(self, ask: Ask) -> Expected:
        """Keys one after the other; what the answer says of each. One that is named twice gets one marker."""
        bucket, answers, hidden = self.bucket(ask.bucket), list[Xml](), dict[str, tuple[bool, Text]]()
        for key, version_id in ask.items:
            again = key in hidden and not version_id and bucket.versioning == "Enabled"
            marker, made = hidden[key] if again else self.delete(bucket, ask, key, version_id)
            if not version_id:
                hidden[key] = marker, made
            said: list[Xml] = [("Key", key)] + ([("VersionId", version_id)] if version_id else [])
            if marker:
                said += [("DeleteMarker", "true"), ("DeleteMarkerVersionId", made)]
            answers.append(("Deleted", said))
        return Expected(xml=("DeleteResult", [] if ask.quiet else answers))

    def copy_object(self, ask: Ask) -> Expected:
        bucket = self.bucket(ask.bucket)
        self.check_write(bucket, ask)
        source_bucket, source, named = self.source(ask)
        replaced = ask.headers.get("x-amz-metadata-directive") == "REPLACE"
        about, tags = described(ask.headers)
        if not replaced:
            storage_class = {name: about[name] for name in about if name == "x-amz-storage-class"}
            kept = {name: value for name, value in source.about.items() if name != "x-amz-storage-class"}
            about = kept | storage_class
            same = source is (bucket.live(ask.key) if source_bucket is bucket else None)
            if same and not named and about == source.about:
                raise Refused(400, "InvalidRequest")
        if ask.headers.get("x-amz-tagging-directive") != "REPLACE":
            tags = source.tags
        made = Version("", self.when(bucket, ask), source.body, source.etag, about, tags, source.checksum)
        made.parts = source.parts
        wanted = ask.headers.get("x-amz-checksum-algorithm", "")
        if wanted and (source.checksum is None or source.checksum.algorithm != wanted):
            made.checksum = Checksum(wanted, STATED, b64encode(DIGESTS[wanted](source.data)).decode())
            made.parts = tuple(replace(part, checksum=None) for part in source.parts)
        headers = self.add(bucket, ask.key, made) | source_headers(source_bucket, source)
        said: list[Xml] = [
            ("LastModified", made.when),
            ("ETag", f'"{made.etag}"'),
            *checksum_xml(made.checksum),
        ]
        return Expected(headers=headers, xml=("CopyObjectResult", said))

    def source(self, ask: Ask) -> tuple[Bucket, Version, bool]:
        """What a copy reads, and whether it named the version."""
        path, _, version_id = ask.headers["x-amz-copy-source"].partition("?versionId=")
        name, _, key = unquote(path).removeprefix("/").partition("/")
        bucket = self.bucket(name)
        version = bucket.find(key, version_id) if version_id else bucket.live(key)
        if version is None:
            raise Refused(404, "NoSuchVersion" if version_id else "NoSuchKey")
        if version.body is None:
            raise Refused(400, "InvalidRequest")
        prefix = "x-amz-copy-source-"
        conditions = {
            name[len(prefix) :]: said for name, said in ask.headers.items() if name.startswith(prefix)
        }
        try:
            check_read(conditions, version)
        except Refused:
            raise Refused(412, "PreconditionFailed") from None
        return bucket, version, bool(version_id)

    def get_tagging(self, ask: Ask) -> Expected:
        bucket, version = self.found(ask)
        tags = [("Tag", [("Key", key), ("Value", value)]) for key, value in sorted(version.tags.items())]
        return Expected(headers=version_header(bucket, version), xml=("Tagging", [("TagSet", tags or "")]))

    def put_tagging(self, ask: Ask) -> Expected:
        bucket, version = self.found(ask)
        version.tags = dict(ask.items)
        return Expected(headers=version_header(bucket, version))

    def delete_tagging(self, ask: Ask) -> Expected:
        bucket, version = self.found(ask)
        version.tags = {}
        return Expected(204, headers=version_header(bucket, version))

    def get_attributes(self, ask: Ask) -> Expected:
        """GetObjectAttributes, asked for all of them."""
        bucket, version = self.found(ask)
        said: list[Xml] = [("ETag", version.etag), ("StorageClass", version.storage_class)]
        said.append(("ObjectSize", str(len(version.data))))
        if version.checksum:
            said.append(("Checksum", checksum_xml(version.checksum)))
        if version.parts:
            said.append(("ObjectParts", part_page(version)))
        headers = {"last-modified": version.when, **version_header(bucket, version)}
        return Expected(headers=headers, xml=("GetObjectAttributesResponse", said))


def part_page(version: Version) -> list[Xml]:
    """All parts of an object as GetObjectAttributes lists them."""
    found: list[Xml] = [
        (
            "Part",
            [
                *checksum_xml(part.checksum, typed=False),
                ("PartNumber", str(part.number)),
                ("Size", str(len(part.body))),
            ],
        )
        for part in version.parts
    ]
    return [
        ("IsTruncated", "false"),
        ("MaxParts", "1000"),
        ("NextPartNumberMarker", str(version.parts[-1].number)),
        ("PartNumberMarker", "0"),
        *found,
        ("PartsCount", str(len(version.parts))),
    ]


def checksum_xml(checksum: Checksum | None, *, typed: bool = True) -> list[Xml]:
    """A checksum as the elements of a document."""
    if checksum is None:
        return []
    said = [(f"Checksum{checksum.algorithm}", checksum.value)]
    return [*said, ("ChecksumType", checksum.kind)] if typed else [*said]


def check_body(ask: Ask) -> tuple[str, Checksum | None]:
    """The ETag and the checksum of a body. Refused where it is not what its headers say."""
    digest = md5(ask.body, usedforsecurity=False)
    if "content-md5" in ask.headers and b64decode(ask.headers["content-md5"]) != digest.digest():
        raise Refused(400, "BadDigest")
    for algorithm, calculate in DIGESTS.items():
        if (claimed := ask.headers.get(f"x-amz-checksum-{algorithm.lower()}")) is not None:
            value = b64encode(calculate(ask.body)).decode()
            if claimed != value:
                raise Refused(400, "BadDigest")
            return digest.hexdigest(), Checksum(algorithm, STATED, value)
    return digest.hexdigest(), None


def described(headers: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """What the headers of a write say to readers, and its tags."""
    about = {name: said for name, said in headers.items() if name in KEPT or name.startswith("x-amz-meta-")}
    about.setdefault("content-type", "binary/octet-stream")
    if about.get("x-amz-storage-class") == "STANDARD":
        del about["x-amz-storage-class"]
    return about, dict(parse_qsl(headers.get("x-amz-tagging", ""), keep_blank_values=True))


def told(bucket: Bucket, version: Version) -> dict[str, Text]:
    """The headers of a read, whatever part of the object it is."""
    headers: dict[str, Text] = {
        "etag": f'"{version.etag}"',
        "last-modified": version.when,
        "accept-ranges": "bytes",
        **version.about,
        **version_header(bucket, version),
    }
    return headers | ({"x-amz-tagging-count": str(len(version.tags))} if version.tags else {})


def version_header(bucket: Bucket, version: Version) -> dict[str, Text]:
    """The id of a version, which only a bucket that ever had versions tells."""
    return {"x-amz-version-id": version.id} if bucket.versioning else {}


def source_headers(bucket: Bucket, version: Version) -> dict[str, Text]:
    """The same, of what a copy read."""
    return {"x-amz-copy-source-version-id": version.id} if bucket.versioning else {}


def check_read(headers: Mapping[str, str], version: Version) -> None:
    """The four conditions of a read, in the order of RFC 9110, 13.2.2."""
    match, none = headers.get("if-match"), headers.get("if-none-match")
    since, unmodified = headers.get("if-modified-since"), headers.get("if-unmodified-since")
    if match is not None:
        if match.strip('"') not in ("*", version.etag):
            raise Refused(412, "PreconditionFailed")
    elif unmodified is not None and version.when.known > _second(unmodified):
        raise Refused(412, "PreconditionFailed")
    if none is not None:
        unchanged = none.strip('"') in ("*", version.etag)
    else:
        unchanged = since is not None and version.when.known <= _second(since)
    if unchanged:
        cached = {
            name.replace("-", "_"): said for name, said in version.about.items() if name == "cache-control"
        }
        raise Refused(304, "", etag=f'"{version.etag}"', last_modified=version.when, **cached)


def _second(date: str) -> int:
    return int(parsedate_to_datetime(date).timestamp())


def part_at(version: Version, number: int) -> tuple[int, Part]:
    """Where a part of an object begins, and the part; an object that was not uploaded in parts is part 1."""
    start = 0
    for part in version.parts or (Part(1, version.data, version.when, version.checksum),):
        if part.number == number:
            return start, part
        start += len(part.body)
    raise Refused(400, "InvalidPart")


def wanted_range(header: str, size: int) -> tuple[int, int]:
    """(first byte, byte after the last) of `bytes=`; (0, -1) where no range is asked for."""
    if not header:
        return 0, -1
    first, _, last = header.removeprefix("bytes=").partition("-")
    start = int(first) if first else max(0, size - int(last))
    stop = min(size, int(last) + 1) if first and last else size
    if start >= stop:
        raise Refused(416, "InvalidRange", content_range=f"bytes */{size}")
    return start, stop
