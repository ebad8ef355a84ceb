"""Owns the page that a drill leaves: its verdict, plots and faults as one HTML text that needs nothing else."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from s3d.drill import charts
from s3d.drill.charts import Axis, Line, Mark
from s3d.drill.facts import Record
from s3d.drill.page_style import STYLE
from s3d.drill.series import quantiles, rates, spans
from s3d.drill.verdict import errors, holds, longest_s, remarks, verdict

STEPS: Final = 160  # points of a line at most, so that minutes and days look alike
STEP_S_MIN: Final = 1.0
FINDINGS_SHOWN: Final = 50

_COLOURS: Final = {"ok": "good", "down": "bad", "slow": "warn", "busy": "warn", "full": "other"}


def page(record: Record) -> str:
    """The whole page. It asks for nothing from anywhere: its plots are SVG, its style is its own."""
    colour, said = ("good", "every promise held") if holds(record) else ("bad", "a promise broke")
    sign = f'<span class="sign {colour}">{said}</span>'
    body = (
        f'<h1>Drill {sign}</h1>\n<p class="soft">{escape(_summary(record))}</p>\n'
        f"{_promises(record)}{_list('Remarks', remarks(record))}<h2>What clients and nodes saw</h2>\n"
        f'<p class="soft">Shaded: a node was struck and not mended yet.</p>\n{_plots(record)}'
        f"<h2>Faults</h2>\n{_strikes(record)}{_details(record)}"
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Quoin drill</title><style>{STYLE}</style></head>\n<body>\n{body}</body></html>\n"
    )


def _summary(record: Record) -> str:
    gigabytes = sum(one.size_bytes for one in record.operations) / 1e9
    return (
        f"{record.title}: {len(record.operations):,} operations of {record.clients} clients, {gigabytes:.2f} GB, in "
        f"{record.took_s:.0f} s; {record.asked_again} asked again of another gateway; {record.keys_judged:,} keys read "
        f"again at the end; seed {record.seed}."
    )


def _promises(record: Record) -> str:
    rows = []
    for promise in verdict(record):
        mark = '<td class="good">held</td>' if promise.held else '<td class="bad">BROKEN</td>'
        cells = "".join(f"<td>{escape(text)}</td>" for text in (promise.name, promise.seen, promise.allowed))
        rows.append(f"<tr>{cells}{mark}</tr>")
    return _table(("promise", "seen", "allowed", ""), rows)


def _plots(record: Record) -> str:
    end_s = max(record.took_s, 1.0)
    step_s = max(STEP_S_MIN, end_s / STEPS)
    axis = Axis(end_s, tuple(_marks(record)))
    done = [one for one in record.operations if not one.error]
    lasting = max((one.ended_s for one in record.operations), default=end_s)
    gets, puts = ([one for one in done if one.kind == kind] for kind in ("GET", "PUT"))
    failed = [one for one in record.operations if one.error]
    per_s = Line("operations", "a", rates(done, lasting, step_s, weight=lambda _: 1.0))
    failures = Line("errors", "b", rates(failed, lasting, step_s, weight=lambda _: 1.0))
    volume = Line(
        "bytes sent and received", "d", rates(done, lasting, step_s, weight=lambda one: one.size_bytes / 1e6)
    )
    latency = [
        Line(f"{name} p{share * 100:.0f}", colour, _milliseconds(quantiles(some, step_s, share=share)))
        for name, some, share, colour in (
            ("GET", gets, 0.5, "a"), ("GET", gets, 0.99, "d"), ("PUT", puts, 0.5, "b"), ("PUT", puts, 0.99, "c"),
        )
    ]  # fmt: skip
    degraded = Line("blobs", "c", [(sample.at_s, float(sample.degraded)) for sample in record.samples])
    return "".join(
        (
            charts.plot(axis, [per_s, failures], title="Operations a second", unit=""),
            charts.plot(axis, [volume], title="Throughput", unit="MB/s"),
            charts.plot(axis, latency, title="Latency", unit="ms", logarithmic=True),
            charts.plot(
                axis, [degraded], title="Degraded blobs: with shards missing or out of place", unit=""
            ),
            charts.bands(axis, _node_rows(record), title="Nodes, as a gateway sees them", colours=_COLOURS),
        )
    )


def _node_rows(record: Record) -> list[tuple[str, list[tuple[str, float, float]]]]:
    rows: dict[int, list[tuple[str, float, float]]] = {}
    for span in spans(record):
        rows.setdefault(span.node, []).append((span.state, span.began_s, span.ended_s))
    return [(f"node {node}", stretches) for node, stretches in sorted(rows.items())]


def _marks(record: Record) -> Iterable[Mark]:
    for strike in record.strikes:
        until_s = strike.mended_s if strike.mended_s is not None else record.took_s
        yield Mark(strike.fault, f"{strike.fault} of node {strike.node}", strike.began_s, until_s)


def _strikes(record: Record) -> str:
    rows = []
    for strike in record.strikes:
        during = [
            one
            for one in record.operations
            if strike.began_s <= one.ended_s < (strike.healed_s or record.took_s)
        ]
        lasted = "-" if strike.mended_s is None else f"{strike.mended_s - strike.began_s:.1f} s"
        healed = (
            "-"
            if strike.healed_s is None or strike.mended_s is None
            else f"{strike.healed_s - strike.mended_s:.1f} s"
        )
        cells = (
            strike.fault,
            str(strike.node),
            f"{strike.began_s:.1f} s",
            lasted,
            healed,
            str(len(during)),
            str(sum(bool(one.error) for one in during)),
            f"{longest_s(during):.2f} s",
        )
        rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    titles = ("fault", "node", "at", "lasted", "healed in", "operations until healed", "errors", "longest")
    return _table(titles, rows)


def _details(record: Record) -> str:
    found = [f"{one.breach.value}: {one.key}: {one.text}" for one in record.findings[:FINDINGS_SHOWN]]
    said = [f"{count} × {error}" for error, count in errors(record).most_common(FINDINGS_SHOWN)]
    return _list("Broken promises", found) + _list("Errors that clients saw", said)


def _list(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li><code>{escape(line)}</code></li>" for line in lines)
    return f"<h2>{escape(title)}</h2>\n<ul>{items}</ul>\n"


def _table(titles: Sequence[str], rows: Iterable[str]) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>\n'


def _milliseconds(points: charts.Points) -> list[tuple[float, float]]:
    return [(at_s, value_s * 1e3) for at_s, value_s in points]
