"""Owns `s3ctl explain`: its flags, and how the shards of an object are shown to people; never how they are found."""

import argparse
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from rich.console import Console
from rich.table import Table

from s3d.ctl import client, tables
from shardd.contract.cluster import Cluster

WITHIN_S: Final = 600.0  # a large object, all of it read


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", asker: client.Asker) -> None:
    """The command and its flags. `asker` gives the key that may, and the nodes to ask."""
    made = commands.add_parser("explain", help="where the shards of an object are, and what may be lost")
    made.add_argument("object", metavar="s3://BUCKET/KEY", type=_named)
    made.add_argument("--version", metavar="ID", default="", help="of the object; else the live one")
    made.add_argument("--read", action="store_true", help="read every shard, and check every byte")
    made.add_argument("-json", "--json", action="store_true", help="for programs")
    made.add_argument("-key", "--key", metavar="ID", help="the access key to ask with")

    def run(cluster: Cluster, arguments: argparse.Namespace) -> None:
        key, nodes = asker(cluster, arguments, "admin:Explain")
        facts = client.ask(cluster, nodes, key=key, path=_path(arguments), within_s=WITHIN_S)
        if arguments.json:
            print(json.dumps(facts, indent=2))
        else:
            show(facts)

    made.set_defaults(run=run)


def show(facts: Mapping[str, Any]) -> None:
    """The verdict first, then a line for each shard."""
    console = Console()
    name = f"s3://{facts['bucket']}/{facts['key']}"
    console.print(
        f"{name}: {tables.size(facts['size'])}, ETag {facts['etag']}", markup=False, highlight=False
    )
    console.print(_verdict(facts))
    if any(blob.get("awaits_repair") for blob in facts["blobs"]):
        console.print("[yellow]it awaits repair")
    console.print(_table(facts))
    if facts["blobs_left_out"]:
        console.print(f"[yellow]{facts['blobs_left_out']} more parts were not looked at")


def _verdict(facts: Mapping[str, Any]) -> str:
    """How many nodes it survives; where none, whether those that are away would be enough."""
    losses = facts["losses"]
    if losses >= 0:
        return f"it survives the loss of any {losses} more node{'' if losses == 1 else 's'}"
    for blob in facts["blobs"]:
        if sum(shard["state"] in ("ok", "unreachable") for shard in blob["shards"]) < blob.get("k", 1):
            return "[red]it cannot be read: too few shards are left, those of nodes that are away counted in"
    return "[red]it cannot be read now: start the nodes whose shards are unreachable"


def _table(facts: Mapping[str, Any]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("part", "blob", "code", "shard", "node", "generation", "stored", "state"):
        table.add_column(title, justify="left" if title in ("blob", "code", "state") else "right")
    for blob in facts["blobs"]:
        if not blob["shards"]:
            table.add_row(str(blob["part"]), blob["blob"], "-", "-", "-", "-", "-", f"[red]{blob['fault']}")
        for shard in blob["shards"]:
            first = shard["shard"] == 0
            table.add_row(
                str(blob["part"]) if first else "",
                blob["blob"] if first else "",
                f"{blob['codec']} {blob['k']}+{blob['m']}" if first else "",
                str(shard["shard"]),
                str(shard["node"] or "-"),
                str(shard["generation"]),
                tables.size(shard["stored_bytes"]),
                f"[{'green' if shard['state'] == 'ok' else 'red'}]{shard['state']}",
            )
    return table


def _path(arguments: argparse.Namespace) -> str:
    bucket, key = arguments.object
    asked = {
        "bucket": bucket,
        "key": key,
        "version": arguments.version,
        "read": "1" if arguments.read else "",
    }
    wanted = sorted((name, value) for name, value in asked.items() if value)
    return "/-/admin/explain?" + urlencode(wanted, quote_via=quote, safe="-_.~")


def _named(text: str) -> tuple[str, str]:
    bucket, _, key = text.removeprefix("s3://").partition("/")
    if not (bucket and key):
        raise argparse.ArgumentTypeError(f"{text}: an object is named as s3://BUCKET/KEY")
    return bucket, key
