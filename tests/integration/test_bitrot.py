"""Bit rot (T-B1) on a live store: bytes flipped in a segment file; every GET stays right, and the damage is counted."""

import mmap
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.client import Client, credentials_of
from tests.integration.cluster import Cluster
from tests.integration.ledger import Bodies, Content
from tests.integration.tally import Tally

pytestmark = pytest.mark.cluster

UNIT = 65_536
BODIES = Bodies(31)
BUCKET = "rot"
CORRUPT = re.compile(r"^quoin_\w*corrupt\w*(?:{[^}]*})? (\S+)$", re.MULTILINE)
# Where to flip, from the first byte of a shard's first unit: in its header and identity, in the data, at its end.
PLACES = (-40, -8, -1, 0, 1, UNIT // 2, UNIT - 1)
MakeTally = Callable[..., Tally]


def test_flipped_bytes_are_found_and_never_served(mortal: Cluster, tally: MakeTally):
    flips = tally("T-B1, a sample on the live store", variable="QUOIN_TB1_FLIPS", default=2 * len(PLACES))
    clients = [Client(endpoint, credentials_of(mortal)) for endpoint in mortal.endpoints]
    assert clients[0].request("PUT", f"/{BUCKET}").status == 200
    for number in flips.rounds():
        body, key, before = BODIES.bytes_of(Content(number, 3 * UNIT)), f"k{number}", counted(mortal)
        assert clients[number % 5].put(BUCKET, key, body).status == 200
        column, place = number % 3, PLACES[number % len(PLACES)]
        path, at = place_of(mortal, body[column * UNIT : (column + 1) * UNIT])
        with flipped(path, at + place):
            for client in clients:
                reply = client.get(BUCKET, key)
                assert reply.status == 200 and reply.body == body, (path, at, place)
        if place >= 0:
            assert counted(mortal) > before, f"no gateway counted the flip {place} bytes from {at} of {path}"
        flips.hold()
    for client in clients:
        client.close()


def counted(store: Cluster) -> float:
    """What all gateways counted as corrupt so far; AssertionError where they have no such metric."""
    found = [CORRUPT.findall(store.get("/-/metrics", node)[1]) for node in store.nodes]
    assert all(found), "no gateway counts corruption"
    return sum(sum(map(float, each)) for each in found)


def place_of(store: Cluster, unit: bytes) -> tuple[Path, int]:
    """The segment file, and the offset in it, where this unit of data lies."""
    for path in sorted(store.folder.glob("node-*/**/*")):
        if path.is_file() and path.stat().st_size > UNIT:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                if (at := content.find(unit)) >= 0:
                    return path, at
    raise AssertionError("no node holds the unit as it is")


@contextmanager
def flipped(path: Path, at: int) -> Iterator[None]:
    """One byte of the file has all its bits turned round, inside the block."""
    with path.open("r+b", buffering=0) as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 0xFF]))
        try:
            yield
        finally:
            file.seek(at)
            file.write(bytes([byte]))
