"""aws-chunked bodies: what is whole comes out byte for byte, what is not is refused before the end is believed."""

import hashlib
import os
import random
from collections.abc import Callable, Iterator

import pytest

from s3d.protocol import streaming
from s3d.protocol.errors import S3Error
from s3d.protocol.signature import PayloadMode, Verified
from s3d.protocol.streaming import AwsChunkedDecoder, decoder
from tests.s3d.protocol.signing import Chunks, Wire, signed, streaming as stream

BODIES = int(os.environ.get("QUOIN_EDITED_BODIES", "10000"))
SIGNED = PayloadMode.SIGNED_CHUNKS.value
SIGNED_TRAILER = PayloadMode.SIGNED_CHUNKS_TRAILER.value
UNSIGNED = PayloadMode.UNSIGNED_CHUNKS_TRAILER.value
CRC = "x-amz-checksum-crc32"
TRAILER = "MalformedTrailerError"
DATA = bytes(range(256)) * 40


def begin(mode: str, size: int, trailer: str = "") -> tuple[AwsChunkedDecoder, Verified]:
    """A decoder for a signed request, and what the chain of signatures starts from."""
    wire, verified = stream(mode, size, trailer=trailer)
    made = decoder(verified, wire.request().headers)
    assert made is not None
    return made, verified


def slices(body: bytes, sizes: Iterator[int]) -> Iterator[bytes]:
    """The body as a socket may give it."""
    start = 0
    while start < len(body):
        size = next(sizes)
        yield body[start : start + size]
        start += size


def decode(made: AwsChunkedDecoder, body: bytes, step: int = 1 << 20) -> tuple[bytes, dict[str, str]]:
    """The object and its trailers."""
    data = b"".join(b"".join(made.feed(piece)) for piece in slices(body, iter(lambda: step, 0)))
    return data, made.finish()


def refusal(made: AwsChunkedDecoder, body: bytes, step: int = 1 << 20) -> str:
    """The code with which a body is refused."""
    with pytest.raises(S3Error) as caught:
        decode(made, body, step)
    return caught.value.code


@pytest.mark.parametrize("step", [1, 2, 7, 88, 1_000, 1 << 20])
@pytest.mark.parametrize("size", [0, 1, 1_023, 1_024, 1_025, len(DATA)])
def test_signed_chunks_come_out_as_they_went_in(step: int, size: int) -> None:
    made, verified = begin(SIGNED, size)
    assert made.size == size
    assert decode(made, Chunks(verified).body(DATA[:size], 1_024), step) == (DATA[:size], {})


def test_no_byte_more_than_announced_is_handed_on() -> None:
    made, _ = begin(UNSIGNED, 5)
    with pytest.raises(S3Error):
        made.feed(b"6\r\n")


def test_a_piece_inside_a_chunk_is_not_copied() -> None:
    made, verified = begin(SIGNED, len(DATA))
    head, _, rest = Chunks(verified).chunk(DATA).partition(b"\r\n")
    assert made.feed(head + b"\r\n") == []
    piece = rest[:5_000]
    assert made.feed(piece)[0] is piece


@pytest.mark.parametrize("step", [1, 3, 1 << 20])
def test_signed_trailer(step: int) -> None:
    made, verified = begin(SIGNED_TRAILER, 5, trailer=CRC.upper())
    chunks = Chunks(verified)
    body = chunks.chunk(b"hello") + chunks.chunk(b"") + chunks.trailer(f"{CRC}:NhCmhg==")
    assert decode(made, body, step) == (b"hello", {CRC: "NhCmhg=="})


def test_trailer_as_go_clients_write_it() -> None:
    """minio-go ends the trailer's lines with LF, and puts an empty line before their signature."""
    made, verified = begin(SIGNED_TRAILER, 5, trailer=CRC)
    chunks = Chunks(verified)
    start = chunks.chunk(b"hello") + chunks.chunk(b"")
    trailer = chunks.trailer(f"{CRC}:NhCmhg==").replace(b"NhCmhg==\r\n", b"NhCmhg==\n\r\n")
    assert decode(made, start + trailer) == (b"hello", {CRC: "NhCmhg=="})


