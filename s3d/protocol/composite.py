"""Owns the checksum of a multipart object, made of those of its parts; never reads a byte of them.

COMPOSITE is the checksum of the parts' checksums, with `-N`; FULL_OBJECT, for CRCs alone, is that of all the bytes,
which a CRC of each part and its length give. Source: "Checking object integrity", S3 user guide.
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Final

from s3d.protocol.checksums import ALGORITHMS

COMPOSITE: Final = "COMPOSITE"
FULL_OBJECT: Final = "FULL_OBJECT"

# What an upload may ask for, the default first: CreateMultipartUpload, S3 API reference.
TYPES: Final[Mapping[str, tuple[str, ...]]] = {
    "CRC32": (COMPOSITE, FULL_OBJECT),
    "CRC32C": (COMPOSITE, FULL_OBJECT),
    "CRC64NVME": (FULL_OBJECT,),
    "SHA1": (COMPOSITE,),
    "SHA256": (COMPOSITE,),
}


def combine(algorithm: str, kind: str, parts: Sequence[tuple[str, int]]) -> str:
    """The base64 of the whole from (base64, size in bytes) of each of its parts, in order; `-N` after a composite."""
    digests = [b64decode(checksum) for checksum, _ in parts]
    if kind == COMPOSITE:
        whole = ALGORITHMS[algorithm].begin()
        whole.update(b"".join(digests))
        return f"{b64encode(whole.digest()).decode('ascii')}-{len(parts)}"
    join = ALGORITHMS[algorithm].combine
    assert join is not None, "TYPES lets only CRCs be of the full object"
    value = int.from_bytes(digests[0], "big")
    for digest, (_, size) in zip(digests[1:], parts[1:], strict=True):
        value = join(value, int.from_bytes(digest, "big"), size)
    return b64encode(value.to_bytes(ALGORITHMS[algorithm].size_bytes, "big")).decode("ascii")


def kind_of(checksum: str) -> str:
    """The type of a checksum as an object has it: base64 has no hyphen, so `-N` tells a composite."""
    return COMPOSITE if "-" in checksum else FULL_OBJECT
