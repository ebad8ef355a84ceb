"""Owns `s3ctl verify`: a history of a running cluster is recorded and checked; its output, its status."""

import argparse
import asyncio
import json
import sys
from typing import Any, Final

from s3d.ctl.endings import INTERRUPTED, end_with_signals
from s3d.drill.bucket import claim, clear
from s3d.drill.client import Client
from s3d.drill.linearizability import Call, Outcome, UndecidedError, Violation, violations
from s3d.drill.port import key_of
from s3d.drill.recording import History, Recording, record
from shardd.contract import flags
from shardd.contract.cluster import Cluster

CALLS_SHOWN: Final = 12


def run(arguments: argparse.Namespace) -> int:
    """0 where the history is linearizable, 1 where it is not or nobody can say, INTERRUPTED where somebody ended it."""
    cluster = flags.load_or_exit(arguments.config)
    try:
        history = asyncio.run(recorded(cluster, arguments))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return INTERRUPTED
    try:
        found = violations(history.calls)
    except UndecidedError as error:
        print(f"verify: undecided: {error}; fewer --clients or --seconds")
        return 1
    told = summary(history, found)
    print(json.dumps(told, indent=2) if arguments.json else _text(told, found))
    return 0 if told["linearizable"] else 1


async def recorded(cluster: Cluster, arguments: argparse.Namespace) -> History:
    """The history, in a bucket that is gone afterwards, interrupted or not.

    Raises LostError, RefusedError where the store does not even make a bucket, InUseError where an earlier run left it.
    """
    end_with_signals()
    endpoints = [cluster.endpoint(entry) for entry in cluster.nodes]
    bucket = f"quoin-verify-{arguments.seed}"
    async with Client(key_of(cluster, arguments.key), authority=cluster.gateway.tls_authority) as client:
        await claim(client, endpoints, bucket)
        recording = Recording(client, endpoints, bucket, keys=arguments.keys, seed=arguments.seed)
        try:
            return await record(recording, clients=arguments.clients, seconds=arguments.seconds)
        finally:
            if left := await clear(client, endpoints, bucket):
                print(f"verify: {left}", file=sys.stderr)


def summary(history: History, found: list[Violation]) -> dict[str, Any]:
    """For JSON. Where nothing was answered, nothing is proven."""
    answered = any(call.outcome is not Outcome.UNKNOWN for call in history.calls)
    return {
        "linearizable": answered and not found and not history.wrong,
        "operations": history.operations,
        "lists": history.lists,
        "calls": len(history.calls),
        "unknown": history.unknown,
        "wrong": history.wrong,
        "violations": [
            {"key": one.key, "explained": one.explained, "stuck": [_line(call) for call in one.stuck]}
            for one in found
        ],
    }


def _text(told: dict[str, Any], found: list[Violation]) -> str:
    lines = list(told["wrong"])
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
