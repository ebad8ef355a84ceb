"""Owns the text of /-/metrics (Prometheus exposition format 0.0.4); never a counter."""

from collections.abc import Iterable
from typing import Final

from s3d.admin.counters import Counts
from s3d.admin.gauges import Gauge

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def text(counts: Counts, gauges: Iterable[Gauge]) -> str:
    """The page."""
    return "".join(
        (
            _family(
                "quoin_requests_total",
                "counter",
                "Requests answered, by operation and status.",
                (
                    (f'{{operation="{name.split(" ")[0]}",status="{name.split(" ")[1]}"}}', count)
                    for name, count in sorted(counts.requests.items())
                ),
            ),
            _family("quoin_sent_bytes_total", "counter", "Bytes of bodies sent.", (("", counts.sent_bytes),)),
            _family(
                "quoin_received_bytes_total",
                "counter",
                "Bytes of bodies received.",
                (("", counts.received_bytes),),
            ),
            *(
                _family(
                    f"quoin_{name}_total",
                    "counter",
                    f"{name.replace('_', ' ').capitalize()}.",
                    (("", count),),
                )
                for name, count in sorted(counts.work.items())
            ),
            *(_family(f"quoin_{one.name}", "gauge", one.says, one.samples) for one in gauges),
        )
    )


def _family(name: str, kind: str, says: str, samples: Iterable[tuple[str, float]]) -> str:
    lines = "".join(
        f"{name}{labels} {value:g}\n" if isinstance(value, float) else f"{name}{labels} {value}\n"
        for labels, value in samples
    )
    return f"# HELP {name} {says}\n# TYPE {name} {kind}\n{lines}"
