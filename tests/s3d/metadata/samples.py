"""Owns one filled sample of every row and every command: the golden files are made of them."""

from s3d.metadata import commands, rows
from s3d.metadata.commands import Conditions

BLOB = bytes(range(16))
OTHER = bytes(range(16, 32))
WRITE_ID = bytes(range(32, 48))
ACCOUNT = "123456789012"
MD5 = "d41d8cd98f00b204e9800998ecf8427e"
TIME_US = 1_790_000_000_123_456

ATTRIBUTES = rows.Attributes(
    owner=ACCOUNT,
    content_type="text/plain; charset=utf-8",
    headers={"cache-control": "no-store"},
    metadata={"colour": "blå"},
    storage_class="STANDARD",
    checksum_algorithm="CRC64NVME",
    checksum_type="FULL_OBJECT",
    checksums={"CRC64NVME": "AAAAAAAAAAA="},
    tags={"a": "b"},
    settings={"acl": b"\x00\xff"},
)
SLICE = rows.Slice(BLOB, 5 << 20, MD5, 7, "AAAAAA==")
BLOB_ROW = rows.BlobRow(
    size=9_000_000,
    codec=2,
    k=3,
    m=2,
    unit=65_536,
    shards=((1, 0), (2, 0), (0, 0), (4, 3), (5, 0)),
    references=2,
    created_us=TIME_US,
    filed=5,
    spent=2,
)

ROWS: dict[str, rows.Row] = {
    "bucket": rows.BucketRow(
        "photos",
        65_536,
        ACCOUNT,
        TIME_US,
        region="eu-north-1",
        public=True,
        kind="standard",
        encryption=True,
        configured=True,
        versioning="Enabled",
        settings={"policy": b"{}"},
    ),
    "account-bucket": rows.AccountBucketRow(TIME_US),
    "object": rows.ObjectRow(9, 5, MD5, TIME_US, ACCOUNT, "STANDARD", "null", "CRC32", "COMPOSITE"),
    "version": rows.VersionRow(
        sequence=9,
        version_id="0000000000000009",
        size=5 << 20,
        etag=MD5 + "-1",
        modified_us=TIME_US,
        attributes=ATTRIBUTES,
        slices=(SLICE,),
        pages=((0, 1), (1 << 40, 501)),
        parts=1,
        upload="upload-1",
        delete_marker=False,
        null=7,
    ),
    "slices": rows.SlicesRow((SLICE, SLICE)),
    "blob": BLOB_ROW,
    "upload": rows.UploadRow("upload-1", TIME_US, ATTRIBUTES),
    "part": rows.PartRow(10_000, BLOB, 5 << 30, MD5, TIME_US, "AAAAAA=="),
    "outcome": rows.OutcomeRow(77, b"\x90"),
    "write": rows.WriteRow(WRITE_ID),
    "degraded": rows.DegradedRow(TIME_US, (0, 4)),
    "condemned": rows.CondemnedRow(BLOB, ((1, 0, 0), (4, 3, 3)), False),
    "condemned-blob": rows.CondemnedBlobRow(TIME_US),
    "node": rows.NodeRow(5, OTHER, TIME_US, "10.0.0.5", 9_995, 8_085, "east", "draining", TIME_US + 2),
    "lease": rows.LeaseRow(OTHER, TIME_US),
    "job": rows.JobRow(OTHER, TIME_US, TIME_US + 1, BLOB + b"\x04", 7, 9, 2, True, 11, True),
    "applied": rows.AppliedRow(OTHER, 1 << 40),
}

