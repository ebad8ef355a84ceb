"""Owns `s3ctl drill`: what it drills, what it shows while it runs, its verdict and its exit status."""

import argparse
import asyncio
import json
import signal
import tempfile
from pathlib import Path
from typing import Final

from s3d.ctl import drill_screen
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

INTERRUPTED: Final = 130  # as shells say it of Ctrl-C


def run(arguments: argparse.Namespace) -> int:
    """0 where every promise held, 1 where one broke."""
    possible = [name for name, fault in FAULTS.items() if fault.harmless or not arguments.running]
    faults = arguments.faults
    if faults is None:  # full disks are for root: whoever can make them asks for them
        faults = tuple(name for name in possible if name != FULL)
    if impossible := set(faults) - set(possible):
        flags.refuse(f"{', '.join(sorted(impossible))}: not in a store that holds what somebody wants")
    plan = Plan(
        faults,
        rounds=arguments.rounds,
        clients=arguments.clients,
        hold_s=arguments.seconds,
        quiet_s=arguments.seconds,
        seed=arguments.seed,
        key=arguments.key,
    )
    try:
        record = asyncio.run(_of_running(plan, arguments.config) if arguments.running else _of_own(plan))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return INTERRUPTED
    if arguments.page is not None:
        arguments.page.write_text(page(record))
    if arguments.json:
        print(json.dumps(summary(record), indent=2))
    else:
        drill_screen.show_verdict(record)
    return 0 if holds(record) else 1


async def _of_own(plan: Plan) -> Record:
    """All that was seen, of a store in a folder that is gone afterwards. SIGTERM ends it as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with tempfile.TemporaryDirectory(prefix="quoin-drill-") as folder:
        rots = any(FAULTS[name].damage is Damage.ROTTEN for name in plan.faults)
        async with OwnStore(Path(folder), own_disks=FULL in plan.faults, scrubbed_often=rots) as store:
            return await _drilled(store, plan)


async def _of_running(plan: Plan, config: Path) -> Record:
    return await _drilled(RunningStore(flags.load_or_exit(config), config), plan)


async def _drilled(store: Store, plan: Plan) -> Record:
    course = Course(store, plan)
    with drill_screen.shown(course.record):
        try:
            await course.run()
        except ExceptionGroup as group:
            raise _first(group) from group
    return course.record


def _first(group: ExceptionGroup) -> Exception:
    """What went wrong first, of all that tasks of one group say."""
    (first, *_) = group.exceptions
    return _first(first) if isinstance(first, ExceptionGroup) else first
