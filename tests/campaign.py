"""Owns the long form of the fault contract: which tests hold a row, at which number, and the table of what held."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
INTEGRATION = "tests/integration"
SLACK = "_SLACK_S"  # such a setting is no number of what is asked, but what a slow machine may add


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the tests that hold it, and the settings (environment) that ask for its whole number.

    The first setting that is no slack is that number. Tests count what they held themselves, or hold all of it by
    passing.
    """

    tests: tuple[str, ...]
    settings: Mapping[str, int] = field(default_factory=dict)


ROWS = {
    "T-C1": Row(("tests/simulation/test_power_cut.py",), {"QUOIN_TC1_STATES": 100}),
    "T-C2": Row(
        (f"{INTEGRATION}/test_crashes.py::test_a_shard_server_is_killed",), {"QUOIN_TC2_CYCLES": 1_000}
    ),
    "T-C3": Row(
        (f"{INTEGRATION}/test_crashes.py::test_all_processes_are_killed",),
        {"QUOIN_TC3_CYCLES": 100, "QUOIN_TC3_SLACK_S": 0},
    ),
    "T-C6": Row((f"{INTEGRATION}/test_disk_errors.py",), {"QUOIN_TC6_ROUNDS": 40, "QUOIN_TC6_SLACK_S": 0}),
    "T-C7": Row(
        (f"{INTEGRATION}/test_crashes.py::test_a_gateway_is_killed_around_the_commit",),
        {"QUOIN_TC7_CYCLES": 500},
    ),
    "T-R1": Row((f"{INTEGRATION}/test_full_disks.py",), {"QUOIN_TR1_ROUNDS": 5, "QUOIN_TR1_SLACK_S": 0}),
    "T-P4": Row(
        ("tests/s3d/blobs/test_hostile_servers.py", "tests/s3d/shards/test_hostile_server.py"),
        {"QUOIN_TP4_SLACK_S": 0},
    ),
    "T-N1": Row(
        (
            f"{INTEGRATION}/test_nodes.py::test_each_node_is_killed_in_turn",
            f"{INTEGRATION}/test_drill.py::test_rolling_kills_are_hardly_seen_by_16_clients",
        ),
        {"QUOIN_TN1_ROUNDS": 5, "QUOIN_NODES_SLACK_S": 0},
    ),
    "drill": Row(
        (
            f"{INTEGRATION}/test_drill.py::test_a_store_of_its_own_is_struck_by_every_fault_and_holds",
            f"{INTEGRATION}/test_drill_running.py::test_each_lie_is_caught_for_what_it_is",
        ),
        {"QUOIN_DRILL_ROUNDS": 5},
    ),
    "verify": Row(
        (
            f"{INTEGRATION}/test_drill_running.py::test_a_history_beside_kills_is_linearizable_and_a_lie_is_not",
            "tests/s3d/drill/test_linearizability.py",
        ),
        {"QUOIN_VERIFY_S": 60, "QUOIN_ORDERS": 1_000},
    ),
    "T-N2": Row(
        (f"{INTEGRATION}/test_nodes.py::test_each_pair_is_killed_in_turn",),
        {"QUOIN_TN2_PAIRS": 10, "QUOIN_NODES_SLACK_S": 0},
    ),
    "T-N3": Row(
        (f"{INTEGRATION}/test_nodes.py::test_three_nodes_die_and_come_back",),
        {"QUOIN_TN3_ROUNDS": 10, "QUOIN_NODES_SLACK_S": 0},
    ),
    "T-N4": Row(
        (
            f"{INTEGRATION}/test_nodes.py::test_a_shard_server_that_is_stopped_is_gone_round",
            f"{INTEGRATION}/test_nodes.py::test_a_disk_that_syncs_in_two_seconds_is_left_alone",
        ),
        {"QUOIN_TN4_S": 60, "QUOIN_NODES_SLACK_S": 0},
    ),
    "T-N6": Row(
        (f"{INTEGRATION}/test_membership.py::test_a_node_that_was_down_gets_what_it_missed_and_no_more",),
        {"QUOIN_TN6_OBJECTS": 2_000},
    ),
    "T-N7": Row(
        (f"{INTEGRATION}/test_membership.py::test_a_node_joins_and_leaves_under_load",),
        {"QUOIN_TN7_OBJECTS": 5_000, "QUOIN_TN7_ERRORS": 0},
    ),
    "T-C4": Row(
        (
            f"{INTEGRATION}/test_kill_steps.py",
            "tests/shardd/engine/test_steps.py",
            f"{INTEGRATION}/test_kills.py",
        ),
        {"QUOIN_TC4_ROUNDS": 20, "QUOIN_TC4_KILLS": 120},
    ),
    "T-M1": Row(("tests/shardd/engine/test_model.py",), {"QUOIN_TM1_STEPS": 100_000}),
    "T-M2": Row(("tests/s3d/metadata/test_listing.py",), {"QUOIN_LISTING_CASES": 100_000}),
    "references": Row(
        ("tests/s3d/metadata/test_references.py", f"{INTEGRATION}/test_references.py"),
        {"QUOIN_COPY_KILLS": 300, "QUOIN_REFERENCE_STEPS": 200_000},
    ),
    "T-M4": Row(
        (f"{INTEGRATION}/test_semantics.py",),
        {"QUOIN_TM4_OPERATIONS": 100_000, "QUOIN_TM4_KILLED_OPERATIONS": 10_000},
    ),
    "T-B1": Row((f"{INTEGRATION}/test_bitrot.py",), {"QUOIN_TB1_FLIPS": 140, "QUOIN_TB1_SLACK_S": 0}),
    "T-F1": Row((f"{INTEGRATION}/test_malformed_http.py",), {"QUOIN_TF1_CASES": 100_000}),
    "T-M3": Row(("tests/s3d/blobs/test_round_trip.py",)),
    "T-B3, T-B4": Row(("tests/shardd/engine/test_damage.py",)),
    "T-C5": Row(("tests/shardd/engine/test_rebuild.py",)),
    "T-N5": Row(
        (f"{INTEGRATION}/test_healing.py::test_a_wiped_node_is_whole_again_while_clients_read",),
        {"QUOIN_TN5_MIB": 10_240},
    ),
    "T-B2": Row(
        (f"{INTEGRATION}/test_healing.py::test_sectors_that_rot_on_two_nodes_are_found_by_scrub_and_mended",),
        {"QUOIN_TB2_SECTORS": 1_000},
    ),
    "T-D1, T-D2": Row(("tests/simulation/test_machine.py",), {"QUOIN_TD1_SEEDS": 1_000_000}),
    "T-D5": Row(("tests/simulation/test_machine.py::test_a_fault_that_is_put_back_in_is_caught",)),
    "T-D3": Row((f"{INTEGRATION}/test_recovery.py",)),
    "T-D6": Row(("tests/s3d/metadata/test_snapshot.py",), {"QUOIN_TD6_KEYS": 1_000_000}),
    "T-F2": Row(("tests/s3d/protocol/test_edited_requests.py",), {"QUOIN_EDITED_REQUESTS": 100_000}),
    "T-F3": Row(("tests/s3d/protocol/test_streaming.py",), {"QUOIN_EDITED_BODIES": 100_000}),
    "forms": Row(
        ("tests/s3d/operations/test_edited_forms.py", "tests/s3d/protocol/test_form_data.py"),
        {"QUOIN_EDITED_FORMS": 100_000, "QUOIN_DAMAGED_FORMS": 100_000},
    ),
    "T-F4": Row(("tests/s3d/protocol/test_xml.py",), {"QUOIN_EDITED_DOCUMENTS": 100_000}),
    "T-F5": Row(
        ("tests/shardd/test_service.py", "tests/shardd/transport/test_proof.py"), {"QUOIN_TF5_CASES": 100_000}
    ),
    "T-P5": Row(
        (f"{INTEGRATION}/test_resources.py::test_parts_in_parallel_never_hang",), {"QUOIN_TP5_RUNS": 100}
    ),
    "T-R2": Row(
        (f"{INTEGRATION}/test_resources.py::test_slow_uploads_share_memory_fairly",),
        {"QUOIN_TR2_UPLOADS": 1_000, "QUOIN_TR2_MIB": 100, "QUOIN_TR2_S": 300, "QUOIN_TR2_RATE": 50_000},
    ),
    "T-R6": Row((f"{INTEGRATION}/test_churn.py",), {"QUOIN_TR6_S": 3_600}),
    "T-R4": Row(
        (f"{INTEGRATION}/test_exhaustion.py", "tests/shardd/engine/test_faults.py"),
        {"QUOIN_TR4_CLIENTS": 2_000},
    ),
    "T-F6": Row((f"{INTEGRATION}/test_clock.py",)),
    "T-R3, T-R5": Row(
        (f"{INTEGRATION}/test_slow_clients.py",),
        {
            "QUOIN_TR3_CONNECTIONS": 5_000,
            "QUOIN_TR3_SLACK_S": 0,
            "QUOIN_TR5_READERS": 200,
            "QUOIN_TR5_MIB": 5 * 1024,
        },
    ),
    "subsets": Row(
        (f"{INTEGRATION}/test_subsets.py",),
        {"QUOIN_SUBSETS": 10, "QUOIN_HEALED_OBJECTS": 128, "QUOIN_SUBSETS_SLACK_S": 0},
    ),
    "order": Row(
        (f"{INTEGRATION}/test_order.py",), {"QUOIN_ORDER_ROUNDS": 1_000, "QUOIN_ORDER_LISTS": 1_000}
    ),
    "sizes": Row(
        (f"{INTEGRATION}/test_sizes.py",),
        {
            "QUOIN_RANGES": 1_000,
            "QUOIN_PUT_MIB": 100,
            "QUOIN_COPY_MIB": 5 * 1024,
            "QUOIN_UPLOADS": 64,
            "QUOIN_UPLOAD_MIB": 64,
        },
    ),
    "T-F7": Row((f"{INTEGRATION}/test_conformance.py",)),
    "clients": Row((f"{INTEGRATION}/test_clients.py",)),
    "bad input": Row(
        tuple(f"{INTEGRATION}/test_bad_{what}.py" for what in ("signatures", "paths", "bodies", "arguments"))
    ),
}

