"""What a drill and `verify` make of a gateway's answers: silence, lists out of order, what an earlier run left."""

import argparse
import asyncio
import copy
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from s3d.access import administrator
from s3d.ctl import verify
from s3d.drill import judgement
from s3d.drill.bucket import InUseError
from s3d.drill.client import Client, DisorderError, Reply, list_keys
from s3d.drill.course import STATUS, AbsentError, Course, Plan
from s3d.drill.facts import Breach, Record
from s3d.drill.linearizability import Act, Call, Outcome, violations
from s3d.drill.load import Mix, Traffic, Worker
from s3d.drill.model import Bodies, Model
from s3d.drill.recording import History, Recorder, Recording
from s3d.drill.running import RunningStore
from s3d.protocol.sigv4 import Key
from shardd.contract.cluster import Cluster
from shardd.contract.cluster_file import load
from tests.s3d.drill.gateway import Gateway, etag, listed, serving

KEY = Key("AN-ID", "a secret of nobody", "us-east-1")
NOBODY = "http://127.0.0.1:1"  # no gateway listens there
SEEN_S_MAX = 120.0
LISTS = Mix({"LIST": 1}, keys=1)


@asynccontextmanager
async def traffic(endpoint: str, mix: Mix) -> AsyncIterator[Traffic]:
    """What one client of a drill needs, in the bucket `b`, where an object `c00/00.0` is said to be."""
    model, record = Model(Bodies(1)), Record("a gateway", 1, 1)
    model.settle("c00/00.0", model.bodies.object_of(1, 100)[0])
    async with Client(KEY) as client:
        yield Traffic(client, [endpoint], "b", model, record, origin_s=time.monotonic(), mix=mix)


def cluster_at(folder: Path, endpoint: str) -> Cluster:
    """A cluster of one node, whose gateway is there."""
    path, port = folder / "cluster.toml", endpoint.rpartition(":")[2]
    node = f'id = 1\nhost = "127.0.0.1"\nport = 1\ns3_port = {port}\npath = "node"\n'
    path.write_text(f'version = "1.0"\n[rs]\ndata = 1\nparity = 0\n[[nodes]]\n{node}')
    administrator.make(load(path).secrets_path)
    return load(path)


def asked(**more: object) -> argparse.Namespace:
    """What `verify` is asked for."""
    return argparse.Namespace(**{"key": None, "seed": 7, "keys": 2, "clients": 3, "seconds": 0.3, **more})


async def test_where_nobody_answers_at_the_end_there_is_a_verdict():
    async with traffic(NOBODY, LISTS) as silent:
        await judgement.judge(silent, patience_s=0.0)
    assert [(one.breach, one.key) for one in silent.record.findings] == [
        (Breach.LOST, "c00/00.0"),
        (Breach.LOST, ""),
    ]
    assert silent.record.keys_judged == 1


async def test_a_request_that_hangs_when_the_drill_is_ended_is_written_down():
    hangs = asyncio.Event()

    async def hang(_: web.Request) -> None:
        hangs.set()
        await asyncio.Event().wait()

    async with serving(Gateway(hang)) as endpoint, traffic(endpoint, Mix({"GET": 1}, keys=1)) as hanging:
        working = asyncio.create_task(Worker(hanging, 0).run())
        await hangs.wait()
        working.cancel()
        await asyncio.wait([working])
    (one,) = hanging.record.operations
    assert one.kind == "GET" and one.took_s > 0 and not one.error


PAGES = {
    "twice on a page": [(("a", "b", "b"), "")],
    "out of order": [(("b", "a"), "")],
    "twice on two pages": [(("a", "b"), "b"), (("b", "c"), "")],
    "more, and nothing": [(("a",), "a"), ((), "a")],
}


@pytest.mark.parametrize("name", PAGES)
async def test_a_list_that_names_a_key_twice_or_out_of_order_is_wrong(name: str):
    pages = iter(PAGES[name])

    async def ask(_: object) -> Reply:
        names, following = next(pages)
        return Reply(200, {}, listed(((key, "e") for key in names), following=following).body)

    with pytest.raises(DisorderError):
        await list_keys(ask, "")


async def test_pages_in_order_are_one_list():
    pages = iter([(("a", "b"), "b"), (("b/", "c"), "")])

    async def ask(_: object) -> Reply:
        names, following = next(pages)
        return Reply(200, {}, listed(((key, f"of {key}") for key in names), following=following).body)

    assert await list_keys(ask, "") == {"a": "of a", "b": "of b", "b/": "of b/", "c": "of c"}


