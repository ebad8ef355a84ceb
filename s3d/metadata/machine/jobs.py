"""Owns what commands about jobs do: which process has one, how far it has come; never what the job is."""

import msgspec

from s3d.metadata import tables
from s3d.metadata.commands import SaveJob, StopJob, TakeLease
from s3d.metadata.machine.step import Refused, Step
from s3d.metadata.outcomes import Outcome
from s3d.metadata.rows import JobRow, LeaseRow


def take_lease(step: Step, command: TakeLease) -> Outcome:
    """Errors as TakeLease says."""
    _check_holder(step, command.job, command.holder)
    step.put(tables.LEASES, command.job.encode(), LeaseRow(command.holder, command.until_us))
    return Outcome(index=step.index, changed=True)


def save_job(step: Step, command: SaveJob) -> Outcome:
    """Errors as SaveJob says."""
    _check_holder(step, command.job, command.holder)
    kept = step.view.job(command.job)
    row = msgspec.structs.replace(command.row, stopped=kept is not None and kept.stopped)
    step.put(tables.JOBS, command.job.encode(), row)
    return Outcome(index=step.index, changed=True)


def stop_job(step: Step, command: StopJob) -> Outcome:
    """`changed`: whether it was not so before. Whoever does the job sees it before its next step."""
    kept = step.view.job(command.job) or JobRow(b"", step.time_us, step.time_us)
    row = msgspec.structs.replace(kept, stopped=command.stopped)
    step.put(tables.JOBS, command.job.encode(), row)
    return Outcome(index=step.index, changed=kept.stopped != command.stopped)


def _check_holder(step: Step, job: str, holder: bytes) -> None:
    """Refused where another holds the job now. Time is the command's: whose clock is behind waits a little longer."""
    lease = step.view.lease(job)
    if lease is not None and lease.holder != holder and lease.holds(step.time_us):
        raise Refused("OperationAborted", "another process does it")
