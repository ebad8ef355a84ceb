"""Owns what a terminal shows of a drill: how it goes while it runs, the verdict at its end; programs take the JSON."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from s3d.ctl.tables import size
from s3d.drill.facts import Record
from s3d.drill.verdict import errors, verdict

WINDOW_S: Final = 5.0
FINDINGS_SHOWN: Final = 10
_REFRESHES_A_SECOND: Final = 2.0


class _Screen:
    """Draws the record anew whenever it is asked to."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def __rich__(self) -> RenderableType:
        return progress(self._record)


@contextmanager
def shown(record: Record) -> Iterator[None]:
    """The progress of a drill, drawn again and again while it runs; on a terminal only."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with Live(_Screen(record), console=console, refresh_per_second=_REFRESHES_A_SECOND, transient=True):
        yield


def progress(record: Record) -> RenderableType:
    """The last seconds: operations, bytes, errors; the nodes; what awaits repair; the fault that is under way."""
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
    if record.strikes:
        last = record.strikes[-1]
        stage = "healed" if last.healed_s else "mended, heals" if last.mended_s else "struck"
        lines.append(Text(f"fault {len(record.strikes)}: {last.fault} of node {last.node}: {stage}"))
    return Group(*lines)


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
    for finding in record.findings[:FINDINGS_SHOWN]:
        console.print(f"{finding.breach.value}: {finding.key}: {finding.text}", markup=False, highlight=False)
    for error, count in errors(record).most_common(FINDINGS_SHOWN):
        console.print(f"{count} x {error}", markup=False, highlight=False)
    console.print(
        f"{len(record.operations)} operations of {record.clients} clients in {record.took_s:.0f} s, "
        f"{record.asked_again} asked again, {record.keys_judged} keys read at the end; seed {record.seed}",
        highlight=False,
    )