# Rows of the contract that no test holds yet, and what each waits for.
OWED = {
    "T-D4, T-D7, T-D8, T-B5": "several nodes with a state each: the log in etcd",
    "T-P1, T-P2, T-P3": "partitions and bad networks, with several machines",
    "T-N8": "a second format to upgrade to",
    "T-R7": "ten million keys",
    "T-S": "eight hours of everything at random",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one count of a row."""

    name: str
    held: int
    asked: int
    passed: bool


def run(name: str, row: Row, folder: Path, *, rounds: int | None) -> Iterator[Outcome]:
    """Runs the row's tests, their output shown as it comes; what each of its counts held."""
    settings = dict(row.settings)
    number = next((variable for variable in settings if not variable.endswith(SLACK)), None)
    if rounds is not None and number:
        settings[number] = rounds
    report = folder / f"{name.replace(' ', '-')}.xml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-s",
        "--timeout=0",
        "-o",
        "junit_family=xunit1",
        f"--junitxml={report}",
        *row.tests,
    ]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {variable: str(number) for variable, number in settings.items()},
        check=False,
    )
    counts = list(_counts(report))
    yield from counts
    if not counts:
        cases, right = _cases(report)
        asked = settings[number] if number else cases
        yield Outcome(name, asked if number and done.returncode == 0 else right, asked, done.returncode == 0)
    elif done.returncode and all(one.passed for one in counts):
        cases, right = _cases(report)
        yield Outcome(f"{name}, its other tests", right, cases, False)


