"""What administrators order of nodes and jobs: who may, what is refused, and what the rows say then."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.s3d.live import Live, gateway

SIXTH = "host=127.0.0.1&node=6&port=9006&s3_port=8006"


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    async with gateway(tmp_path) as made:
        await made.ok("PUT", "/bucket")
        yield made


def members(live: Live) -> dict[int, str]:
    with live.store.state.view() as view:
        return {row.node: row.state for row in view.nodes() if row.member}


async def refused(live: Live, order: str, query: str) -> bytes:
    answer = await live.ask("POST", f"/-/admin/{order}", query=query)
    assert (answer.status, answer.code) == (409, "OperationAborted"), answer.body
    return answer.body


async def test_a_node_joins_is_drained_and_removed(live: Live) -> None:
    assert (await live.ok("POST", "/-/admin/nodes/add", query=SIXTH)).body == b'{"changed": true}'
    assert (await live.ok("POST", "/-/admin/nodes/add", query=SIXTH)).body == b'{"changed": false}'
    assert members(live)[6] == "active"
    assert b"not drained" in await refused(live, "nodes/remove", "node=6")
    await live.ok("POST", "/-/admin/nodes/drain", query="node=6")
    assert members(live)[6] == "draining"
    await live.ok("POST", "/-/admin/nodes/remove", query="node=6")
    assert 6 not in members(live)


async def test_a_node_with_shards_is_not_removed_unless_it_is_lost(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", b"body")
    assert b"5 are needed" in await refused(live, "nodes/drain", "node=2")
    await live.ok("POST", "/-/admin/nodes/add", query=SIXTH)
    await live.ok("POST", "/-/admin/nodes/drain", query="node=2")
    assert b"1 shards are on node 2" in await refused(live, "nodes/remove", "node=2")
    await live.ok("POST", "/-/admin/nodes/remove", query="lost=yes&node=2")
    assert 2 not in members(live)


async def test_what_no_blob_can_be_read_without_is_not_lost(live: Live) -> None:
    await live.ok("PUT", "/bucket/key", b"body")
    seven = SIXTH.replace("6", "7").replace("120.0.0", "127.0.0")
    for query in (SIXTH, seven, seven.replace("7", "8").replace("128.0", "127.0")):
        await live.ok("POST", "/-/admin/nodes/add", query=query)
    for node in (2, 3):
        await live.ok("POST", "/-/admin/nodes/remove", query=f"lost=yes&node={node}")
    assert b"1 blobs cannot be read without node 4" in await refused(live, "nodes/remove", "lost=yes&node=4")


@pytest.mark.parametrize("query", ["", "node=6", SIXTH.replace("9006", "0"), SIXTH.replace("9006", "x")])
async def test_a_node_without_an_address_does_not_join(live: Live, query: str) -> None:
    answer = await live.ask("POST", "/-/admin/nodes/add", query=query)
    assert (answer.status, answer.code) == (400, "InvalidArgument")


async def test_orders_are_for_administrators(live: Live) -> None:
    for order in ("nodes/add", "nodes/drain", "nodes/remove", "rebalance/stop", "rebalance/start"):
        for key in ("", "AKREADER"):
            answer = await live.ask("POST", f"/-/admin/{order}", query=SIXTH, key=key)
            assert answer.code == "AccessDenied", order
    assert 6 not in members(live)


async def test_rebalance_is_stopped_and_started(live: Live) -> None:
    for verb, changed in (("stop", b"true"), ("stop", b"false"), ("start", b"true")):
        assert changed in (await live.ok("POST", f"/-/admin/rebalance/{verb}")).body
        with live.store.state.view() as view:
            job = view.job("rebalance")
        assert job is not None and job.stopped == (verb == "stop")
