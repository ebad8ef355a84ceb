"""Owns what administrators order: nodes that join, are drained or removed, jobs that stop and go on; never asks who."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from s3d.blobs.rebalance import JOB
from s3d.metadata.command import CommandError
from s3d.metadata.commands import AddNode, Command, NodeAddress, SetNodeState, StopJob
from s3d.operations.call import Store
from s3d.protocol.errors import S3Error

PERMISSIONS: Final = {
    "nodes/add": "admin:AddNode",
    "nodes/drain": "admin:DrainNode",
    "nodes/remove": "admin:RemoveNode",
    "rebalance/stop": "admin:StopRebalance",
    "rebalance/start": "admin:StartRebalance",
}
"""Each order, as it stands behind /-/admin/ in a POST, and who may give it."""

PAGE_ROWS: Final = 512


@dataclass(slots=True)
class _Holdings:
    """What a node has: its shards, and the blobs that could not be read without it."""

    shards: int = 0
    vital: int = 0


async def obey(store: Store, order: str, query: Mapping[str, str]) -> dict[str, Any]:
    """Do as `order`, a key of PERMISSIONS, says; what its `query` names must be there. For JSON: what is so now.

    Raises S3Error: InvalidArgument; OperationAborted where it cannot be, with the reason.
    """
    try:
        command = await _command(store, order, query)
        outcome = await store.apply(command)
    except (KeyError, ValueError, CommandError) as error:
        raise S3Error("InvalidArgument", f"{order}: {error}") from error
    if outcome.error:
        raise S3Error(outcome.error, outcome.detail)
    return {"changed": outcome.changed}


async def _command(store: Store, order: str, query: Mapping[str, str]) -> Command:
    now_us = store.clock_us()
    stamp = store.write_id(now_us), now_us
    if order.startswith("rebalance/"):
        return StopJob(*stamp, job=JOB, stopped=order == "rebalance/stop")
    node = int(query["node"])
    if order == "nodes/add":
        port, s3_port = int(query["port"]), int(query["s3_port"])
        return AddNode(*stamp, address=NodeAddress(node, query["host"], port, s3_port, query.get("zone", "")))
    rs = store.cluster.rs
    if order == "nodes/drain":
        return SetNodeState(*stamp, node=node, state="draining", active_min=rs.data + rs.parity)
    lost = query.get("lost") == "yes"
    await _check_removable(store, node, lost=lost)
    return SetNodeState(*stamp, node=node, state="removed", active_min=rs.data + rs.parity, lost=lost)


async def _check_removable(store: Store, node: int, *, lost: bool) -> None:
    """Raise S3Error where shards are on a node that is to be removed; of one that is lost, where some are vital."""
    with store.state.view() as view:
        members = {row.node for row in view.nodes() if row.member}
    found = await _holdings(store, node, others=members - {node})
    if lost and found.vital:
        raise S3Error("OperationAborted", f"{found.vital} blobs cannot be read without node {node}")
    if found.shards and not lost:
        raise S3Error("OperationAborted", f"{found.shards} shards are on node {node}: drain it, and wait")


async def _holdings(store: Store, node: int, *, others: set[int]) -> _Holdings:
    """By all rows, some at a time: requests are served by the same loop."""
    found, after = _Holdings(), b""
    while True:
        with store.state.view() as view:
            rows = list(islice(view.blobs(after), PAGE_ROWS))
        for _, row in rows:
            on_it = sum(place == node for place, _ in row.shards)
            found.shards += on_it
            found.vital += bool(on_it) and sum(place in others for place, _ in row.shards) < row.k
        if len(rows) < PAGE_ROWS:
            return found
        after = rows[-1][0]
        await asyncio.sleep(0)
