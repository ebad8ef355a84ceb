"""Owns all that goes on behind the requests of one gateway: which jobs there are, under whose name; never a job."""

import asyncio
from collections.abc import Callable

from s3d.blobs.lease import Lease
from s3d.blobs.membership import Membership
from s3d.blobs.pace import Pace
from s3d.blobs.rebalance import JOB, Rebalancer
from s3d.blobs.reconcile import Reconciler
from s3d.blobs.repair import Repairer
from s3d.blobs.resources import Resources
from s3d.blobs.states import States
from s3d.blobs.suspects import Suspects
from s3d.metadata.log import Log
from shardd.contract.cluster import GatewayConfig


class Upkeep:
    """Every gateway has all the jobs; each job is done by the one that holds its lease.

    Who repairs is who rebalances, so that both together keep to `repair_mb_per_s`.

    `holder`: this process, by `lease.holder_of`; `suspects`: what this gateway's reads complain of; `now_us`:
    microseconds since 1970.
    """

    def __init__(
        self,
        resources: Resources,
        membership: Membership,
        *,
        states: States,
        log: Log,
        holder: bytes,
        config: GatewayConfig,
        suspects: Suspects,
        now_us: Callable[[], int],
    ) -> None:
        def lease_for(job: str, *, beside: Lease | None = None) -> Lease:
            return Lease(job, holder=holder, states=states, log=log, now_us=now_us, beside=beside)

        pace = Pace(config.repair_mb_per_s * 1e6, resources.foreground)
        repair = lease_for("repair")
        self._repairer = Repairer(
            resources,
            membership.ring,
            states=states,
            log=log,
            config=config,
            lease=repair,
            pace=pace,
            suspects=suspects,
            now_us=now_us,
        )
        self._reconciler = Reconciler(
            resources.fleet, states=states, log=log, lease_for=lease_for, config=config, now_us=now_us
        )
        self._rebalancer = Rebalancer(
            resources,
            membership,
            states=states,
            log=log,
            config=config,
            lease=lease_for(JOB, beside=repair),
            pace=pace,
            now_us=now_us,
        )

    async def run(self) -> None:
        """All jobs, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repairer.run(), name="repair")
            group.create_task(self._reconciler.run(), name="reconcile")
            group.create_task(self._rebalancer.run(), name="rebalance")

    def counts(self) -> dict[str, int]:
        """How often each thing was done since the process began, by the name that its counter has."""
        repaired, reconciled = self._repairer.counters, self._reconciler.counters
        moved = self._rebalancer.counters
        return {
            "suspect_shards": repaired.suspect_shards,
            "mended_blobs": repaired.mended_blobs,
            "mended_shards": repaired.mended_shards,
            "failed_mends": repaired.failed_blobs,
            "swept_shards": repaired.swept_shards,
            "reconciled_nodes": reconciled.passes,
            "missing_shards": reconciled.missing_shards,
            "unnamed_shards": reconciled.unnamed_shards,
            "moved_shards": moved.moved_shards,
            "moved_bytes": moved.moved_bytes,
            "failed_moves": moved.failed_moves,
        }
