"""Owns one HTTP/1.1 connection: requests in order, replies out, every time limit of the wire; never their meaning.

    silent -> head -> answer (-> body)* -> reply -> idle -> head ...
      10 s    10 s              20 s       50 s     60 s

One sweep a second, over all connections, ends what is past its limit: no timer is set per request.
"""

import asyncio
import enum
import fcntl
import socket
import struct
import sys
import termios
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Final, Protocol

from s3d.http_parser import (
    BaseProtocol,
    HttpProcessingError,
    HttpRequestParser,
    RawRequestMessage,
    StreamReader,
)
from s3d.message import (
    BODY_IDLE_S,
    BODY_RATE_MIN,
    Body,
    BodyError,
    BodySilentError,
    Message,
    framing_fault,
    head_bytes,
)
from s3d.operations.reply import Reply
from shardd.contract.errors import QuoinError

FIRST_BYTE_S: Final = 10.0
HEAD_S: Final = 10.0
SETTLE_S: Final = 5.0  # after which what was on its way has arrived, read or not
WRITE_IDLE_S: Final = 45.0  # with that, two sweeps and a late machine: within a minute (T-R5)
KEEP_ALIVE_S: Final = 60.0
REFUSED_LINGER_S: Final = 2.0
LINE_SIZE_MAX: Final = 16_384
HEADERS_MAX: Final = 128
PIPELINE_MAX: Final = 16
READ_BUFFER_BYTES: Final = 256 * 1_024
JOIN_BELOW_BYTES: Final = 65_536  # under it a copy costs less than another buffer of the kernel's
_RESET: Final = struct.pack("ii", 1, 0)  # linger for no time at all
_READ_BYTES_MIN: Final = WRITE_IDLE_S * BODY_RATE_MIN  # between two looks at a client that reads
_NOT_LOOKED_AT: Final = sys.maxsize  # unread bytes: more than there ever are


class Waiting(enum.Enum):
    """What a connection waits for: its client's bytes, the next request, the client's reading of ours; or for us."""

    HEAD = 1
    BODY = 2
    IDLE = 3
    READER = 4
    US = 5


class Owner(Protocol):
    """What a connection asks of the listener that owns it."""

    answer: Callable[[Message], Awaitable[Reply]]  # the reply to one request; raises nothing
    refuse: Callable[[HttpProcessingError], Reply]  # the reply to bytes that are no HTTP request

    def opened(self, connection: "Connection") -> None:
        """A client is there: serve it, or cut it."""

    def common_head(self) -> bytes:
        """The header lines that every reply bears, each with its CRLF."""


