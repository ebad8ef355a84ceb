"""Owns what a terminal shows of a cluster: tables, sizes and times for people; programs take the JSON."""

import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from rich.console import Console
from rich.table import Table

_SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
DAY_S: Final = 86_400.0
_FINDINGS = {"rebalance": "shards moved"}  # what a job counts as `found`, where that is another word


def size(count_bytes: float) -> str:
    """A size in bytes as people read it: 1536 is 1.5 KiB."""
    for unit in _SIZES:
        if count_bytes < 1024 or unit == _SIZES[-1]:
            break
        count_bytes /= 1024
    return f"{count_bytes:.0f} {unit}" if unit == "B" or count_bytes >= 100 else f"{count_bytes:.1f} {unit}"


def moment(time_us: int) -> str:
    """A time (us since 1970) as people read it; "never" for 0."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(time_us / 1e6)) if time_us else "never"


def show_status(status: Mapping[str, Any]) -> None:
    """The nodes, what awaits repair, and whether a write would be acknowledged now."""
    console = Console()
    console.print(nodes_table(status))
    waiting = f"degraded blobs: {status['degraded_blobs']}, condemned: {status['condemned']}"
    writes = (
        "writes are acknowledged"
        if status["writable"]
        else f"[red]writes are refused with {status['refusal']}"
    )
    console.print(f"{waiting}; {writes}", highlight=False, soft_wrap=True)
    metadata = status["metadata"]
    if metadata["stopped"]:
        pids = ", ".join(map(str, metadata["stopped"]))
        console.print(
            f"[red]the metadata waits since {metadata['waits_s']:.0f} s; stopped with it open: process {pids}"
        )
    for node in status["nodes"]:
        if node.get("quarantined"):
            console.print(
                f"[yellow]node {node['id']}: {node['quarantined']} damaged records, to be made anew"
            )
    if metadata["snapshot_late"]:
        console.print(f"[red]the newest snapshot of the metadata is of {moment(metadata['snapshot_us'])}")
    else:
        console.print(f"newest snapshot of the metadata: {moment(metadata['snapshot_us'])}", highlight=False)
    if said := scrubbed(status["nodes"]):
        console.print(said, highlight=False)
    for job in status["jobs"]:
        if not job["finished"]:
            console.print(progress(job), highlight=False)


def scrubbed(nodes: Iterable[Mapping[str, Any]]) -> str:
    """How far scrub is on all nodes together, and on the last of them; "" where none has a pass under way."""
    passes = [scrub for node in nodes if (scrub := node.get("scrub")) and scrub.get("total_bytes")]
    if not passes:
        return ""
    done, total, mb_per_s = (
        sum(scrub[fact] for scrub in passes) for fact in ("done_bytes", "total_bytes", "mb_per_s")
    )
    said = f"scrub: {size(done)} of {size(total)}, {mb_per_s:.3g} MB/s"
    left_s = max(scrub["left_s"] or 0.0 for scrub in passes)
    return f"{said}, {left_s / DAY_S:.1f} days left" if left_s else said


def progress(job: Mapping[str, Any]) -> str:
    """How far a job is, what it found or moves, and how long it still takes."""
    said = f"{job['name']}: {job['done']} of {job['total']}"
    if job["found"]:
        said += f", {job['found']} {_FINDINGS.get(job['name'], 'found')}"
    if job["mb_per_s"]:
        said += f", {job['mb_per_s']:g} MB/s"
    if job.get("stopped"):
        return f"{said}, stopped"
    if nodes := job.get("waits_for"):
        return f"{said}, waits for node{'s' * (len(nodes) > 1)} {', '.join(map(str, nodes))}"
    return said if job["left_s"] is None else f"{said}, {job['left_s']:.0f} s left"


def show_members(members: Iterable[Mapping[str, Any]], others: Iterable[str]) -> None:
    """One line a member, and the nodes that the file has beside them."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("node", "address", "zone", "member", "state"):
        table.add_column(title)
    for node in members:
        address = f"{node['host']}:{node['port']}"
        table.add_row(str(node["id"]), address, node["zone"] or "-", node["membership"], node["state"])
    for other in others:
        table.add_row(other, "-", "-", "not added", "-")
    Console().print(table)


def nodes_table(status: Mapping[str, Any]) -> Table:
    """One line a node: whether it is up, what it holds and what room it has."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("node", "address", "state"):
        table.add_column(title)
    for title in ("shards", "stored", "free", "of"):
        table.add_column(title, justify="right")
    table.add_column("version")
    for node in status["nodes"]:
        up = bool(node["up"])
        table.add_row(
            str(node["id"]),
            f"{node['host']}:{node['port']}",
            _state(node),
            *(_facts(node) if up else ["-"] * 4),
            str(node.get("version") or "-"),
        )
    return table


def _state(node: Mapping[str, Any]) -> str:
    """How a node is, and whether it is on its way out of the cluster."""
    leaves = ", draining" if node.get("membership") == "draining" else ""
    if not node["up"]:
        return f"[red]down{leaves}"
    state = node.get("state") or "ok"
    return f"[{'yellow' if leaves or state != 'ok' else 'green'}]{state}{leaves}"


def _facts(node: Mapping[str, Any]) -> list[str]:
    return [
        str(node["shards"]),
        size(node["shard_bytes"]),
        size(node["free_bytes"]),
        size(node["total_bytes"]),
    ]
