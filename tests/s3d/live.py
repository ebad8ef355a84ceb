"""Owns a whole gateway inside the test's own process: real HTTP, metadata and coding over nodes in memory."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from s3d.access.accounts import Accounts
from s3d.access.audit import Audit
from s3d.admin.counters import Counters
from s3d.admin.pages import Pages
from s3d.app import App
from s3d.listener import Listener
from s3d.metadata.commands import ConfiguredBucket, ImportBuckets, ImportNodes, NodeAddress
from s3d.metadata.log import LocalLog
from s3d.metadata.state import State
from s3d.operations.call import Store
from shardd.contract.blobs import NodeId, new_blob_id
from shardd.contract.cluster import AuthConfig, Cluster, GatewayConfig, LimitConfig, NodeConfig, PolicyConfig
from tests.s3d.blobs import conftest as blobs
from tests.s3d.blobs.fake_node import FakeNode
from tests.s3d.protocol.signing import ACCESS_KEY, NOW_S, SECRET, Wire, signed

EVERYTHING = (PolicyConfig("*", ("*",)),)
AUTH = (
    AuthConfig(ACCESS_KEY, SECRET, account_id="000000000001", display_name="first", policy=EVERYTHING),
    AuthConfig(
        "AKSECOND", "second", account_id="000000000002", email="second@example.com", policy=EVERYTHING
    ),
    AuthConfig(
        "AKREADER", "reader", account_id="000000000001", policy=(PolicyConfig("*", ("s3:Get*", "s3:List*")),)
    ),
    AuthConfig("AKNOTHING", "nothing", account_id="000000000001"),
)
SECRETS = {entry.access_key_id: entry.secret_access_key for entry in AUTH}
NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


@dataclass(frozen=True)
class Answer:
    """A reply as it came: header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """S3's code of an error, "" where it is none."""
        return self.text("Code") if self.status >= 300 and self.body else ""

    def xml(self) -> ElementTree.Element:
        """The document of the body."""
        return ElementTree.fromstring(self.body)

    def texts(self, path: str) -> list[str]:
        """The texts of the elements at `path` (names with slashes), without their namespace."""
        prefix = NAMESPACE if NAMESPACE.encode()[1:-1] in self.body else ""
        return [
            found.text or ""
            for found in self.xml().iterfind("/".join(prefix + name for name in path.split("/")))
        ]

    def text(self, path: str) -> str:
        """The text of the first element at `path`; "" where there is none."""
        return next(iter(self.texts(path)), "")


@dataclass
class Live:
    """A gateway that listens on `port`; `clock` is its time in seconds since 1970, to be moved by tests."""

    store: Store
    nodes: dict[NodeId, FakeNode]
    port: int
    listener: Listener
    app: App
    clock: list[float]
    suspects: set[Any] = field(default_factory=set)
    tls: ssl.SSLContext | None = None  # with it, requests are sent over TLS

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        key: str = ACCESS_KEY,
    ) -> Answer:
        """The answer to one request, signed with the secret of `key`; unsigned where that is "".

        `path` and the names and values of `query` are percent-encoded here.
        """
        pairs = (pair.partition("=") for pair in query.split("&") if pair)
        encoded = "&".join(quote(name, safe="") + sign + quote(value, safe="") for name, sign, value in pairs)
        target = quote(path, safe="/-_.~") + (f"?{encoded}" if encoded else "")
        sent = dict(headers or {})
        if not key:
            wire = Wire(method, target, tuple(({"Host": "127.0.0.1:8081"} | sent).items()))
        else:
            at_s = self.clock[0]
            wire = signed(
                method, target, headers=sent, body=body, access_key=key, secret=SECRETS[key], at_s=at_s
            )
        return await self.send(wire, body)

    async def send(self, wire: Wire, body: bytes = b"", *, length: int | None = None) -> Answer:
        """The answer to a request as it stands, on a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=self.tls)
        try:
            named = {name.lower() for name, _ in wire.headers}
            own = (
                ()
                if "transfer-encoding" in named
                else (("Content-Length", str(len(body) if length is None else length)),)
            )
            lines = "".join(f"{name}: {value}\r\n" for name, value in (*wire.headers, *own))
            writer.write(f"{wire.method} {wire.target} HTTP/1.1\r\n{lines}\r\n".encode() + body)
            return await read_answer(reader, wire.method)
        finally:
            writer.close()

    async def ok(self, *request: Any, **options: Any) -> Answer:
        """`ask`, and it succeeds."""
        answer = await self.ask(*request, **options)
        assert answer.status < 300, (answer.status, answer.body)
        return answer

    def shards(self) -> int:
        """How many shards the nodes hold."""
        return sum(len(node.stored) for node in self.nodes.values())


async def read_answer(reader: asyncio.StreamReader, method: str = "GET") -> Answer:
    """The next reply on a connection."""
    async with asyncio.timeout(10):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        headers = {name.lower(): value for name, value in headers.items()}
        status = int(head[0].split(" ")[1])
        length = 0 if method == "HEAD" else int(headers.get("content-length", 0))
        return Answer(status, headers, await reader.readexactly(length))


@asynccontextmanager
async def gateway(
    folder: Path,
    *,
    auto_create: bool = False,
    domains: tuple[str, ...] = (),
    limits: tuple[LimitConfig, ...] = (),
) -> AsyncIterator[Live]:
    """A gateway over five nodes in memory, RS(3,2), with the buckets `configured` and `public` of its file."""
    clock = [float(NOW_S)]
    async with blobs.store() as stored:
        state = State.open(folder / "metadata", 1 << 30)
        log = LocalLog(state)
        nodes = tuple(NodeConfig(number, "127.0.0.1", 9_000 + number, folder) for number in stored.nodes)
        cluster = Cluster(
            "1.0",
            nodes,
            auth=AUTH,
            gateway=GatewayConfig(auto_create_buckets=auto_create, domains=domains),
            limits=limits,
        )
        store = Store(
            cluster,
            log,
            state,
            stored.blobs,
            Accounts.from_config(AUTH, {}),
            lambda: int(clock[0] * 1_000_000),
            Audit(folder / "audit"),
        )
        buckets = (
            ConfiguredBucket("configured", "000000000001"),
            ConfiguredBucket("public", "000000000001", public=True),
        )
        members = tuple(NodeAddress(node.id, node.host, node.port, 8_000 + node.id) for node in nodes)
        await log.append(
            [
                ImportBuckets(new_blob_id(1), 1, buckets=buckets),
                ImportNodes(new_blob_id(1), 1, nodes=members),
            ]
        )
        counters = Counters(None, 0)
        app = App(store, Pages(store, counters), counters, host_id="test")
        listener = Listener(app.answer, app.refuse, connections_max=64)
        sock = socket.create_server(("127.0.0.1", 0))
        await listener.listen(sock)
        try:
            yield Live(store, stored.nodes, sock.getsockname()[1], listener, app, clock, stored.suspects)
        finally:
            await listener.close(1.0)
            await log.close()
            state.close()
