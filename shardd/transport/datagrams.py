"""Owns UDP sockets on the event loop: datagrams in and out in batches; never looks into one."""

import asyncio
import contextlib
import errno
import socket
from collections import deque
from collections.abc import Callable

from shardd.transport.native import Address, BatchedSocket

Received = list[tuple[bytes, Address]]

SOCKET_BUFFER_BYTES = 4 << 20
BATCHES_PER_TURN_MAX = 8  # receive calls before other work gets the loop
FULL_BATCH = 32  # messages a receive call takes; after fewer there are hardly more, and the loop would say so
SEND_QUEUE_MAX = 4_096  # datagrams that wait for the socket; more are dropped, as a full link would
_PACKET_OVERHEAD = 48  # IPv6 and UDP headers
_IP_MTU, _IPV6_MTU = 14, 24
_SNDBUFFORCE, _RCVBUFFORCE = 32, 33  # socket(7); the module socket lacks them
_TOO_LARGE = {errno.EMSGSIZE}
_NO_OFFLOAD = {errno.EIO, errno.EINVAL, errno.EOPNOTSUPP}


def bind(host: str, port: int) -> socket.socket:
    """A UDP socket for a server; OSError where the address cannot be had."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    return _prepared(socket.socket(family, kind, protocol), lambda opened: opened.bind(address))


def connect(address: Address) -> socket.socket:
    """A UDP socket that hears from `address` alone, also when its process is gone: ICMP refusals become errors."""
    family = socket.AF_INET6 if len(address) == 4 else socket.AF_INET
    return _prepared(socket.socket(family, socket.SOCK_DGRAM), lambda opened: opened.connect(address))


def _prepared(opened: socket.socket, attach: Callable[[socket.socket], None]) -> socket.socket:
    try:
        opened.setblocking(False)
        for option, forced in ((socket.SO_RCVBUF, _RCVBUFFORCE), (socket.SO_SNDBUF, _SNDBUFFORCE)):
            opened.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER_BYTES)
            with contextlib.suppress(PermissionError):  # above net.core.rmem_max only root may go
                opened.setsockopt(socket.SOL_SOCKET, forced, SOCKET_BUFFER_BYTES)
        attach(opened)
    except OSError:
        opened.close()
        raise
    return opened


def path_payload_max(connected: socket.socket) -> int:
    """The largest datagram in bytes that the kernel knows the path of a connected socket to take."""
    level, option = (
        (socket.IPPROTO_IPV6, _IPV6_MTU)
        if connected.family == socket.AF_INET6
        else (socket.IPPROTO_IP, _IP_MTU)
    )
    return connected.getsockopt(level, option) - _PACKET_OVERHEAD


class DatagramSocket:
    """A socket with its reader on the running loop. `received` and `failed` are called from the loop only."""

    def __init__(
        self,
        opened: socket.socket,
        *,
        received: Callable[[Received], None],
        failed: Callable[[OSError], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = opened
        self._batched = BatchedSocket(opened.fileno())
        self._received = received
        self._failed = failed
        self._waiting: deque[tuple[list[bytes], Address]] = deque()
        self._waiting_count = 0
        self._loop.add_reader(opened.fileno(), self.drain)

    @property
    def address(self) -> Address:
        """Where this socket is bound."""
        address: Address = self._socket.getsockname()
        return address

    def send(self, datagrams: list[bytes], address: Address) -> None:
        """Sends now, or as soon as the socket takes them; what no path takes is dropped, as QUIC expects."""
        if self._waiting:
            self._wait(datagrams[: SEND_QUEUE_MAX - self._waiting_count], address)
            return
        rest = self._try_send(datagrams, address)
        if rest:
            self._wait(rest[:SEND_QUEUE_MAX], address)
            self._loop.add_writer(self._socket.fileno(), self._writable)

    def drain(self) -> None:
        """Takes what is there now; the loop calls it when there is something."""
        if self._socket.fileno() < 0:
            return
        received: Received = []
        failure = None
        try:
            for _ in range(BATCHES_PER_TURN_MAX):
                batch = self._batched.receive()
                received += batch
                if len(batch) < FULL_BATCH:
                    break
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            failure = error
        if received:
            self._received(received)
        if failure is not None:
            self._failed(failure)

    def close(self) -> None:
        """Gives the socket back. Idempotent."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._loop.remove_writer(self._socket.fileno())
            self._socket.close()
        self._waiting.clear()
        self._waiting_count = 0

    def _wait(self, datagrams: list[bytes], address: Address) -> None:
        if datagrams:
            self._waiting.append((datagrams, address))
            self._waiting_count += len(datagrams)

    def _try_send(self, datagrams: list[bytes], address: Address) -> list[bytes]:
        """Gives what has to wait for the socket."""
        while datagrams:
            try:
                datagrams = datagrams[self._batched.send(datagrams, address) :]
            except (BlockingIOError, InterruptedError) as error:
                return datagrams[getattr(error, "datagrams_sent", 0) :]
            except OSError as error:
                datagrams = datagrams[getattr(error, "datagrams_sent", 0) :]
                if error.errno in _TOO_LARGE or error.errno in _NO_OFFLOAD:
                    self._send_plain(datagrams, address)
                else:
                    self._failed(error)
                return []
        return []

    def _send_plain(self, datagrams: list[bytes], address: Address) -> None:
        """One by one, where the path or the device refuses a batch; the oversized ones fall."""
        target = None if self._is_connected() else address
        for datagram in datagrams:
            with contextlib.suppress(OSError):
                self._socket.send(datagram) if target is None else self._socket.sendto(datagram, target)

    def _is_connected(self) -> bool:
        try:
            self._socket.getpeername()
        except OSError:
            return False
        return True

    def _writable(self) -> None:
        while self._waiting:
            datagrams, address = self._waiting[0]
            rest = self._try_send(datagrams, address)
            if not self._waiting:  # closed, by what `failed` called
                return
            self._waiting_count -= len(datagrams) - len(rest)
            if rest:
                self._waiting[0] = (rest, address)
                return
            self._waiting.popleft()
        if self._socket.fileno() >= 0:
            self._loop.remove_writer(self._socket.fileno())
