"""Policies that ask for TLS: what comes over http is denied, whoever signed it, and the same over https is not."""

import json
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from s3d.certificate import Certificate
from s3d.listener import Listener
from tests.s3d.live import Live
from tests.s3d.web_certificates import WebAuthority

POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*Object",
            "Resource": "arn:aws:s3:::bucket/*",
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
    ],
}


@pytest.fixture
async def secured(live: Live, tmp_path: Path) -> AsyncIterator[Live]:
    """The same gateway, asked over TLS."""
    authority = WebAuthority(tmp_path)
    files = authority.files()
    listener = Listener(live.app.answer, live.app.refuse, connections_max=8)
    sock = socket.create_server(("127.0.0.1", 0))
    await listener.listen(sock, Certificate(files.certificate, files.key))
    yield replace(live, port=sock.getsockname()[1], tls=authority.client())
    await listener.close(1.0)


async def test_http_is_denied_and_https_allowed(live: Live, secured: Live) -> None:
    await live.ok("PUT", "/bucket/before", b"over http")
    await live.ok("PUT", "/bucket", json.dumps(POLICY).encode(), query="policy")
    assert (await live.ask("GET", "/bucket/before")).code == "AccessDenied"
    assert (await live.ask("PUT", "/bucket/after", b"x")).code == "AccessDenied"
    faked = {"X-Forwarded-Proto": "https", "Forwarded": "proto=https"}
    assert (await live.ask("GET", "/bucket/before", headers=faked)).code == "AccessDenied"
    assert (await secured.ok("GET", "/bucket/before")).body == b"over http"
    await secured.ok("PUT", "/bucket/after", b"over https")
    assert (await secured.ok("GET", "/bucket/after")).body == b"over https"


async def test_the_place_of_an_upload_is_told_by_the_way_it_came(live: Live, secured: Live) -> None:
    for asked, scheme in ((live, "http"), (secured, "https")):
        upload = (await asked.ok("POST", "/bucket/m", query="uploads")).text("UploadId")
        part = await asked.ok("PUT", "/bucket/m", b"part", query=f"partNumber=1&uploadId={upload}")
        document = (
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber>"
            f"<ETag>{part.headers['etag']}</ETag></Part></CompleteMultipartUpload>"
        )
        whole = await asked.ok("POST", "/bucket/m", document.encode(), query=f"uploadId={upload}")
        assert whole.text("Location") == f"{scheme}://127.0.0.1:8081/bucket/m"
