"""Owns the way of a body into a blob: framing off, every promise about it checked, nothing of a bad one kept."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec

from s3d.blobs.identity import Identity, encode_identity
from s3d.blobs.writer import BlobWriter, StoredBlob
from s3d.metadata.commands import CommandError, Condemn, PutObject, PutPart
from s3d.metadata.log import LogClosedError
from s3d.metadata.outcomes import Outcome
from s3d.metadata.rows import Attributes, RowError
from s3d.metadata.state import StateError
from s3d.operations.call import Call
from s3d.placement.erasure import CODECS
from s3d.protocol.checksums import ALGORITHMS, Claims, Digests, read_claims
from s3d.protocol.errors import S3Error
from s3d.protocol.streaming import decoder
from s3d.protocol.xml import DOCUMENT_BYTES_MAX
from shardd.contract.blobs import new_blob_id
from shardd.contract.errors import QuoinError

OBJECT_SIZE_MAX: Final = 5 << 30  # of one PUT or one part
_LENGTH_DIGITS_MAX: Final = 19
_NOTHING_APPLIED: Final = (CommandError, LogClosedError, StateError, RowError)  # as Log.append promises

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Received:
    """A body that is stored and is what it was said to be. `checksums`: algorithm -> base64, of the whole body."""

    stored: StoredBlob
    size: int
    etag: str
    checksums: dict[str, str]

    def describe(self, attributes: Attributes) -> Attributes:
        """`attributes` with the checksums of this body."""
        if not self.checksums:
            return attributes
        algorithm = next(iter(self.checksums))
        return msgspec.structs.replace(
            attributes, checksum_algorithm=algorithm, checksum_type="FULL_OBJECT", checksums=self.checksums
        )


class PartOf(NamedTuple):
    """Which part of which upload a body is."""

    upload: str
    number: int


class Body:
    """The body of a call with its framing off. `size`: bytes of the object, announced; None in HTTP's own chunks."""

    def __init__(self, call: Call, *, wanted: str = "", claims: Claims | None = None) -> None:
        """`wanted`: a checksum to work out although the client claims none. `claims`: in place of the headers'.

        Raises what the claims are wrong in.
        """
        headers = call.request.headers
        self._raw = call.body
        self._decoder = decoder(call.verified, headers)
        self.size = _announced_size(headers) if self._decoder is None else self._decoder.size
        self.digests = Digests(_claims(claims or read_claims(headers, call.verified), wanted))
        self.received = 0

    async def pieces(self) -> AsyncIterator[bytes]:
        """The object's bytes as they come. Raises S3Error where the framing or the length is wrong."""
        raw, chunks = self._raw, self._decoder
        while piece := await raw.piece():
            for part in (piece,) if chunks is None else chunks.feed(piece):
                self.received += len(part)
                yield part

    def check(self) -> dict[str, str]:
        """Hold the whole body against all that was said of it; its checksums. Raises S3Error."""
        trailers = self._decoder.finish() if self._decoder is not None else {}
        if self.size is not None and self.received != self.size:
            raise S3Error("IncompleteBody")
        return self.digests.check(trailers)


def _claims(claims: Claims, wanted: str) -> Claims:
    """`claims`, or where they name no checksum, with `wanted`, which an upload asks of each part. InvalidRequest."""
    if not wanted:
        return claims
    if claims.algorithm is None:
        return Claims(claims.md5, claims.sha256, ALGORITHMS[wanted], None, computed=True)
    if claims.algorithm.name != wanted:
        raise S3Error(
            "InvalidRequest",
            f"Checksum Type mismatch occurred, expected checksum Type: {wanted.lower()}, "
            f"actual checksum Type: {claims.algorithm.name.lower()}",
        )
    return claims


def _announced_size(headers: Mapping[str, str]) -> int | None:
    """What Content-Length says; None for a body in chunks (RFC 9112, 7.1), whose end is its last chunk."""
    text = headers.get("content-length")
    if text is None:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return None
        raise S3Error("MissingContentLength")
    if not (text.isascii() and text.isdigit()) or len(text) > _LENGTH_DIGITS_MAX:
        raise S3Error("InvalidArgument", ArgumentName="Content-Length", ArgumentValue=text[:64])
    return int(text)


