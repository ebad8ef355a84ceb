"""Owns the word `ready` from a process to the one that started it (the protocol of sd_notify(3)); never waits.

A launcher listens on a datagram socket and names it in the environment, as systemd does; so a shard server may be
a service of systemd's (Type=notify) without any launcher.
"""

import os
import re
import socket

SOCKET_VARIABLE = "NOTIFY_SOCKET"
MESSAGE_SIZE_MAX = 4_096

_PROCESS = re.compile(rb"^MAINPID=([0-9]{1,10})$", re.MULTILINE)


def announce() -> None:
    """Says that this process serves, where its environment names somebody who listens; else does nothing."""
    address = os.environ.get(SOCKET_VARIABLE)
    if not address:
        return
    if address.startswith("@"):  # a name in the kernel, not in the file system: unix(7), "abstract"
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        try:
            sender.sendto(f"READY=1\nMAINPID={os.getpid()}\n".encode(), address)
        except OSError:
            return  # who started us is gone; that is not ours to mend


class Announcements:
    """The listening end. `address` goes into the environment of each process that is started."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        name = f"quoin-{os.getpid()}-{os.urandom(8).hex()}"
        self._socket.bind(f"\0{name}")
        self.address = f"@{name}"

    def fileno(self) -> int:
        """For selectors."""
        return self._socket.fileno()

    def take(self) -> list[int]:
        """The process ids that have said `ready` since the last call."""
        said: list[int] = []
        while True:
            try:
                message = self._socket.recv(MESSAGE_SIZE_MAX)
            except BlockingIOError:
                return said
            process = _PROCESS.search(message)
            if process and b"READY=1" in message:
                said.append(int(process[1]))

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()
