"""Owns plots over time as SVG text: lines and bands under one time axis; never knows what they mean.

Colours are classes, so that the page's style decides them for light and dark.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10
from typing import Final

WIDTH: Final = 960
LEFT: Final = 64
RIGHT: Final = 12
TOP: Final = 8
BOTTOM: Final = 22
HEIGHT: Final = 170
ROW: Final = 22
TICKS: Final = 5
LETTER: Final = 6.5  # how wide one is, at most

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a plot: its name, its colour's class and its points (seconds, value)."""

    name: str
    colour: str
    points: Points


@dataclass(frozen=True, slots=True)
class Mark:
    """A stretch of time that is shaded in every plot: a fault. `name` stands in it where there is room for it.

    `label` is what a pointer over it reads.
    """

    name: str
    label: str
    began_s: float
    ended_s: float


@dataclass(frozen=True, slots=True)
class Axis:
    """The time axis that all plots of a page share, and what is shaded on it."""

    end_s: float
    marks: tuple[Mark, ...] = ()

    def x(self, at_s: float) -> float:
        """Where a time lies."""
        return LEFT + (WIDTH - LEFT - RIGHT) * min(1.0, max(0.0, at_s / self.end_s))


def plot(axis: Axis, lines: Sequence[Line], *, title: str, unit: str, logarithmic: bool = False) -> str:
    """Lines over time. `logarithmic`: values above 0 only, with a tick at each power of ten."""
    values = [value for line in lines for _, value in line.points if value > 0 or not logarithmic]
    ticks = _powers(values) if logarithmic else _round_ticks(max(values, default=0.0))
    place = _vertical(ticks[0], ticks[-1], logarithmic)
    body = "".join((*_shades(axis, HEIGHT), *_grid(ticks, place, unit), *_times(axis, HEIGHT)))
    for line in lines:
        body += _path(axis, line, place, least=ticks[0])
    return _figure(title, body, HEIGHT, legend=[(line.colour, line.name) for line in lines])


def bands(
    axis: Axis,
    rows: Sequence[tuple[str, Sequence[tuple[str, float, float]]]],
    *,
    title: str,
    colours: dict[str, str],
) -> str:
    """One row for each of `rows`, a name and its stretches (state, from, to), each in the colour of its state."""
    height = TOP + ROW * len(rows) + BOTTOM
    body = "".join(_shades(axis, height))
    for at, (name, stretches) in enumerate(rows):
        y = TOP + ROW * at
        body += f'<text class="tick" x="{LEFT - 8}" y="{y + ROW * 0.68:.1f}" text-anchor="end">{escape(name)}</text>'
        for state, began_s, ended_s in stretches:
            x, wide = axis.x(began_s), max(1.0, axis.x(ended_s) - axis.x(began_s))
            body += (
                f'<rect class="fill {colours.get(state, "other")}" x="{x:.1f}" y="{y + 3}" width="{wide:.1f}" '
                f'height="{ROW - 6}"><title>{escape(name)}: {escape(state)}, {began_s:.1f} to {ended_s:.1f} s'
                "</title></rect>"
            )
    body += "".join(_times(axis, height))
    seen = {state for _, stretches in rows for state, _, _ in stretches}
    return _figure(
        title, body, height, legend=[(colours.get(state, "other"), state) for state in sorted(seen)]
    )


def _figure(title: str, body: str, height: float, *, legend: Sequence[tuple[str, str]]) -> str:
    keys = "".join(f'<span class="key {colour}">{escape(name)}</span>' for colour, name in legend)
    return (
        f"<figure><figcaption>{escape(title)}{keys}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">{body}</svg></figure>\n'
    )


def _shades(axis: Axis, height: float) -> Iterator[str]:
    for mark in axis.marks:
        x, wide = axis.x(mark.began_s), max(1.0, axis.x(mark.ended_s) - axis.x(mark.began_s))
        yield (
            f'<rect class="shade" x="{x:.1f}" y="{TOP}" width="{wide:.1f}" height="{height - TOP - BOTTOM}">'
            f"<title>{escape(mark.label)}</title></rect>"
        )
        if wide > LETTER * len(mark.name):
            yield f'<text class="tick" x="{x + 3:.1f}" y="{TOP + 11}">{escape(mark.name)}</text>'


def _grid(ticks: Sequence[float], place: Callable[[float], float], unit: str) -> Iterator[str]:
    for value in ticks:
        y = place(value)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        label = f"{value:g} {unit}".strip()
        yield f'<text class="tick" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{escape(label)}</text>'


def _times(axis: Axis, height: float) -> Iterator[str]:
    for at_s in _round_ticks(axis.end_s, count=8):
        if at_s <= axis.end_s:
            yield (
                f'<text class="tick" x="{axis.x(at_s):.1f}" y="{height - 6}" text-anchor="middle">{at_s:g} s</text>'
            )


def _path(axis: Axis, line: Line, place: Callable[[float], float], *, least: float) -> str:
    steps = " ".join(f"{axis.x(at_s):.1f},{place(max(value, least)):.1f}" for at_s, value in line.points)
    return f'<polyline class="line {line.colour}" points="{steps}"/>'


def _vertical(low: float, high: float, logarithmic: bool) -> Callable[[float], float]:
    def place(value: float) -> float:
        share = log10(value / low) / log10(high / low) if logarithmic else (value - low) / (high - low)
        return TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - share)

    return place


def _round_ticks(highest: float, count: int = TICKS) -> list[float]:
    """From 0 to the first round number that is not below `highest`, in steps of 1, 2 or 5 times a power of ten."""
    if highest <= 0:
        return [0.0, 1.0]
    power = 10.0 ** floor(log10(highest / count))
    step = next(size * power for size in (1, 2, 5, 10) if size * power * count >= highest)
    return [round(at * step, 9) for at in range(ceil(highest / step - 1e-9) + 1)]


def _powers(values: Sequence[float]) -> list[float]:
    low = floor(log10(min(values, default=1.0)))
    high = max(low + 1, ceil(log10(max(values, default=10.0))))
    return [10.0**power for power in range(low, high + 1)]
