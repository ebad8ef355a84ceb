"""Owns GetObjectAttributes: what is known of an object, without its bytes; never a header of GetObject."""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Final

from s3d.metadata.rows import Slice, VersionRow
from s3d.metadata.view import View
from s3d.operations.authorise import authorise_too
from s3d.operations.call import Call
from s3d.operations.documents import document, element
from s3d.operations.objects import find_version
from s3d.operations.reply import Reply, xml_reply
from s3d.protocol.conditions import http_date
from s3d.protocol.errors import S3Error

PAGE_PARTS_MAX: Final = 1_000
_PARTS_MAX: Final = 10_000

Asked = Callable[[Call, View, VersionRow], str]


async def get_object_attributes(call: Call) -> Reply:
    """GetObjectAttributes: those that x-amz-object-attributes names, for who may read the object as well."""
    named = [name.strip() for name in call.header("x-amz-object-attributes").split(",") if name.strip()]
    if not named or any(name not in _ATTRIBUTES for name in named):
        raise S3Error(
            "InvalidArgument", "Invalid attribute name specified.", ArgumentName="x-amz-object-attributes"
        )
    with call.store.state.view() as view:
        version = find_version(call, view)
        authorise_too(call, view, "s3:GetObject")
        parts = [told(call, view, version) for name, told in _ATTRIBUTES.items() if name in named]
    headers = [("Last-Modified", http_date(version.modified_us // 1_000_000))]
    if call.bucket.versioning:
        headers.append(("x-amz-version-id", version.version_id))
    return xml_reply(document("GetObjectAttributesResponse", *parts), headers=headers)


def _etag(_call: Call, _view: View, version: VersionRow) -> str:
    return element("ETag", version.etag)


def _checksum(_call: Call, _view: View, version: VersionRow) -> str:
    said = version.attributes
    if not said.checksums:
        return ""
    values = "".join(element(f"Checksum{name}", value) for name, value in said.checksums.items())
    return f"<Checksum>{values}{element('ChecksumType', said.checksum_type or 'FULL_OBJECT')}</Checksum>"


def _parts(call: Call, view: View, version: VersionRow) -> str:
    """A page of the parts; nothing for an object that was not uploaded in parts."""
    if not version.parts:
        return ""
    most = _number(call, "x-amz-max-parts", PAGE_PARTS_MAX, most=PAGE_PARTS_MAX)
    after = _number(call, "x-amz-part-number-marker", 0, most=_PARTS_MAX)
    found = [*islice(_behind(view, version, after), most + 1)]
    page = found[:most]
    algorithm = version.attributes.checksum_algorithm
    return "".join(
        (
            "<ObjectParts>",
            element("IsTruncated", most > 0 and len(found) > most),
            element("MaxParts", most),
            element("NextPartNumberMarker", page[-1].number if page else after),
            element("PartNumberMarker", after),
            *(_part(part, algorithm) for part in page),
            element("PartsCount", version.parts),
            "</ObjectParts>",
        )
    )


def _behind(view: View, version: VersionRow, after: int) -> Iterator[Slice]:
    return (part for _, part in view.slices(version) if part.number > after)


def _part(part: Slice, algorithm: str) -> str:
    checksum = element(f"Checksum{algorithm}", part.checksum) if algorithm and part.checksum else ""
    return f"<Part>{checksum}{element('PartNumber', part.number)}{element('Size', part.size)}</Part>"


def _number(call: Call, name: str, default: int, *, most: int) -> int:
    text = call.header(name)
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise S3Error("InvalidArgument", ArgumentName=name, ArgumentValue=text[:64])
    return min(int(text), most)


def _storage_class(_call: Call, _view: View, version: VersionRow) -> str:
    return element("StorageClass", version.attributes.storage_class)


def _size(_call: Call, _view: View, version: VersionRow) -> str:
    return element("ObjectSize", version.size)


# In the order that the answer has them.
_ATTRIBUTES: Final[Mapping[str, Asked]] = {
    "ETag": _etag,
    "Checksum": _checksum,
    "ObjectParts": _parts,
    "StorageClass": _storage_class,
    "ObjectSize": _size,
}
