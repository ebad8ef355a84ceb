"""Owns what the last record of every shard says of its blob, for salvage: fields, version and bytes.

    | version 1 B | msgpack array |

A shard server keeps it as it is and never reads it; the segment's record has the checksum. A field may be added at
the end with a default, never moved.
"""

import msgspec

VERSION = 1


class IdentityError(ValueError):
    """The bytes are no identity of a version that this program reads."""


class Identity(msgspec.Struct, frozen=True, array_like=True):
    """What the blob is: the whole of an object (`upload` empty), or one part of a multipart upload."""

    bucket: str
    key: bytes
    size: int
    etag: str  # hex without quotes
    codec: int
    k: int
    m: int
    content_type: str = ""
    metadata: dict[str, str] = {}
    upload: str = ""
    part: int = 0
    version_id: str = ""  # "" where the bucket has no versions
    headers: dict[str, str] = {}
    created_us: int = 0


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Identity)


def encode_identity(identity: Identity) -> bytes:
    """The bytes that the last extent of each shard carries."""
    return bytes((VERSION,)) + _encoder.encode(identity)


def decode_identity(raw: bytes) -> Identity:
    """The identity in the last record of a shard. Raises IdentityError."""
    if not raw or raw[0] != VERSION:
        raise IdentityError(f"identity of version {raw[0] if raw else 'none'}")
    try:
        return _decoder.decode(raw[1:])
    except msgspec.MsgspecError as error:
        raise IdentityError(str(error)) from error
