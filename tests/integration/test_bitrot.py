"""Bit rot (T-B1) on a live store: bytes flipped in segment files; every GET stays right, and all of it is mended."""

import json
import mmap
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from s3d.drill.model import Bodies
from tests.integration.client import PATIENCE_S, Client, credentials_of
from tests.integration.cluster import Cluster, wait_until
from tests.integration.tally import Tally

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(0)]

UNIT = 65_536
BODIES = Bodies(31)
BUCKET = "rot"
SLACK_S = float(os.environ.get("QUOIN_TB1_SLACK_S", "120"))  # for a machine that does other things as well
MENDED_S_MAX = 60.0 + SLACK_S
HEALED_S_MAX = 240.0  # a node that was slow is left alone for a minute at most
# Where to flip, from the first byte of a shard's only unit: in its header and metadata, in the data, in its footer.
PLACES = (-40, -8, -1, 0, 1, UNIT // 2, UNIT - 1, UNIT + 2)
SCRUB = "\n[storage]\nscrub_days = 0.00002\n"  # a pass in two seconds
MakeTally = Callable[..., Tally]


@pytest.fixture
def rotting(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster.create(tmp_path, settings=SCRUB) as store:
        store.start_all()
        yield store


def test_flipped_bytes_are_found_never_served_and_mended(rotting: Cluster, tally: MakeTally):
    flips = tally("T-B1, a sample on the live store", variable="QUOIN_TB1_FLIPS", default=2 * len(PLACES))
    keys = credentials_of(rotting)
    clients = [Client(endpoint, keys, patience_s=PATIENCE_S) for endpoint in rotting.endpoints]
    assert clients[0].request("PUT", f"/{BUCKET}").status == 200
    for number in flips.rounds():
        body, key = BODIES.bytes_of(number, 3 * UNIT), f"k{number}"
        assert clients[number % 5].put(BUCKET, key, body).status == 200
        rotting.wait_healed(deadline_s=HEALED_S_MAX)  # else what was written late is mended, and not the flip
        before = mended(rotting)
        column, place = number % 3, PLACES[number % len(PLACES)]
        path, at = place_of(rotting, body[column * UNIT : (column + 1) * UNIT])
        flip(path, at + place)
        for client in clients:
            reply = client.get(BUCKET, key)
            assert reply.status == 200 and reply.body == body, (path, at, place)
        # What a GET does not read, in front of the units, is scrub's to find.
        wait_until(
            lambda before=before: mended(rotting) > before,
            within_s=MENDED_S_MAX,
            what=f"the flip {place} bytes from {at} of {path} is mended",
        )
        flips.hold()
    rotting.wait_healed(deadline_s=HEALED_S_MAX)
    for number in flips.rounds():
        body = BODIES.bytes_of(number, 3 * UNIT)
        assert clients[number % 5].get(BUCKET, f"k{number}").body == body
    assert sum(rotting.metric("quoin_suspect_shards_total", node) for node in rotting.nodes) > 0
    for client in clients:
        client.close()


def mended(store: Cluster) -> float:
    """How many shards all gateways made anew so far."""
    return sum(store.metric("quoin_mended_shards_total", node) for node in store.nodes)


def place_of(store: Cluster, unit: bytes) -> tuple[Path, int]:
    """The segment file, and the offset in it, where this unit of data lies."""
    for path in sorted(store.folder.glob("node-*/shards/*.segment")):
        if path.stat().st_size > UNIT:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                if (at := content.find(unit)) >= 0:
                    return path, at
    raise AssertionError("no node holds the unit as it is")


def flip(path: Path, at: int) -> None:
    """Turns all bits of one byte round."""
    with path.open("r+b", buffering=0) as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 0xFF]))


def test_what_compaction_finds_is_mended_though_nobody_reads_it(tmp_path: Path):
    with Cluster.create(tmp_path, settings="\n[gateway]\ncondemned_grace_s = 0.5\n") as store:
        store.start_all()
        kept = [BODIES.bytes_of(number, 3 * UNIT) for number in range(2)]
        with Client(store.endpoint(), credentials_of(store), patience_s=PATIENCE_S) as client:
            assert client.request("PUT", f"/{BUCKET}").status == 200
            for number in range(20):
                body = kept[number] if number < len(kept) else bytes([number]) * 3 * UNIT
                assert client.put(BUCKET, f"k{number}", body).status == 200
            path, at = place_of(store, kept[0][:UNIT])
            node = int(path.relative_to(store.folder).parts[0].removeprefix("node-"))
            store.kill(node)
            store.start(node)  # its segment is sealed: what is written from now on goes into another
            store.wait_healed(deadline_s=HEALED_S_MAX)
            flip(path, at)
            before = mended(store)
            for number in range(len(kept), 20):
                assert client.request("DELETE", f"/{BUCKET}/k{number}").status == 204
            wait_until(
                lambda: mended(store) > before, within_s=MENDED_S_MAX, what="compaction's find is mended"
            )
            wait_until(lambda: not path.exists(), within_s=MENDED_S_MAX, what="the segment is gone")
        wait_until(lambda: told(store, node)["quarantined"] == 0, within_s=MENDED_S_MAX, what="it is told")
        store.wait_healed(deadline_s=HEALED_S_MAX)
        assert told(store, node)["scrub"]["damaged"] == 0, "scrub found it first"
        others = [number for number in store.nodes if number != node]
        store.kill(*others[:2])
        with Client(store.endpoint(node), credentials_of(store), patience_s=PATIENCE_S) as client:
            for number, body in enumerate(kept):
                assert client.get(BUCKET, f"k{number}").body == body


def told(store: Cluster, node: int) -> dict[str, Any]:
    """What the status says of a node, once it says something: one that is late looks as if it was down."""

    def said() -> dict[str, Any] | None:
        with Client(store.endpoint(), credentials_of(store)) as client:
            nodes = json.loads(client.request("GET", "/-/admin/status").body)["nodes"]
        return next((one for one in nodes if one["id"] == node and one["up"]), None)

    found: dict[str, Any] = wait_until(said, within_s=PATIENCE_S, what=f"node {node} says how it is")
    return found
