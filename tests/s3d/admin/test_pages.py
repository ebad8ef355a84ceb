"""What a gateway says about itself under /-/: to everybody, and to administrators only."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from s3d.admin.counters import Counters
from s3d.admin.pages import Pages
from s3d.metadata import snapshot_files
from s3d.metadata.commands import SaveJob
from s3d.metadata.rows import JobRow
from shardd.contract.blobs import NodeId, new_blob_id
from tests.s3d.live import Live, gateway

LABEL = r"[a-z]+=\"[^\"]*\""
SAMPLE = re.compile(rf"[a-z_]+(\{{{LABEL}(,{LABEL})*\}})? [0-9.e+]+")


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    async with gateway(tmp_path) as made:
        await made.ok("PUT", "/bucket")
        yield made


async def test_health_and_readiness(live: Live) -> None:
    assert (await live.ask("GET", "/-/health", key="")).status == 200
    assert (await live.ask("GET", "/-/ready", key="")).status == 200
    nodes = list(live.nodes.values())
    for node in nodes[:3]:
        node.dead = True
    while len(live.store.blobs.fleet.up()) > 2:
        await live.ask("PUT", "/bucket/key", b"body")
    answer = await live.ask("GET", "/-/ready", key="")
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    assert b"2 of 5 nodes" in answer.body
    assert (await live.ask("GET", "/-/health", key="")).status == 200


async def test_full_disks_are_told_before_and_after(live: Live) -> None:
    fleet, nodes = live.store.blobs.fleet, list(live.nodes.values())
    assert "x-quoin-near-full" not in (await live.ok("PUT", "/bucket/key", b"body")).headers
    for node in nodes[:3]:
        node.full = True
        async with asyncio.timeout(5):
            while node.node not in fleet.full():
                await asyncio.sleep(0.005)
    answer = await live.ask("PUT", "/bucket/key", b"new")
    assert (answer.status, answer.code) == (507, "StorageFull")
    assert answer.headers["x-quoin-near-full"] == ",".join(str(node.node) for node in nodes[:3])
    status = json.loads((await live.ask("GET", "/-/admin/status")).body)
    assert (status["writable"], status["refusal"]) == (False, "507: full are the nodes 1, 2, 3")
    assert b": 2 of 5 nodes take new shards\n" in (await live.ask("GET", "/-/ready", key="")).body
    assert (await live.ok("GET", "/bucket/key")).body == b"body"
    assert b"\nquoin_nodes_near_full 3\n" in (await live.ask("GET", "/-/metrics", key="")).body
    await live.ok("DELETE", "/bucket/key")


async def test_only_who_may_write_learns_which_disks_are_full(live: Live) -> None:
    fleet = live.store.blobs.fleet
    next(iter(live.nodes.values())).full = True
    async with asyncio.timeout(5):
        while not fleet.full():
            await asyncio.sleep(0.005)
    told = await live.ok("PUT", "/bucket/key", b"body")
    copied = await live.ok("PUT", "/bucket/copy", headers={"x-amz-copy-source": "/bucket/key"})
    assert told.headers["x-quoin-near-full"] == copied.headers["x-quoin-near-full"] == "1"
    strangers = [
        await live.ask("PUT", "/bucket/key", b"body", key=key) for key in ("", "AKNOTHING", "AKREADER")
    ]
    await live.ok("PUT", "/others", key="AKSECOND")
    await live.ok("PUT", "/others/key", b"body", key="AKSECOND")
    source = {"x-amz-copy-source": "/others/key"}
    strangers.append(await live.ask("PUT", "/bucket/key", headers=source))
    assert {answer.code for answer in strangers} == {"AccessDenied"}
    strangers.append(await live.ask("PUT", "/-/health", key=""))
    strangers.append(await live.ask("PUT", "/public/key", b"body", key=""))
    assert not any("x-quoin-near-full" in answer.headers for answer in strangers)


async def test_a_node_whose_shard_server_is_slow_is_not_ready(live: Live) -> None:
    fleet = live.store.blobs.fleet
    mine, other = (Pages(live.store, Counters(None, 0), node=node) for node in fleet.nodes[:2])
    assert (await mine.answer("GET", "/-/ready", ())).status == 200
    fleet._health[fleet.nodes[0]].verdict.stood_still(fleet._clock())
    fleet._refresh()
    reply = await mine.answer("GET", "/-/ready", ())
    assert reply.status == 503 and b"slow" in b"".join(reply.body)
    assert (await other.answer("GET", "/-/ready", ())).status == 200
    page = await live.ask("GET", "/-/metrics", key="")
    assert b"\nquoin_nodes_slow 1\n" in page.body and b"\nquoin_nodes_up 5\n" in page.body
    nodes = json.loads((await live.ask("GET", "/-/admin/status")).body)["nodes"]
    assert [node["state"] for node in nodes] == ["slow", "ok", "ok", "ok", "ok"]


async def test_a_gateway_whose_log_takes_nothing_is_not_ready(live: Live) -> None:
    await live.store.log.close()
    answer = await live.ask("GET", "/-/ready", key="")
    assert answer.status == 503 and b"log" in answer.body
    assert (await live.ask("PUT", "/bucket/key", b"body")).code == "ServiceUnavailable"


async def test_too_few_nodes_are_an_honest_503(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", b"body")
    for node in list(live.nodes.values())[:3]:
        node.dead = True
    for method in ("PUT", "GET"):
        answer = await live.ask(method, "/bucket/key", b"new" if method == "PUT" else b"")
        assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "ServiceUnavailable", "2")
    assert (await live.ok("HEAD", "/bucket/key")).headers["content-length"] == "4"
    assert (await live.ok("GET", "/bucket", query="list-type=2")).texts("Contents/Key") == ["key"]


async def test_metrics(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", b"body")
    await live.ok("GET", "/bucket/key")
    await live.ask("GET", "/bucket/absent")
    live.nodes[next(iter(live.nodes))].dead = True
    answer = await live.ask("GET", "/-/metrics", key="")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = dict(re.findall(r"^([a-z_]+(?:\{[^}]*\})?) ([0-9.e+]+)$", answer.body.decode(), re.MULTILINE))
    assert samples['quoin_requests_total{operation="GetObject",status="200"}'] == "1"
    assert samples['quoin_requests_total{operation="GetObject",status="404"}'] == "1"
    assert samples["quoin_degraded_blobs"] == "0"
    assert samples["quoin_condemned"] == "0"
    assert samples["quoin_received_bytes_total"] == "4"
    assert int(samples["quoin_sent_bytes_total"]) > 4
    assert len([name for name in samples if name.startswith("quoin_node_up{")]) == 5
    for line in answer.body.decode().splitlines():
        assert line.startswith("# ") or SAMPLE.fullmatch(line)


async def test_metrics_tell_how_far_jobs_are_until_they_end(live: Live) -> None:
    row = JobRow(b"", 1_000_000, 3_000_000, done=4, total=10, moved_bytes=8_000_000)
    for job, kept in (
        ("repair", row),
        ("reconcile/3", msgspec.structs.replace(row, finished=True)),
        ("rebalance", msgspec.structs.replace(row, done=0)),
    ):
        save = SaveJob(new_blob_id(1), 5, job=job, holder=bytes(16), row=kept)
        await live.store.log.append([save])
    page = (await live.ask("GET", "/-/metrics", key="")).body.decode().splitlines()
    assert [line.removeprefix("quoin_job_") for line in page if line.startswith("quoin_job_")] == [
        'done{job="rebalance"} 0',
        'done{job="repair"} 4',
        'total{job="rebalance"} 10',
        'total{job="repair"} 10',
        'mb_per_s{job="rebalance"} 4',
        'mb_per_s{job="repair"} 4',
        'left_s{job="repair"} 3',
        'stopped{job="rebalance"} 0',
        'stopped{job="repair"} 0',
    ]
    assert {"quoin_metadata_waits_s 0", "quoin_quarantined_records 0"} <= set(page)


async def test_a_job_that_waits_names_the_nodes_and_no_time(live: Live) -> None:
    live.nodes[NodeId(4)].dead = True
    async with asyncio.timeout(5):
        while NodeId(4) in live.store.blobs.fleet.up():
            await asyncio.sleep(0.005)
    at_work = JobRow(b"", 1_000_000, 3_000_000, done=4, total=10)
    waits = msgspec.structs.replace(at_work, started_us=3_000_000)
    rows = {
        "rebalance": at_work,
        "reconcile/3": at_work,
        "reconcile/4": at_work,
        "reconcile/5": msgspec.structs.replace(at_work, finished=True),
        "repair": waits,
    }
    for job, row in rows.items():
        await live.store.log.append([SaveJob(new_blob_id(1), 5, job=job, holder=bytes(16), row=row)])
    jobs = json.loads((await live.ok("GET", "/-/admin/status")).body)["jobs"]
    assert {job["name"]: (job["left_s"], job["waits_for"]) for job in jobs} == {
        "rebalance": (3.0, []),
        "reconcile/3": (3.0, []),
        "reconcile/4": (None, [4]),
        "reconcile/5": (3.0, []),
        "repair": (None, [4]),
    }
    page = (await live.ask("GET", "/-/metrics", key="")).body.decode()
    assert re.findall(r'^quoin_job_left_s\{job="(.*)"\}', page, re.MULTILINE) == ["rebalance", "reconcile/3"]


async def test_status_and_metrics_tell_how_far_scrub_is_on_each_node(live: Live) -> None:
    live.nodes[NodeId(2)].says = {
        "time_us": 105_000_000,
        "scrub_started_us": 5_000_000,
        "scrub_done_bytes": 20_000_000,
        "scrub_total_bytes": 50_000_000,
    }
    live.nodes[NodeId(3)].says = {"time_us": 5, "scrub_started_us": 5, "scrub_total_bytes": 7}
    fleet = live.store.blobs.fleet
    async with asyncio.timeout(5):
        while sum(bool(status and status.scrub_total_bytes) for status in fleet.statuses().values()) < 2:
            await asyncio.sleep(0.005)
    nodes = json.loads((await live.ok("GET", "/-/admin/status")).body)["nodes"]
    told = [[node["scrub"][fact] for fact in ("done_bytes", "mb_per_s", "left_s")] for node in nodes[:3]]
    assert told == [[0, 0, None], [20_000_000, 0.2, 150], [0, 0, None]]
    page = (await live.ask("GET", "/-/metrics", key="")).body.decode().splitlines()
    assert [line.removeprefix("quoin_scrub_") for line in page if line.startswith("quoin_scrub_")] == [
        'done_bytes{node="2"} 20000000',
        'done_bytes{node="3"} 0',
        'total_bytes{node="2"} 50000000',
        'total_bytes{node="3"} 7',
        'mb_per_s{node="2"} 0.2',
        'mb_per_s{node="3"} 0',
        'left_s{node="2"} 150',
    ]


async def test_the_age_of_the_newest_snapshot_is_told(live: Live) -> None:
    async def told() -> tuple[int, bool]:
        metadata = json.loads((await live.ok("GET", "/-/admin/status")).body)["metadata"]
        return metadata["snapshot_us"], metadata["snapshot_late"]

    assert await told() == (0, True)
    made_us = live.store.clock_us()
    with live.store.state.view() as view:
        for age_us in (5_000_000, 0):
            folder = live.store.cluster.nodes[0].path / snapshot_files.FOLDER
            snapshot_files.save(view, [folder], now_us=made_us - age_us, rest=lambda: None)
    live.clock[0] += 7_000
    page = (await live.ask("GET", "/-/metrics", key="")).body.decode()
    assert "\nquoin_snapshot_age_s 7000\n" in page
    assert await told() == (made_us, False)
    live.clock[0] += 300
    assert await told() == (made_us, True)


async def test_status_is_for_administrators(live: Live) -> None:
    assert (await live.ask("GET", "/-/admin/status", key="")).code == "AccessDenied"
    assert (await live.ask("GET", "/-/admin/status", key="AKREADER")).code == "AccessDenied"
    status = json.loads((await live.ok("GET", "/-/admin/status")).body)
    assert [node["id"] for node in status["nodes"]] == [1, 2, 3, 4, 5]
    assert all(node["up"] and node["state"] == "ok" and node["free_bytes"] for node in status["nodes"])
    assert (status["degraded_blobs"], status["condemned"], status["writable"]) == (0, 0, True)


async def test_who_asks_for_the_head_of_a_backup_alone_has_none_made(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def make(_view: object, _write: object, *, now_us: int) -> None:
        made.append(now_us)

    monkeypatch.setattr("s3d.admin.backup.write_snapshot", make)
    assert (await live.ask("HEAD", "/-/admin/backup", key="AKREADER")).status == 403
    told = await live.ok("HEAD", "/-/admin/backup")
    assert told.headers["content-type"] == "application/octet-stream" and not made
    await live.ok("GET", "/-/admin/backup")
    assert len(made) == 1


async def test_there_is_nothing_else(live: Live) -> None:
    assert (await live.ask("GET", "/-/other", key="")).status == 404
    assert (await live.ask("PUT", "/-/health", key="")).status == 405
    assert (await live.ask("PUT", "/-")).code == "InvalidBucketName"


def test_counters_of_all_gateways_of_a_node_add_up_and_never_fall(tmp_path: Path) -> None:
    first, second = Counters(tmp_path, 0), Counters(tmp_path, 1)
    for counters in (first, first, second):
        counters.answered("GetObject", 200, received_bytes=0, sent_bytes=10)
    first.save()
    second.save()
    assert first.of_node().requests == {"GetObject 200": 3}
    assert second.of_node().sent_bytes == 30
    first.worked(mended_blobs=3)
    first.save()
    again = Counters(tmp_path, 0)
    again.worked(mended_blobs=1)
    assert again.of_node().work == {"mended_blobs": 4}
    again.answered("GetObject", 200, received_bytes=0, sent_bytes=1)
    assert again.of_node().requests == {"GetObject 200": 4}


def test_a_damaged_file_of_counters_counts_nothing(tmp_path: Path) -> None:
    (tmp_path / "gateway-1.db").write_bytes(b"\xc1")
    counters = Counters(tmp_path, 0)
    counters.answered("GetObject", 200, received_bytes=0, sent_bytes=1)
    assert counters.of_node().requests == {"GetObject 200": 1}
