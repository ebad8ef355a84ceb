"""Bodies in chunks of HTTP, whose length nobody says before their end."""

import asyncio
import base64
import hashlib
import random
from contextlib import closing
from dataclasses import replace

import pytest

from s3d.operations import bodies
from tests.s3d.live import Answer, Live, read_answer
from tests.s3d.protocol.signing import Chunks, Wire, signed, signed_v2, streaming

BODY = random.Random(7).randbytes(1_000_003)
CHUNKED = {"Transfer-Encoding": "chunked"}
END = b"0\r\n\r\n"


def chunks(body: bytes, size: int = 70_001) -> bytes:
    """A body in chunks, without the last one, which ends it."""
    pieces = (body[start : start + size] for start in range(0, len(body), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


def put(target: str = "/bucket/key", body: bytes = BODY, **headers: str) -> Wire:
    """A signed PUT of a body in chunks."""
    return signed("PUT", target, headers={**CHUNKED, **headers}, body=body)


async def condemned(live: Live) -> set[bytes]:
    """The blobs that were sent and that no row names."""
    with live.store.state.view() as view:
        return {row.blob for _, row in view.condemned(live.store.clock_us())}


async def is_unnamed(live: Live) -> bool:
    """Whether nothing is under the key, and whatever was sent is condemned."""
    missing = (await live.ask("GET", "/bucket/key")).status == 404
    stored = {blob for node in live.nodes.values() for blob, _ in node.stored}
    return missing and stored <= await condemned(live)


@pytest.mark.parametrize("size", [0, 1, 5, 65_536 * 3, 1_000_003])
async def test_a_body_of_any_length(live: Live, size: int) -> None:
    body = BODY[:size]
    done = await live.send(put(body=body), chunks(body) + END)
    assert (done.status, done.headers["etag"]) == (200, f'"{hashlib.md5(body).hexdigest()}"')
    got = await live.ok("GET", "/bucket/key")
    assert (got.body, got.headers["content-length"]) == (body, str(size))


async def test_a_part_and_version_2_and_aws_chunks_within(live: Live) -> None:
    upload = (await live.ok("POST", "/bucket/key", query="uploads")).text("UploadId")
    target = f"/bucket/key?partNumber=1&uploadId={upload}"
    assert (await live.send(put(target), chunks(BODY) + END)).status == 200
    listed = await live.ok("GET", "/bucket/key", query=f"uploadId={upload}")
    assert listed.texts("Part/Size") == [str(len(BODY))]
    second = signed_v2("PUT", "/bucket/second", headers=CHUNKED)
    assert (await live.send(second, chunks(BODY) + END)).status == 200
    wire, verified = streaming("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", len(BODY), target="/bucket/third")
    framed = chunks(Chunks(verified).body(BODY, 65_536)) + END
    assert (await live.send(wire.with_header("Transfer-Encoding", "chunked"), framed)).status == 200
    for key in ("second", "third"):
        assert (await live.ok("GET", f"/bucket/{key}")).body == BODY


async def test_a_body_that_is_cut_off_leaves_nothing(live: Live) -> None:
    for sent in (chunks(BODY), chunks(BODY)[:-9], chunks(BODY) + b"0\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        with closing(writer):
            lines = "".join(f"{name}: {value}\r\n" for name, value in put().headers)
            writer.write(f"PUT /bucket/key HTTP/1.1\r\n{lines}\r\n".encode() + sent)
            writer.write_eof()
            answer = await read_answer(reader)
        assert (answer.status, answer.code) == (400, "IncompleteBody")
        assert await is_unnamed(live)


async def test_chunks_that_are_none_leave_nothing(live: Live) -> None:
    for wrong in (b"xyz\r\n", b"-1\r\n", b"5 5\r\n", b"1_0\r\n", b"+5\r\nhello\r\n"):
        answer = await live.send(put(), chunks(BODY) + wrong)
        assert answer.status == 400
        assert await is_unnamed(live)


async def test_a_body_is_what_was_signed(live: Live) -> None:
    answer = await live.send(put(body=b"other"), chunks(BODY) + END)
    assert (answer.status, answer.code) == (400, "XAmzContentSHA256Mismatch")
    assert await is_unnamed(live)


async def test_nothing_is_larger_than_the_largest_object(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "OBJECT_SIZE_MAX", len(BODY))
    longer = BODY + b"x"
    answer = await live.send(put(body=longer), chunks(longer) + END)
    assert (answer.status, answer.code) == (400, "EntityTooLarge")
    assert await is_unnamed(live)
    assert (await live.send(put(), chunks(BODY) + END)).status == 200


async def delete(live: Live, document: bytes, end: bytes = END) -> Answer:
    """The answer to DeleteObjects, its document in chunks; without the last one where `end` is empty."""
    md5 = base64.b64encode(hashlib.md5(document).digest()).decode()
    wire = signed("POST", "/bucket?delete", headers={**CHUNKED, "Content-MD5": md5}, body=document)
    return await live.send(wire, chunks(document) + end)


async def test_a_document_in_chunks(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", BODY)
    done = await delete(live, b"<Delete><Object><Key>key</Key></Object></Delete>")
    assert (done.status, done.texts("Deleted/Key")) == (200, ["key"])
    long = b"<Delete>" + b" " * (2 << 20) + b"</Delete>"
    refused = await delete(live, long, end=b"")
    assert (refused.status, refused.code) == (400, "MalformedXML"), "nobody waits for its end"


async def test_one_of_both_must_be_said(live: Live) -> None:
    wire = signed("PUT", "/bucket/key")
    reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
    with closing(writer):
        lines = "".join(f"{name}: {value}\r\n" for name, value in wire.headers)
        writer.write(f"PUT /bucket/key HTTP/1.1\r\n{lines}\r\n".encode())
        answer = await read_answer(reader)
    assert (answer.status, answer.code) == (411, "MissingContentLength")
    both = replace(put(), headers=(*put().headers, ("Content-Length", "5")))
    assert (await live.send(both, chunks(BODY) + END)).status == 400
    assert await is_unnamed(live)
