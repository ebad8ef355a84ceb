"""Checksums: every claim about a body is held against its bytes, and a wrong one has S3's own code."""

import base64
import hashlib
import zlib

import google_crc32c
import pytest

from s3d.protocol.authorization import Mechanism
from s3d.protocol.checksums import ALGORITHMS, Claims, Digests, read_claims
from s3d.protocol.errors import S3Error
from s3d.protocol.signature import PayloadMode, Verified

DATA = b"123456789"
# The check values of the CRC catalogue, and of the hashes' own standards.
DIGESTS = {
    "CRC32": bytes.fromhex("cbf43926"),
    "CRC32C": bytes.fromhex("e3069283"),
    "CRC64NVME": bytes.fromhex("ae8b14860a799888"),
    "SHA1": hashlib.sha1(DATA).digest(),
    "SHA256": hashlib.sha256(DATA).digest(),
}
ANONYMOUS = Verified(Mechanism.ANONYMOUS, PayloadMode.UNSIGNED)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def claims(verified: Verified = ANONYMOUS, **headers: str) -> Claims:
    """The claims of headers, underscores for dashes."""
    return read_claims({name.replace("_", "-"): value for name, value in headers.items()}, verified)


def checked(claimed: Claims, data: bytes = DATA, trailers: dict[str, str] | None = None) -> dict[str, str]:
    """What becomes of `data` under these claims."""
    digests = Digests(claimed)
    for start in range(0, len(data), 4):
        digests.update(data[start : start + 4])
    return digests.check(trailers or {})


def refusal(claimed: Claims, data: bytes = DATA, trailers: dict[str, str] | None = None) -> str:
    """The code with which `data` is refused."""
    with pytest.raises(S3Error) as caught:
        checked(claimed, data, trailers)
    return caught.value.code


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_in_header_and_trailer(name: str) -> None:
    header, value = f"x-amz-checksum-{name.lower()}", b64(DIGESTS[name])
    in_header = claims(**{header: value, "x-amz-sdk-checksum-algorithm": name})
    assert checked(in_header) == {name: value}
    assert refusal(in_header, b"other") == "BadDigest"
    in_trailer = claims(**{"x-amz-trailer": header.upper()})
    assert checked(in_trailer, trailers={header: value}) == {name: value}
    assert refusal(in_trailer, b"other", {header: value}) == "BadDigest"
    assert refusal(in_trailer, trailers={header: value[:-4]}) == "InvalidRequest"
    assert refusal(in_trailer) == "InvalidRequest"
    assert checked(Claims(algorithm=ALGORITHMS[name], computed=True)) == {name: value}


@pytest.mark.parametrize("name", ["CRC32", "CRC32C", "CRC64NVME"])
def test_crcs_go_on_over_pieces_of_any_size(name: str) -> None:
    data = bytes(range(256)) * 300
    whole, pieces = ALGORITHMS[name].begin(), ALGORITHMS[name].begin()
    whole.update(data)
    for start in range(0, len(data), 777):
        pieces.update(data[start : start + 777])
    assert whole.digest() == pieces.digest()
    other = {"CRC32": zlib.crc32, "CRC32C": google_crc32c.value}.get(name)
    assert other is None or int.from_bytes(whole.digest(), "big") == other(data)


def test_etag_is_the_md5() -> None:
    digests = Digests(claims())
    digests.update(DATA)
    assert digests.check({}) == {}
    assert (digests.etag, digests.md5) == (hashlib.md5(DATA).hexdigest(), hashlib.md5(DATA).digest())


def test_content_md5() -> None:
    right = claims(content_md5=b64(hashlib.md5(DATA).digest()))
    assert checked(right) == {}
    assert refusal(right, b"other") == "BadDigest"


@pytest.mark.parametrize(
    "value",
    ["", "short", "YWJyYWNhZGFicmE=", "*" * 24, "ä" * 24, b64(b"x" * 17), " " + b64(b"x" * 16)],
)
def test_content_md5_that_is_none(value: str) -> None:
    with pytest.raises(S3Error) as caught:
        claims(content_md5=value)
    assert caught.value.code == "InvalidDigest"


def test_signed_sha256() -> None:
    sha256 = hashlib.sha256(DATA).hexdigest()
    verified = Verified(Mechanism.HEADER, PayloadMode.WHOLE, "key", sha256)
    assert checked(claims(verified)) == {}
    assert refusal(claims(verified), b"other") == "XAmzContentSHA256Mismatch"
    both = claims(verified, x_amz_checksum_sha256=b64(DIGESTS["SHA256"]))
    assert checked(both) == {"SHA256": b64(DIGESTS["SHA256"])}
    assert refusal(claims(verified, x_amz_checksum_sha256=b64(b"0" * 32))) == "BadDigest"


CRC32 = b64(DIGESTS["CRC32"])


@pytest.mark.parametrize(
    "headers",
    [
        {"x_amz_checksum_crc32": CRC32, "x_amz_checksum_crc32c": b64(DIGESTS["CRC32C"])},
        {"x_amz_checksum_crc32": CRC32, "x_amz_trailer": "x-amz-checksum-crc32"},
        {"x_amz_trailer": "x-amz-checksum-crc32,x-amz-checksum-sha1"},
        {"x_amz_checksum_crc32": ""},
        {"x_amz_checksum_crc32": "AAAA"},
        {"x_amz_checksum_crc32": CRC32[:-1]},
        {"x_amz_checksum_crc32": "!" + CRC32},
        {"x_amz_checksum_sha256": CRC32},
        {"x_amz_checksum_crc16": "AAA="},
        {"x_amz_checksum_crc32": CRC32, "x_amz_sdk_checksum_algorithm": "SHA1"},
        {"x_amz_sdk_checksum_algorithm": "CRC32"},
        {"x_amz_sdk_checksum_algorithm": "bad"},
    ],
)
def test_bad_claims(headers: dict[str, str]) -> None:
    with pytest.raises(S3Error) as caught:
        claims(**headers)
    assert caught.value.code == "InvalidRequest"


def test_headers_that_only_look_like_checksums() -> None:
    assert (
        claims(
            x_amz_checksum_mode="ENABLED", x_amz_checksum_type="FULL_OBJECT", x_amz_checksum_algorithm="SHA1"
        )
        == Claims()
    )
