"""Owns the facts of /-/admin/status: the nodes, what awaits repair, how far the jobs have come; never changes any."""

from collections.abc import Collection
from typing import Any, Final

from s3d.admin.holders import stopped_holders
from s3d.blobs.rebalance import JOB as REBALANCE
from s3d.blobs.reconcile import JOB as RECONCILE
from s3d.metadata import snapshot_files
from s3d.metadata.rows import JobRow, NodeRow
from s3d.operations.call import Store
from shardd.contract.blobs import NodeId
from shardd.contract.messages import Status

# No writer of the metadata takes so long that is not stopped, or behind a disk that hangs.
STANDS_STILL_S = 1.0

_OF_ALL_NODES: Final = ("repair", REBALANCE)  # jobs that wait for any node that is down


def cluster_status(store: Store) -> dict[str, Any]:
    """The cluster as this gateway sees it, for JSON. Sizes are bytes, times microseconds since 1970."""
    with store.state.view() as view:
        degraded, condemned, jobs = view.degraded_count(), view.condemned_count(), list(view.jobs())
        members = [row for row in view.nodes() if row.member]
    fleet = store.blobs.fleet
    statuses, slow = fleet.statuses(), fleet.up() - fleet.prompt()
    return {
        "nodes": [
            _address(row) | _health(statuses.get(NodeId(row.node)), slow=row.node in slow) for row in members
        ],
        "degraded_blobs": degraded,
        "condemned": condemned,
        "writable": store.blobs.can_write(),
        "refusal": store.blobs.refusal(),
        "metadata": _metadata(store),
        "jobs": [job_facts(name, row, down=set(fleet.nodes) - fleet.up()) for name, row in jobs],
    }


def _metadata(store: Store) -> dict[str, Any]:
    """How long its writer has waited, which stopped processes may have taken its turn along, and the newest snapshot.

    `snapshot_late`: it is older than two intervals, or there is none.
    """
    waits_s = store.log.waits_s()
    stopped = stopped_holders(store.cluster.metadata.path) if waits_s > STANDS_STILL_S else []
    snapshot_us = newest_snapshot_us(store)
    late = store.clock_us() - snapshot_us > 2e6 * store.cluster.metadata.snapshot_interval_s
    return {
        "waits_s": round(waits_s, 3),
        "stopped": stopped,
        "snapshot_us": snapshot_us,
        "snapshot_late": late,
    }


def newest_snapshot_us(store: Store) -> int:
    """When the newest snapshot on this machine was made; 0 where there is none."""
    return snapshot_files.newest_us(node.path / snapshot_files.FOLDER for node in store.cluster.nodes)


def _address(node: NodeRow) -> dict[str, Any]:
    return {
        "id": node.node,
        "membership": node.state,
        "host": node.host,
        "port": node.port,
        "s3_port": node.s3_port,
        "zone": node.zone,
    }


def _health(status: Status | None, *, slow: bool) -> dict[str, Any]:
    """What a node says of itself; of one that is down nothing is known."""
    return {
        "up": status is not None,
        "state": _state_of(status, slow=slow),
        "free_bytes": status.free_bytes if status is not None else None,
        "total_bytes": status.total_bytes if status is not None else None,
        "shard_bytes": status.shard_bytes if status is not None else None,
        "shards": status.shards if status is not None else None,
        "quarantined": status.quarantined if status is not None else None,
        "version": status.version if status is not None else None,
        "incarnation": status.incarnation.hex() if status is not None else None,
        "scrub": scrub_facts(status) if status is not None else None,
    }


def scrub_facts(status: Status) -> dict[str, Any]:
    """How far scrub has come in its pass over one node's segments; `mb_per_s` and `left_s` as the pass went so far."""
    done, total = status.scrub_done_bytes, status.scrub_total_bytes
    took_s = max(0, status.time_us - status.scrub_started_us) / 1e6 if status.scrub_started_us else 0.0
    return {
        "passes": status.scrub_passes,
        "started_us": status.scrub_started_us,
        "records": status.scrub_records,
        "damaged": status.scrub_damaged,
        "done_bytes": done,
        "total_bytes": total,
        "mb_per_s": round(done / 1e6 / took_s, 3) if took_s else 0.0,
        "left_s": round((total - done) * took_s / done, 1) if done else None,
    }


def job_facts(name: str, row: JobRow, *, down: Collection[NodeId]) -> dict[str, Any]:
    """`done` of `total` are what the job counts: shards of a node that is reconciled, blobs that are repaired.

    `found` is what it came for, `mb_per_s` what it moved of shards, `left_s` the time it needs yet, as it goes; None
    while it waits, as for the nodes `waits_for` of those that are `down`.
    """
    took_s = 0.0 if row.stands else (row.updated_us - row.started_us) / 1e6
    waits_for = _waits_for(name, row, down)
    is_known = row.done and took_s and not waits_for
    return {
        "name": name,
        "done": row.done,
        "total": row.total,
        "found": row.found,
        "mb_per_s": round(row.moved_bytes / 1e6 / took_s, 1) if took_s else 0.0,
        "left_s": round((row.total - row.done) * took_s / row.done, 1) if is_known else None,
        "waits_for": waits_for,
        "finished": row.finished,
        "stopped": row.stopped,
        "started_us": row.started_us,
        "updated_us": row.updated_us,
    }


def _waits_for(name: str, row: JobRow, down: Collection[NodeId]) -> list[NodeId]:
    """The nodes without which a job does not go on: its own, or those of all that are away."""
    if row.finished or row.stopped:
        return []
    return sorted(
        node for node in down if name == RECONCILE.format(node) or (row.stands and name in _OF_ALL_NODES)
    )


def _state_of(status: Status | None, *, slow: bool) -> str:
    """What the node says of itself, or what is seen from here where that is worse."""
    if status is None:
        return "down"
    return "slow" if slow and status.state == "ok" else status.state
