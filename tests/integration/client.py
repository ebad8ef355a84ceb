"""Owns a plain S3 client over one socket, for drills: it signs, sends what it is told, and gives back what came."""

import re
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Self
from urllib.parse import urlsplit
from xml.etree import ElementTree

from bench.http1 import BrokenReplyError, ReplyReader, request_head
from bench.signing import Credentials, encode_path, sign
from tests.integration.cluster import Cluster

RECEIVE_SIZE = 1 << 18
PATIENCE_S, PAUSE_S = 120.0, 0.2
# A gateway ends a connection that is idle for longer, maybe while the next request is on its way.
IDLE_S_MAX = 10.0
CODE = re.compile(rb"<Code>([^<]*)</Code>")

Headers = Sequence[tuple[str, str]]


class NoReplyError(Exception):
    """No whole reply came: refused, cut or late. What became of the request is unknown."""


class UnsentError(NoReplyError):
    """No connection: nothing was asked, so nothing happened."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """S3's code in an error document; empty where there is none."""
        found = CODE.search(self.body)
        return found[1].decode() if found else ""

    def texts(self, name: str) -> list[str]:
        """The text of every element of that local name in an XML body, in order."""
        root = ElementTree.fromstring(self.body)
        return [element.text or "" for element in root.iter() if element.tag.rpartition("}")[2] == name]


def credentials_of(store: Cluster) -> Credentials:
    """The administrator's key of a live cluster."""
    return Credentials(store.access_key, store.secret_key)


class Client:
    """One kept-alive connection to one endpoint, opened again when it was closed. Not for two threads at once.

    Where it has `patience_s` it asks again for so long when the answer is 503, as SDKs do: a machine that does other
    things as well may have nodes that seem down. So it does where a read was cut.
    """

    def __init__(
        self, endpoint: str, credentials: Credentials, *, timeout_s: float = 30.0, patience_s: float = 0.0
    ) -> None:
        parts = urlsplit(endpoint)
        assert parts.hostname and parts.port
        self.address, self.host = (parts.hostname, parts.port), parts.netloc
        self.credentials = credentials
        self._timeout_s, self._patience_s = timeout_s, patience_s
        self._socket: socket.socket | None = None
        self._used_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        if self._socket:
            self._socket.close()
            self._socket = None

    def put(self, bucket: str, key: str, body: bytes, headers: Headers = ()) -> Reply:
        """PutObject with the SHA-256 of the body."""
        return self.request("PUT", f"/{bucket}/{key}", body=body, headers=headers)

    def get(self, bucket: str, key: str, headers: Headers = ()) -> Reply:
        """GetObject."""
        return self.request("GET", f"/{bucket}/{key}", headers=headers)

    def head(self, bucket: str, key: str) -> Reply:
        """HeadObject."""
        return self.request("HEAD", f"/{bucket}/{key}")

    def delete(self, bucket: str, key: str) -> Reply:
        """DeleteObject."""
        return self.request("DELETE", f"/{bucket}/{key}")

    def list_keys(self, bucket: str, prefix: str = "") -> dict[str, str]:
        """Every key under `prefix` with its ETag, page by page. NoReplyError unless all go well."""
        found, token = dict[str, str](), ""
        while True:
            query = [("list-type", "2"), ("prefix", prefix)]
            reply = self.request(
                "GET", f"/{bucket}", query=[*query, ("continuation-token", token)] if token else query
            )
            if reply.status != 200:
                raise NoReplyError(f"LIST {reply.status} {reply.code}")
            found |= zip(reply.texts("Key"), reply.texts("ETag"), strict=True)
            tokens = reply.texts("NextContinuationToken")
            if not tokens:
                return found
            token = tokens[0]

    def request(
        self, method: str, path: str, *, query: Headers = (), headers: Headers = (), body: bytes = b""
    ) -> Reply:
        """One signed request. `path` is not escaped yet. NoReplyError where no whole reply came."""
        deadline_s = time.monotonic() + self._patience_s
        while True:
            try:
                return self._request(method, path, query=query, headers=headers, body=body)
            except NoReplyError:
                if method not in ("GET", "HEAD") or time.monotonic() >= deadline_s:
                    raise
            time.sleep(PAUSE_S)

    def _request(self, method: str, path: str, *, query: Headers, headers: Headers, body: bytes) -> Reply:
        sent = [("Host", self.host), *headers]
        if body or method in ("PUT", "POST"):
            sent.append(("Content-Length", str(len(body))))
        signed = sign(
            self.credentials,
            method,
            encode_path(path),
            headers=sent,
            when=datetime.now(UTC),
            query=query,
            payload=sha256(body).hexdigest(),
        )
        head = request_head(method, signed.target, signed.headers)
        return self.exchange(head + body, head_only=method == "HEAD")

    def exchange(self, data: bytes, *, head_only: bool = False, hang_up: bool = False) -> Reply:
        """Sends these bytes as they are, says with `hang_up` that no more will come, and reads one reply."""
        deadline_s = time.monotonic() + self._patience_s
        while (reply := self._exchanged(data, head_only=head_only, hang_up=hang_up)).status == 503:
            if time.monotonic() >= deadline_s:
                break
            time.sleep(PAUSE_S)
        return reply

    def _exchanged(self, data: bytes, *, head_only: bool, hang_up: bool) -> Reply:
        try:
            connection = self._connection()
        except OSError as error:
            raise UnsentError(f"no connection: {error!r}") from error
        try:
            return self._exchange(connection, data, head_only, hang_up)
        except (OSError, BrokenReplyError) as error:
            self.close()
            raise NoReplyError(f"no reply: {error!r}") from error

    def _exchange(self, connection: socket.socket, data: bytes, head_only: bool, hang_up: bool) -> Reply:
        with suppress(
            ConnectionError
        ):  # refused before the end of the body: the reply, if there is one, says why
            connection.sendall(data)
            if hang_up:
                connection.shutdown(socket.SHUT_WR)
        reader = ReplyReader(head_only)
        deadline = time.monotonic() + self._timeout_s
        while not reader.done:
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            if piece := connection.recv(RECEIVE_SIZE):
                reader.feed(piece)
            else:
                reader.end()
        if reader.closes:
            self.close()
        self._used_s = time.monotonic()
        return Reply(reader.status, reader.headers, bytes(reader.body))

    def _connection(self) -> socket.socket:
        if self._socket and (time.monotonic() > self._used_s + IDLE_S_MAX or _ended(self._socket)):
            self.close()
        if not self._socket:
            self._socket = socket.create_connection(self.address, timeout=self._timeout_s)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket


def _ended(connection: socket.socket) -> bool:
    """Whether the peer closed it while nothing was asked."""
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        connection.setblocking(True)
