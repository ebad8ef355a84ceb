"""Owns whose folder a store's is: cluster, node and incarnation, kept as a segment header with number 0."""

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

from shardd.contract.blobs import NodeId
from shardd.contract.errors import WrongClusterError
from shardd.engine.filesystem import Filesystem, area
from shardd.engine.journal import SUFFIX, UNFINISHED
from shardd.engine.record import (
    BLOCK_SIZE,
    DamagedFormatError,
    Origin,
    SegmentHeader,
    TruncatedFormatError,
    decode_segment_header,
    encode_segment_header,
)

IDENTITY = "identity"
INCARNATION_SIZE = 16

log = logging.getLogger(__name__)


def own_origin(
    filesystem: Filesystem, folder: Path, *, cluster: bytes, node: NodeId, chance: Callable[[int], bytes]
) -> Origin:
    """The origin of the store in `folder`; a folder with nothing in it becomes a new one.

    Raises WrongClusterError where the folder is another cluster's or node's, UnsupportedFormatError, OSError.
    """
    names = filesystem.names(folder)
    found = _read(filesystem, folder / IDENTITY) if IDENTITY in names else None
    if found is None:
        # The identity is written before the first segment: without it there are no segments, or it was damaged.
        found = next(
            (
                header
                for name in names
                if name.endswith(SUFFIX) and (header := _read(filesystem, folder / name)) is not None
                if (header.cluster, header.node) == (cluster, node)
            ),
            Origin(cluster, node, chance(INCARNATION_SIZE)),
        )
        _write(filesystem, folder, found)
    if (found.cluster, found.node) != (cluster, node):
        raise WrongClusterError(
            f"{folder} holds the shards of node {found.node} of cluster {found.cluster.hex()}, "
            f"not of node {node} of cluster {cluster.hex()}"
        )
    return found


def _read(filesystem: Filesystem, path: Path) -> Origin | None:
    try:
        return decode_segment_header(filesystem.open(path).read(BLOCK_SIZE, 0)).origin
    except (TruncatedFormatError, DamagedFormatError) as fault:
        log.error("%s: %s", path, fault)
        return None


def _write(filesystem: Filesystem, folder: Path, origin: Origin) -> None:
    unfinished = folder / f"{IDENTITY}{UNFINISHED}"
    with contextlib.suppress(FileNotFoundError):
        filesystem.unlink(unfinished)
    file = filesystem.create(unfinished)
    memory = area(BLOCK_SIZE)
    memory[:] = encode_segment_header(SegmentHeader(origin, 0, 0))
    file.allocate(BLOCK_SIZE)
    if file.write(memoryview(memory), 0) != BLOCK_SIZE:
        raise OSError(f"{unfinished} was written in part")
    file.datasync()
    filesystem.rename(unfinished, folder / IDENTITY)
    filesystem.sync_folder(folder)
    filesystem.sync_folder(folder.parent)
