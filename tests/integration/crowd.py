"""Owns clients that do nothing: thousands of sockets that begin and never go on, and when the other side ended each."""

import select
import socket
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

STEP_S = 0.02
DRIP_S = 1.0
RECEIVE_BUFFER_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class Kind:
    """What such a client sends, and then, once a second, `drip`. `reads`: it takes what comes."""

    name: str
    sends: bytes
    drip: bytes = b""
    reads: bool = True


@dataclass(slots=True)
class _Member:
    kind: Kind
    socket: socket.socket
    since_s: float
    dripped_s: float


@dataclass(slots=True)
class Crowd:
    """All of them, at one endpoint. `ended_s`: of each kind, after how many seconds each was ended."""

    endpoint: str
    ended_s: dict[str, list[float]] = field(default_factory=dict)
    _members: dict[int, _Member] = field(default_factory=dict)
    _poll: "select.epoll" = field(default_factory=select.epoll)

    def join(self, kind: Kind, count: int) -> None:
        """So many more of this kind."""
        self.ended_s.setdefault(kind.name, [])
        parts = urlsplit(self.endpoint)
        for _ in range(count):
            made = socket.socket()
            if not kind.reads:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            made.settimeout(30)
            made.connect((parts.hostname, parts.port))
            made.sendall(kind.sends)
            made.setblocking(False)
            now_s = time.monotonic()
            self._members[made.fileno()] = _Member(kind, made, now_s, now_s)
            self._poll.register(made, select.EPOLLIN if kind.reads else 0)

    @property
    def left(self) -> int:
        """How many are still connected."""
        return len(self._members)

    @property
    def kinds(self) -> set[str]:
        """Of which kinds some are still connected."""
        return {member.kind.name for member in self._members.values()}

    def look(self) -> None:
        """Note who was ended, and drip."""
        for number, event in self._poll.poll(STEP_S, 4_096):
            member = self._members[number]
            if event & (select.EPOLLERR | select.EPOLLHUP) or _ended(member.socket):
                self._part(number)
        now_s = time.monotonic()
        for number, member in list(self._members.items()):
            if member.kind.drip and now_s - member.dripped_s >= DRIP_S:
                member.dripped_s = now_s
                try:
                    member.socket.send(member.kind.drip)
                except ConnectionError:
                    self._part(number)

    def close(self) -> None:
        """Ends what is left."""
        for number in list(self._members):
            self._part(number)
        self._poll.close()

    def _part(self, number: int) -> None:
        member = self._members.pop(number)
        self._poll.unregister(member.socket)
        member.socket.close()
        self.ended_s[member.kind.name].append(time.monotonic() - member.since_s)


def _ended(connection: socket.socket) -> bool:
    """Whether the other side is through, once what it said has been taken."""
    try:
        while piece := connection.recv(65_536):
            assert piece
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    return True