class Connection(BaseProtocol):
    """One client. Its owner holds its task and sweeps its deadline."""

    secure = False

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop) -> None:
        parser = HttpRequestParser(
            self,
            loop,
            READ_BUFFER_BYTES,
            max_line_size=LINE_SIZE_MAX,
            max_field_size=LINE_SIZE_MAX,
            max_headers=HEADERS_MAX,
            payload_exception=BodyError,
            auto_decompress=False,
            max_msg_queue_size=PIPELINE_MAX,
        )
        super().__init__(loop, parser)
        self._owner = owner
        self._messages: deque[tuple[RawRequestMessage, StreamReader] | HttpProcessingError] = deque()
        self._wakeup: asyncio.Future[None] | None = None
        self._body: Body | None = None
        self._waiting = Waiting.HEAD
        self._deadline = loop.time() + FIRST_BYTE_S
        self._unread = 0  # bytes that the client had not taken when it was looked at last
        self._ending = False
        self._heard_all = False  # the client has closed its side
        self.remote = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None
        self.transport.set_write_buffer_limits(high=0)  # paused is then: not all of it is with the socket yet
        peer = transport.get_extra_info("peername")
        self.remote = str(peer[0]) if peer else ""
        self._owner.opened(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        if self._body is not None:
            self._body.fail(BodyError("the client went away"))
        self._wake()

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            return
        try:
            messages, upgraded, _ = self._parser.feed_data(data)
        except HttpProcessingError as error:
            self._parser = None
            self._messages.append(error)
            if self._body is not None:
                self._body.fail(BodyError(error.message))
        else:
            if upgraded:
                self._parser = None
            self._messages.extend(messages)
            begun = self._body is not None
            if len(self._messages) + begun >= PIPELINE_MAX and not self._buffer_paused:
                self._pause_reading_for_buffer()
        if self._messages:
            self._wake()
        elif self._waiting is Waiting.IDLE and data:
            self.wait(Waiting.HEAD, HEAD_S)

    def eof_received(self) -> bool:
        """The client closed its side: what it asked for before is still answered, so ours stays open until then."""
        self._heard_all = True
        gone = BodyError("the client went away")
        if self._body is not None:
            self._body.fail(gone)
        last = self._messages[-1] if self._messages else None
        if isinstance(last, tuple) and not last[1].is_eof():
            last[1].set_exception(gone)
        self._wake()
        return True

    def wait(self, waiting: Waiting, limit_s: float) -> float:
        """Note what is waited for from now on, and how long at most; gives the time."""
        now = self._loop.time()
        self._waiting = waiting
        self._deadline = now + limit_s
        return now

    def body_awaited(self) -> float:
        """The client of this body is waited for from now on; gives the time."""
        return self.wait(Waiting.BODY, BODY_IDLE_S)

    def body_came(self) -> float:
        """It is our turn again; gives the time."""
        return self.wait(Waiting.US, 0.0)

    def write(self, data: bytes) -> None:
        """Hand bytes to the socket; those for a client that went away are dropped."""
        if self.transport is not None:
            self.transport.write(data)

    def sweep(self, now: float) -> None:
        """End the connection, or its request's body, where the client was silent, or read too little, for too long."""
        transport = self.transport
        if self._waiting is Waiting.US or now < self._deadline or transport is None or transport.is_closing():
            return
        if self._waiting is Waiting.BODY and self._body is not None:
            self._body.fail(BodySilentError("the client sent nothing"))
        elif self._waiting is Waiting.HEAD:
            transport.abort()
        elif self._waiting is Waiting.IDLE and _unread_bytes(transport) < _READ_BYTES_MIN:
            transport.close()  # so little may be left to the kernel
        elif not self._is_read(transport):
            # A close alone would leave to the kernel the megabytes that it still holds for this client, for minutes.
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            transport.abort()

    def _is_read(self, transport: asyncio.Transport) -> bool:
        """Has the client taken its bytes at the least rate since it was looked at? It is looked at again from now."""
        before, self._unread = self._unread, _unread_bytes(transport)
        self.wait(self._waiting, WRITE_IDLE_S)
        return before - self._unread >= _READ_BYTES_MIN

    def finish(self) -> None:
        """Take no further request; one in flight is answered, and its reply says that the connection ends."""
        self._ending = True
        self._wake()

    def abort(self) -> None:
        """Cut the connection now."""
        if self.transport is not None:
            self.transport.abort()

    async def serve(self) -> None:
        """Answer the requests of this connection one after the other, until either side ends it."""
        whole = False
        try:
            while (message := await self._next()) is not None:
                if not await self._answer(message):
                    break
            whole = True
        except (ConnectionError, QuoinError):
            pass  # in mid-body: what cannot be finished is cut, so that nobody takes it for the whole
        finally:
            if self.transport is not None:
                self.transport.close() if whole else self.transport.abort()

    async def _next(self) -> tuple[RawRequestMessage, StreamReader] | HttpProcessingError | None:
        if self._buffer_paused and not self._messages:
            self._resume_reading_for_buffer()
            self.data_received(b"")  # the parser kept what came behind the requests that it gave out
        while not self._messages:
            if self._ending or self._heard_all or self.transport is None:
                return None
            self._wakeup = self._loop.create_future()
            await self._wakeup
        self._wakeup = None
        self._waiting = Waiting.US
        return self._messages.popleft()

    async def _answer(self, message: tuple[RawRequestMessage, StreamReader] | HttpProcessingError) -> bool:
        if isinstance(message, HttpProcessingError):
            return await self._refuse(message)
        head, payload = message
        if (fault := framing_fault(head)) is not None:
            return await self._refuse(fault)
        expects_continue = head.headers.get("Expect", "").lower() == "100-continue"
        self._body = body = Body(self, payload, expects_continue=expects_continue)
        reply = await self._owner.answer(Message(head, body, self.remote, self.secure))
        left = not payload.is_eof()
        # Who waits for leave to send and gets a final reply sends no body, or sends it all the same; botocore before
        # 1.44 reads its next reply on that connection as headers, even after a body of no bytes.
        unclear = body.expects_continue or (left and expects_continue)
        # The parser takes the last trailer of a body in chunks for a header of the request behind it.
        last = self._ending or head.chunked or (self._heard_all and not self._messages)
        keep = not (head.should_close or last or self._parser is None or unclear)
        if reply.rest is None:
            await self._send(reply, method=head.method, keep=keep)
        else:
            async with aclosing(reply.rest):
                await self._send(reply, method=head.method, keep=keep)
        if left:
            keep = await body.discard() and keep
        self._body = None
        if head.chunked:
            self._parser = None
            await self._linger()
            return False
        if self._parser is not None:
            self._parser.message_consumed()  # not before its body came: only then does the parser count it
        self._unread = _NOT_LOOKED_AT
        self.wait(Waiting.IDLE, KEEP_ALIVE_S)
        return keep

    async def _refuse(self, error: HttpProcessingError) -> bool:
        """Say that this is no HTTP, and end: nobody knows where a next request would begin."""
        await self._send(self._owner.refuse(error), method="", keep=False)
        await self._linger()
        return False

    async def _linger(self) -> None:
        """Let the reply arrive: a socket that is closed with bytes unread resets the client, which then loses it."""
        if self.transport is not None and self.transport.can_write_eof():
            self.transport.write_eof()
        if self._buffer_paused:
            self._resume_reading_for_buffer()
        self.wait(Waiting.HEAD, REFUSED_LINGER_S)
        while self.transport is not None and not (self._ending or self._heard_all):
            self._wakeup = self._loop.create_future()
            await self._wakeup

    async def _send(self, reply: Reply, *, method: str, keep: bool) -> None:
        transport = self.transport
        if transport is None:
            raise ConnectionResetError
        head = head_bytes(reply, self._owner.common_head(), keep=keep)
        if method == "HEAD":
            transport.write(head)
        elif reply.length < JOIN_BELOW_BYTES:
            transport.write(b"".join((head, *reply.body)))
        else:
            transport.writelines([head, *reply.body])
        if self._paused:
            await self._drain(transport)
        if reply.rest is not None and method != "HEAD":
            await self._stream(reply, transport)

    async def _stream(self, reply: Reply, transport: asyncio.Transport) -> None:
        assert reply.rest is not None
        left = reply.length - sum(map(len, reply.body))
        async for pieces in reply.rest:
            transport.writelines(pieces)
            left -= sum(map(len, pieces))
            if self._paused:
                await self._drain(transport)
        assert left == 0, "the body is as long as its head promised"

    async def _drain(self, transport: asyncio.Transport) -> None:
        """Wait until the socket has taken everything; the sweep cuts a client that does not read it."""
        if self.transport is not None:
            self._unread = _NOT_LOOKED_AT
            self.wait(Waiting.READER, SETTLE_S)
        await self._drain_helper()
        if self.transport is None:
            raise ConnectionResetError
        self._waiting = Waiting.US

    def _wake(self) -> None:
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)


def _unread_bytes(transport: asyncio.Transport) -> int:
    """What the client has not taken yet. The kernel asks for more only after megabytes, so what it holds counts too."""
    held = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
    return transport.get_write_buffer_size() + int.from_bytes(held, sys.byteorder)
