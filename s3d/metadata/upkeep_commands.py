"""Owns the commands of the work behind the requests: blobs, shards, nodes and jobs; never a key, never an apply."""

from typing import Annotated, Literal

import msgspec

from s3d.metadata.command import Command
from s3d.metadata.fields import Blob, Holder, Key, Name, Node, Placement, Places, Port, Shard, Time
from s3d.metadata.rows import JobRow


class Condemn(Command, frozen=True, array_like=True, tag=True, kw_only=True):
    """Condemn a blob that no row names. Errors: OperationAborted where one does, or where it is condemned already."""

    blob: Blob
    places: Places
    grace_us: Time = 0


class CondemnUnnamed(Command, frozen=True, array_like=True, tag=True, kw_only=True):
    """Condemn shards of a blob that its row, if it has one, does not name: what crashes left on a node. No errors.

    `places` whose (node, shard) the row names are passed over, whatever their generation.
    """

    blob: Blob
    places: Places
    grace_us: Time = 0


class Relocate(Command, frozen=True, array_like=True, tag=True, kw_only=True):
    """Swap the placement of a blob from `expected` to `shards`; places that are left, or refused, are condemned.

    Shards that arrive somewhere carry the row's `next_generation`, or a later one. Errors: OperationAborted where
    the blob is gone, its placement is not `expected`, or shards of that generation are condemned.
    """

    blob: Blob
    expected: Placement
    shards: Placement
    degraded: bool = False
    grace_us: Time = 0


class MarkDegraded(Command, frozen=True, array_like=True, tag=True, kw_only=True):
    """File a blob for repair. `suspects`: shards that were not found or failed, beside those filed before.

    OperationAborted: no such blob.
    """

    blob: Blob
    suspects: tuple[Shard, ...] = ()


class SweptItem(msgspec.Struct, frozen=True, array_like=True):
    """A condemned row that was worked on: its key as the view gave it, and the places that are left, until `due_us`."""

    key: Key
    left: Places = ()
    due_us: Time = 0


class Swept(Command, frozen=True, array_like=True, tag=True, kw_only=True):
    """Shards of condemned rows are deleted. A row with places left is filed again under its new time. No errors."""

    items: tuple[SweptItem, ...]


class RegisterNode(Command, frozen=True, array_like=True, tag=True, kw_only=True):
    """Say which life of its data folder a node is in. The outcome's `changed` tells a new one. No errors."""

    node: Node
    incarnation: bytes


class NodeAddress(msgspec.Struct, frozen=True, array_like=True):
    """Where a node is reached, and its zone."""

    node: Node
    host: Name
    port: Port
    s3_port: Port
    zone: Annotated[str, msgspec.Meta(max_length=255)] = ""


class ImportNodes(Command, frozen=True, array_like=True, tag=True, kw_only=True):
    """Make the nodes of cluster.toml the first members; later only the addresses of members follow it. No errors."""

    nodes: tuple[NodeAddress, ...]


class AddNode(Command, frozen=True, array_like=True, tag=True, kw_only=True):
    """Make a node an active member, also one that was drained. OperationAborted: another member has that address."""

    address: NodeAddress


class SetNodeState(Command, frozen=True, array_like=True, tag=True, kw_only=True):
    """Drain a member, or remove one that is drained; `lost`: one that never comes back, whatever its state.

    Errors: OperationAborted where it is no member, is not drained, or fewer than `active_min` others are active.
    """

    node: Node
    state: Literal["draining", "removed"]
    active_min: Annotated[int, msgspec.Meta(ge=1)]
    lost: bool = False


class TakeLease(Command, frozen=True, array_like=True, tag=True, kw_only=True):
    """Give `job` to `holder` until `until_us`; a time that is past gives it up. OperationAborted: another holds it."""

    job: Name
    holder: Holder
    until_us: Time


class SaveJob(Command, frozen=True, array_like=True, tag=True, kw_only=True):
    """Keep how far `job` has come; that it is stopped, StopJob alone says. OperationAborted: its lease is another's."""

    job: Name
    holder: Holder
    row: JobRow


class StopJob(Command, frozen=True, array_like=True, tag=True, kw_only=True):
    """Have nobody do `job` from now on, or let it go on. No errors: an operator's word stands above every lease."""

    job: Name
    stopped: bool