@pytest.mark.parametrize("step", [1, 5, 1 << 20])
def test_unsigned_chunks_with_a_trailer(step: int) -> None:
    made, _ = begin(UNSIGNED, 7, trailer=CRC)
    body = f"5\r\nhello\r\n02\r\n!!\r\n0\r\n{CRC}: abc= \r\n\r\n".encode()
    assert decode(made, body, step) == (b"hello!!", {CRC: "abc="})


def good(verified: Verified) -> bytes:
    """Five bytes in two signed chunks."""
    return Chunks(verified).body(b"hello", 3)


def unsigned(*lines: str) -> Callable[[Verified], bytes]:
    """A body of these lines."""
    return lambda _: "".join(f"{line}\r\n" for line in lines).encode()


def without_last(verified: Verified) -> bytes:
    return b"".join(map(Chunks(verified).chunk, (b"hello",))) + b"0\r\n\r\n"


def swapped(verified: Verified) -> bytes:
    chunks = Chunks(verified)
    first, second = chunks.chunk(b"hel"), chunks.chunk(b"lo!")
    return second + first


def other_signature(verified: Verified) -> bytes:
    body = good(verified)
    at = body.index(b"=") + 1
    return body[:at] + (b"0" if body[at : at + 1] != b"0" else b"1") + body[at + 1 :]


BAD_BODIES: dict[str, tuple[str, Callable[[Verified], bytes], str]] = {
    "nothing": (SIGNED, lambda _: b"", "IncompleteBody"),
    "no last chunk": (SIGNED, lambda v: Chunks(v).chunk(b"hello"), "IncompleteBody"),
    "no last line": (SIGNED, lambda v: good(v)[:-2], "IncompleteBody"),
    "cut in a line": (SIGNED, lambda v: good(v)[:-30], "IncompleteBody"),
    "more after the end": (SIGNED, lambda v: good(v) + b"\r\n", "IncompleteBody"),
    "last chunk unsigned": (SIGNED, without_last, "IncompleteBody"),
    "other last signature": (SIGNED, lambda v: good(v)[:-68] + b"0" * 64 + b"\r\n\r\n", "SignatureDoesNotMatch"),
    "other byte": (SIGNED, lambda v: good(v).replace(b"hel", b"hal"), "SignatureDoesNotMatch"),
    "other signature": (SIGNED, other_signature, "SignatureDoesNotMatch"),
    "upper-case signature": (SIGNED, lambda v: good(v).replace(b"signature=", b"signature=A"), "IncompleteBody"),
    "other order": (SIGNED, swapped, "SignatureDoesNotMatch"),
    "fewer bytes than announced": (SIGNED, lambda v: Chunks(v).body(b"hell", 9), "IncompleteBody"),
    "more bytes than announced": (SIGNED, lambda v: Chunks(v).body(b"hello!", 9), "IncompleteBody"),
    "trailer where none is": (SIGNED, lambda v: good(v)[:-2] + f"{CRC}:a\r\n\r\n".encode(), TRAILER),
    "size -1": (UNSIGNED, unsigned("-1", "hello", "0", ""), "IncompleteBody"),
    "size 0x5": (UNSIGNED, unsigned("0x5", "hello", "0", ""), "IncompleteBody"),
    "size 0_5": (UNSIGNED, unsigned("0_5", "hello", "0", ""), "IncompleteBody"),
    "size +5": (UNSIGNED, unsigned("+5", "hello", "0", ""), "IncompleteBody"),
    "size with a space": (UNSIGNED, unsigned(" 5", "hello", "0", ""), "IncompleteBody"),
    "size in wide digits": (UNSIGNED, unsigned("\uff15", "hello", "0", ""), "IncompleteBody"),
    "size empty": (UNSIGNED, unsigned("", "hello", "0", ""), "IncompleteBody"),
    "size of 17 digits": (UNSIGNED, unsigned("0" * 16 + "5", "hello", "0", ""), "IncompleteBody"),
    "size of 2^64-1": (UNSIGNED, unsigned("FFFFFFFFFFFFFFFF", "hello", "0", ""), "InvalidChunkSizeError"),
    "size over 16 MiB": (UNSIGNED, unsigned("1000001", "hello", "0", ""), "InvalidChunkSizeError"),
    "size over what is announced": (UNSIGNED, unsigned("6", "hello!", "0", ""), "IncompleteBody"),
    "line feed alone": (UNSIGNED, lambda _: b"5\nhello\r\n0\r\n\r\n", "IncompleteBody"),
    "extension": (UNSIGNED, unsigned("5;a=b", "hello", "0", ""), "IncompleteBody"),
    "chunk longer than it says": (UNSIGNED, unsigned("4", "hello", "0", ""), "IncompleteBody"),
    "chunk shorter than it says": (UNSIGNED, unsigned("5", "hell", "0", ""), "IncompleteBody"),
    "endless line": (UNSIGNED, lambda _: b"0" * 5_000, "IncompleteBody"),
    "trailer not declared": (UNSIGNED, unsigned("5", "hello", "0", f"{CRC}:a", "x-amz-checksum-sha1:a", ""), TRAILER),
    "trailer twice": (UNSIGNED, unsigned("5", "hello", "0", f"{CRC}:a", f"{CRC}:a", ""), TRAILER),
    "trailer not sent": (UNSIGNED, unsigned("5", "hello", "0", ""), TRAILER),
    "trailer without colon": (UNSIGNED, unsigned("5", "hello", "0", CRC, ""), TRAILER),
    "trailer not ASCII": (UNSIGNED, unsigned("5", "hello", "0", f"{CRC}:ä", ""), TRAILER),
    "trailer cut": (UNSIGNED, lambda _: f"5\r\nhello\r\n0\r\n{CRC}:a\r\n".encode(), "IncompleteBody"),
}  # fmt: skip


