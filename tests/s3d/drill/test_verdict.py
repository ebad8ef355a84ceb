"""The verdict and its page: each promise breaks for its own cause, and the page says what the record says."""

import html
import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from s3d.drill.charts import Axis, Line, plot
from s3d.drill.facts import FAULT_NAMES, Breach, Finding, Operation, Record, Sample, Strike
from s3d.drill.faults import FAULTS
from s3d.drill.healing import Before, Damage, before, is_healed
from s3d.drill.page import page
from s3d.drill.series import Span, quantile, quantiles, rates, spans
from s3d.drill.verdict import holds, summary, verdict


def record() -> Record:
    """A good one: 1,000 operations, one a tenth of a second, a node killed from 20 to 25 s and healed at 28 s."""
    made = Record("a store", 42, 16, took_s=101.0, keys_judged=7, asked_again=3)
    made.operations = [
        Operation("GET" if at % 3 else "PUT", at / 10, 0.05 + (at % 100) / 1000, 1_000_000)
        for at in range(1_000)
    ]
    made.samples = [
        Sample(at / 2, 9 if 20 <= at / 2 < 28 else 0, {1: "ok", 2: "down" if 20 <= at / 2 < 25 else "ok"})
        for at in range(200)
    ]
    made.strikes = [Strike("kill", 2, 20.0, 25.0, 28.0)]
    return made


def broken(found: Record) -> list[str]:
    return [promise.name for promise in verdict(found) if not promise.held]


def test_a_good_record_holds():
    assert holds(record()) and broken(record()) == []
    assert summary(record())["held"] and json.dumps(summary(record()))


def test_each_fault_that_can_be_named_can_be_struck():
    assert tuple(FAULTS) == FAULT_NAMES


def test_nothing_done_is_no_good_record():
    assert not holds(Record("idle", 1, 1))


@pytest.mark.parametrize("breach", list(Breach))
def test_a_finding_breaks_its_promise(breach: Breach):
    found = record()
    found.findings.append(Finding(breach, "k", "seen"))
    assert broken(found) == [breach.value] and not holds(found)
    assert "a promise broke" in page(found)


def test_errors_break_theirs():
    found = record()
    found.operations[500] = replace(found.operations[500], error="GET 503")
    assert holds(found)  # one of a thousand
    found.operations[501] = replace(found.operations[501], error="GET 503")
    assert broken(found) == ["errors"]


def test_a_stall_breaks_its_own_unless_the_machine_was_as_slow_before():
    found = record()
    found.operations[500] = replace(found.operations[500], took_s=3.3)
    assert broken(found) == ["longest stall"]
    found.operations[10] = replace(found.operations[10], took_s=0.5)
    assert holds(found)


def test_who_hangs_before_any_fault_has_no_excuse():
    found = record()
    found.operations[10] = replace(found.operations[10], took_s=7.0)
    assert broken(found) == ["longest stall"]


def test_a_store_that_does_not_heal_breaks_its_promise():
    found = record()
    found.strikes[0].healed_s = None
    assert broken(found) == ["healed"]


def test_series():
    operations = [Operation("GET", at / 10, 0.0, 10) for at in range(40)]
    assert rates(operations, 4.0, 2.0, weight=lambda one: one.size_bytes) == [(1.0, 100.0), (3.0, 100.0)]
    last = Operation("GET", 3.0, 1.0, 20)
    assert rates([*operations, last], 4.0, 2.0, weight=lambda one: one.size_bytes)[-1] == (3.0, 110.0)
    assert [quantile(range(1, 101), share) for share in (0.5, 0.99, 1.0)] == [50, 99, 100]
    assert quantiles([Operation("GET", 5, 1), Operation("GET", 5.5, 1.4)], 2.0, share=0.5) == [(7.0, 1)]
    assert spans(record())[1:] == [
        Span(2, "ok", 0.0, 20.0),
        Span(2, "down", 20.0, 25.0),
        Span(2, "ok", 25.0, 101.0),
    ]


def test_a_line_lies_where_its_values_are():
    text = plot(Axis(100.0), [Line("x", "a", [(0, 0), (50, 50), (100, 100)])], title="t", unit="")
    (found,) = re.findall(r'points="([^"]*)"', text)
    points = [tuple(map(float, pair.split(","))) for pair in found.split()]
    (left, bottom), (middle, half), (right, top) = points
    assert middle == pytest.approx((left + right) / 2) and half == pytest.approx((bottom + top) / 2)
    assert top < bottom and ">100<" in text and ">0<" in text


@pytest.mark.parametrize("values", [[], [0.0], [0.001], [1e9], [5.0, 0.0, 7.0]])
@pytest.mark.parametrize("logarithmic", [False, True])
def test_any_values_make_a_plot(values: list[float], logarithmic: bool):
    points = [(float(at), value) for at, value in enumerate(values)]
    text = plot(Axis(10.0), [Line("x", "a", points)], title="t", unit="ms", logarithmic=logarithmic)
    assert "nan" not in text and "inf" not in text
    ElementTree.fromstring(text)


def test_the_page_says_what_the_record_says_and_asks_for_nothing():
    found = record()
    found.findings.append(Finding(Breach.WRONG, "k<1>", "seen & told"))
    found.operations[5] = replace(found.operations[5], error="GET <503>")
    text = page(found)
    for said in ("1,000 operations of 16 clients", "1.00 GB", "101 s", "seed 42", "7 keys", "3 asked again"):
        assert said in text
    assert "k&lt;1&gt;: seen &amp; told" in text and "1 × GET &lt;503&gt;" in text
    assert "<td>kill</td><td>2</td><td>20.0 s</td><td>5.0 s</td><td>3.0 s</td>" in text
    assert not re.search(r"https?:|//|src=|url\(|@import|<script|<link", html.unescape(text))
    ElementTree.fromstring(re.sub(r"<meta[^>]*>|<!doctype html>", "", text))


def test_an_empty_record_has_a_page():
    assert "a promise broke" in page(Record("idle", 1, 1))


def status(**node: object) -> dict[str, object]:
    """A store that is well, but for `node`, the second of two."""
    well = {"state": "ok", "quarantined": 0, "scrub": {"passes": 4}}
    return {
        "degraded_blobs": 0,
        "nodes": [{"id": 1, **well}, {"id": 2, **well, **node}],
        "jobs": [{"name": "reconcile/2", "finished": True, "started_us": 50}],
    }


def test_healed():
    since = before(status(), 2, 100)
    assert since == Before(100, scrub_passes=4)
    later = status()
    later["jobs"] = [{"name": "reconcile/2", "finished": True, "started_us": 150}]
    assert is_healed(status(), 2, Damage.AWAY, since)
    assert not is_healed(status(state="down"), 2, Damage.AWAY, since)
    assert not is_healed(status() | {"degraded_blobs": 1}, 2, Damage.AWAY, since)
    assert not is_healed(status(), 2, Damage.EMPTY, since)
    assert is_healed(later, 2, Damage.EMPTY, since)


def test_rot_is_healed_after_a_whole_scrub_and_what_it_found():
    since = before(status(), 2, 100)
    assert not is_healed(status(scrub={"passes": 5}), 2, Damage.ROTTEN, since)
    assert is_healed(status(scrub={"passes": 6}), 2, Damage.ROTTEN, since)
    found = status(scrub={"passes": 6}, quarantined=3)
    assert not is_healed(found, 2, Damage.ROTTEN, since)
    found["jobs"] = [{"name": "reconcile/2", "finished": True, "started_us": 150}]
    assert is_healed(found, 2, Damage.ROTTEN, since)
