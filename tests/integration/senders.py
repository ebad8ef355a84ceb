"""Owns uploads that send at a pace: many sockets in one thread, how much of each was taken, what each was answered."""

import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

STEP_S = 0.1
PIECE = bytes(65_536)
SEND_BUFFER_BYTES = 65_536  # little, so that what was sent is what the store took
CONNECT_WITHIN_S = 30.0


@dataclass(slots=True)
class Sender:
    """One PUT of `size` zeros. `sent`: bytes of the body that were taken; `reply`: the first bytes of the answer."""

    connection: socket.socket
    size: int
    sent: int = 0
    reply: bytes = b""

    @property
    def status(self) -> int:
        """Of the reply; 0 as long as there is none."""
        return int(self.reply[9:12]) if len(self.reply) >= 12 else 0


@dataclass(slots=True)
class Senders:
    """Uploads that begin together, each at `rate` bytes a second at most."""

    rate: float
    members: list[Sender] = field(default_factory=list)
    began_s: float = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for member in self.members:
            member.connection.close()

    def join(self, address: tuple[str, int], head: bytes, *, size: int) -> None:
        """One more: `head` announces `size` bytes."""
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        made.settimeout(CONNECT_WITHIN_S)
        made.connect(address)
        made.sendall(head)
        made.setblocking(False)
        self.members.append(Sender(made, size))

    @property
    def going(self) -> Sequence[Sender]:
        """Those that have no answer yet."""
        return [member for member in self.members if not member.status]

    def step(self) -> None:
        """Send what is due of each, hear who answers."""
        start_s = time.monotonic()
        self.began_s = self.began_s or start_s
        due = int((start_s - self.began_s) * self.rate)
        for member in self.going:
            with suppress(BlockingIOError, ConnectionError):  # of one that is refused the reply says why
                while (left := min(due, member.size) - member.sent) > 0:
                    member.sent += member.connection.send(PIECE[:left] if left < len(PIECE) else PIECE)
            with suppress(BlockingIOError):
                member.reply += member.connection.recv(4_096)
        time.sleep(max(0.0, STEP_S - (time.monotonic() - start_s)))