@pytest.mark.parametrize("step", [1, 1 << 20])
@pytest.mark.parametrize("name", BAD_BODIES)
def test_bad_bodies(name: str, step: int) -> None:
    mode, body, code = BAD_BODIES[name]
    made, verified = begin(mode, 5, trailer=CRC if mode == UNSIGNED else "")
    assert refusal(made, body(verified), step) == code


def trailed(change: Callable[[bytes, bytes], bytes]) -> str:
    """How a signed trailer is refused; `change` is given chunks and trailer."""
    made, verified = begin(SIGNED_TRAILER, 5, trailer=CRC)
    chunks = Chunks(verified)
    start = chunks.chunk(b"hello") + chunks.chunk(b"")
    return refusal(made, change(start, chunks.trailer(f"{CRC}:NhCmhg==")))


def test_trailers_signature_is_required_and_right() -> None:
    line = f"{CRC}:NhCmhg==\r\n".encode()
    assert trailed(lambda start, _: start + line + b"\r\n") == "IncompleteBody"
    assert trailed(lambda start, _: start + line + b"\r\n\r\n") == "SignatureDoesNotMatch"
    assert trailed(lambda start, end: start + end.replace(b"NhCmhg", b"NhCmhh")) == "SignatureDoesNotMatch"
    assert trailed(lambda start, end: start + end[len(line) :]) == "SignatureDoesNotMatch"
    assert trailed(lambda start, end: start + end[:-2] + line + b"\r\n") == TRAILER
    assert trailed(lambda start, end: start + end[:-2]) == "IncompleteBody"


