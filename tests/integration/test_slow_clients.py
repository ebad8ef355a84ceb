"""T-R3 and T-R5: clients that never send, never end what they began, never read; nobody else notices them.

All of them come at once; while they are waited out, two healthy clients go on, one at each of their gateways.
"""

import io
import os
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.integration.client import PATIENCE_S, Client, credentials_of
from tests.integration.cluster import Cluster
from tests.integration.crowd import Crowd, Kind
from tests.integration.forge import Forge, wire
from tests.integration.tally import Tally

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

CONNECTIONS = int(os.environ.get("QUOIN_TR3_CONNECTIONS", "250"))  # idle, and as many with half a head
READERS = int(os.environ.get("QUOIN_TR5_READERS", "12"))
READ_MIB = int(os.environ.get("QUOIN_TR5_MIB", "48"))
BEFORE = 400  # healthy requests, so that there are slowest ones to compare with
SLACK_S = float(os.environ.get("QUOIN_TR3_SLACK_S", "30"))  # for a machine that does other things as well
BODIES = max(CONNECTIONS // 5, 1)
DRIPS = max(CONNECTIONS // 50, 1)
GROWTH_BYTES_MAX = 192 << 20  # the budget of buffers, and half of it for what allocators keep
ALLOWED_S = {"idle": 15, "half a head": 15, "a dripping head": 15, "half a body": 30, "a dripping body": 30}
ALL_ENDED_WITHIN_S = 300.0
READER_CUT_S = 60
SETTINGS = "[gateway]\nconnections_max = 20000\nconnections_per_ip_max = 20000\n"


@dataclass(slots=True)
class Seen:
    """What was seen while the crowd was there. `before_s`, `during_s`: how long healthy requests took."""

    ended_s: dict[str, list[float]] = field(default_factory=dict)
    before_s: list[float] = field(default_factory=list)
    during_s: list[float] = field(default_factory=list)
    resident: list[int] = field(default_factory=list)  # bytes of the gateway of those that do not read


class _Zeros(io.RawIOBase):
    """So many bytes of nothing."""

    def __init__(self, size: int) -> None:
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        size = min(len(buffer), self._left)
        buffer[:size] = bytes(size)
        self._left -= size
        return size


@pytest.fixture(scope="module")
def seen(module_folder: Path) -> Iterator[Seen]:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with Cluster.create(module_folder, nodes=3, data=2, parity=1, together=True, settings=SETTINGS) as store:
        store.start_all()
        store.client().create_bucket(Bucket="slow")
        store.client().upload_fileobj(_Zeros(READ_MIB << 20), "slow", "big")
        yield _watch(store)


def _watch(store: Cluster) -> Seen:
    seen, number = Seen(), iter(range(10**9))
    crowd, readers = Crowd(store.endpoint(1)), Crowd(store.endpoint(2))
    keys = credentials_of(store)
    healthy = [Client(store.endpoint(node), keys, patience_s=PATIENCE_S) for node in (1, 2)]
    gateway = store.gateway_pids(2)[0]

    def work(times: list[float]) -> None:
        client, body = healthy[next(number) % 2], b"body %d" % next(number)
        began_s = time.monotonic()
        assert client.put("slow", "healthy", body).status == 200
        assert client.get("slow", "healthy").body == body
        times.append(time.monotonic() - began_s)
        seen.resident.append(_resident_bytes(gateway))

    try:
        for _ in range(BEFORE):
            work(seen.before_s)
        forge = Forge(healthy[0].host, healthy[0].credentials, "slow", "never")
        readers.join(_reader(forge, healthy[1].host), READERS)
        for kind, count in _kinds(forge):
            crowd.join(kind, count)
        deadline_s = time.monotonic() + ALL_ENDED_WITHIN_S
        while kinds := crowd.kinds | readers.kinds:
            assert time.monotonic() < deadline_s, f"still connected: {kinds}"
            for each in (crowd, readers):
                each.look()
            work(seen.during_s)
        assert healthy[0].get("slow", "never").status == 404
    finally:
        for each in (crowd, readers, *healthy):
            each.close()
    seen.ended_s = crowd.ended_s | readers.ended_s
    return seen


def _kinds(forge: Forge) -> Iterator[tuple[Kind, int]]:
    head = b"GET / HTTP/1.1\r\nHost: h\r\nx-a"
    began = wire(forge.signed(headers=[("Content-Length", "1000000")], body=b"half"), b"half")
    yield Kind("idle", b""), CONNECTIONS
    yield Kind("half a head", head), CONNECTIONS
    yield Kind("half a body", began), BODIES
    yield Kind("a dripping head", head, b"a"), DRIPS
    yield Kind("a dripping body", began, b"a"), DRIPS


def _reader(forge: Forge, host: str) -> Kind:
    other = Forge(host, forge.credentials, "slow", "big")
    return Kind("a reader that does not read", wire(other.signed("GET")), reads=False)


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.parametrize("kind", ALLOWED_S)
def test_who_begins_and_does_not_go_on_is_ended(seen: Seen, kind: str, tally: Callable[..., Tally]) -> None:
    asked = {"idle": CONNECTIONS, "half a head": CONNECTIONS, "half a body": BODIES}.get(kind, DRIPS)
    counted = tally(f"T-R3, {kind}", variable="", default=asked)
    for ended_s in seen.ended_s[kind]:
        assert ended_s <= ALLOWED_S[kind] + SLACK_S, max(seen.ended_s[kind])
        counted.hold()
    assert counted.held == asked


def test_healthy_requests_go_on_meanwhile(seen: Seen) -> None:
    before_s, during_s = (sorted(times)[int(len(times) * 0.99)] for times in (seen.before_s, seen.during_s))
    print(f"99 % of {len(seen.during_s)} within {during_s * 1e3:.1f} ms, before {before_s * 1e3:.1f} ms")
    assert SLACK_S or during_s <= 2 * before_s


def test_who_does_not_read_is_cut_and_costs_no_memory(seen: Seen, tally: Callable[..., Tally]) -> None:
    counted = tally("T-R5", variable="", default=READERS)
    growth = max(seen.resident) - seen.resident[0]
    print(f"the gateway grew by {growth >> 20} MiB at most for {READERS} readers of {READ_MIB} MiB")
    assert growth <= GROWTH_BYTES_MAX < (READERS * READ_MIB) << 20
    for ended_s in seen.ended_s["a reader that does not read"]:
        assert ended_s <= READER_CUT_S + SLACK_S
        counted.hold()
    assert counted.held == READERS
