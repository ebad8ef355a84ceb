"""Owns `s3ctl node` and `s3ctl rebalance`: what they take, order and print; never who may."""

import argparse
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final
from urllib.parse import quote

from s3d.ctl import client, tables
from shardd.contract import flags
from shardd.contract.blobs import NodeId
from shardd.contract.cluster import Cluster
from shardd.contract.errors import QuoinError

WITHIN_S: Final = 120.0  # a node is removed after a look at every row
LOOKS: Final = 10  # whether a node that was added answers: gateways follow within a second or two
LOOK_EVERY_S: Final = 0.5


def add(commands: Any, asker: client.Asker) -> None:
    """Adds both commands. `asker` finds the key that may do an action, and the nodes to ask."""
    node = commands.add_parser("node", help="the members: list, add, drain, remove")
    verbs = node.add_subparsers(dest="verb", required=True, metavar="VERB")
    listed = verbs.add_parser("list", help="the members, and the nodes of cluster.toml that are none")
    listed.set_defaults(run=lambda cluster, arguments: _list(cluster, arguments, asker))
    says = {
        "add": "a node of cluster.toml that runs joins: it takes its part of the shards",
        "drain": "its shards move to the others, and it takes no new ones",
        "remove": "a node that is drained is a member no more",
    }
    for verb, words in says.items():
        made = verbs.add_parser(verb, help=words)
        made.add_argument("id", type=int, help="the node's id")
        made.set_defaults(run=_running(verb, asker), lost=False)
        if verb == "remove":
            made.add_argument(
                "--force-lost",
                dest="lost",
                action="store_true",
                help="it never comes back: its shards are rebuilt on the others",
            )
    rebalance = commands.add_parser("rebalance", help="shards that move after a node has come or goes")
    rebalance.add_argument("verb", choices=("stop", "start"))
    rebalance.set_defaults(run=lambda cluster, arguments: _rebalance(cluster, arguments, asker))
    for parser in (*verbs.choices.values(), rebalance):
        parser.add_argument("-key", "--key", metavar="ID", help="the access key to ask with")


def _running(verb: str, asker: client.Asker) -> Callable[[Cluster, argparse.Namespace], None]:
    return lambda cluster, arguments: _order_node(cluster, arguments, verb, asker)


def _list(cluster: Cluster, arguments: argparse.Namespace, asker: client.Asker) -> None:
    key, nodes = asker(cluster, arguments, "admin:Status")
    status = client.ask(cluster, nodes, key=key, path="/-/admin/status")
    members = {node["id"]: node for node in status["nodes"]}
    others = [node for node in cluster.nodes if node.id not in members]
    tables.show_members(list(members.values()), [f"{node.id}" for node in others])


def _order_node(cluster: Cluster, arguments: argparse.Namespace, verb: str, asker: client.Asker) -> None:
    """Order it, and say what comes of it."""
    facts: dict[str, Any] = {"node": arguments.id}
    if verb == "add":
        entry = flags.node_or_exit(cluster, NodeId(arguments.id), arguments.config)
        facts |= {"host": entry.host, "port": entry.port, "s3_port": entry.s3_port, "zone": entry.zone}
    if arguments.lost:
        facts["lost"] = "yes"
    key, nodes = asker(cluster, arguments, f"admin:{verb.capitalize()}Node")
    query = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in sorted(facts.items()))
    path = f"POST /-/admin/nodes/{verb}?{query}"
    reply = client.ask(cluster, nodes, key=key, path=path, within_s=WITHIN_S)
    said = {
        "add": "is a member; s3ctl status shows the shards that move to it",
        "drain": "is drained; s3ctl status shows how far, then s3ctl node remove takes it out",
        "remove": "is a member no more; it can be stopped",
    }
    print(
        f"node {arguments.id} {said[verb]}" if reply["changed"] else f"node {arguments.id}: it was so already"
    )
    if verb == "add":
        _warn_of_silence(cluster, arguments, asker)


def _warn_of_silence(cluster: Cluster, arguments: argparse.Namespace, asker: client.Asker) -> None:
    """Tell of a node that was added and does not answer: writes count on it from now on, and are degraded."""
    with suppress(QuoinError):  # who may add a node need not be one who may ask how it is
        key, nodes = asker(cluster, arguments, "admin:Status")
        for look in range(LOOKS):
            time.sleep(LOOK_EVERY_S if look else 0.0)
            members = client.ask(cluster, nodes, key=key, path="/-/admin/status")["nodes"]
            if any(member["id"] == arguments.id and member["up"] for member in members):
                return
        words = "start it; until then what belongs on it is degraded"
        print(f"s3ctl: node {arguments.id} does not answer: {words}", file=sys.stderr)


def _rebalance(cluster: Cluster, arguments: argparse.Namespace, asker: client.Asker) -> None:
    key, nodes = asker(cluster, arguments, f"admin:{arguments.verb.capitalize()}Rebalance")
    path = f"POST /-/admin/rebalance/{arguments.verb}"
    reply = client.ask(cluster, nodes, key=key, path=path)
    print(f"rebalance: {arguments.verb}" if reply["changed"] else "rebalance: it was so already")
