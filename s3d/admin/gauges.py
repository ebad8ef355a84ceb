"""Owns what /-/metrics says is so now: nodes, what awaits repair, how far jobs are; never how it is written."""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from s3d.admin.status import job_facts, newest_snapshot_us, scrub_facts
from s3d.metadata.rows import JobRow
from s3d.operations.call import Store
from s3d.shards.fleet import Fleet
from shardd.contract.blobs import NodeId


class Gauge(NamedTuple):
    """A measure: what it is called behind `quoin_`, what it says, and its values now, each with its labels or ""."""

    name: str
    says: str
    samples: tuple[tuple[str, float], ...]


def gauges(store: Store) -> list[Gauge]:
    """All of them, as this gateway sees the cluster. Times are in seconds. Raises StateError, RowError."""
    with store.state.view() as view:
        degraded, condemned, jobs = view.degraded_count(), view.condemned_count(), list(view.jobs())
    return [
        _plain("degraded_blobs", "Blobs with shards missing or out of place.", degraded),
        _plain("condemned", "Condemned rows whose shards are still to be deleted.", condemned),
        _plain("metadata_waits_s", "How long its writer has waited for its turn.", store.log.waits_s()),
        _plain(
            "snapshot_age_s", "Since the newest snapshot; since 1970 without one.", _snapshot_age_s(store)
        ),
        *_of_nodes(store.blobs.fleet),
        *_of_scrub(store.blobs.fleet),
        *_of_jobs(jobs, down=set(store.blobs.fleet.nodes) - store.blobs.fleet.up()),
    ]


def _snapshot_age_s(store: Store) -> float:
    return (store.clock_us() - newest_snapshot_us(store)) // 1_000_000


def _plain(name: str, says: str, value: float) -> Gauge:
    return Gauge(name, says, (("", value),))


def _of_nodes(fleet: Fleet) -> Iterable[Gauge]:
    up, near_full, full = fleet.up(), fleet.near_full(), fleet.full()
    told = [status for status in fleet.statuses().values() if status is not None]
    slow, rotten = len(up - fleet.prompt()), sum(status.quarantined for status in told)
    each = tuple((f'{{node="{node}"}}', int(node in up)) for node in sorted(fleet.nodes))
    return (
        _plain("nodes_up", "Nodes that this gateway reaches.", len(up)),
        _plain("nodes_near_full", "Nodes whose disks are nearly full, or full.", len(near_full)),
        _plain("nodes_full", "Nodes that have no room for new shards.", len(full)),
        _plain("nodes_slow", "Nodes that it reaches, and goes round because they are slow.", slow),
        _plain("quarantined_records", "Damaged records that are still to be made anew, or deleted.", rotten),
        Gauge("node_up", "Whether this gateway reaches the shard server of a node.", each),
    )


def _of_scrub(fleet: Fleet) -> Iterable[Gauge]:
    """Of the nodes that are up and have a pass under way."""
    facts = [
        (f'{{node="{node}"}}', scrub_facts(status))
        for node, status in sorted(fleet.statuses().items())
        if status is not None and status.scrub_total_bytes
    ]
    says = {
        "done_bytes": "What scrub has verified of a node's segments in this pass, of scrub_total_bytes.",
        "total_bytes": "What scrub has to verify in this pass.",
        "mb_per_s": "What scrub has verified in this pass, in megabytes a second.",
        "left_s": "How long the pass takes yet, as it goes.",
    }
    for name, words in says.items():
        samples = tuple((label, fact[name]) for label, fact in facts if fact[name] is not None)
        if samples:
            yield Gauge(f"scrub_{name}", words, samples)


def _of_jobs(jobs: Iterable[tuple[str, JobRow]], *, down: Collection[NodeId]) -> Iterable[Gauge]:
    """Of those that are at work, or stopped; of one that has ended there is nothing left to say."""
    facts = [(f'{{job="{name}"}}', job_facts(name, row, down=down)) for name, row in jobs if not row.finished]
    says = {
        "done": "What a job has done, of job_total.",
        "total": "What a job has to do: blobs, or shards of a node that is reconciled.",
        "mb_per_s": "What a job moves of shards, in megabytes a second.",
        "left_s": "How long a job takes yet, as it goes.",
        "stopped": "Whether an operator stopped the job.",
    }
    for name, words in says.items():
        samples = tuple((label, float(fact[name])) for label, fact in facts if fact[name] is not None)
        if samples:
            yield Gauge(f"job_{name}", words, samples)
