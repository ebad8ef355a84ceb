"""Owns the choice of ports for stores of tests; never holds one."""

import random
import socket
from itertools import islice
from pathlib import Path

LOWEST, CHOICE_MIN = 10_000, 10_000
_given: set[int] = set()  # a store that is down holds none of its ports


def free_ports(kind: socket.SocketKind, count: int) -> list[int]:
    """Ports that nobody has now, of no store that this process made, and that none gets who asks for any port.

    A node that is down for a while would find its port taken otherwise: by a connection of somebody else.
    """
    lowest_of_any = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = [*range(LOWEST, max(lowest_of_any, LOWEST + CHOICE_MIN))]
    random.SystemRandom().shuffle(ports)
    free = (port for port in ports if port not in _given and _is_free(kind, port))
    found = [*islice(free, count)]
    _given.update(found)
    return found


def _is_free(kind: socket.SocketKind, port: int) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
