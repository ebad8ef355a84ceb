"""Owns what a terminal shows of a drill: how it goes while it runs, the verdict at its end; programs take the JSON."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from s3d.ctl.tables import size
from s3d.drill.facts import Record
from s3d.drill.verdict import errors, remarks, verdict

WINDOW_S: Final = 5.0
FINDINGS_SHOWN: Final = 10
STAGES_SHOWN: Final = 8
PAUSE_S: Final = 0.5


class _Screen:
    """Draws the record anew whenever it is asked to."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def __rich__(self) -> RenderableType:
        return progress(self._record)


@asynccontextmanager
async def shown(record: Record) -> AsyncIterator[None]:
    """The progress of a drill while it runs: drawn again and again on a terminal, a line for each event elsewhere."""
    console = Console(stderr=True)
    if console.is_terminal:
        with Live(_Screen(record), console=console, refresh_per_second=1 / PAUSE_S, transient=True):
            yield
        return
    told = list[str]()
    async with asyncio.TaskGroup() as group:
        telling = group.create_task(_tell_all(record, told), name="tell")
        try:
            yield
        finally:
            telling.cancel()
            _tell(record, told)


async def _tell_all(record: Record, told: list[str]) -> None:
    while True:
        _tell(record, told)
        await asyncio.sleep(PAUSE_S)


def _tell(record: Record, told: list[str]) -> None:
    """The events that were not `told` yet."""
    for line in (f"{record.clients} clients at work, seed {record.seed}", *stages(record)):
        if line not in told:
            told.append(line)
            print(line, file=sys.stderr, flush=True)


def stages(record: Record) -> list[str]:
    """A line for each fault so far, and how far it is; one more for the reading at the end."""
    lines = []
    for number, one in enumerate(record.strikes, 1):
        stage = "struck"
        if one.ailing:
            stage = f"not healed: {one.ailing}"
        elif one.healed_s is not None and one.mended_s is not None:
            stage = f"healed in {one.healed_s - one.mended_s:.1f} s"
        elif one.mended_s is not None:
            stage = "mended, heals"
        lines.append(f"fault {number} of {record.planned}: {one.fault} of node {one.node}: {stage}")
    if record.keys_judged:
        lines.append("every key is read again")
    return lines


def progress(record: Record) -> RenderableType:
    """The last seconds: operations, bytes, errors; the nodes; what awaits repair; the faults until now."""
    operations, samples = record.operations, record.samples
    now_s = max((samples[-1].at_s if samples else 0.0), (operations[-1].ended_s if operations else 0.0))
    recent = [one for one in operations[-2_000:] if one.ended_s > now_s - WINDOW_S]
    rate, bytes_a_s = len(recent) / WINDOW_S, sum(one.size_bytes for one in recent) / WINDOW_S
    lines = [
        Text(
            f"{now_s:5.0f} s  {len(operations)} operations, {rate:.0f}/s, {size(bytes_a_s)}/s, "
            f"{errors(record).total()} errors, {len(record.findings)} findings"
        )
    ]
    if samples:
        states = "  ".join(f"{node}: {state}" for node, state in samples[-1].states.items())
        lines.append(Text(f"nodes  {states}   degraded blobs: {samples[-1].degraded}"))
    return Group(*lines, *map(Text, stages(record)[-STAGES_SHOWN:]))


def show_verdict(record: Record) -> None:
    """Every promise, what was seen, and the first findings."""
    console = Console()
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("promise", "seen", "allowed", ""):
        table.add_column(title)
    for promise in verdict(record):
        mark = "[green]held[/]" if promise.held else "[bold red]BROKEN[/]"
        table.add_row(promise.name, promise.seen, promise.allowed, mark)
    console.print(table)
    for remark in remarks(record):
        console.print(remark, markup=False, highlight=False)
    for finding in record.findings[:FINDINGS_SHOWN]:
        console.print(f"{finding.breach.value}: {finding.key}: {finding.text}", markup=False, highlight=False)
    for error, count in errors(record).most_common(FINDINGS_SHOWN):
        console.print(f"{count} x {error}", markup=False, highlight=False)
    console.print(
        f"{len(record.operations)} operations of {record.clients} clients in {record.took_s:.0f} s, "
        f"{record.asked_again} asked again, {record.keys_judged} keys read at the end; seed {record.seed}",
        highlight=False,
    )
