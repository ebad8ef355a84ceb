"""Owns the flags and the environment that every program of the store reads: which cluster.toml, which node."""

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from shardd.contract.blobs import NodeId
from shardd.contract.cluster import Cluster, NodeConfig
from shardd.contract.cluster_file import load
from shardd.contract.errors import ConfigurationError

EXIT_CONFIGURATION = 2
EXIT_DAMAGED = 3  # what is stored is not what was written: to start again would help nobody


def parser(program: str, summary: str) -> argparse.ArgumentParser:
    """A parser with `-config` and `-node`, whose defaults are CONFIG and NODE in the environment; -- works too."""
    made = argparse.ArgumentParser(prog=program, description=summary, allow_abbrev=False)
    made.add_argument(
        "-config",
        "--config",
        metavar="FILE",
        type=Path,
        default=Path(os.environ.get("CONFIG") or "cluster.toml"),
    )
    made.add_argument("-node", "--node", metavar="N", type=int, default=os.environ.get("NODE") or None)
    return made


def load_or_exit(path: Path) -> Cluster:
    """The cluster of the file, or the end of the process: status 2 and what is wrong on stderr."""
    try:
        return load(path)
    except ConfigurationError as error:
        refuse(str(error))


def node_or_exit(cluster: Cluster, node: int | None, path: Path) -> NodeConfig:
    """The entry of node number `node`, or the end of the process: status 2 and the numbers that there are."""
    try:
        return cluster.node(NodeId(-1 if node is None else node))
    except KeyError:
        there = ", ".join(str(entry.id) for entry in cluster.nodes)
        refuse(
            f"{path}: nodes: no node {node}; there are {there}" if node is not None else "-node N is missing"
        )


def stop_signals() -> list[signal.Signals]:
    """On what a process ends in order: SIGTERM, and Ctrl-C unless the one that started it keeps that for itself."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        return [signal.SIGTERM]
    return [signal.SIGTERM, signal.SIGINT]


def refuse(reason: str) -> NoReturn:
    """Ends the process with status 2 and `reason` on stderr."""
    print(reason, file=sys.stderr)  # noqa: T201 - this is what the person who typed the command reads
    raise SystemExit(EXIT_CONFIGURATION)
