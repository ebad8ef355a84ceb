"""Owns the commands of s3ctl: what each takes, asks and prints. `python -m s3d.ctl [-config FILE] COMMAND`."""

import argparse
import json
import shlex
import socket
import sys
from collections.abc import Iterable

from s3d.access import administrator
from s3d.ctl import client, tables
from shardd.contract import flags
from shardd.contract.cluster import Cluster, NodeConfig
from shardd.contract.errors import QuoinError

PROBE_S = 0.3


def print_env(cluster: Cluster, arguments: argparse.Namespace) -> None:
    """What `eval` takes: the first key of the cluster and the endpoint of a gateway that listens."""
    key = administrator.keys_of(cluster)[0]
    node = next(
        (node for node in _asked(cluster, arguments) if _listens(node)), _asked(cluster, arguments)[0]
    )
    for name, value in {
        "AWS_ACCESS_KEY_ID": key.access_key_id,
        "AWS_SECRET_ACCESS_KEY": key.secret_access_key,
        "AWS_ENDPOINT_URL": f"http://{node.host}:{node.s3_port}",
        "AWS_DEFAULT_REGION": cluster.region,
    }.items():
        print(f"export {name}={shlex.quote(value)}")


def print_status(cluster: Cluster, arguments: argparse.Namespace) -> None:
    """The nodes as a gateway sees them, and what awaits repair."""
    key = administrator.keys_of(cluster)[0]
    status = client.ask(_asked(cluster, arguments), key, cluster.region, "/-/admin/status")
    if arguments.json:
        print(json.dumps(status, indent=2))
        return
    tables.show_status(status)


def print_check(cluster: Cluster, arguments: argparse.Namespace) -> None:
    """The file was read without a fault, or this would not be reached."""
    rs = cluster.rs
    print(f"{arguments.config}: {len(cluster.nodes)} nodes, RS({rs.data},{rs.parity}): ok")


def parser() -> argparse.ArgumentParser:
    """The command line of s3ctl."""
    made = flags.parser("s3ctl", "Asks a cluster, and prints what its clients need.")
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    env = commands.add_parser("env", help='endpoint and keys for a shell: eval "$(s3ctl env)"')
    env.set_defaults(run=print_env)
    status = commands.add_parser("status", help="the nodes: up, room, shards, version")
    status.add_argument("-json", "--json", action="store_true", help="for programs")
    status.set_defaults(run=print_status)
    check = commands.add_parser("check", help="whether cluster.toml is right")
    check.set_defaults(run=print_check)
    return made


def _asked(cluster: Cluster, arguments: argparse.Namespace) -> tuple[NodeConfig, ...]:
    """The node of -node, or all."""
    if arguments.node is None:
        return cluster.nodes
    return (flags.node_or_exit(cluster, arguments.node, arguments.config),)


def _listens(node: NodeConfig) -> bool:
    try:
        with socket.create_connection((node.host, node.s3_port), timeout=PROBE_S):
            return True
    except OSError:
        return False


def main(words: Iterable[str] | None = None) -> int:
    """Runs one command: 0, 1 where the cluster does not answer, 2 where the file or the flags are wrong."""
    arguments = parser().parse_args(None if words is None else list(words))
    cluster = flags.load_or_exit(arguments.config)
    try:
        arguments.run(cluster, arguments)
    except QuoinError as error:
        print(f"s3ctl: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