def chosen(mode: str, **headers: str) -> AwsChunkedDecoder | None:
    """The decoder for a request with these headers, underscores for dashes."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    wire: Wire = signed("PUT", "/bucket/key", headers={"x-amz-content-sha256": mode, **sent})
    return decoder(wire.verify(), wire.request().headers)


def test_bodies_that_are_not_chunked_have_no_decoder() -> None:
    assert chosen("UNSIGNED-PAYLOAD") is None
    assert chosen(hashlib.sha256(b"").hexdigest(), content_encoding="aws-chunked") is None


@pytest.mark.parametrize(
    ("mode", "headers", "code"),
    [
        (SIGNED, {}, "MissingContentLength"),
        (SIGNED, {"x_amz_decoded_content_length": "1_0"}, "InvalidArgument"),
        (SIGNED, {"x_amz_decoded_content_length": "-1"}, "InvalidArgument"),
        (SIGNED, {"x_amz_decoded_content_length": "9" * 20}, "InvalidArgument"),
        (SIGNED, {"x_amz_decoded_content_length": "1", "x_amz_trailer": CRC}, "InvalidRequest"),
        ("UNSIGNED-PAYLOAD", {"x_amz_trailer": CRC}, "InvalidRequest"),
        (UNSIGNED, {"x_amz_decoded_content_length": "1", "x_amz_trailer": "x-amz-meta-a"}, "InvalidRequest"),
        (UNSIGNED, {"x_amz_decoded_content_length": "1", "x_amz_trailer": "a," * 9}, "InvalidRequest"),
    ],
)
def test_headers_of_chunked_bodies(mode: str, headers: dict[str, str], code: str) -> None:
    with pytest.raises(S3Error) as caught:
        chosen(mode, **headers)
    assert caught.value.code == code


def test_memory_of_a_decoder_is_bounded_by_a_line() -> None:
    made, _ = begin(UNSIGNED, 5)
    for _ in range(streaming.LINE_SIZE_BYTES_MAX):
        made.feed(b"0")
    with pytest.raises(S3Error):
        made.feed(b"0")


def edited(body: bytes, chance: random.Random) -> bytes:
    """The body with one edit: bytes gone, doubled, moved or changed."""
    start = chance.randrange(len(body))
    stop = min(len(body), start + chance.choice((1, 1, 2, 16, 100)))
    kind = chance.randrange(4)
    if kind == 0:
        return body[:start] + body[stop:]
    if kind == 1:
        return body[:stop] + body[start:]
    if kind == 2:
        return body[:start] + chance.randbytes(stop - start) + body[stop:]
    return (
        body[:start] + chance.choice((b"\r\n", b"0", b";", b"\n", b"0\r\n\r\n", b"\r\n\r\n")) + body[start:]
    )


@pytest.mark.parametrize("mode", [SIGNED, SIGNED_TRAILER, UNSIGNED])
def test_edited_bodies_are_refused_or_the_same(mode: str) -> None:
    """T-F3: no edit makes another object; unsigned, the trailer's checksum decides, so nothing is cut or added."""
    seed = random.SystemRandom().getrandbits(32)
    print(f"{BODIES} edited bodies, seed {seed}")
    chance = random.Random(seed)
    trailer = "" if mode == SIGNED else CRC
    wire, verified = stream(mode, 400, trailer=trailer)
    headers = wire.request().headers
    data = DATA[:400]
    body = whole(mode, verified, data)
    for _ in range(BODIES):
        changed = body
        for _ in range(chance.randint(1, 3)):
            changed = edited(changed, chance)
        made = decoder(verified, headers)
        assert made is not None
        try:
            step = chance.choice((1, 13, 64, 4_096))
            got, trailers = decode(made, changed, step)
        except S3Error:
            continue
        assert len(got) == 400, (seed, changed)
        assert mode == UNSIGNED or (got, trailers) == (data, {CRC: "abc="} if trailer else {}), (
            seed,
            changed,
        )


def whole(mode: str, verified: Verified, data: bytes) -> bytes:
    """`data` in chunks of 150 bytes, in any mode."""
    chunks = Chunks(verified)
    if mode == SIGNED:
        return chunks.body(data, 150)
    pieces = [data[start : start + 150] for start in range(0, len(data), 150)]
    if mode == SIGNED_TRAILER:
        return b"".join(map(chunks.chunk, (*pieces, b""))) + chunks.trailer(f"{CRC}:abc=")
    return (
        b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in pieces) + f"0\r\n{CRC}:abc=\r\n\r\n".encode()
    )
