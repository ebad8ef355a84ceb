"""Owns how the figures are shown: one table for people, the same as JSON for programs; never measures."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from bench.floors import Floor
from bench.measure import Figure
from bench.processes import Memory
from bench.targets import CPU_GOALS, LATENCY_GOALS, MEMORY_GOALS_MB, RATE_GOALS, REFERENCE, Goal, Ratios

MB = 1e6


@dataclass(frozen=True, slots=True)
class Report:
    """All that one run found."""

    server: str
    floors: Sequence[Floor]
    figures: Sequence[Figure]
    idle: Memory
    peak: Memory

    @property
    def ratios(self) -> Ratios:
        """This machine against the machine of the targets, by the floors that could be taken."""
        floors = {floor.name: floor for floor in self.floors}
        put, get = floors.get("probe PUT"), floors.get("probe GET")
        disk = next((f for f in self.floors if "fdatasync" in f.name), None)
        return Ratios(
            put=put.cpu_ms / REFERENCE.put_probe_cpu_ms_per_mb if put else 1.0,
            get=get.cpu_ms / REFERENCE.get_probe_cpu_ms_per_mb if get else 1.0,
            disk=disk.rate / REFERENCE.fdatasync_p50_ms if disk else 1.0,
        )

    def as_json(self) -> dict[str, object]:
        """Everything, with the goals and the ratios that they were scaled by."""
        return {
            "server": self.server,
            "ratios": asdict(self.ratios),
            "floors": [asdict(floor) for floor in self.floors],
            "figures": [
                asdict(figure) | {"verdicts": list(_verdicts(figure, self.ratios))} for figure in self.figures
            ],
            "memory": {"idle": asdict(self.idle), "peak": asdict(self.peak)},
        }

    def show(self, console: Console) -> None:
        """The table."""
        console.print(self._floors_table())
        console.print(self._figures_table())
        console.print(self._memory_table())

    def _floors_table(self) -> Table:
        table = _table("The machine's floors, taken in this run", "floor", "CPU ms", "rate")
        for floor in self.floors:
            table.add_row(
                floor.name, f"{floor.cpu_ms:.2f}" if floor.cpu_ms else "", f"{floor.rate:,.2f} {floor.unit}"
            )
        return table

    def _figures_table(self) -> Table:
        ratios = self.ratios
        title = (
            f"{self.server}. Targets are scaled by this machine's floors: "
            f"PUT x{ratios.put:.2f}, GET x{ratios.get:.2f}, latency x{ratios.disk:.2f}"
        )
        columns = (
            "phase",
            "at once",
            "n",
            "failed",
            "MB/s",
            "/s",
            "p50 ms",
            "p99 ms",
            "1st byte ms",
            "CPU ms",
        )
        table = _table(title, *columns, "per", "client", "target, peer")
        for figure in self.figures:
            table.add_row(
                figure.name,
                str(figure.workers),
                str(figure.operations),
                str(figure.failures or ""),
                f"{figure.mb_s:,.1f}" if figure.mb_s else "",
                f"{figure.operations_s:,.1f}",
                f"{figure.p50_ms:,.2f}",
                f"{figure.p99_ms:,.2f}",
                f"{figure.first_byte_p50_ms:,.2f}",
                f"{figure.cpu_ms:.2f}",
                figure.cpu_unit,
                f"{figure.client_cpu_ms:.2f}",
                "; ".join(_verdicts(figure, ratios)),
            )
        return table

    def _memory_table(self) -> Table:
        table = _table(
            "Memory of all processes, MB", "when", "RSS", "PSS", "largest PSS", "target, peer (RSS)"
        )
        for name, memory in (("idle", self.idle), ("peak", self.peak)):
            goal = MEMORY_GOALS_MB[name]
            table.add_row(
                name,
                f"{memory.rss_bytes / MB:,.0f}",
                f"{memory.pss_bytes / MB:,.0f}",
                f"{memory.largest_pss_bytes / MB:,.0f}",
                _verdict("", memory.rss_bytes / MB, goal, Ratios()),
            )
        return table


def _verdicts(figure: Figure, ratios: Ratios) -> list[str]:
    found = []
    for goals, label, value in (
        (CPU_GOALS, "CPU", figure.cpu_ms),
        (RATE_GOALS, "/s", figure.operations_s),
        (LATENCY_GOALS, "p50", figure.p50_ms),
    ):
        if goal := goals.get(figure.name):
            found.append(_verdict(label, value, goal, ratios))
    return found


def _verdict(label: str, value: float, goal: Goal, ratios: Ratios) -> str:
    target = ratios.scaled(goal)
    met = value >= target if goal.at_least else value <= target
    verdict = f"{'>=' if goal.at_least else '<='} {target:,.4g} {'met' if met else 'MISSED'}"
    return f"{label} {verdict} (peer {goal.peer:g})".strip()


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(
            column, justify="right" if 0 < number < len(columns) - 1 else "left", no_wrap=number == 0
        )
    return table
