"""Owns the rules: what is asked of a store and its model, drawn by Hypothesis, shrunk where they differ."""

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from tests.integration.semantics_asking import (
    ABOUT,
    KEYS,
    PART_SIZES,
    RANGES,
    READ_CONDITIONS,
    SIZES,
    Asking,
    body_of,
    pick,
)
from tests.integration.semantics_state import DIGESTS

number = st.integers(0, 63)
four_numbers = st.tuples(number, number, number, number)


class Semantics(Asking):
    """Each rule is a request or a few: the model answers, the store answers, and both say the same."""

    @initialize(
        versioning=st.sampled_from(("", "Enabled", "Enabled", "Suspended")),
        filled=st.lists(st.tuples(st.sampled_from(KEYS), number, number), max_size=8),
    )
    def begin(self, versioning: str, filled: list[tuple[str, int, int]]) -> None:
        """Two buckets with something in them, some of it from before the bucket had versions."""
        for name in "ab":
            self.ask("CreateBucket", self.prefix + name)
        for place, (key, which, about) in enumerate(filled):
            if place == len(filled) // 2 and versioning:
                self.whole_bucket(0, versioning)
            self.put(which, key, size=which % 6, which=0, about=about, condition=0)

    @rule(
        at=number,
        what=st.sampled_from(("Create", "Delete", "Head", "List", "GetVersioning", "Enabled", "Suspended")),
    )
    def whole_bucket(self, at: int, what: str) -> None:
        name = self.bucket(at).name
        if what in ("Enabled", "Suspended"):
            text = f"<VersioningConfiguration><Status>{what}</Status></VersioningConfiguration>"
            self.ask("PutBucketVersioning", name, body=text.encode())
        elif what == "GetVersioning":
            self.ask("GetBucketVersioning", name)
        elif what == "List":
            self.ask("ListBuckets", query={"prefix": self.prefix})
        else:
            self.ask(f"{what}Bucket", name)

    @rule(at=number, key=st.sampled_from(KEYS), size=number, which=number, about=number, condition=number)
    def put(self, at: int, key: str, size: int, which: int, about: int, condition: int) -> None:
        bucket, body = self.bucket(at), body_of(pick(size, SIZES), which % 2)
        headers = {**pick(about, ABOUT), **self.claims(which, body)}
        headers |= self.condition(condition, READ_CONDITIONS[:2], bucket.live(key))
        self.ask("PutObject", bucket.name, key, headers=headers, body=body)

    @rule(at=number, key=number, version=number, condition=number, span=number, head=st.booleans())
    def read(self, at: int, key: int, version: int, condition: int, span: int, head: bool) -> None:
        bucket = self.bucket(at)
        name = self.key(key, bucket)
        query = self.version(version, bucket, name)
        found = bucket.find(name, query["versionId"]) if query else bucket.live(name)
        headers = self.condition(condition, READ_CONDITIONS, found)
        if span % 3 == 0:
            headers["range"] = f"bytes={pick(span // 3, RANGES)}"
        if span % 7 == 1:
            query["partNumber"] = str(1 + span % 3)
            headers.pop("range", None)
        if span % 2:
            headers["x-amz-checksum-mode"] = "ENABLED"
        self.ask("HeadObject" if head else "GetObject", bucket.name, name, query=query, headers=headers)

    @rule(at=number, key=number, version=number)
    def attributes(self, at: int, key: int, version: int) -> None:
        bucket = self.bucket(at)
        name = self.key(key, bucket)
        headers = {"x-amz-object-attributes": "ETag,Checksum,ObjectParts,StorageClass,ObjectSize"}
        query = self.version(version, bucket, name)
        self.ask("GetObjectAttributes", bucket.name, name, query=query, headers=headers)

    @rule(at=number, key=number, version=number, condition=number)
    def delete(self, at: int, key: int, version: int, condition: int) -> None:
        bucket = self.bucket(at)
        name = self.key(key, bucket)
        query = self.version(version, bucket, name)
        found = bucket.find(name, query["versionId"]) if query else bucket.newest(name)
        headers = self.condition(condition, ("if-match",), found)
        self.ask("DeleteObject", bucket.name, name, query=query, headers=headers)

    @rule(at=number, which=st.lists(st.tuples(number, number), min_size=1, max_size=5), quiet=st.booleans())
    def delete_many(self, at: int, which: list[tuple[int, int]], quiet: bool) -> None:
        bucket, items = self.bucket(at), []
        for key, version in which:
            name = self.key(key, bucket)
            items.append((name, self.version(version, bucket, name).get("versionId", "")))
        self.ask("DeleteObjects", bucket.name, items=items, quiet=quiet)
        if quiet:  # of delete markers that nobody was told the ids of
            self.ask("ListObjectVersions", bucket.name)

    @rule(at=number, key=number, operation=st.sampled_from(("Put", "Put", "Get", "Delete")), version=number)
    def tag(self, at: int, key: int, operation: str, version: int) -> None:
        bucket = self.bucket(at)
        name = self.key(key, bucket)
        items = [("t", str(version)), ("u v", "é")][: 1 + version % 2] if operation == "Put" else []
        query = self.version(version, bucket, name)
        self.ask(f"{operation}ObjectTagging", bucket.name, name, query=query, items=items)

    @rule(
        at=number,
        key=st.sampled_from(KEYS),
        source=four_numbers,
        about=number,
        condition=number,
    )
    def copy(self, at: int, key: str, source: tuple[int, int, int, int], about: int, condition: int) -> None:
        bucket, headers = self.bucket(at), self.source(*source)
        headers |= self.condition(condition, READ_CONDITIONS[:2], bucket.live(key))
        if about % 2:
            headers |= {**pick(about // 2, ABOUT), "x-amz-metadata-directive": "REPLACE"}
        if about % 3 == 0:
            headers |= {"x-amz-tagging": "c=d", "x-amz-tagging-directive": "REPLACE"}
        if about % 5 == 0:
            headers["x-amz-checksum-algorithm"] = pick(about // 5, [*DIGESTS])
        self.ask("CopyObject", bucket.name, key, headers=headers)

    @rule(at=number, which=four_numbers, marker=number)
    def list_one(self, at: int, which: tuple[int, int, int, int], marker: int) -> None:
        bucket, query = self.bucket(at), self.list_query(which, "max-keys")
        after = pick(marker, ["", "", "", *KEYS, "a/b/", "zz"])
        self.ask("ListObjects", bucket.name, query=query | ({"marker": after} if after else {}))

    @rule(at=number, which=four_numbers, start=number)
    def list_two(self, at: int, which: tuple[int, int, int, int], start: int) -> None:
        """Page after page."""
        bucket, query = self.bucket(at), self.list_query(which, "max-keys")
        after = pick(start, ["", "", "", *KEYS, "a/b/", "zz"])
        query |= {"start-after": after} if after else {}
        query |= {"fetch-owner": "true"} if start % 2 else {}
        behind = ""
        for _ in range(4):
            expected, _ = self.ask("ListObjectsV2", bucket.name, query=query, behind=behind)
            rows = dict(expected.xml[1]) if expected.xml else {}
            if "NextContinuationToken" not in rows:
                return
            query = query | {"continuation-token": str(rows["NextContinuationToken"])}
            behind = self.last_name(bucket, query, behind or after)

    @rule(at=number, which=four_numbers, uploads=st.booleans())
    def list_with_ids(self, at: int, which: tuple[int, int, int, int], uploads: bool) -> None:
        """Versions, or uploads, page after page."""
        operation, limit, id_name = "ListObjectVersions", "max-keys", "version-id-marker"
        if uploads:
            operation, limit, id_name = "ListMultipartUploads", "max-uploads", "upload-id-marker"
        bucket, query = self.bucket(at), self.list_query(which, limit)
        query.pop("encoding-type", None)
        for _ in range(4):
            expected, _ = self.ask(operation, bucket.name, query=query)
            rows = dict(expected.xml[1]) if expected.xml else {}
            if "NextKeyMarker" not in rows:
                return
            query = query | {"key-marker": rows["NextKeyMarker"]}
            query.pop(id_name, None)
            following = str(rows.get(id_name.title().replace("-", "").join(("Next", "")), ""))
            query |= {id_name: following} if following else {}

    @rule(at=number, key=st.sampled_from(KEYS), about=number, which=number)
    def create_upload(self, at: int, key: str, about: int, which: int) -> None:
        headers = dict(pick(about, ABOUT))
        if which % 2:
            headers["x-amz-checksum-algorithm"] = pick(which // 2, [*DIGESTS])
            if which % 3 == 0:
                headers["x-amz-checksum-type"] = pick(which // 3, ("COMPOSITE", "FULL_OBJECT"))
        self.ask("CreateMultipartUpload", self.bucket(at).name, key, headers=headers)

    @rule(which=number, part=st.sampled_from((1, 2, 2, 3, 10_000)), size=number, check=number)
    def upload_part(self, which: int, part: int, size: int, check: int) -> None:
        if (found := self.upload(which)) is None:
            return
        bucket, upload = found
        body = body_of(pick(size, PART_SIZES), check % 2)
        query = {"partNumber": str(part), "uploadId": str(upload.id)}
        self.ask(
            "UploadPart", bucket.name, upload.key, query=query, headers=self.claims(check, body), body=body
        )

    @rule(
        which=number,
        part=st.sampled_from((1, 2, 3)),
        source=four_numbers,
        span=number,
    )
    def copy_part(self, which: int, part: int, source: tuple[int, int, int, int], span: int) -> None:
        if (found := self.upload(which)) is None:
            return
        bucket, upload = found
        headers = self.source(*source)
        if span % 2:
            headers["x-amz-copy-source-range"] = (
                f"bytes={pick(span // 2, ('0-0', '2-9', '100-70099', '0-299'))}"
            )
        query = {"partNumber": str(part), "uploadId": str(upload.id)}
        self.ask("UploadPartCopy", bucket.name, upload.key, query=query, headers=headers)

    @rule(which=number, wrong=st.sampled_from(("", "", "", "", "etag", "order", "absent")), condition=number)
    def complete(self, which: int, wrong: str, condition: int) -> None:
        """With all of its parts, or with a mistake; and once again."""
        if (found := self.upload(which)) is None:
            return
        bucket, upload = found
        items = [(part.number, part.etag) for _, part in sorted(upload.parts.items())]
        if not items or wrong == "absent":
            items.append((9_999, "0" * 32))
        if wrong == "etag":
            items[0] = (items[0][0], "f" * 32)
        if wrong == "order":
            items = [*items, items[0]]
        live = bucket.live(upload.key)
        said = {"query": {"uploadId": str(upload.id)}, "items": items}
        headers = self.condition(condition, READ_CONDITIONS[:2], live)
        expected, _ = self.ask("CompleteMultipartUpload", bucket.name, upload.key, headers=headers, **said)
        if not expected.code:
            self.ask("CompleteMultipartUpload", bucket.name, upload.key, **said)

    @rule(at=number, key=st.sampled_from(KEYS), which=number, sizes=st.lists(number, min_size=1, max_size=2))
    def upload_whole(self, at: int, key: str, which: int, sizes: list[int]) -> None:
        """An upload from its beginning to its end; few have parts that are long enough: they cost the most."""
        bucket = self.bucket(at)
        self.create_upload(at, key, about=which, which=which)
        upload = max(
            (each for each in bucket.uploads if each.key == key), key=lambda each: str(each.id), default=None
        )
        if upload is None:
            return
        for place, size in enumerate(sizes, 1):
            last = place == len(sizes)
            body = body_of(pick(size, SIZES[1:-2]) if last or which % 8 else 5 << 20, which % 2)
            query = {"partNumber": str(place * 2), "uploadId": str(upload.id)}
            self.ask("UploadPart", bucket.name, upload.key, query=query, body=body)
        items = [(part.number, part.etag) for _, part in sorted(upload.parts.items())]
        query = {"uploadId": str(upload.id)}
        self.ask("CompleteMultipartUpload", bucket.name, upload.key, query=query, items=items)

    @rule(which=number, most=number, after=number, abort=st.booleans())
    def look_at_upload(self, which: int, most: int, after: int, abort: bool) -> None:
        """Its parts; and, one time of four, its end, after which it is not there."""
        if (found := self.upload(which)) is None:
            return
        bucket, upload = found
        query = {"uploadId": str(upload.id)}
        page = {"max-parts": str(pick(most, (0, 1, 2, 1_000)))} if most % 2 else {}
        page |= {"part-number-marker": str(pick(after, (0, 1, 2, 10_000)))} if after % 2 else {}
        self.ask("ListParts", bucket.name, upload.key, query=query | page)
        if abort and which % 2:
            self.ask("AbortMultipartUpload", bucket.name, upload.key, query=query)
            self.ask("AbortMultipartUpload", bucket.name, upload.key, query=query)
            self.ask("ListParts", bucket.name, upload.key, query=query)

    put_again, read_again, copy_again = put, read, copy  # a rule by two names is drawn twice as often
