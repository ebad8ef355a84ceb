"""Owns what S3 means by multipart uploads: begun, filled, listed, completed, aborted; a third of the model."""

from base64 import b64decode, b64encode
from hashlib import md5

from tests.integration.semantics_objects import (
    Objects,
    check_body,
    checksum_xml,
    described,
    source_headers,
)
from tests.integration.semantics_state import DIGESTS, Bucket, Checksum, Part, Refused, Upload, Version
from tests.integration.semantics_values import Ask, Chosen, Expected, When, Xml

PART_MIN = 5 << 20
COMPOSITE_ONLY = ("SHA1", "SHA256")


class Uploads(Objects):
    """Objects, and the uploads that become objects."""

    def create_upload(self, ask: Ask) -> Expected:
        """No two uploads of a store have one id."""
        bucket = self.bucket(ask.bucket)
        algorithm = ask.headers.get("x-amz-checksum-algorithm", "")
        kind = ask.headers.get("x-amz-checksum-type", "")
        if algorithm in COMPOSITE_ONLY and kind == "FULL_OBJECT":
            raise Refused(400, "InvalidRequest")
        if algorithm == "CRC64NVME" and kind == "COMPOSITE":
            raise Refused(400, "InvalidRequest")
        if algorithm and not kind:
            kind = "FULL_OBJECT" if algorithm == "CRC64NVME" else "COMPOSITE"
        about, tags = described(ask.headers)
        when = When("initiated", asked_s=ask.asked_s)
        upload_id = Chosen("upload", unlike=self.chosen.setdefault("uploads", set()))
        upload = Upload(upload_id, ask.key, when, about, tags, algorithm, kind)
        bucket.uploads.append(upload)
        bucket.uploads.sort(key=lambda each: each.key.encode())
        headers = {"x-amz-checksum-algorithm": algorithm, "x-amz-checksum-type": kind} if algorithm else {}
        said: list[Xml] = [("Bucket", ask.bucket), ("Key", ask.key), ("UploadId", upload.id)]
        return Expected(headers=headers, xml=("InitiateMultipartUploadResult", said))

    def named(self, ask: Ask) -> tuple[Bucket, Upload]:
        """The upload that a request names."""
        bucket = self.bucket(ask.bucket)
        return bucket, bucket.upload(ask.key, ask.query["uploadId"])

    def upload_part(self, ask: Ask) -> Expected:
        _, upload = self.named(ask)
        claimed = [name for name in DIGESTS if f"x-amz-checksum-{name.lower()}" in ask.headers]
        if claimed and upload.algorithm and claimed != [upload.algorithm]:
            raise Refused(400, "InvalidRequest")
        _, checksum = check_body(ask)
        part = self.keep(upload, ask, ask.body, checksum)
        shown = part.checksum or checksum
        return Expected(headers={"etag": f'"{part.etag}"', **(shown.headers(typed=False) if shown else {})})

    def keep(self, upload: Upload, ask: Ask, body: bytes, checksum: Checksum | None = None) -> Part:
        """Make a body a part, in place of one that has its number; with the checksum that its upload wants."""
        number, kept = int(ask.query["partNumber"]), None
        if upload.algorithm:
            value = b64encode(DIGESTS[upload.algorithm](body)).decode()
            kept = Checksum(upload.algorithm, upload.kind, value)
        upload.parts[number] = Part(number, body, When("part", asked_s=ask.asked_s), kept)
        return upload.parts[number]

    def upload_part_copy(self, ask: Ask) -> Expected:
        _, upload = self.named(ask)
        bucket, source, _ = self.source(ask)
        wanted = ask.headers.get("x-amz-copy-source-range", "")
        start, stop = 0, len(source.data)
        if wanted:
            start, last = map(int, wanted.removeprefix("bytes=").split("-"))
            stop = last + 1
            if stop > len(source.data):
                raise Refused(416, "InvalidRange")
        part = self.keep(upload, ask, source.data[start:stop])
        said: list[Xml] = [("LastModified", part.when), ("ETag", f'"{part.etag}"')]
        said += checksum_xml(part.checksum, typed=False)
        return Expected(headers=source_headers(bucket, source), xml=("CopyPartResult", said))

    def abort_upload(self, ask: Ask) -> Expected:
        bucket, upload = self.named(ask)
        bucket.uploads.remove(upload)
        return Expected(204)

    def complete_upload(self, ask: Ask) -> Expected:
        """The parts that are named become the object. Done again while that is live, it succeeds again."""
        bucket = self.bucket(ask.bucket)
        self.check_write(bucket, ask)
        upload_id = ask.query["uploadId"]
        try:
            upload = bucket.upload(ask.key, upload_id)
        except Refused:
            live = bucket.live(ask.key)
            if live is None or live.upload != upload_id:
                raise
            if [(part.number, part.etag) for part in live.parts] != list(ask.items):
                raise
            return self.completed(ask, bucket, live)
        parts = named_parts(upload, ask)
        digests = b"".join(bytes.fromhex(part.etag) for part in parts)
        etag = f"{md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"
        body = b"".join(part.body for part in parts)
        made = Version("", self.when(bucket, ask), body, etag, upload.about, upload.tags)
        made.checksum, made.parts, made.upload = whole_checksum(upload, parts), parts, upload_id
        bucket.uploads.remove(upload)
        self.add(bucket, ask.key, made)
        return self.completed(ask, bucket, made)

    def completed(self, ask: Ask, bucket: Bucket, made: Version) -> Expected:
        """What a completion answers."""
        headers = {"x-amz-version-id": made.id} if isinstance(made.id, Chosen) else {}
        said: list[Xml] = [
            ("Location", Chosen("location")),
            ("Bucket", ask.bucket),
            ("Key", ask.key),
            ("ETag", f'"{made.etag}"'),
            *checksum_xml(made.checksum),
        ]
        return Expected(headers=headers, xml=("CompleteMultipartUploadResult", said))

    def list_parts(self, ask: Ask) -> Expected:
        _, upload = self.named(ask)
        most, after = int(ask.query.get("max-parts", 1_000)), int(ask.query.get("part-number-marker", 0))
        behind = [part for number, part in sorted(upload.parts.items()) if number > after]
        page = behind[:most]
        said: list[Xml] = [
            ("Bucket", ask.bucket),
            ("Key", ask.key),
            ("UploadId", upload.id),
            ("Initiator", self.owner[1]),
            self.owner,
            ("StorageClass", upload.about.get("x-amz-storage-class", "STANDARD")),
            ("PartNumberMarker", str(after)),
            ("NextPartNumberMarker", str(page[-1].number if page else after)),
            ("MaxParts", str(most)),
            ("IsTruncated", "true" if most and len(behind) > most else "false"),
        ]
        if upload.algorithm:
            said += [("ChecksumAlgorithm", upload.algorithm), ("ChecksumType", upload.kind)]
        said += [("Part", part_xml(part)) for part in page]
        return Expected(xml=("ListPartsResult", said))


