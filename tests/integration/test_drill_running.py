"""s3ctl drill and verify of a store that runs: they pass one that keeps its promises, and catch one that lies."""

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from s3d.drill.client import Client
from s3d.drill.course import Course, Plan
from s3d.drill.facts import Breach, Record
from s3d.drill.judgement import judge
from s3d.drill.load import DRILL, Traffic, Worker
from s3d.drill.model import Bodies, Content, Model, etag_of
from s3d.drill.port import key_of
from s3d.drill.running import RunningStore
from shardd.contract.cluster_file import load
from tests.integration.cluster import Cluster, wait_until
from tests.integration.drilling import broken_by_the_store, s3ctl
from tests.integration.liar import FLIPPED, LIES, UNCONDITIONAL, UNDELETED, UNDONE, UNLISTED, Liar, lying
from tests.integration.tally import Tally, seed

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(0)]

CAUGHT_S_MAX = 300.0
BACK_S_MAX = 180.0
# How long a history is that shows a lie: a machine that does other things as well hears few in the first.
LIE_S = (3, 10, 30)
CLIENTS = 4
SMALL = replace(DRILL, size_bits=(10.0, 14.0))
CAUGHT_AS = {
    FLIPPED: {Breach.WRONG},
    UNDONE: {Breach.LOST, Breach.BACK},
    UNDELETED: {Breach.BACK},
    UNLISTED: {Breach.LOST},
    UNCONDITIONAL: {Breach.ANSWER},
}
MakeTally = Callable[..., Tally]


@pytest.fixture(scope="module")
def store(mortal: Cluster) -> Iterator[Cluster]:
    """Five nodes, of which none is down between tests."""
    yield mortal


def seen_through(store: Cluster, ports: list[int]) -> Path:
    """A cluster.toml whose gateways are at these ports."""
    text = store.config.read_text()
    for node, port in zip(store.nodes, ports, strict=True):
        text = text.replace(f"s3_port = {store.s3_ports[node]}\n", f"s3_port = {port}\n")
    path = store.folder / f"seen-{ports[0]}.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("lie", LIES)
async def test_each_lie_is_caught_for_what_it_is(store: Cluster, lie: str):
    """Clients at work until the model has something to say; the judgement at the end sees what they did not."""
    liar, cluster = Liar(lie), load(store.config)
    record = Record(lie, seed(), CLIENTS)
    async with lying(liar, store.endpoints) as ports, Client(key_of(cluster)) as client:
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        bucket = f"lies-{LIES.index(lie)}"
        assert (await client.request("PUT", f"{urls[0]}/{bucket}")).status == 200
        model = Model(Bodies(record.seed))
        traffic = Traffic(client, urls, bucket, model, record, origin_s=time.monotonic(), mix=SMALL)
        async with asyncio.timeout(CAUGHT_S_MAX), asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                group.create_task(Worker(traffic, number).run())
            while not record.findings:
                await asyncio.sleep(0.1)
            traffic.stop.set()
    assert liar.told and {finding.breach for finding in record.findings} & CAUGHT_AS[lie], record.findings[:3]


async def test_the_judgement_at_the_end_sees_what_no_client_saw(store: Cluster):
    """Two keys are written and deleted; the second DELETE is a lie, and nobody looks until all is over."""
    cluster, record, model = load(store.config), Record("judged", 1, 1), Model(Bodies(1))
    async with lying(Liar(UNDELETED), store.endpoints[:1]) as ports, Client(key_of(cluster)) as client:
        url = f"http://127.0.0.1:{ports[0]}"
        assert (await client.request("PUT", f"{url}/judged")).status == 200
        for number, key in enumerate(("gone", "there")):
            body = model.bodies.bytes_of(number, 1_000)
            assert (await client.request("PUT", f"{url}/judged/{key}", body=body)).status == 200
            model.settle(key, Content(number, len(body), etag_of(body)))
            assert (await client.request("DELETE", f"{url}/judged/{key}")).status == 204
            model.settle(key, None)
        await judge(Traffic(client, [url], "judged", model, record, origin_s=0.0))
    assert record.keys_judged == 2
    assert [(one.breach, one.key) for one in record.findings] == [(Breach.BACK, "there")] * 2, (
        "read and listed"
    )


async def test_exit_status_and_page_say_that_a_promise_broke(store: Cluster, tmp_path: Path):
    page, drill = tmp_path / "page.html", ("drill", "--running", "--faults", "none", "--clients", "4")
    async with lying(Liar(), store.endpoints) as ports:
        words = (*drill, "--seconds", "3", "--json")
        status, said = await s3ctl("-config", str(seen_through(store, ports)), *words)
        found = json.loads(said)
        assert broken_by_the_store(found) == [] and (status == 0) == found["held"], said
    async with lying(Liar(FLIPPED), store.endpoints) as ports:
        words = (*drill, "--seconds", "5", "--page", str(page))
        status, said = await s3ctl("-config", str(seen_through(store, ports)), *words)
        assert status == 1 and "BROKEN" in said, said
    assert "a promise broke" in page.read_text()
    assert not [one for one in await _buckets(store) if one.startswith("quoin-drill")]


