"""Owns TLS between a client and its connection: ciphertext in, requests out, and back; never a certificate.

The connection below it stands on the socket's own transport, so that every limit of the wire counts what is on the
wire: a handshake is part of the first 10 s, and what a client has not read is what the socket still holds.
"""

import asyncio
import ssl
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final, cast

from s3d.connection import WRITE_IDLE_S, Connection, Owner

READ_SIZE: Final = 65_536

Data = bytes | bytearray | memoryview

_SAID: Final = b"This port speaks https.\n"
PLAIN_HTTP: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_SAID), _SAID)
)


class Session:
    """The TLS of one client, without a socket (RFC 8446). What has to be sent is in `outgoing`."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self.outgoing, server_side=True)
        self.established = False
        self.ended = False  # the client has said that it sends nothing more
        self._said_end = False

    def open(self, data: bytes) -> bytes:
        """The plaintext of what came, b"" where that is not for us yet. Raises SSLError where it is no TLS."""
        self._incoming.write(data)
        pieces = []
        try:
            if not self.established:
                self._object.do_handshake()
                self.established = True
            while piece := self._object.read(READ_SIZE):
                pieces.append(piece)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        return b"".join(pieces)

    def seal(self, pieces: Iterable[Data]) -> bytes:
        """The ciphertext of `pieces`, and whatever else was to be sent before it."""
        for piece in pieces:
            rest = memoryview(piece)
            while rest:
                rest = rest[self._object.write(rest) :]
        return self.outgoing.read()

    def end(self) -> bytes:
        """What tells the client that this was all, once: without it a cut would look like the end."""
        if self.established and not self._said_end:
            self._said_end = True
            # The client has not said the same yet, most likely; nobody waits until it does.
            with suppress(ssl.SSLError):
                self._object.unwrap()
        return self.outgoing.read()


class SealingTransport(asyncio.Transport):
    """The transport of a socket as a connection knows it, but that what is written is sealed first."""

    def __init__(self, below: asyncio.Transport, session: Session) -> None:
        super().__init__()
        self._below = below
        self._session = session

    def write(self, data: Data) -> None:
        self.writelines((data,))

    def writelines(self, list_of_data: Iterable[Data]) -> None:
        if not self._below.is_closing():
            self._below.write(self._session.seal(list_of_data))

    def can_write_eof(self) -> bool:
        return self._below.can_write_eof()

    def write_eof(self) -> None:
        self._below.write(self._session.end())
        self._below.write_eof()

    def close(self) -> None:
        if not self._below.is_closing() and (last := self._session.end()):
            self._below.write(last)
            if self._below.get_write_buffer_size():
                # The client still has to read, and gets as long for that as any other.
                asyncio.get_running_loop().call_later(WRITE_IDLE_S, self._below.abort)
        self._below.close()

    def abort(self) -> None:
        self._below.abort()

    def is_closing(self) -> bool:
        return self._below.is_closing()

    def pause_reading(self) -> None:
        self._below.pause_reading()

    def resume_reading(self) -> None:
        self._below.resume_reading()

    def get_write_buffer_size(self) -> int:
        return self._below.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._below.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._below.get_extra_info(name, default)


class SecureConnection(Connection):
    """One client that speaks TLS. A handshake that fails, or plain HTTP, ends the connection."""

    secure = True

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop, context: ssl.SSLContext) -> None:
        super().__init__(owner, loop)
        self._session = Session(context)
        self._below: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._below = below = cast(asyncio.Transport, transport)
        super().connection_made(SealingTransport(below, self._session))

    def data_received(self, data: bytes) -> None:
        below, session = self._below, self._session
        if below is None or below.is_closing():
            return
        try:
            plain = session.open(data)
        except ssl.SSLError as error:
            if session.established:
                below.abort()
                return
            below.write(PLAIN_HTTP if error.reason == "HTTP_REQUEST" else session.outgoing.read())
            below.close()
            return
        if said := session.outgoing.read():
            below.write(said)
        if plain or not data:
            super().data_received(plain)
        if session.ended:
            self.eof_received()