def _counts(report: Path) -> Iterator[Outcome]:
    """The counts that tests noted in pytest's report."""
    for case in ElementTree.parse(report).iter("testcase") if report.exists() else ():
        noted = {each.get("name", ""): each.get("value", "") for each in case.iter("property")}
        if "row" in noted:
            held, asked = int(noted["held"]), int(noted["asked"])
            failed = case.find("failure") is not None or case.find("error") is not None
            yield Outcome(noted["row"], held, asked, held == asked and not failed)


def _cases(report: Path) -> tuple[int, int]:
    """How many tests ran, and how many passed."""
    if not report.exists():
        return 1, 0
    cases = list(ElementTree.parse(report).iter("testcase"))
    bad = sum(any(case.find(kind) is not None for kind in ("failure", "error", "skipped")) for case in cases)
    return len(cases), len(cases) - bad


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the rows that are named (all by default), prints the table; 1 where one did not hold."""
    parser = argparse.ArgumentParser(prog="campaign", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of: {', '.join(ROWS)}")
    parser.add_argument("--rounds", type=int, help="this many, not the row's whole number")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.rows if name not in ROWS]:
        parser.error(f"no such row: {', '.join(unknown)}")
    table = Table(title="The fault contract", title_justify="left")
    for column in ("row", "held", "asked", "minutes", ""):
        table.add_column(column, justify="left" if column in ("row", "") else "right")
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for name in options.rows or ROWS:
            start_s = time.monotonic()
            for outcome in run(name, ROWS[name], Path(folder), rounds=options.rounds):
                minutes = f"{(time.monotonic() - start_s) / 60:.1f}"
                verdict = "held" if outcome.passed else "NOT HELD"
                table.add_row(outcome.name, f"{outcome.held:,}", f"{outcome.asked:,}", minutes, verdict)
                good = good and outcome.passed
    for name, reason in () if options.rows else OWED.items():
        table.add_row(name, "", "", "", f"owed: {reason}")
    Console().print(table)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
