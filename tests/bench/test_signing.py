"""The bench's signer against the examples of the S3 API reference, so that a store that agrees with it is right."""

from datetime import UTC, datetime

import pytest

from bench.signing import (
    STREAMING,
    Credentials,
    chunk_digests,
    chunked_body,
    chunked_length,
    encode_path,
    encode_query,
    presign,
    sign,
    sign_chunks,
)

EXAMPLE = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
WHEN = datetime(2013, 5, 24, tzinfo=UTC)
HOST = ("Host", "examplebucket.s3.amazonaws.com")


def test_signs_the_get_of_the_reference():
    signed = sign(EXAMPLE, "GET", "/test.txt", headers=[HOST, ("Range", "bytes=0-9")], when=WHEN)
    assert signed.signature == "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    assert "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date," in signed.header("authorization")


def test_signs_the_list_of_the_reference():
    signed = sign(EXAMPLE, "GET", "/", headers=[HOST], when=WHEN, query=[("prefix", "J"), ("max-keys", "2")])
    assert signed.signature == "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
    assert signed.target == "/?max-keys=2&prefix=J"


def test_presigns_the_get_of_the_reference():
    target = presign(EXAMPLE, "GET", "/test.txt", host=HOST[1], when=WHEN, expires_s=86_400)
    assert target.endswith(
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


def test_signs_the_chunks_of_the_reference():
    data = b"a" * 66_560
    headers = [
        ("Host", "s3.amazonaws.com"),
        ("Content-Encoding", "aws-chunked"),
        ("Content-Length", "66824"),
        ("x-amz-decoded-content-length", "66560"),
        ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
    ]
    path = "/examplebucket/chunkObject.txt"
    signed = sign(EXAMPLE, "PUT", path, headers=headers, when=WHEN, payload=STREAMING)
    assert signed.signature == "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
    assert sign_chunks(signed, chunk_digests(data)) == [
        "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
        "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
        "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    ]
    body = b"".join(chunked_body(signed, data))
    assert len(body) == chunked_length(len(data)) == 66_824
    assert body.startswith(b"10000;chunk-signature=ad80") and body.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 200_000])
def test_chunked_length_is_what_is_sent(size: int):
    signed = sign(EXAMPLE, "PUT", "/b/k", headers=[HOST], when=WHEN, payload=STREAMING)
    assert len(b"".join(chunked_body(signed, bytes(size)))) == chunked_length(size)


def test_escapes_once_and_sorts_what_is_escaped():
    assert encode_path("/b/a b+ü~") == "/b/a%20b%2B%C3%BC~"
    assert encode_query([("b", "/ +"), ("a", ""), ("a", "1")]) == "a=&a=1&b=%2F%20%2B"
