"""Owns signed requests to the gateways of a store, many at once; never asks again by itself.

Each request has a connection of its own: on one that was kept, the library would send a request again whose reply was
cut, and nobody would know.
"""

import io
import re
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

import aiohttp
import msgspec
from yarl import URL

from s3d.protocol.routing import percent_encode
from s3d.protocol.sigv4 import Key, signed_headers
from shardd.contract.errors import QuoinError

CONNECT_S: Final = 3.0
REPLY_S: Final = 20.0

_CODE: Final = re.compile(rb"<Code>([^<]*)</Code>")

Pairs = Sequence[tuple[str, str]]


class LostError(QuoinError):
    """No whole reply came. What became of the request is unknown."""


class UnsentError(LostError):
    """No connection: nothing was asked, so nothing happened."""


class RefusedError(QuoinError):
    """A reply that says that the store could not: 5xx, or what is no right answer to a right request."""


class DisorderError(RefusedError):
    """A list that names a key twice or out of order, or that promises more and names none."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """S3's code in an error document; empty where there is none."""
        found = _CODE.search(self.body)
        return found[1].decode() if found else ""

    @property
    def etag(self) -> str:
        """The ETag without its quotes."""
        return self.headers.get("etag", "").strip('"')

    def texts(self, name: str) -> list[str]:
        """The text of every element `name` of an XML body, in order."""
        found = re.findall(f"<{name}>([^<]*)</{name}>", self.body.decode())
        return [unescape(text) for text in found]


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """The library asks again by itself when a connection ends, and says then how the second request fared alone.

    The first may have been carried out: where the second finds no gateway, the outcome is unknown, not "unsent".
    """
    try:
        return await handler(request)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise LostError(f"no reply: {error!r}") from error


class Client:
    """Requests to gateways, named by their URL. `authority`: a PEM file of who signed their certificates."""

    def __init__(self, key: Key, *, authority: Path | None = None) -> None:
        self._key, self._authority = key, authority

    async def __aenter__(self) -> Self:
        secured = ssl.create_default_context(cafile=self._authority)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True, ssl=secured),
            timeout=aiohttp.ClientTimeout(total=REPLY_S, sock_connect=CONNECT_S),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Content-Type", "Accept", "Accept-Encoding"),
            middlewares=(_once,),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def request(
        self, method: str, url: str, *, query: Pairs = (), headers: Pairs = (), body: bytes = b""
    ) -> Reply:
        """The reply to one request. `url`: endpoint and path, as http://127.0.0.1:8081/bucket/key, not escaped.

        Raises UnsentError, LostError.
        """
        endpoint = urlsplit(url)
        path = "/".join(map(percent_encode, endpoint.path.split("/")))
        canonical_query = "&".join(
            sorted(f"{percent_encode(name)}={percent_encode(value)}" for name, value in query)
        )
        signed = signed_headers(
            self._key,
            (method, path, canonical_query),
            headers=[("host", endpoint.netloc), *headers],
            body=body,
            now_s=time.time(),
        )
        target = f"{endpoint.scheme}://{endpoint.netloc}{path}" + canonical_query.join(("?", "")) * bool(
            query
        )
        try:
            async with self._session.request(
                method, URL(target, encoded=True), headers=signed, data=io.BytesIO(body) if body else None
            ) as reply:
                found = {name.lower(): value for name, value in reply.headers.items()}
                return Reply(reply.status, found, await reply.read())
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise UnsentError(f"no connection: {error}") from error
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise LostError(f"no reply: {error!r}") from error

    async def page(self, endpoint: str, path: str) -> Any:
        """The JSON document of the administrators' API at `path`. Raises LostError, RefusedError."""
        reply = await self.request("GET", endpoint + path)
        if reply.status != 200:
            raise RefusedError(f"GET {path} {reply.status} {reply.code}")
        return msgspec.json.decode(reply.body)


async def insist(client: Client, endpoints: Sequence[str], method: str, path: str) -> Reply:
    """The reply of the first of `endpoints` that gives one, to a request that may be made twice: 200, 204 or 404.

    Raises LostError, RefusedError.
    """
    reasons = list[str]()
    for endpoint in endpoints:
        try:
            reply = await client.request(method, endpoint + path)
        except LostError as error:
            reasons.append(str(error))
            continue
        if reply.status in (200, 204, 404):
            return reply
        reasons.append(f"{method} {endpoint}{path} {reply.status} {reply.code}")
    raise RefusedError("; ".join(reasons))


async def list_keys(ask: Callable[[Pairs], Awaitable[Reply]], prefix: str) -> dict[str, str]:
    """Every key of a bucket under `prefix`, with its ETag, page by page. `ask`: a GET of the bucket with that query.

    Raises LostError, RefusedError, DisorderError.
    """
    found, query, last = dict[str, str](), [("list-type", "2"), ("prefix", prefix)], ""
    while True:
        reply = await ask(query)
        if reply.status != 200:
            raise RefusedError(f"LIST {reply.status} {reply.code}")
        etags = [etag.strip('"') for etag in reply.texts("ETag")]
        keys, tokens = reply.texts("Key"), reply.texts("NextContinuationToken")
        for key in keys:
            if key <= last:
                raise DisorderError(f"LIST names {key} behind {last}")
            last = key
        found |= zip(keys, etags, strict=True)
        if not tokens:
            return found
        if not keys:
            raise DisorderError(f"LIST promises more behind {last}, and names nothing")
        query = [*query[:2], ("continuation-token", tokens[0])]
