"""Owns `s3ctl backup` and `s3ctl restore`: their flags, files and words; never the bytes of a snapshot."""

import argparse
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from http.client import HTTPResponse
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from s3d.ctl import client, tables
from s3d.ctl.living import held_still
from s3d.ctl.salvage import keep_snapshot, last_given, salvager
from s3d.metadata import snapshot_files
from s3d.metadata.restoring import forget_lives, go_on_behind, replay, restore
from s3d.metadata.rows import RowError
from s3d.metadata.snapshot import Head, Read, SnapshotError, SnapshotUnreadError, read_snapshot
from s3d.metadata.state import State, index_of
from shardd.contract.blobs import NodeId
from shardd.contract.cluster import Cluster
from shardd.contract.errors import QuoinError

WITHIN_S: Final = 3_600.0  # a state of many millions of keys
PIECE_BYTES: Final = 1 << 20


class NoSnapshotError(QuoinError):
    """There is no snapshot to restore from."""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", asker: client.Asker) -> None:
    """The commands and their flags. `asker` gives the key that may, and the nodes to ask."""
    made = commands.add_parser("backup", help="a snapshot of the metadata of a running store, into a file")
    made.add_argument("file", metavar="FILE", type=Path)
    made.add_argument("-key", "--key", metavar="ID", help="the access key to ask with")

    def run_backup(cluster: Cluster, arguments: argparse.Namespace) -> None:
        key, nodes = asker(cluster, arguments, "admin:Backup")
        arguments.file.parent.stat()  # or each gateway in turn would be blamed for a folder that is not there

        def take(reply: HTTPResponse) -> Head:
            return _save(reply, arguments.file)

        head = client.fetch(
            cluster, nodes, question=client.Question(key, "/-/admin/backup", WITHIN_S), take=take
        )
        size = tables.size(arguments.file.stat().st_size)
        print(f"{arguments.file}: {size}, the metadata up to command {head.index}")

    made.set_defaults(run=run_backup)
    back = commands.add_parser(
        "restore", help="the metadata of a stopped store from a snapshot, and what was done since"
    )
    what = back.add_mutually_exclusive_group(required=True)
    what.add_argument("file", metavar="FILE", type=Path, nargs="?")
    what.add_argument(
        "--newest",
        action="store_true",
        help="the newest whole one in the folders of the nodes, and the journal of the commands since",
    )
    back.add_argument("--salvage", action="store_true", help="and from the shards what is younger")
    back.set_defaults(run=run_restore)


def run_restore(cluster: Cluster, arguments: argparse.Namespace) -> None:
    """Replaces the state, which is kept beside the new one. Raises LivingStateError, SnapshotError, NoSnapshotError."""
    with held_still(cluster):
        _restore_first(cluster, newest(cluster) if arguments.newest else [arguments.file], arguments)


def _restore_first(cluster: Cluster, choices: Iterable[Path], arguments: argparse.Namespace) -> None:
    """From the first that is whole."""
    for path in choices:
        try:
            head = _restore(cluster, path, arguments)
        except SnapshotError as error:
            if not arguments.newest:
                raise
            print(f"{path} is passed over: {error}")
            continue
        print(f"{path}: the metadata as it was at {tables.moment(head.made_us)}, up to command {head.index}")
        return
    raise NoSnapshotError(
        "no node has a whole snapshot; s3ctl salvage makes the metadata from the shards alone"
    )


def newest(cluster: Cluster) -> list[Path]:
    """The snapshots that the nodes have on this machine, newest first."""
    return snapshot_files.stored([node.path / snapshot_files.FOLDER for node in cluster.nodes])


def _restore(cluster: Cluster, path: Path, arguments: argparse.Namespace) -> Head:
    def finish(state: State, made_us: int) -> None:
        lacking = (
            _replay(cluster, state)
            if arguments.newest
            else "a snapshot by its name is all that was asked for"
        )
        go_on_behind(state, last_given(cluster))
        forget_lives(state, now_us=time.time_ns() // 1_000)
        if arguments.salvage:
            keep_snapshot(cluster, state, made_us)  # for a second run, with the nodes that are away now
        if not arguments.salvage or salvager(cluster, arguments.config, lacking=lacking)(state, made_us):
            keep_snapshot(cluster, state)
        _tell_members(cluster, state)

    with _reading(path) as read:
        return restore(read, cluster.metadata.path, map_size=cluster.metadata.map_size_bytes, finish=finish)


@contextmanager
def _reading(path: Path) -> Iterator[Read]:
    """The bytes of a snapshot's file. SnapshotUnreadError, now and while they are read: other disks may have it."""
    try:
        source = path.open("rb")
    except OSError as error:
        raise SnapshotUnreadError(str(error)) from error

    def read(size: int) -> bytes:
        try:
            return source.read(size)
        except OSError as error:
            raise SnapshotUnreadError(f"{path}: {error.strerror}") from error

    with source:
        yield read


def _tell_members(cluster: Cluster, state: State) -> None:
    """Who joined or left behind the state: rows may name shards of nodes that are no members, which nobody reads."""
    with state.view() as view:
        members = {NodeId(row.node) for row in view.nodes() if row.member}
    if not members:
        return  # the first start takes all nodes of the file
    for node in sorted({node.id for node in cluster.nodes} - members):
        print(f"node {node} is no member in this metadata: once the store runs, s3ctl node add {node}")
    for node in sorted(members - {node.id for node in cluster.nodes}):
        print(
            f"node {node} is a member in this metadata and not in the file: put it there, or remove it again"
        )


def _replay(cluster: Cluster, state: State) -> str:
    """Go on from a snapshot with the journal of the state that is replaced; what it lacks, in words."""
    with state.view() as view:
        begun = view.applied().index
    replayed = replay(state, cluster.metadata.path)
    print(f"the journal goes on from there to command {replayed.index}")
    lacking = replayed.lacking or _behind(cluster.metadata.path, begun, replayed.index)
    if lacking:
        print(f"in doubt: what was done behind command {replayed.index}: {lacking}")
    return lacking


def _behind(path: Path, begun: int, index: int) -> str:
    """Why commands behind `index` may be lacking: asked of the state that is replaced, in a process that may die.

    `begun`: the last command of the snapshot, which a state in the folder `path` that is an older copy does not have.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as aside:
        try:
            stood = aside.submit(index_of, path).result()
        except (QuoinError, RowError, OSError, BrokenProcessPool):
            return "where the replaced metadata stood cannot be read"
    if stood < begun:
        return f"the replaced metadata is older than the snapshot, at command {stood}, and so is its journal"
    return f"the replaced metadata stood at command {stood}" if stood > index else ""


def _save(reply: HTTPResponse, path: Path) -> Head:
    """The file under its name once all of it is there, checked and synced. Raises SnapshotError, OSError."""
    beside = path.with_name(path.name + snapshot_files.UNFINISHED)
    with beside.open("wb+") as file:
        while piece := reply.read(PIECE_BYTES):
            file.write(piece)
        file.seek(0)
        head, entries = read_snapshot(file.read)
        for _ in entries:
            pass
        os.fsync(file.fileno())
    beside.replace(path)
    return head
