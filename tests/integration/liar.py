"""Owns gateways that lie: each passes requests on to a true one, and tells one kind of lie now and then."""

import hashlib
import io
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from yarl import URL

OWN = {"content-length", "transfer-encoding", "connection", "date", "server"}
EVERY = 2  # opportunities for each lie
CONTENTS = re.compile(rb"<Contents>.*?</Contents>", re.DOTALL)

FLIPPED = "a flipped byte"
UNDONE = "an acknowledged PUT that was not done"
UNDELETED = "an acknowledged DELETE that was not done"
UNLISTED = "a key left out of a list"
UNCONDITIONAL = "a condition that does not hold, and 200"
LIES = (FLIPPED, UNDONE, UNDELETED, UNLISTED, UNCONDITIONAL)


class Liar:
    """Tells `lie`, or none. `told`: how often."""

    def __init__(self, lie: str | None = None) -> None:
        self.lie, self.told, self._chances = lie, 0, 0

    def may(self, lie: str) -> bool:
        """Whether to tell it at this opportunity."""
        if lie != self.lie:
            return False
        self._chances += 1
        self.told += self._chances % EVERY == 0
        return self._chances % EVERY == 0

    def instead(self, request: web.Request, body: bytes) -> web.Response | None:
        """An answer to a request that nobody passes on."""
        about_key = request.path.count("/") > 1 and not request.query_string
        if (
            request.method == "PUT"
            and about_key
            and "x-amz-copy-source" not in request.headers
            and self.may(UNDONE)
        ):
            etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
            return web.Response(headers={"ETag": f'"{etag}"'})
        if request.method == "DELETE" and about_key and self.may(UNDELETED):
            return web.Response(status=204)
        return None

    def changed(self, request: web.Request, status: int, body: bytes) -> tuple[int, bytes]:
        """The true answer, or what is told in its place."""
        about_key = request.path.count("/") > 1 and not request.path.startswith("/-/")
        if request.method == "GET" and about_key and status in (200, 206) and body and self.may(FLIPPED):
            middle = len(body) // 2
            return status, body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        if "list-type" in request.query and CONTENTS.search(body) and self.may(UNLISTED):
            return status, CONTENTS.sub(b"", body, count=1)
        if status == 412 and self.may(UNCONDITIONAL):
            return 200, b""
        return status, body


@asynccontextmanager
async def lying(liar: Liar, endpoints: Sequence[str]) -> AsyncIterator[list[int]]:
    """The ports of one gateway for each of `endpoints`, that lies as `liar` does."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        runners, ports = list[web.AppRunner](), list[int]()
        try:
            for endpoint in endpoints:
                runner = web.AppRunner(_application(liar, session, endpoint))
                runners.append(runner)
                await runner.setup()
                site = web.TCPSite(runner, "127.0.0.1", 0)
                await site.start()
                ports.append(runner.addresses[0][1])
            yield ports
        finally:
            for runner in runners:
                await runner.cleanup()


def _application(liar: Liar, session: aiohttp.ClientSession, endpoint: str) -> web.Application:
    async def answer(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if (told := liar.instead(request, body)) is not None:
            return told
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in OWN]
        url = URL(endpoint + request.raw_path, encoded=True)
        async with session.request(
            request.method, url, headers=headers, data=io.BytesIO(body) if body else None
        ) as true:
            status, said = liar.changed(request, true.status, await true.read())
            kept = [(name, value) for name, value in true.headers.items() if name.lower() not in OWN]
            if request.method == "HEAD":
                kept.append(("Content-Length", true.headers.get("Content-Length", "0")))
                return web.Response(status=status, headers=kept)
            return web.Response(status=status, headers=kept, body=said)

    application = web.Application(client_max_size=64 << 20)
    application.router.add_route("*", "/{path:.*}", answer)
    return application