async def read_document(call: Call, *, checksums: bool = True) -> bytes:
    """A small body in one piece, checked like any other. Raises MalformedXML over 2 MiB.

    Without `checksums` those in the headers are not of the document, but of what it is about.
    """
    if "content-length" not in call.request.headers and "transfer-encoding" not in call.request.headers:
        return b""
    body = Body(call, claims=None if checksums else _without_checksums(call))
    if (body.size or 0) > DOCUMENT_BYTES_MAX:
        raise S3Error("MalformedXML", "The document is longer than 2 MiB.")
    pieces = []
    async for piece in body.pieces():
        if body.received > DOCUMENT_BYTES_MAX:
            raise S3Error("MalformedXML", "The document is longer than 2 MiB.")
        body.digests.update(piece)
        pieces.append(piece)
    body.check()
    return b"".join(pieces)


def _without_checksums(call: Call) -> Claims:
    headers = call.request.headers
    kept = {name: headers[name] for name in ("content-md5",) if name in headers}
    return read_claims(kept, call.verified)


async def store_body(call: Call, *, attributes: Attributes, part: PartOf | None = None) -> Received:
    """The body of a PUT as a blob, durable and checked, that no row names yet.

    Whatever goes wrong, what was sent is condemned: a client that goes away, a body that is not what was signed, too
    few nodes. Raises S3Error, NotEnoughShardsError.
    """
    body = Body(call, wanted=attributes.checksum_algorithm)
    _check_size(body.size or 0)
    async with _writing(call, body.size, body.digests) as writer:
        async for piece in body.pieces():
            _check_size(body.received)
            await writer.write(piece)
        await writer.drain()
        checksums = body.check()
        etag = body.digests.etag
        stored = await writer.finish(
            _identity(call, body.received, etag=etag, attributes=attributes, part=part)
        )
    return Received(stored, body.received, etag, checksums)


def _check_size(size: int) -> None:
    if size > OBJECT_SIZE_MAX:
        raise S3Error("EntityTooLarge", ProposedSize=str(size), MaxSizeAllowed=str(OBJECT_SIZE_MAX))


async def store_pieces(
    call: Call,
    pieces: AsyncGenerator[list[bytes], None],
    *,
    size: int,
    attributes: Attributes,
    part: PartOf,
) -> Received:
    """Bytes that the store itself gave, as a new blob that no row names yet: the copy of a range."""
    digests = Digests(_claims(Claims(), attributes.checksum_algorithm))
    async with _writing(call, size, digests) as writer, aclosing(pieces):
        async for batch in pieces:
            for piece in batch:
                await writer.write(piece)
        await writer.drain()
        etag = digests.etag
        stored = await writer.finish(_identity(call, size, etag=etag, attributes=attributes, part=part))
    return Received(stored, size, etag, digests.check({}))


@asynccontextmanager
async def _writing(call: Call, size: int | None, digests: Digests) -> AsyncIterator[BlobWriter]:
    """A writer whose shards are condemned where the block fails, by a command: nothing else ever deletes a shard."""
    blob = new_blob_id(call.now_us // 1_000)
    place = f"{call.bucket.name}/{call.request.target.key}".encode()
    writer = call.store.blobs.writer(place, blob=blob, size=size, digests=digests)
    kept = False
    try:
        yield writer
        kept = True
    finally:
        if not kept and (sent := await writer.abandon()) is not None:
            await _condemn(call, sent)


async def name_body(call: Call, received: Received, command: PutObject | PutPart) -> Outcome:
    """The outcome of the command that gives a stored body its row. Raises what Call.apply does.

    Where the log says that nothing was applied, the body is condemned. Where it cannot say, nothing is: a row may
    name it.
    """
    try:
        return await call.apply(command)
    except _NOTHING_APPLIED:
        await _condemn(call, received.stored)
        raise


async def _condemn(call: Call, sent: StoredBlob) -> None:
    """Have all that was sent deleted. The client hears of what went wrong before, not of a log that refuses this."""
    now_us = call.store.clock_us()
    try:
        await call.store.apply(
            Condemn(call.store.write_id(now_us), now_us, blob=sent.blob, places=sent.places)
        )
    except QuoinError as error:
        log.warning("%s: shards of %s that no row names stay: %s", call.request_id, sent.blob.hex(), error)


def _identity(call: Call, size: int, *, etag: str, attributes: Attributes, part: PartOf | None) -> bytes:
    """What salvage will read of the blob in the last record of each shard."""
    rs = call.store.cluster.rs
    return encode_identity(
        Identity(
            call.bucket.name,
            call.key,
            size,
            etag,
            CODECS[rs.codec],
            rs.data,
            rs.parity,
            content_type=attributes.content_type,
            metadata=attributes.metadata,
            upload=part.upload if part is not None else "",
            part=part.number if part is not None else 0,
            headers=attributes.headers,
            created_us=call.now_us,
        )
    )