def part_xml(part: Part) -> list[Xml]:
    """A part as ListParts shows it."""
    return [
        ("PartNumber", str(part.number)),
        ("LastModified", part.when),
        ("ETag", f'"{part.etag}"'),
        *checksum_xml(part.checksum, typed=False),
        ("Size", str(len(part.body))),
    ]


def named_parts(upload: Upload, ask: Ask) -> tuple[Part, ...]:
    """The parts that a completion names. Refused for one that is not there, out of order, or small but not last."""
    found = list[Part]()
    for number, etag in ask.items:
        if found and number <= found[-1].number:
            raise Refused(400, "InvalidPartOrder")
        part = upload.parts.get(number)
        if part is None or part.etag != etag:
            raise Refused(400, "InvalidPart")
        found.append(part)
    if any(len(part.body) < PART_MIN for part in found[:-1]):
        raise Refused(400, "EntityTooSmall")
    return tuple(found)


def whole_checksum(upload: Upload, parts: tuple[Part, ...]) -> Checksum | None:
    """The checksum of the whole: of all bytes, or of the parts' checksums."""
    if not upload.algorithm:
        return None
    calculate = DIGESTS[upload.algorithm]
    if upload.kind == "FULL_OBJECT":
        value = b64encode(calculate(b"".join(part.body for part in parts))).decode()
    else:
        digests = b"".join(b64decode(part.checksum.value) for part in parts if part.checksum)
        value = f"{b64encode(calculate(digests)).decode()}-{len(parts)}"
    return Checksum(upload.algorithm, upload.kind, value)
