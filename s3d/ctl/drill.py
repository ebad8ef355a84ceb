"""Owns `s3ctl drill`: its flags, what it shows while it runs, its verdict and its exit status."""

import argparse
import asyncio
import json
import random
import signal
import tempfile
from pathlib import Path

from s3d.ctl import drill_screen
from s3d.drill.course import Course, Plan
from s3d.drill.facts import Record
from s3d.drill.faults import FAULTS
from s3d.drill.page import page
from s3d.drill.store import OwnStore
from s3d.drill.verdict import holds, summary


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The command and its flags."""
    made = commands.add_parser(
        "drill", help="nodes die in turn under load, in a store made for it; every byte is checked"
    )
    made.add_argument("--rounds", type=int, default=1, metavar="N", help="how often each node is struck")
    made.add_argument("--clients", type=int, default=16, metavar="N")
    made.add_argument("--seconds", type=float, default=5.0, metavar="S", help="how long each fault lasts")
    made.add_argument(
        "--faults", type=_faults, default=tuple(FAULTS), metavar="A,B", help=f"of {', '.join(FAULTS)}"
    )
    made.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32), metavar="N")
    made.add_argument("--page", type=Path, metavar="FILE", help="writes a page with plots, HTML, there")
    made.add_argument("--json", action="store_true", help="the verdict for programs")
    made.set_defaults(alone=run)


def run(arguments: argparse.Namespace) -> int:
    """0 where every promise held, 1 where one broke."""
    plan = Plan(
        arguments.faults,
        rounds=arguments.rounds,
        clients=arguments.clients,
        hold_s=arguments.seconds,
        quiet_s=arguments.seconds,
        seed=arguments.seed,
    )
    record = asyncio.run(_drilled(plan))
    if arguments.page is not None:
        arguments.page.write_text(page(record))
    if arguments.json:
        print(json.dumps(summary(record), indent=2))
    else:
        drill_screen.show_verdict(record)
    return 0 if holds(record) else 1


async def _drilled(plan: Plan) -> Record:
    """All that was seen, of a store in a folder that is gone afterwards. SIGTERM ends it as Ctrl-C does."""
    with tempfile.TemporaryDirectory(prefix="quoin-drill-") as folder:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        async with OwnStore(Path(folder)) as store:
            course = Course(store, plan)
            with drill_screen.shown(course.record):
                await course.run()
    return course.record


def _faults(words: str) -> tuple[str, ...]:
    found = tuple(words.split(","))
    if unknown := set(found) - FAULTS.keys():
        raise argparse.ArgumentTypeError(f"no fault {', '.join(sorted(unknown))}")
    return found
