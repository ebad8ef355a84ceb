"""Owns `s3ctl verify`: a history of a running cluster is recorded and checked; its output, its status."""

import argparse
import asyncio
import json
from typing import Any, Final

from s3d.drill.client import Client, insist
from s3d.drill.linearizability import Call, UndecidedError, Violation, violations
from s3d.drill.port import key_of
from s3d.drill.recording import PREFIX, History, Recording, record
from shardd.contract import flags
from shardd.contract.cluster import Cluster

CALLS_SHOWN: Final = 12


def run(arguments: argparse.Namespace) -> int:
    """0 where the history is linearizable, 1 where it is not, or nobody can say."""
    cluster = flags.load_or_exit(arguments.config)
    history = asyncio.run(_recorded(cluster, arguments))
    try:
        found = violations(history.calls)
    except UndecidedError as error:
        print(f"verify: undecided: {error}; fewer --clients or --seconds")
        return 1
    told = _summary(history, found)
    print(json.dumps(told, indent=2) if arguments.json else _text(told, found))
    return 0 if told["linearizable"] else 1


async def _recorded(cluster: Cluster, arguments: argparse.Namespace) -> History:
    """The history, in a bucket that is gone afterwards."""
    endpoints = [cluster.endpoint(entry) for entry in cluster.nodes]
    bucket = f"quoin-verify-{arguments.seed}"
    async with Client(key_of(cluster, arguments.key), authority=cluster.gateway.tls_authority) as client:
        await insist(client, endpoints, "PUT", f"/{bucket}")
        recording = Recording(client, endpoints, bucket, keys=arguments.keys, seed=arguments.seed)
        history = await record(recording, clients=arguments.clients, seconds=arguments.seconds)
        for number in range(arguments.keys):
            await insist(client, endpoints, "DELETE", f"/{bucket}/{PREFIX}{number}")
        await insist(client, endpoints, "DELETE", f"/{bucket}")
    return history


def _summary(history: History, found: list[Violation]) -> dict[str, Any]:
    """For JSON."""
    return {
        "linearizable": bool(history.calls) and not found and not history.wrong,
        "operations": history.operations,
        "lists": history.lists,
        "calls": len(history.calls),
        "unknown": history.unknown,
        "wrong_bodies": history.wrong,
        "violations": [
            {"key": one.key, "explained": one.explained, "stuck": [_line(call) for call in one.stuck]}
            for one in found
        ],
    }


def _text(told: dict[str, Any], found: list[Violation]) -> str:
    lines = list(told["wrong_bodies"])
    for one in found:
        lines.append(
            f"{one.key}: no order explains its calls; after {one.explained} of them none of these fits:"
        )
        lines += [f"  {_line(call)}" for call in one.stuck[:CALLS_SHOWN]]
    counts = f"{told['operations']} operations, {told['lists']} lists of them, {told['unknown']} of unknown outcome"
    return "\n".join([*lines, f"{counts}: {'linearizable' if told['linearizable'] else 'NOT LINEARIZABLE'}"])


def _line(call: Call) -> str:
    expected = f" where it held {call.expected}" if call.act.value == "swap" else ""
    times = f"{call.began_s:.4f} to {call.ended_s:.4f} s"
    return f"client {call.client}, {times}: {call.act.value} {call.value}{expected}: {call.outcome.value}"
