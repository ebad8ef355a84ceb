"""Owns a gateway in memory: each request takes effect at one moment, so that whoever is drilled by it is right."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

from aiohttp import web

Answer = Callable[[web.Request], Awaitable[web.Response | None]]


class Gateway:
    """Buckets and their objects. `instead`: what is answered in place of the truth; None where that is told."""

    def __init__(self, instead: Answer | None = None) -> None:
        self.buckets: dict[str, dict[str, bytes]] = {}
        self._instead = instead

    async def answer(self, request: web.Request) -> web.Response:
        """The reply to any request."""
        body = await request.read()
        if self._instead and (told := await self._instead(request)):
            return told
        bucket, _, key = request.path[1:].partition("/")
        if not key:
            return self._of_bucket(request.method, bucket, request.query.get("prefix", ""))
        return self._of_key(request, self.buckets[bucket], key, body)

    def _of_bucket(self, method: str, bucket: str, prefix: str) -> web.Response:
        if method == "PUT":
            self.buckets.setdefault(bucket, {})
            return web.Response()
        held = self.buckets.get(bucket)
        if held is None:
            return web.Response(status=404)
        if method == "GET":
            return listed((key, etag(held[key])) for key in sorted(held) if key.startswith(prefix))
        if not held:
            del self.buckets[bucket]
        return web.Response(status=409 if held else 204)

    def _of_key(self, request: web.Request, held: dict[str, bytes], key: str, body: bytes) -> web.Response:
        if request.method == "GET":
            return found(held[key]) if key in held else web.Response(status=404)
        if request.method == "DELETE":
            held.pop(key, None)
            return web.Response(status=204)
        expected = request.headers.get("if-match")
        if ("if-none-match" in request.headers and key in held) or (
            expected and (key not in held or expected.strip('"') != etag(held[key]))
        ):
            return web.Response(status=412)
        held[key] = body
        return web.Response(headers={"ETag": f'"{etag(body)}"'})


def etag(body: bytes) -> str:
    """As S3 makes it of an object sent at once."""
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def found(body: bytes) -> web.Response:
    """The answer to a GET of an object that is there."""
    return web.Response(body=body, headers={"ETag": f'"{etag(body)}"'})


def listed(entries: Iterable[tuple[str, str]], *, following: str = "") -> web.Response:
    """A page of keys with their ETags; `following`: the token of the next one."""
    lines = "".join(f"<Contents><Key>{key}</Key><ETag>{tag}</ETag></Contents>" for key, tag in entries)
    token = f"<NextContinuationToken>{following}</NextContinuationToken>" if following else ""
    return web.Response(text=f"<ListBucketResult>{lines}{token}</ListBucketResult>")


@asynccontextmanager
async def serving(gateway: Gateway) -> AsyncIterator[str]:
    """The gateway's endpoint."""
    application = web.Application(client_max_size=64 << 20)
    application.router.add_route("*", "/{path:.*}", gateway.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
