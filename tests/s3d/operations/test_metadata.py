"""User metadata that is not ASCII: taken in UTF-8 and in ISO-8859-1, given in the latter where that is possible."""

import asyncio
from contextlib import closing

import pytest

from tests.s3d.live import Live
from tests.s3d.protocol.signing import Wire, signed, signed_v2

TEXT = "Hello World\xe9"


async def head_of(live: Live, wire: Wire, encoding: str) -> bytes:
    """The head of the answer to a request without a body, whose own head is in `encoding`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
    with closing(writer):
        lines = "".join(f"{name}: {value}\r\n" for name, value in (*wire.headers, ("Content-Length", "0")))
        writer.write(f"{wire.method} {wire.target} HTTP/1.1\r\n{lines}\r\n".encode(encoding))
        async with asyncio.timeout(10):
            return await reader.readuntil(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("text", "encoding", "given"),
    [
        (TEXT, "iso-8859-1", "iso-8859-1"),
        (TEXT, "utf-8", "iso-8859-1"),
        ("\u00c3\u00a9\u00e9", "iso-8859-1", "iso-8859-1"),
        (f"{TEXT} \u20ac \U0001f600", "utf-8", "utf-8"),
    ],
)
async def test_metadata_is_signed_kept_copied_and_given(
    live: Live, text: str, encoding: str, given: str
) -> None:
    headers = {"x-amz-meta-meta1": text}
    for key, sign in (("key", signed), ("key2", signed_v2)):
        put = await head_of(live, sign("PUT", f"/bucket/{key}", headers=headers), encoding)
        assert put.startswith(b"HTTP/1.1 200")
    copy = signed("PUT", "/bucket/copy", headers={"x-amz-copy-source": "bucket/key"})
    assert (await live.send(copy)).status == 200
    for key in ("key", "key2", "copy"):
        got = await head_of(live, signed("HEAD", f"/bucket/{key}"), "ascii")
        assert b"\r\nx-amz-meta-meta1: " + text.encode(given) + b"\r\n" in got


async def test_other_headers_are_utf_8(live: Live) -> None:
    wire = signed("PUT", "/bucket/key", headers={"Cache-Control": TEXT})
    assert (await head_of(live, wire, "iso-8859-1")).startswith(b"HTTP/1.1 400")
    assert (await head_of(live, wire, "utf-8")).startswith(b"HTTP/1.1 200")
