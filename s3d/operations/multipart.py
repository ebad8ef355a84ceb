"""Owns the beginning and the end of a multipart upload; never its parts."""

import msgspec

from s3d.metadata.commands import AbortUpload, CompleteUpload, CreateUpload, NamedPart
from s3d.metadata.rows import UploadRow
from s3d.operations import documents, orders
from s3d.operations.attributes import attributes_of
from s3d.operations.bodies import read_document
from s3d.operations.call import Call
from s3d.operations.ownership import begin_object
from s3d.operations.preconditions import check_live, write_conditions
from s3d.operations.reply import Reply, no_content, xml_reply
from s3d.operations.versioning import made
from s3d.protocol.composite import TYPES, combine, kind_of
from s3d.protocol.conditions import parse_size
from s3d.protocol.errors import S3Error


async def create_upload(call: Call) -> Reply:
    """CreateMultipartUpload. What the headers say now, the object will say."""
    attributes = begin_object(call).of(attributes_of(call.request.headers))
    algorithm, kind = _checksum_asked(call)
    attributes = msgspec.structs.replace(attributes, checksum_algorithm=algorithm, checksum_type=kind)
    upload = call.store.write_id(call.now_us).hex()
    await call.apply(
        CreateUpload(
            call.store.write_id(call.now_us),
            call.now_us,
            bucket=call.bucket.name,
            key=call.key,
            upload=upload,
            attributes=attributes,
            incarnation=call.bucket.incarnation,
        )
    )
    body = documents.upload_begun(call.bucket.name, call.request.target.key, upload)
    headers = [("x-amz-checksum-algorithm", algorithm), ("x-amz-checksum-type", kind)] if algorithm else []
    return xml_reply(body, headers=headers)


def _checksum_asked(call: Call) -> tuple[str, str]:
    """(algorithm, type) of the checksums of an upload, both empty where none is asked for."""
    algorithm = call.header("x-amz-checksum-algorithm").upper()
    kind = call.header("x-amz-checksum-type").upper()
    if not algorithm:
        if kind:
            raise S3Error("InvalidRequest", "The x-amz-checksum-type header needs x-amz-checksum-algorithm.")
        return "", ""
    if algorithm not in TYPES:
        raise S3Error("InvalidRequest", "Checksum algorithm provided is unsupported.")
    types = TYPES[algorithm]
    if kind and kind not in types:
        raise S3Error(
            "InvalidRequest",
            f"The {kind} checksum type cannot be used with the {algorithm} checksum algorithm.",
        )
    return algorithm, kind or types[0]


async def complete_upload(call: Call) -> Reply:
    """CompleteMultipartUpload: the parts become the object at one moment; done again, it succeeds again."""
    parts = orders.read_parts(await read_document(call, checksums=False))
    conditions = write_conditions(call)
    check_live(call, conditions)
    checksums = _whole_checksums(call, parts)
    outcome = await call.apply(
        CompleteUpload(
            call.store.write_id(call.now_us),
            call.now_us,
            bucket=call.bucket.name,
            key=call.key,
            upload=call.argument("uploadId"),
            parts=parts,
            checksums=checksums,
            incarnation=call.bucket.incarnation,
            conditions=conditions,
            grace_us=call.store.grace_us,
        )
    )
    location = f"{'https' if call.secure else 'http'}://{call.header('host')}{call.request.target.raw_path}"
    shown = [*outcome.checksums.items()]
    shown += [("Type", kind_of(checksum)) for _, checksum in shown[:1]]
    body = documents.upload_completed(
        location, call.bucket.name, call.request.target.key, etag=outcome.etag, checksums=shown
    )
    return xml_reply(body, headers=made(outcome.version_id))


def _whole_checksums(call: Call, parts: tuple[NamedPart, ...]) -> dict[str, str]:
    """The checksums of the whole object, made of those of its parts.

    Raises BadDigest where the caller names another for the whole, InvalidRequest where it names another size or type.
    Parts that are wrong otherwise are for the command to refuse; those that are sent again have other ETags.
    """
    upload = find_upload(call, required=False)
    if upload is None:
        return {}
    with call.store.state.view() as view:
        stored = {part.number: part for part in view.parts(upload.upload)}
    rows = [stored[part.number] for part in parts if part.number in stored]
    if len(rows) != len(parts):
        return {}
    algorithm, kind = upload.attributes.checksum_algorithm, upload.attributes.checksum_type
    _check_promises(call, kind, size=sum(row.size for row in rows))
    if not algorithm or not all(row.checksum for row in rows):
        return {}
    whole = combine(algorithm, kind, [(row.checksum, row.size) for row in rows])
    claimed = call.header(f"x-amz-checksum-{algorithm.lower()}")
    if claimed and claimed != whole and claimed != whole.partition("-")[0]:
        raise S3Error("BadDigest", f"The {algorithm} you specified did not match the calculated checksum.")
    return {algorithm: whole}


def _check_promises(call: Call, kind: str, *, size: int) -> None:
    """Hold what becomes an object against what its completion says of it. Raises InvalidRequest, InvalidArgument."""
    named_kind, named_size = call.header("x-amz-checksum-type").upper(), call.header("x-amz-mp-object-size")
    if named_kind and named_kind != kind:
        raise S3Error(
            "InvalidRequest",
            f"The upload was created using the {kind or 'null'} checksum mode. The complete request must use the same "
            "checksum mode.",
        )
    if named_size and parse_size(named_size) != size:
        raise S3Error(
            "InvalidRequest",
            f"The provided 'x-amz-mp-object-size' header value {named_size} does not match what was computed: {size}",
        )


async def abort_upload(call: Call) -> Reply:
    """AbortMultipartUpload: what its parts stored is condemned."""
    await call.apply(
        AbortUpload(
            call.store.write_id(call.now_us),
            call.now_us,
            bucket=call.bucket.name,
            key=call.key,
            upload=call.argument("uploadId"),
            incarnation=call.bucket.incarnation,
            grace_us=call.store.grace_us,
        )
    )
    return no_content()


def find_upload(call: Call, *, required: bool = True) -> UploadRow | None:
    """The upload that the request names. Raises NoSuchUpload where it is `required`."""
    upload = call.argument("uploadId")
    row = None
    if upload.isascii() and 0 < len(upload) <= 128 and upload.isalnum():
        with call.store.state.view() as view:
            row = view.upload(call.bucket.incarnation, call.key, upload)
    if row is None and required:
        raise S3Error("NoSuchUpload", UploadId=upload[:128])
    return row
