"""Owns the parts of a multipart upload: sent, copied, listed; never what becomes of them."""

import re
from typing import Final

from s3d.metadata.commands import CopyPart, PutPart
from s3d.metadata.fields import PARTS_MAX
from s3d.metadata.listing import list_parts as parts_page
from s3d.metadata.rows import UploadRow
from s3d.operations import documents
from s3d.operations.attributes import checksum_headers
from s3d.operations.bodies import PartOf, Received, name_body, store_body, store_pieces
from s3d.operations.call import Call
from s3d.operations.copies import Source, find_source
from s3d.operations.multipart import find_upload
from s3d.operations.reading import plan_of, read
from s3d.operations.reply import Reply, xml_reply
from s3d.protocol.conditions import parse_copy_range
from s3d.protocol.errors import S3Error

PAGE_PARTS_MAX: Final = 1_000
_NUMBER: Final = re.compile(r"[0-9]{1,9}", re.ASCII)


async def upload_part(call: Call) -> Reply:
    """UploadPart. The upload is looked for before a byte is stored, and again when the part is committed."""
    number = _part_number(call)
    upload = _upload(call)
    received = await store_body(call, attributes=upload.attributes, part=PartOf(upload.upload, number))
    await _commit(call, upload, number, received)
    headers = [("ETag", f'"{received.etag}"'), *checksum_headers(received.checksums)]
    return Reply(headers=headers)


async def upload_part_copy(call: Call) -> Reply:
    """UploadPartCopy: a whole blob is shared, a range of bytes is read and written."""
    number = _part_number(call)
    upload = _upload(call)
    source = find_source(call)
    size, copy_range = source.version.size, call.header("x-amz-copy-source-range")
    start, stop = parse_copy_range(copy_range, size) if copy_range else (0, size)
    one_blob = (start, stop) == (0, size) and len(source.version.slices) == 1 and not source.version.pages
    checksums: dict[str, str] = {}
    if one_blob and not upload.attributes.checksum_algorithm:
        outcome = await call.apply(
            CopyPart(
                call.store.write_id(call.now_us),
                call.now_us,
                bucket=call.bucket.name,
                key=call.key,
                upload=upload.upload,
                number=number,
                source_incarnation=source.bucket.incarnation,
                source_key=source.key,
                source_sequence=source.version.sequence,
                incarnation=call.bucket.incarnation,
                grace_us=call.store.grace_us,
            )
        )
        etag, modified_us = outcome.etag, outcome.modified_us
    else:
        received = await _copy_bytes(call, upload, source, start, stop)
        modified_us = await _commit(call, upload, number, received)
        etag, checksums = received.etag, received.checksums
    body = documents.copy_result(
        "CopyPartResult", etag=etag, modified_us=modified_us, checksums=[*checksums.items()]
    )
    return xml_reply(body, headers=source.headers)


async def _copy_bytes(call: Call, upload: UploadRow, source: Source, start: int, stop: int) -> Received:
    with call.store.state.view() as view:
        plan = plan_of(view, source.version, start, stop)
    pieces = read(call.store, plan)
    return await store_pieces(
        call,
        pieces,
        size=stop - start,
        attributes=upload.attributes,
        part=PartOf(upload.upload, _part_number(call)),
    )


async def _commit(call: Call, upload: UploadRow, number: int, received: Received) -> int:
    outcome = await name_body(
        call,
        received,
        PutPart(
            call.store.write_id(call.now_us),
            call.now_us,
            bucket=call.bucket.name,
            key=call.key,
            upload=upload.upload,
            number=number,
            blob=received.stored.blob,
            row=received.stored.row,
            etag=received.etag,
            checksum=received.checksums.get(upload.attributes.checksum_algorithm, ""),
            incarnation=call.bucket.incarnation,
            degraded=received.stored.degraded,
            grace_us=call.store.grace_us,
            strays=received.stored.strays,
        ),
    )
    return outcome.modified_us


async def list_parts(call: Call) -> Reply:
    """ListParts, in order of number."""
    upload = _upload(call)
    most = call.number("max-parts", PAGE_PARTS_MAX, most=PAGE_PARTS_MAX)
    after = call.number("part-number-marker", 0, most=PARTS_MAX)
    with call.store.state.view() as view:
        page, truncated = parts_page(view, upload.upload, after=after, limit=most)
    attributes = upload.attributes
    account = attributes.owner or call.bucket.account
    name = call.store.accounts.owner_name(account)
    return xml_reply(
        documents.document(
            "ListPartsResult",
            documents.element("Bucket", call.bucket.name),
            documents.element("Key", call.request.target.key),
            documents.element("UploadId", upload.upload),
            documents.owner(account, name, element_name="Initiator"),
            documents.owner(account, name),
            documents.element("StorageClass", attributes.storage_class),
            documents.element("PartNumberMarker", after),
            documents.element("NextPartNumberMarker", page[-1].number if page else after),
            documents.element("MaxParts", most),
            documents.element("IsTruncated", truncated),
            documents.element("ChecksumAlgorithm", attributes.checksum_algorithm)
            + documents.element("ChecksumType", attributes.checksum_type)
            if attributes.checksum_algorithm
            else "",
            *(documents.part(row, attributes.checksum_algorithm) for row in page),
        )
    )


def _upload(call: Call) -> UploadRow:
    upload = find_upload(call)
    assert upload is not None, "find_upload raises where it finds none"
    return upload


def _part_number(call: Call) -> int:
    text = call.argument("partNumber")
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= PARTS_MAX:
        raise S3Error(
            "InvalidArgument",
            f"Part number must be an integer between 1 and {PARTS_MAX}, inclusive",
            ArgumentName="partNumber",
            ArgumentValue=text[:64],
        )
    return int(text)