ADDRESS = commands.NodeAddress(5, "10.0.0.5", 9_995, 8_085, "east")
CONDITIONS = Conditions(if_match=MD5, if_none_match="*", if_modified_s=5, if_size=6)
COMMANDS: dict[str, commands.Command] = {
    "create-bucket": commands.CreateBucket(
        WRITE_ID, TIME_US, 7, bucket="photos", account=ACCOUNT, region="eu", settings={"acl": b"x"}
    ),
    "delete-bucket": commands.DeleteBucket(WRITE_ID, TIME_US, bucket="photos", incarnation=1, grace_us=9),
    "import-buckets": commands.ImportBuckets(
        WRITE_ID,
        TIME_US,
        buckets=(commands.ConfiguredBucket("photos", ACCOUNT, "eu", True, "standard", True),),
    ),
    "put-bucket-setting": commands.PutBucketSetting(
        WRITE_ID, TIME_US, bucket="photos", name="cors", document=None, incarnation=1
    ),
    "put-versioning": commands.PutVersioning(
        WRITE_ID, TIME_US, bucket="photos", status="Suspended", incarnation=1
    ),
    "put-object": commands.PutObject(
        WRITE_ID,
        TIME_US,
        bucket="photos",
        key=b"a/b",
        blob=BLOB,
        row=BLOB_ROW,
        etag=MD5,
        attributes=ATTRIBUTES,
        incarnation=1,
        conditions=CONDITIONS,
        degraded=True,
        grace_us=9,
    ),
    "copy-object": commands.CopyObject(
        WRITE_ID,
        TIME_US,
        bucket="photos",
        key=b"a/b",
        source_incarnation=2,
        source_key=b"c",
        source_sequence=3,
        attributes=ATTRIBUTES,
        incarnation=1,
        conditions=CONDITIONS,
        grace_us=9,
    ),
    "delete-objects": commands.DeleteObjects(
        WRITE_ID,
        TIME_US,
        bucket="photos",
        keys=(commands.DeletedKey(b"a", "null", CONDITIONS), commands.DeletedKey(b"b")),
        incarnation=1,
        grace_us=9,
    ),
    "put-object-setting": commands.PutObjectSetting(
        WRITE_ID,
        TIME_US,
        bucket="photos",
        key=b"a",
        name="acl",
        document=b"x",
        version_id="null",
        incarnation=1,
        sequence=7,
    ),
    "put-object-tags": commands.PutObjectTags(
        WRITE_ID, TIME_US, bucket="photos", key=b"a", tags={"k": "v"}, version_id="null", incarnation=1
    ),
    "create-upload": commands.CreateUpload(
        WRITE_ID, TIME_US, bucket="photos", key=b"a", upload="u", attributes=ATTRIBUTES, incarnation=1
    ),
    "put-part": commands.PutPart(
        WRITE_ID,
        TIME_US,
        bucket="photos",
        key=b"a",
        upload="u",
        number=3,
        blob=BLOB,
        row=BLOB_ROW,
        etag=MD5,
        checksum="AAAAAA==",
        incarnation=1,
        degraded=True,
        grace_us=9,
    ),
    "copy-part": commands.CopyPart(
        WRITE_ID,
        TIME_US,
        bucket="photos",
        key=b"a",
        upload="u",
        number=3,
        source_incarnation=2,
        source_key=b"c",
        source_sequence=4,
        checksum="AAAAAA==",
        incarnation=1,
        grace_us=9,
    ),
    "complete-upload": commands.CompleteUpload(
        WRITE_ID,
        TIME_US,
        bucket="photos",
        key=b"a",
        upload="u",
        parts=(commands.NamedPart(1, MD5, "AAAAAA=="), commands.NamedPart(2, MD5)),
        checksums={"CRC32": "AAAAAA=="},
        incarnation=1,
        conditions=CONDITIONS,
        grace_us=9,
    ),
    "abort-upload": commands.AbortUpload(
        WRITE_ID, TIME_US, bucket="photos", key=b"a", upload="u", incarnation=1
    ),
    "condemn": commands.Condemn(WRITE_ID, TIME_US, blob=BLOB, places=((1, 0, 0),), grace_us=9),
    "condemn-unnamed": commands.CondemnUnnamed(WRITE_ID, TIME_US, blob=BLOB, places=((1, 0, 3),), grace_us=9),
    "take-lease": commands.TakeLease(WRITE_ID, TIME_US, job="repair", holder=OTHER, until_us=TIME_US + 9),
    "stop-job": commands.StopJob(WRITE_ID, TIME_US, job="rebalance", stopped=True),
    "save-job": commands.SaveJob(
        WRITE_ID,
        TIME_US,
        job="reconcile/5",
        holder=OTHER,
        row=rows.JobRow(OTHER, 1, 2, b"c", 3, 4, 5, False, 6),
    ),
    "relocate": commands.Relocate(
        WRITE_ID, TIME_US, blob=BLOB, expected=((1, 0),), shards=((2, 1),), degraded=True, grace_us=9
    ),
    "mark-degraded": commands.MarkDegraded(WRITE_ID, TIME_US, blob=BLOB, suspects=(1, 4)),
    "swept": commands.Swept(WRITE_ID, TIME_US, items=(commands.SweptItem(b"k", ((1, 0, 0),), 5),)),
    "register-node": commands.RegisterNode(WRITE_ID, TIME_US, node=5, incarnation=OTHER),
    "import-nodes": commands.ImportNodes(WRITE_ID, TIME_US, nodes=(ADDRESS,)),
    "add-node": commands.AddNode(WRITE_ID, TIME_US, address=ADDRESS),
    "set-node-state": commands.SetNodeState(
        WRITE_ID, TIME_US, node=5, state="removed", active_min=5, lost=True
    ),
}
