"""Checksums of multipart objects: of the checksums, or by arithmetic that of all the bytes."""

import base64
import hashlib
import zlib

import pytest

from s3d.protocol.checksums import ALGORITHMS
from s3d.protocol.composite import COMPOSITE, FULL_OBJECT, TYPES, combine

PARTS = (b"first part, " * 500_000, b"", b"second, ", b"\x00" * 70_000)


def checksum(name: str, data: bytes) -> str:
    digest = ALGORITHMS[name].begin()
    digest.update(data)
    return base64.b64encode(digest.digest()).decode()


@pytest.mark.parametrize("name", [name for name, kinds in TYPES.items() if FULL_OBJECT in kinds])
@pytest.mark.parametrize("count", [1, 2, len(PARTS)])
def test_full_object_is_the_checksum_of_all_the_bytes(name: str, count: int) -> None:
    parts = PARTS[:count]
    each = [(checksum(name, part), len(part)) for part in parts]
    assert combine(name, FULL_OBJECT, each) == checksum(name, b"".join(parts))


def test_composite_is_the_checksum_of_the_checksums() -> None:
    sha1 = hashlib.sha1(b"".join(hashlib.sha1(part).digest() for part in PARTS)).digest()
    crc32 = zlib.crc32(b"".join(zlib.crc32(part).to_bytes(4, "big") for part in PARTS)).to_bytes(4, "big")
    for name, expected in (("SHA1", sha1), ("CRC32", crc32)):
        each = [(checksum(name, part), len(part)) for part in PARTS]
        assert combine(name, COMPOSITE, each) == f"{base64.b64encode(expected).decode()}-4"


def test_types_are_those_of_s3() -> None:
    assert TYPES.keys() == ALGORITHMS.keys()
    assert all(
        (FULL_OBJECT in kinds) == (ALGORITHMS[name].combine is not None) for name, kinds in TYPES.items()
    )
