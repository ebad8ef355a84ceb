"""Owns the bytes of HTTP/1.1 as the bench's client speaks it: requests out, replies in; never opens a socket."""

from collections.abc import Iterable
from dataclasses import dataclass, field

HEAD_SIZE_MAX = 1 << 16


class BrokenReplyError(Exception):
    """What came is no HTTP/1.1 reply, or it ended before its time."""


def request_head(method: str, target: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """The request line and the headers, in the order given; header values may hold any Latin-1 character."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1")


@dataclass(slots=True)
class ReplyReader:
    """Takes the bytes of one reply as they come. `head_only`: a reply to HEAD, which has no body whatever it says."""

    head_only: bool = False
    keep: bool = True
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    body_size: int = 0
    done: bool = False
    closes: bool = False
    _rest: bytearray = field(default_factory=bytearray)
    _left: int | None = None
    _chunked: bool = False

    def feed(self, data: bytes | memoryview) -> None:
        """More bytes of the reply; BrokenReplyError where they cannot be one. Sets `done` after its last byte."""
        if not self.headers:
            self._rest += data
            data = self._read_head()
            if not self.headers:
                return
        if self._chunked:
            self._rest += data
            self._read_chunks()
            return
        self._take(data)
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise BrokenReplyError("more body than Content-Length says")
            self.done = self._left == 0

    def end(self) -> None:
        """The peer closed the connection; BrokenReplyError unless that is how this reply ends."""
        if not self.done and (not self.headers or self._chunked or self._left is not None):
            raise BrokenReplyError(
                f"connection closed inside a reply (status {self.status}, {self._left} bytes left)"
            )
        self.done = self.closes = True

    def _read_head(self) -> bytes:
        end = self._rest.find(b"\r\n\r\n")
        if end < 0:
            if len(self._rest) > HEAD_SIZE_MAX:
                raise BrokenReplyError("headers without an end")
            return b""
        first, *lines = bytes(self._rest[:end]).decode("latin-1").split("\r\n")
        rest = bytes(self._rest[end + 4 :])
        self._rest.clear()
        version, _, status = first.partition(" ")
        if not version.startswith("HTTP/1.") or not status[:3].isdigit():
            raise BrokenReplyError(f"no status line: {first[:80]!r}")
        self.status = int(status[:3])
        if self.status == 100:
            self._rest += rest
            return self._read_head()
        for line in lines:
            name, _, value = line.partition(":")
            self.headers[name.strip().lower()] = value.strip()
        self._read_framing()
        return rest

    def _read_framing(self) -> None:
        self.closes = self.headers.get("connection", "").lower() == "close"
        if self.head_only or self.status in (204, 304):
            self._left, self.done = 0, True
        elif self.headers.get("transfer-encoding", "").lower() == "chunked":
            self._chunked = True
        elif "content-length" in self.headers:
            self._left = int(self.headers["content-length"])

    def _read_chunks(self) -> None:
        while True:
            end = self._rest.find(b"\r\n")
            if end < 0:
                return
            size = int(bytes(self._rest[:end]).split(b";")[0], 16)
            if len(self._rest) < end + 4 + size:
                return
            self._take(bytes(self._rest[end + 2 : end + 2 + size]))
            del self._rest[: end + 4 + size]
            if size == 0:
                self.done = True
                return

    def _take(self, data: bytes | memoryview) -> None:
        self.body_size += len(data)
        if self.keep:
            self.body += data
