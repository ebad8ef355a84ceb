"""Owns `s3ctl drill`: what it drills, its verdict and its exit status, interrupted or not."""

import argparse
import asyncio
import json
import tempfile
from dataclasses import replace
from pathlib import Path

from s3d.ctl import drill_screen
from s3d.ctl.endings import INTERRUPTED, end_with_signals
from s3d.drill import disks
from s3d.drill.course import Course, Plan
from s3d.drill.facts import FULL, Record
from s3d.drill.faults import FAULTS
from s3d.drill.healing import Damage
from s3d.drill.page import page
from s3d.drill.port import Store
from s3d.drill.running import RunningStore
from s3d.drill.store import OwnStore
from s3d.drill.verdict import holds, summary
from shardd.contract import flags


def run(arguments: argparse.Namespace) -> int:
    """0 where every promise held, 1 where one broke, INTERRUPTED where none did until somebody ended it."""
    possible = tuple(name for name, fault in FAULTS.items() if fault.harmless or not arguments.running)
    faults = arguments.faults
    if impossible := set(faults or ()) - set(possible):
        flags.refuse(f"{', '.join(sorted(impossible))}: not in a store that holds what somebody wants")
    if arguments.page is not None:
        arguments.page.touch()  # whoever cannot write there hears of it before the drill, not after
    plan = Plan(
        possible if faults is None else faults,
        rounds=arguments.rounds,
        clients=arguments.clients,
        hold_s=arguments.seconds,
        quiet_s=arguments.seconds,
        heal_s_max=arguments.heal_within,
        seed=arguments.seed,
        key=arguments.key,
    )
    drilled = _of_running(plan, arguments.config) if arguments.running else _of_own(plan, asked=bool(faults))
    try:
        record = asyncio.run(drilled)
    except (KeyboardInterrupt, asyncio.CancelledError):
        return INTERRUPTED
    if arguments.json:
        print(json.dumps(summary(record), indent=2))
    else:
        drill_screen.show_verdict(record)
    if arguments.page is not None:
        arguments.page.write_text(page(record), encoding="utf-8")
    if not holds(record):
        return 1
    return INTERRUPTED if record.interrupted else 0


async def _of_own(plan: Plan, *, asked: bool) -> Record:
    """All that was seen, of a store in a folder that is gone afterwards.

    Where disks cannot be made to be full, that fault is left out and this is told, unless somebody `asked` for it.
    """
    end_with_signals()
    left_out = ""
    if FULL in plan.faults:
        try:
            await disks.seclude()
        except disks.DiskError as error:
            if asked:
                raise
            left_out = f"no disk was full: file systems are for root, where mounts are allowed ({error})"
            plan = replace(plan, faults=tuple(name for name in plan.faults if name != FULL))
    with tempfile.TemporaryDirectory(prefix="quoin-drill-") as folder:
        rots = any(FAULTS[name].damage is Damage.ROTTEN for name in plan.faults)
        async with OwnStore(Path(folder), own_disks=FULL in plan.faults, scrubbed_often=rots) as store:
            return await _drilled(store, plan, remark=left_out)


async def _of_running(plan: Plan, config: Path) -> Record:
    end_with_signals()
    left_out = ", ".join(name for name, fault in FAULTS.items() if not fault.harmless)
    remark = f"{left_out}: only in a drill's own store, as they take what nobody gives back"
    return await _drilled(RunningStore(flags.load_or_exit(config), config), plan, remark=remark)


async def _drilled(store: Store, plan: Plan, *, remark: str) -> Record:
    course = Course(store, plan)
    course.record.remarks += [remark] if remark else []
    try:
        async with drill_screen.shown(course.record):
            await course.run()
    except ExceptionGroup as group:
        raise _first(group) from group
    return course.record


def _first(group: ExceptionGroup) -> Exception:
    """What went wrong first, of all that tasks of one group say."""
    (first, *_) = group.exceptions
    return _first(first) if isinstance(first, ExceptionGroup) else first
