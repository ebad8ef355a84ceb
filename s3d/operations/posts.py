"""Owns PostObject: a browser's form becomes the PUT that it asks for, and is answered as its fields say.

Source: "POST Object", S3 API reference. What a form says of its object stands in its fields; of the headers around it
only those count that can make the upload do less, or that policies of buckets ask for.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Final, NamedTuple
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from s3d.operations.call import Call, RawBody
from s3d.operations.documents import element
from s3d.operations.objects import put_object
from s3d.operations.reply import Reply, xml_reply
from s3d.protocol.errors import S3Error
from s3d.protocol.form import FormReader
from s3d.protocol.form_data import boundary_of, is_form
from s3d.protocol.form_signature import CLAIM_FIELDS, missing_field
from s3d.protocol.post_policy import PostPolicy, read_post_policy
from s3d.protocol.routing import KEY_SIZE_BYTES_MAX, Request
from s3d.protocol.signature import PayloadMode, Verified, Verifier
from s3d.protocol.tags import OBJECT_TAGS_MAX, read_tag_document
from s3d.protocol.xml import XML_DECLARATION

_NOT_A_FORM: Final = "Bucket POST must be of the enclosure-type multipart/form-data"

_HEADERS_AROUND: Final = (
    "host",
    "if-match",
    "if-none-match",
    "referer",
    "user-agent",
    "x-amz-expected-bucket-owner",
)
_OF_SIGNATURES: Final = ("x-amz-content-sha256", "x-amz-date")
# A file is as long as it turns out, like the body of a PUT in chunks.
_FRAMING: Final = {"transfer-encoding": "chunked"}

_SAID_OTHERWISE: Final = {"acl": "x-amz-acl", "tagging": "x-amz-tagging"}
_SAID_AS_HEADERS: Final = frozenset(
    (
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-md5",
        "content-type",
        "expires",
    )
)
_AMZ_FIELD: Final = re.compile(
    r"x-amz-(?:meta-[!#$%&'*+.^_`|~0-9a-z-]+|checksum-[a-z0-9]+|sdk-checksum-algorithm|storage-class"
    r"|website-redirect-location|server-side-encryption[a-z-]*|object-lock-[a-z-]+)",
    re.ASCII,
)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_REDIRECT: Final = re.compile(r"https?://[!-~]+", re.ASCII | re.IGNORECASE)
_STATUSES: Final = {"200": 200, "201": 201, "204": 204}
_STATUS_DEFAULT: Final = 204


class Posted(NamedTuple):
    """A request as its form states it, who sent it, and the body of its object."""

    request: Request
    verified: Verified
    body: RawBody


class FormFile:
    """The file of a form as the body of a call; its fields, and the policy that holds, are there before it."""

    def __init__(self, raw: RawBody, boundary: bytes) -> None:
        self._raw = raw
        self._reader = FormReader(boundary)
        self._pieces: Iterator[bytes] = iter(())
        self._received = 0
        self.policy: PostPolicy | None = None

    @property
    def fields(self) -> Mapping[str, str]:
        """What the form says, by names in lower case."""
        return self._reader.fields

    async def begin(self) -> None:
        """Read the fields before the file. Raises S3Error where the form is wrong or has no file."""
        while not self._reader.begun:
            data = await self._raw.piece()
            if not data:
                self._reader.finish()
            pieces = self._reader.feed(data)
            first = next(pieces, None)
            self._pieces = iter(()) if first is None else chain((first,), pieces)

    async def piece(self) -> bytes:
        """The file's bytes that came since the last call; b"" at the end of the form.

        Raises EntityTooLarge as soon as it is, EntityTooSmall at the end, and what a form is wrong in.
        """
        while (piece := next(self._pieces, None)) is None:
            data = await self._raw.piece()
            if not data:
                self._reader.finish()
                self._check_size(whole=True)
                return b""
            self._pieces = self._reader.feed(data)
        self._received += len(piece)
        self._check_size(whole=False)
        return piece

    def _check_size(self, *, whole: bool) -> None:
        if self.policy is not None:
            self.policy.check_size(self._received, whole=whole)


async def open_form(
    request: Request, outer: Verified, raw: RawBody, *, verifier: Verifier, now_s: float
) -> Posted:
    """The PUT that a form asks for, once its signature and its policy hold; what is no form stays as it is.

    `outer` is what the request around the form says of who sent it. Nothing of the file is kept yet. Raises S3Error.
    """
    content_type = request.headers.get("content-type", "")
    if not is_form(content_type):
        return Posted(request, outer, raw)
    _check_around(request.headers)
    file = FormFile(raw, boundary_of(content_type))
    await file.begin()
    fields, bucket = file.fields, request.target.bucket
    target = replace(request.target, key=_key(fields), query={})
    verified = verifier.verify_form(outer, fields, now_s=now_s)
    if fields.get("bucket", bucket) != bucket:
        raise S3Error("AccessDenied", "The form is for another bucket than the request.")
    if verified.access_key:
        file.policy = read_post_policy(fields["policy"])
        file.policy.check({**fields, "bucket": bucket}, now_s=now_s)
    return Posted(Request(request.method, target, _headers(request.headers, fields)), verified, file)


def _check_around(headers: Mapping[str, str]) -> None:
    """Refuse what is said around a form, where no signature covers it, instead of leaving it undone in silence."""
    if "content-md5" in headers:
        raise S3Error("NotImplemented", Header="content-md5")
    unsigned = [
        name
        for name in headers
        if name.startswith("x-amz-") and name not in _HEADERS_AROUND and name not in _OF_SIGNATURES
    ]
    if unsigned:
        raise S3Error(
            "AccessDenied",
            "There were headers present in the request which were not signed",
            HeadersNotSigned=", ".join(unsigned),
        )


def _key(fields: Mapping[str, str]) -> str:
    key = fields.get("key", "")
    if not key:
        raise missing_field("key")
    size_bytes = len(key.encode())
    if size_bytes > KEY_SIZE_BYTES_MAX:
        raise S3Error("KeyTooLongError", Size=str(size_bytes), MaxSizeAllowed=str(KEY_SIZE_BYTES_MAX))
    return key


def _headers(around: Mapping[str, str], fields: Mapping[str, str]) -> dict[str, str]:
    """The headers of the PUT. Raises InvalidArgument, NotImplemented, and what a tagging field is wrong in."""
    headers = {name: around[name] for name in _HEADERS_AROUND if name in around} | _FRAMING
    for name, value in fields.items():
        header = _SAID_OTHERWISE.get(name, name)
        if name == "tagging":
            headers[header] = urlencode(read_tag_document(value.encode(), most=OBJECT_TAGS_MAX))
        elif name in _SAID_OTHERWISE or name in _SAID_AS_HEADERS or _AMZ_FIELD.fullmatch(name):
            if _CONTROL.search(value):
                raise S3Error("InvalidArgument", "A field holds a control character.", ArgumentName=name)
            headers[header] = value.strip(" \t")
        elif name.startswith("x-amz-") and name not in CLAIM_FIELDS:
            raise S3Error("NotImplemented", Field=name)
    return headers


async def post_object(call: Call) -> Reply:
    """PostObject: what PutObject does, answered as the form wishes. Raises PreconditionFailed for another body."""
    if call.verified.payload is not PayloadMode.FORM_FILE:
        raise S3Error("PreconditionFailed", Condition=_NOT_A_FORM)
    assert isinstance(call.body, FormFile), "only open_form makes a call of this mode"
    fields = call.body.fields
    written = await put_object(call)
    etag = dict(written.headers)["ETag"]
    redirect = _redirect(call, fields, etag=etag)
    if redirect:
        return Reply(303, headers=(*written.headers, ("Location", redirect)))
    headers = (*written.headers, ("Location", _location(call)))
    match _STATUSES.get(fields.get("success_action_status", ""), _STATUS_DEFAULT):
        case 201:
            return xml_reply(_document(call, etag=etag), status=201, headers=headers)
        case 200:
            return Reply(200, headers=headers)
        case _:
            return Reply(204, headers=headers, length=-1)


def _redirect(call: Call, fields: Mapping[str, str], *, etag: str) -> str:
    """Where the browser is to go from here; "" where the form names no URL that could be one."""
    wanted = fields.get("success_action_redirect") or fields.get("redirect", "")
    if not _REDIRECT.fullmatch(wanted):
        return ""
    said = urlencode(
        {"bucket": call.bucket.name, "key": call.request.target.key, "etag": etag}, quote_via=quote, safe=""
    )
    try:
        url = urlsplit(wanted)
    except ValueError:
        return ""
    return urlunsplit(url._replace(query=f"{url.query}&{said}" if url.query else said))


def _location(call: Call) -> str:
    """The URL of the new object, as this client reaches it."""
    target, host = call.request.target, call.header("host")
    path = f"{target.raw_path.rstrip('/')}/{quote(target.key, safe='/-._~')}"
    return f"{'https' if call.secure else 'http'}://{host}{path}" if host else path


def _document(call: Call, *, etag: str) -> bytes:
    """PostResponse."""
    said = (
        element("Location", _location(call)),
        element("Bucket", call.bucket.name),
        element("Key", call.request.target.key),
        element("ETag", etag),
    )
    return f"{XML_DECLARATION}<PostResponse>{''.join(said)}</PostResponse>".encode()
