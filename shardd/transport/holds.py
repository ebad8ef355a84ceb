"""Owns the locks by which a process keeps a data folder or a port to itself.

SO_REUSEPORT would let a second store bind in silence, and two writers of one folder destroy it. A hold is a
descriptor: a child that inherits it keeps it until it too has ended, so nobody comes in while the last one dies.
"""

import errno
import fcntl
import os
import socket
from pathlib import Path
from typing import Literal

from shardd.contract.errors import ConfigurationError

HOLD_FILE = "held-by"
HELD_VARIABLE = "QUOIN_HELD"  # in the environment of a process whose parent holds for it

_KINDS = {"udp": socket.SOCK_DGRAM, "tcp": socket.SOCK_STREAM}


def hold_folder(folder: Path) -> int:
    """A descriptor that keeps `folder`, which is made where it is missing.

    ConfigurationError where another process keeps it (its id is in the message) or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / HOLD_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"{folder}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
        os.close(descriptor)
        raise ConfigurationError(f"the data folder {folder} is in use by process {holder or '?'}") from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def hold_port(kind: Literal["udp", "tcp"], host: str, port: int) -> int:
    """A descriptor that keeps a port, as far as stores are concerned; whoever else listens there is found by a bind.

    The lock is a name in the kernel that lives as long as the descriptor and, like ports, belongs to a network
    namespace: unix(7), "abstract". ConfigurationError where the port is taken or the host is not this machine's.
    """
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        lock.bind(f"\0quoin/{kind}/{host}/{port}")
    except OSError:
        lock.close()
        raise ConfigurationError(f"{kind} port {port} of {host} is in use by another s3d or shardd") from None
    try:
        _try_bind(kind, host, port)
    except ConfigurationError:
        lock.close()
        raise
    return lock.detach()


def _try_bind(kind: Literal["udp", "tcp"], host: str, port: int) -> None:
    """Binds without SO_REUSEPORT, so that any socket that is there already refuses us."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=_KINDS[kind])[0]
        with socket.socket(family, _KINDS[kind]) as probe:
            if kind == "tcp":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # past connections may linger
            probe.bind(address)
    except socket.gaierror as error:
        raise ConfigurationError(f"{host}: {error.strerror}") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigurationError(f"{kind} port {port} of {host} is in use by another program") from error
        raise ConfigurationError(f"{kind} port {port} of {host}: {error.strerror}") from error
