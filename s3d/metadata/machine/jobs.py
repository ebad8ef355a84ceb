"""Owns what commands about jobs do: which process has one, how far it has come; never what the job is."""

from s3d.metadata import tables
from s3d.metadata.commands import SaveJob, TakeLease
from s3d.metadata.machine.step import Refused, Step
from s3d.metadata.outcomes import Outcome
from s3d.metadata.rows import LeaseRow


def take_lease(step: Step, command: TakeLease) -> Outcome:
    """Errors as TakeLease says."""
    _check_holder(step, command.job, command.holder)
    step.put(tables.LEASES, command.job.encode(), LeaseRow(command.holder, command.until_us))
    return Outcome(index=step.index, changed=True)


def save_job(step: Step, command: SaveJob) -> Outcome:
    """Errors as SaveJob says."""
    _check_holder(step, command.job, command.holder)
    step.put(tables.JOBS, command.job.encode(), command.row)
    return Outcome(index=step.index, changed=True)


def _check_holder(step: Step, job: str, holder: bytes) -> None:
    """Refused where another holds the job now. Time is the command's: whose clock is behind waits a little longer."""
    lease = step.view.lease(job)
    if lease is not None and lease.holder != holder and lease.holds(step.time_us):
        raise Refused("OperationAborted", "another process does it")
