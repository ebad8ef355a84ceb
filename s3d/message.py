"""Owns one HTTP/1.1 message each way: a request's head and body as they come, a reply's head as it goes; no socket."""

import asyncio
import http
from typing import Final, Protocol

from s3d.http_parser import (
    BadHttpMessage,
    HttpProcessingError,
    HttpVersion10,
    HttpVersion11,
    RawRequestMessage,
    StreamReader,
)
from s3d.operations.reply import Reply

BODY_IDLE_S: Final = 20.0
BODY_RATE_MIN: Final = 1_024  # bytes a second while it is the client that we wait for
LINGER_S: Final = 10.0

_REASONS: Final = {int(status): status.phrase for status in http.HTTPStatus}
_VERSIONS: Final = (HttpVersion11, HttpVersion10)
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class BodyError(Exception):
    """The body of a request ended before its end: the client went away, or its framing is wrong."""


class BodySilentError(BodyError):
    """The client has sent nothing of its body, or too little, for too long."""


class Line(Protocol):
    """What a body asks of its connection."""

    def write(self, data: bytes) -> None:
        """Hand bytes to the socket."""

    def body_awaited(self) -> float:
        """The client is waited for, BODY_IDLE_S at most, from now on; gives the time in seconds."""

    def body_came(self) -> float:
        """The client is not waited for any longer; gives the time in seconds."""


class Body:
    """The body of one request, as it came: framed by HTTP, not decoded further."""

    __slots__ = ("_line", "_payload", "_waited_s", "expects_continue", "received")

    def __init__(self, line: Line, payload: StreamReader, *, expects_continue: bool) -> None:
        self._line = line
        self._payload = payload
        self.expects_continue = expects_continue  # and has not been told to yet
        self.received = 0
        self._waited_s = 0.0

    async def piece(self) -> bytes:
        """The bytes that came since the last call, b"" at the end; BodyError when there is no such end."""
        line, payload = self._line, self._payload
        if self.expects_continue:
            self.expects_continue = False
            line.write(_CONTINUE)
        since = line.body_awaited()
        try:
            piece = await payload.readany()
        except BodyError:
            raise
        except (HttpProcessingError, ConnectionError, RuntimeError) as error:
            raise BodyError(str(error)) from error
        self._waited_s += line.body_came() - since
        self.received += len(piece)
        if self._waited_s > BODY_IDLE_S and self.received < self._waited_s * BODY_RATE_MIN:
            raise BodySilentError("slower than the least rate")
        return piece

    async def discard(self) -> bool:
        """Read what the handler left, so that the next request can follow; False where the connection must end."""
        if self._payload.is_eof():
            return True
        if self.expects_continue:
            return False
        try:
            async with asyncio.timeout(LINGER_S):
                while await self.piece():
                    pass
        except (BodyError, TimeoutError):
            return False
        return True

    def fail(self, error: BodyError) -> None:
        """Whoever reads on is told `error`."""
        if not self._payload.is_eof():
            self._payload.set_exception(error)


class Message:
    """The head of one request, its body, and where it comes from. `target` is raw: nothing decoded, nothing joined.

    `secure`: it came over TLS.
    """

    __slots__ = ("body", "method", "raw_headers", "remote", "secure", "target")

    def __init__(self, message: RawRequestMessage, body: Body, remote: str, secure: bool) -> None:
        self.method: str = message.method
        self.target: str = message.path
        self.raw_headers: tuple[tuple[bytes, bytes], ...] = message.raw_headers
        self.body = body
        self.remote = remote
        self.secure = secure


def framing_fault(head: RawRequestMessage) -> BadHttpMessage | None:
    """Why a head that the parser takes is refused: others might see the end of its body elsewhere (RFC 9112, 6.1).

    Only whole chunks by themselves are a transfer coding here, and only HTTP/1.1 has them; 0.9 has no headers at all.
    """
    coding = head.headers.get("Transfer-Encoding")
    if coding is None:
        return None if head.version in _VERSIONS else BadHttpMessage("a version of HTTP that has no headers")
    if head.version != HttpVersion11 or coding.lower() != "chunked":
        return BadHttpMessage("a transfer coding that is not `chunked`, or not of HTTP/1.1")
    return None


def head_bytes(reply: Reply, common: bytes, *, keep: bool) -> bytes:
    """Status line and headers of `reply` (RFC 9112), with those of every reply and the blank line.

    Header values may come from a client (metadata, response-* overrides): one with a line break in it is refused
    with ValueError here, where it would otherwise become a header of its own.
    """
    lines = [f"HTTP/1.1 {reply.status} {_REASONS.get(reply.status, '')}"]
    lines += [f"{name}: {value}" for name, value in reply.headers]
    if reply.length >= 0:
        lines.append(f"Content-Length: {reply.length}")
    if not keep:
        lines.append("Connection: close")
    text = "\r\n".join(lines)
    if text.count("\n") >= len(lines) or text.count("\r") >= len(lines):
        raise ValueError("a header value holds a line break")
    return text.encode("utf-8", "surrogateescape") + b"\r\n" + common + b"\r\n"