async def test_a_wrong_list_is_told_by_drill_judgement_and_verify():
    """The one object that is there is listed twice, as it is."""
    body = Bodies(1).bytes_of(1, 100)

    async def twice(request: web.Request) -> web.Response | None:
        return listed([("c00/00.0", etag(body))] * 2) if "list-type" in request.query else None

    gateway = Gateway(twice)
    gateway.buckets["b"] = {"c00/00.0": body}
    async with serving(gateway) as endpoint, traffic(endpoint, LISTS) as some:
        await judgement.judge(some)
        assert [one.breach for one in some.record.findings] == [Breach.ANSWER]
        some.record.findings.clear()
        await until(lambda: some.record.findings, Worker(some, 0).run(), some.stop)
        assert some.record.findings[0].breach is Breach.ANSWER
        recording = Recording(some.client, [endpoint], "b", keys=2, seed=1)
        await until(lambda: recording.history.wrong, Recorder(recording, 0).run(), recording.stop)


async def until(seen: Callable[[], object], work: Coroutine[None, None, None], stop: asyncio.Event) -> None:
    """Lets a client work until that is seen."""
    async with asyncio.timeout(SEEN_S_MAX), asyncio.TaskGroup() as group:
        group.create_task(work)
        while not seen():
            await asyncio.sleep(0.01)
        stop.set()


async def test_a_right_gateway_is_right_and_nothing_is_left_of_verify(tmp_path: Path):
    gateway = Gateway()
    async with serving(gateway) as endpoint:
        history = await verify.recorded(cluster_at(tmp_path, endpoint), asked())
    assert history.calls and not history.wrong and violations(history.calls) == []
    assert not gateway.buckets


async def test_nothing_is_left_of_a_verify_that_is_interrupted(tmp_path: Path):
    written = asyncio.Event()

    async def tell(request: web.Request) -> None:
        if request.path.count("/") > 1 and request.method == "PUT":
            written.set()

    gateway = Gateway(tell)
    async with serving(gateway) as endpoint:
        verified = asyncio.create_task(
            verify.recorded(cluster_at(tmp_path, endpoint), asked(seconds=1_000.0))
        )
        await written.wait()
        verified.cancel()
        await asyncio.wait([verified])
        assert verified.cancelled() and not gateway.buckets


async def test_what_an_earlier_run_left_is_neither_blamed_on_the_store_nor_taken_away(tmp_path: Path):
    gateway = Gateway()
    left = {"quoin-verify-7": {"k/0": b"old"}, "quoin-drill-7": {"c00/00.0": b"old"}}
    gateway.buckets = copy.deepcopy(left)
    async with serving(gateway) as endpoint:
        cluster = cluster_at(tmp_path, endpoint)
        with pytest.raises(InUseError):
            await verify.recorded(cluster, asked(seed=7))
        with pytest.raises(InUseError):
            await Course(RunningStore(cluster, tmp_path / "cluster.toml"), Plan((), seed=7)).run()
    assert gateway.buckets == left


async def test_nothing_is_left_of_a_drill_that_fails(tmp_path: Path):
    async def nonsense(request: web.Request) -> web.Response | None:
        told = {"nodes": [{"id": 1, "state": ""}]}  # and not how much awaits repair
        return web.json_response(told) if request.path == STATUS else None

    gateway = Gateway(nonsense)
    async with serving(gateway) as endpoint:
        store = RunningStore(cluster_at(tmp_path, endpoint), tmp_path / "cluster.toml")
        with pytest.raises(ExceptionGroup):
            await Course(store, Plan((), clients=1, quiet_s=1_000.0)).run()
    assert not gateway.buckets


def test_where_nothing_was_answered_nothing_is_proven():
    unknown = Call("k", Act.WRITE, "a", 0.0, 1.0, outcome=Outcome.UNKNOWN)
    assert not verify.summary(History([unknown]), [])["linearizable"]
    assert verify.summary(History([unknown, Call("k", Act.READ, None, 0.0, 1.0)]), [])["linearizable"]


@pytest.mark.parametrize("told", [[], [{"id": 1, "state": "down"}]], ids=["no member", "down"])
async def test_a_node_of_the_file_that_is_not_there_is_named_before_anything_is_written(
    tmp_path: Path, told: list[dict[str, object]]
) -> None:
    async def status(request: web.Request) -> web.Response | None:
        return web.json_response({"nodes": told, "degraded_blobs": 0}) if request.path == STATUS else None

    gateway = Gateway(status)
    async with serving(gateway) as endpoint:
        store = RunningStore(cluster_at(tmp_path, endpoint), tmp_path / "cluster.toml")
        with pytest.raises(AbsentError, match="node 1"):
            await Course(store, Plan((), clients=1, quiet_s=0.0)).run()
    assert not gateway.buckets
