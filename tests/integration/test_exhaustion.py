"""T-R4: no descriptors left, no threads to be had: what cannot be done is refused, nothing dies, and it passes."""

import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count, islice
from pathlib import Path

import pytest

from tests.integration.client import PATIENCE_S, Client, credentials_of
from tests.integration.cluster import Cluster, wait_until
from tests.integration.tally import Tally
from tests.s3d.live import gateway

LIMIT = 1_024
SPARE = 1
CLIENTS = 64
PUTS_MIN, PUTS_MAX = 23, 120
ANSWER_S_MAX = 120.0
BUSY_MAX = 0.5  # of a processor, while nothing is asked: a loop that spins takes a whole one
WATCHED_S = 3.0
RECOVERED_WITHIN_S = 120.0


@pytest.fixture(scope="module")
def store(module_folder: Path) -> Iterator[Cluster]:
    """Small segments: a node opens a file now and then."""
    settings = "[storage]\nsegment_bytes = 16777216\n"
    with Cluster.create(module_folder, nodes=3, data=2, parity=1, together=True, settings=settings) as made:
        made.start_all()
        made.client().create_bucket(Bucket="scarce")
        yield made


@contextmanager
def no_descriptors(*pids: int) -> Iterator[None]:
    """These processes can open SPARE files more, and no others, as long as they close none."""
    before = {pid: resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in pids}
    for pid, (_, most) in before.items():
        taken = {int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()}
        *_, limit = islice((number for number in count() if number not in taken), SPARE + 1)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(LIMIT, limit), most))
    try:
        yield
    finally:
        for pid, limits in before.items():
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


def processor_s(pid: int) -> float:
    """Seconds of processor that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.cluster
def test_a_gateway_without_descriptors_serves_whom_it_has_and_later_all(
    store: Cluster, tally: Callable[..., Tally]
) -> None:
    """Clients beyond the limit are refused or wait; the loop does not spin, and the listener lives."""
    counted = tally("T-R4, clients", variable="QUOIN_TR4_CLIENTS", default=CLIENTS)
    (gateway,) = store.gateway_pids(1)
    address = ("127.0.0.1", store.s3_ports[1])
    with Client(store.endpoint(1), credentials_of(store), patience_s=PATIENCE_S) as known:
        assert known.put("scarce", "before", b"1").status == 200
        with no_descriptors(gateway):
            crowd = [socket.create_connection(address, timeout=ANSWER_S_MAX) for _ in counted.rounds()]
            used_s, began_s = processor_s(gateway), time.monotonic()
            while time.monotonic() - began_s < WATCHED_S:
                assert known.get("scarce", "before").body == b"1"
                time.sleep(0.1)
            assert (processor_s(gateway) - used_s) / (time.monotonic() - began_s) < BUSY_MAX
            assert known.put("scarce", "during", b"2").status in (200, 503)
            for one in crowd:
                one.close()
    assert store.gateway_pids(1) == [gateway]
    for _ in counted.rounds():
        with Client(store.endpoint(1), credentials_of(store), patience_s=PATIENCE_S) as new:
            assert new.get("scarce", "before").body == b"1"
            counted.hold()


@pytest.mark.cluster
def test_shard_servers_without_descriptors_refuse_and_recover(store: Cluster) -> None:
    """All of them, so that no write can be spared one; what was acknowledged is there, and writes go on afterwards."""
    servers = [store.shard_server_pid(node) for node in store.nodes]
    body, kept = os.urandom(4 << 20), list[str]()
    with Client(store.endpoint(2), credentials_of(store), timeout_s=ANSWER_S_MAX) as client:
        with no_descriptors(*servers):
            for number in range(PUTS_MAX):  # many times what a segment holds
                reply = client.put("scarce", f"k{number}", body)
                assert reply.status in (200, 503, 507), reply
                kept += [f"k{number}"] if reply.status == 200 else []
                if number >= PUTS_MIN and len(kept) <= number:
                    break
            assert len(kept) <= number, "nothing was scarce"
        assert [store.shard_server_pid(node) for node in store.nodes] == servers

        def written() -> bool:
            return client.put("scarce", "after", body).status == 200

        wait_until(written, within_s=RECOVERED_WITHIN_S, what="a PUT passes again")
    with Client(store.endpoint(2), credentials_of(store), patience_s=PATIENCE_S) as client:
        assert all(client.get("scarce", key).body == body for key in (*kept, "after"))


async def test_a_gateway_that_gets_no_thread_says_so_and_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process limit is reached: what needs one thread more is refused, what needs none is served."""

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with gateway(tmp_path) as live:
        await live.ok("PUT", "/bucket")
        await live.ok("PUT", "/bucket/before", b"small")
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            for size in (0, 5, 300_000, 3_000_000):
                put = await live.ask("PUT", "/bucket/during", bytes(size))
                assert put.status in (200, 503), put
            assert (await live.ok("GET", "/bucket/before")).body == b"small"
        await live.ok("PUT", "/bucket/after", bytes(3_000_000))
        assert len((await live.ok("GET", "/bucket/after")).body) == 3_000_000
