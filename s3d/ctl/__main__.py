"""Owns the commands of s3ctl: what each takes, asks and prints. `python -m s3d.ctl [-config FILE] COMMAND`."""

import argparse
import json
import os
import shlex
import socket
import sys
from collections.abc import Iterable

from s3d.access import administrator
from s3d.access.accounts import Accounts, Principal
from s3d.access.policy import Resource, evaluate
from s3d.certificate import Certificate
from s3d.ctl import backup, client, explain, nodes, proofs, salvage, tables
from shardd.contract import flags
from shardd.contract.cluster import AuthConfig, Cluster, NodeConfig
from shardd.contract.errors import ConfigurationError, QuoinError

PROBE_S = 0.3


class NoKeyError(QuoinError):
    """The cluster has no key for what is asked; the message says what would be one."""


def print_env(cluster: Cluster, arguments: argparse.Namespace) -> None:
    """What `eval` takes: a key of the cluster, its first unless -key names one, and a gateway that listens."""
    key = _key(cluster, arguments, "")
    node = next(
        (node for node in _asked(cluster, arguments) if _listens(node)), _asked(cluster, arguments)[0]
    )
    settings = {
        "AWS_ACCESS_KEY_ID": key.access_key_id,
        "AWS_SECRET_ACCESS_KEY": key.secret_access_key,
        "AWS_ENDPOINT_URL": cluster.endpoint(node),
        "AWS_DEFAULT_REGION": cluster.region,
    }
    if cluster.gateway.tls_authority is not None:
        settings["AWS_CA_BUNDLE"] = str(cluster.gateway.tls_authority)
    for name, value in settings.items():
        print(f"export {name}={shlex.quote(value)}")


def print_status(cluster: Cluster, arguments: argparse.Namespace) -> None:
    """The nodes as a gateway sees them, and what awaits repair."""
    key = _key(cluster, arguments, "admin:Status")
    status = client.ask(cluster, _asked(cluster, arguments), key=key, path="/-/admin/status")
    if arguments.json:
        print(json.dumps(status, indent=2))
        return
    tables.show_status(status)


def print_check(cluster: Cluster, arguments: argparse.Namespace) -> None:
    """The file was read without a fault, or this would not be reached; is the certificate that it names one?"""
    try:
        Certificate.from_config(cluster.gateway)
    except ConfigurationError as error:
        flags.refuse(f"{arguments.config}: {error}")
    rs = cluster.rs
    print(f"{arguments.config}: {len(cluster.nodes)} nodes, RS({rs.data},{rs.parity}): ok")


def parser() -> argparse.ArgumentParser:
    """The command line of s3ctl."""
    made = flags.parser("s3ctl", "Asks a cluster, and prints what its clients need.")
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    env = commands.add_parser("env", help='endpoint and keys for a shell: eval "$(s3ctl env)"')
    env.add_argument("-key", "--key", metavar="ID", help="the access key; the first of the file without it")
    env.set_defaults(run=print_env)
    status = commands.add_parser("status", help="the nodes: up, room, shards, version")
    status.add_argument("-json", "--json", action="store_true", help="for programs")
    status.add_argument(
        "-key", "--key", metavar="ID", help="the access key to ask with; one that may without it"
    )
    status.set_defaults(run=print_status)
    check = commands.add_parser("check", help="whether cluster.toml is right")
    check.set_defaults(run=print_check)
    explain.add(commands, _asker)
    backup.add(commands, _asker)
    salvage.add(commands)
    nodes.add(commands, _asker)
    proofs.add(commands)
    return made


def _asker(
    cluster: Cluster, arguments: argparse.Namespace, action: str
) -> tuple[AuthConfig, tuple[NodeConfig, ...]]:
    """The key for what asks `action`, and the nodes to ask. Raises NoKeyError."""
    return _key(cluster, arguments, action), _asked(cluster, arguments)


def _key(cluster: Cluster, arguments: argparse.Namespace, action: str) -> AuthConfig:
    """The key that -key names, or the first that may do `action`, "" being what anyone may. Raises NoKeyError."""
    keys = administrator.keys_of(cluster)
    if arguments.key is not None:
        named = [key for key in keys if key.access_key_id == arguments.key]
        reason = f"no key {arguments.key}"
    else:
        accounts = Accounts.from_config(keys, os.environ)
        named = [key for key in keys if not action or _may(accounts.find(key.access_key_id), action)]
        reason = f'no key may; one with policy = [{{ bucket = "*", actions = ["{action}"] }}] may'
    if not named:
        raise NoKeyError(f"{arguments.config}: auth: {reason}")
    return named[0]


def _may(principal: Principal | None, action: str) -> bool:
    return evaluate(principal, action, Resource()).allowed


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
    """Runs one command: 0, 1 where the cluster or a disk does not answer, 2 where the file or the flags are wrong."""
    arguments = parser().parse_args(None if words is None else list(words))
    try:
        if "alone" in arguments:  # a command that has a store of its own
            return int(arguments.alone(arguments))
        arguments.run(flags.load_or_exit(arguments.config), arguments)
    except (QuoinError, OSError) as error:
        print(f"s3ctl: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