async def test_a_store_that_somebody_uses_is_not_wiped(store: Cluster):
    status, said = await s3ctl("-config", str(store.config), "drill", "--running", "--faults", "wipe")
    assert status == 2 and "wipe" in said


async def test_a_fault_that_does_not_heal_in_time_is_named(store: Cluster):
    words = [
        "--running",
        "--faults",
        "kill",
        "--clients",
        "2",
        "--seconds",
        "1",
        "--heal-within",
        "0",
        "--json",
    ]
    status, said = await s3ctl("-config", str(store.config), "drill", *words)
    found = json.loads(said)
    assert status == 1 and "healed" in [one["name"] for one in found["promises"] if not one["held"]], said
    assert re.match(r"kill of node 1 at \d+ s did not heal: .", found["remarks"][0]), said
    assert len(found["strikes"]) == 1 and any("wipe, corrupt, full" in one for one in found["remarks"])
    await _is_back(store, 1)


async def test_a_paused_node_goes_on_when_its_drill_is_interrupted(store: Cluster):
    running = RunningStore(load(store.config), store.config)
    course = Course(running, Plan(("pause",), clients=1, quiet_s=0.0, hold_s=1_000.0))
    drilled = asyncio.create_task(course.run())
    paused = partial(wait_until, lambda: _state_of(store.shard_server_pid(1)) == "T", within_s=BACK_S_MAX)
    await asyncio.to_thread(paused, what="node 1 is paused")
    drilled.cancel()
    await drilled
    assert (
        course.record.interrupted
        and not course.record.remarks
        and _state_of(store.shard_server_pid(1)) != "T"
    )
    assert not [one for one in await _buckets(store) if one.startswith("quoin-drill")]


async def test_a_running_node_is_found_and_comes_back(store: Cluster):
    running = RunningStore(load(store.config), store.config)
    node = store.nodes[2]
    before = running.shard_server_of(node)
    assert before == store.shard_server_pid(node)
    await running.kill(node)
    await asyncio.to_thread(
        wait_until,
        lambda: {*store.pids("shardd.daemon", node)} - {before},
        within_s=BACK_S_MAX,
        what="the launcher starts it again",
    )
    await _is_back(store, node)


async def test_a_history_beside_kills_is_linearizable_and_a_lie_is_not(store: Cluster, tally: MakeTally):
    seconds = tally("X4, verify", variable="QUOIN_VERIFY_S", default=6)
    words = ("verify", "--clients", "8", "--seconds", str(seconds.asked), "--json", "--seed", str(seed()))
    checked = asyncio.create_task(s3ctl("-config", str(store.config), *words))
    deadline_s, turn = time.monotonic() + seconds.asked, 0
    while time.monotonic() < deadline_s:
        for pid in store.gateway_pids(store.nodes[turn % 5])[:1]:
            os.kill(pid, signal.SIGKILL)
        turn += 1
        await asyncio.sleep(2)
    status, said = await checked
    found = json.loads(said)
    assert status == 0 and found["linearizable"], said
    print(
        f"X4: {found['operations']} operations, {found['lists']} lists, {found['unknown']} unknown, {turn} kills"
    )
    await _is_back(store, *store.nodes)
    for lie in (UNDONE, UNLISTED):
        async with lying(Liar(lie), store.endpoints) as ports:
            seen_through_liar = str(seen_through(store, ports))
            for lasting_s in LIE_S:
                words = ("verify", "--clients", "8", "--seconds", str(lasting_s))
                status, said = await s3ctl("-config", seen_through_liar, *words)
                if status:
                    break
        assert status == 1 and "NOT LINEARIZABLE" in said, (lie, said)
    seconds.held = seconds.asked


async def _is_back(store: Cluster, *nodes: int) -> None:
    """Until these nodes are ready, by what their own gateways say."""
    await asyncio.to_thread(
        wait_until,
        lambda: all(store.gateway_pids(node) and _ready(store, node) for node in nodes),
        within_s=BACK_S_MAX,
        what=f"{nodes} are ready again",
    )


def _ready(store: Cluster, node: int) -> bool:
    try:
        return store.get("/-/ready", node)[0] == 200
    except OSError:
        return False


async def _buckets(store: Cluster) -> list[str]:
    found = await asyncio.to_thread(lambda: store.client().list_buckets()["Buckets"])
    return [one["Name"] for one in found]


def _state_of(pid: int) -> str:
    """A letter, T for stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
