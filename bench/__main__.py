"""Owns the command line of the bench: `python -m bench`, for a store of its own or for any S3 server."""

import argparse
import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from rich.console import Console

from bench import beside, floors, listing, pairs, quic
from bench.drive import Address, Driver
from bench.measure import Bench, Figure, Server
from bench.pairs import Pair
from bench.processes import PeakMemory, tree
from bench.rebuild import rebuild
from bench.report import Report
from bench.requests import Target
from bench.signing import Credentials
from bench.store import OwnStore

IDLE_S = 3.0

Row = TypeVar("Row", floors.Floor, Figure, Pair)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints the table, writes the JSON. 1 where a request failed, or a comparison does not hold."""
    options = _parser().parse_args(arguments)
    console = Console(width=max(200, Console().width))
    with tempfile.TemporaryDirectory(prefix="quoin-bench-", dir=options.folder) as name:
        folder = Path(name)
        if options.listing or options.beside:
            return _compare(options, folder, console)
        taken = (
            []
            if options.no_floors
            else list(_narrated(chain(floors.every(folder), quic.floors(), (rebuild(folder),)), console))
        )
        if options.endpoint:
            report = _measure_foreign(options, taken, console)
        else:
            report = _measure_own(options, taken, folder, console)
    report.show(console)
    if options.json:
        options.json.write_text(json.dumps(report.as_json(), indent=1))
    return 1 if any(figure.failures for figure in report.figures) else 0


def _compare(options: argparse.Namespace, folder: Path, console: Console) -> int:
    """The modes that hold one thing against another: their rows, as they come and as a table."""
    if options.listing:
        found = _listing(options, folder)
        base, other = f"{listing.FEW_KEYS:,} keys", f"{options.listing:,}"
    else:
        found = beside.compare(
            folder,
            options.beside.resolve(),
            rounds=options.rounds,
            server_of=_server_of,
            bench_of=lambda server: _bench(server, options),
        )
        base, other = "older", "this"
    rows = list(_narrated(found, console))
    console.print(pairs.table("In turns, the best of all rounds", rows, base=base, other=other))
    if options.json:
        options.json.write_text(json.dumps([row.as_json() for row in rows], indent=1))
    return 0 if all(row.held for row in rows) else 1


def _listing(options: argparse.Namespace, folder: Path) -> Iterator[Pair]:
    with OwnStore(folder) as store:
        server = _server_of(store, _bucket_name())
        yield from listing.compare(server, store.state_path, keys=options.listing, scale=options.scale)


def _server_of(store: OwnStore, bucket: str) -> Server:
    """A store and a new bucket in it."""
    target = Target([_address(url) for url in store.endpoints], store.credentials, bucket)
    _create_bucket(target)
    return Server(target, store.pids())


def _measure_foreign(options: argparse.Namespace, taken: list[floors.Floor], console: Console) -> Report:
    credentials = Credentials(options.access_key, options.secret_key, options.region)
    target = Target(
        [_address(url) for url in options.endpoint], credentials, options.bucket or _bucket_name()
    )
    _create_bucket(target)
    return _measure(Server(target, options.pids), options, taken, console)


def _measure_own(
    options: argparse.Namespace, taken: list[floors.Floor], folder: Path, console: Console
) -> Report:
    with OwnStore(folder) as store:
        server = _server_of(store, options.bucket or _bucket_name())
        report = _measure(server, options, taken, console)
        if options.no_losses:
            return report
        store.lose_two()
        left = replace(server.target, addresses=[_address(url) for url in store.endpoints])
        bench = _bench(Server(left, store.pids()), options)
        degraded = list(_narrated(bench.short_of_nodes(", two nodes down"), console))
        return replace(report, figures=[*report.figures, *degraded])


def _measure(
    server: Server, options: argparse.Namespace, taken: list[floors.Floor], console: Console
) -> Report:
    pids = tree(server.pids)
    time.sleep(IDLE_S)  # what starting up left to do must not count as idle
    with PeakMemory(pids) as watch:
        idle = watch.peak
        bench = _bench(server, options)
        figures = list(_narrated(bench.whole(), console))
    names = ", ".join(f"{host}:{port}" for host, port in server.target.addresses)
    return Report(f"{names}, {len(pids)} processes", taken, figures, idle, watch.peak)


def _bench(server: Server, options: argparse.Namespace) -> Bench:
    return Bench(server, scale=options.scale, keys=options.keys, largest_bytes=options.largest)


def _create_bucket(target: Target) -> None:
    with Driver(target.addresses, 1) as driver:
        status = driver.run([target.create_bucket()]).samples[0].status
    if status != 200:
        raise SystemExit(f"bench: the bucket {target.bucket!r} could not be made: status {status}")


def _narrated(found: Iterator[Row], console: Console) -> Iterator[Row]:
    for one in found:
        console.print(f"[dim]{one}[/dim]", highlight=False, soft_wrap=True)
        yield one


def _address(url: str) -> Address:
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise SystemExit(f"bench: {url!r} is not http://HOST:PORT")
    return parts.hostname, parts.port or 80


def _bucket_name() -> str:
    return f"bench-{secrets.token_hex(4)}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument(
        "--endpoint", action="append", default=[], help="an S3 server in place of our own; repeatable"
    )
    parser.add_argument("--pids", nargs="+", type=int, default=[], help="its processes (children are found)")
    parser.add_argument("--access-key", default=os.environ.get("AWS_ACCESS_KEY_ID", ""))
    parser.add_argument("--secret-key", default=os.environ.get("AWS_SECRET_ACCESS_KEY", ""))
    parser.add_argument("--region", default=os.environ.get("AWS_REGION", "us-east-1"))
    parser.add_argument("--bucket", help="its name; a new one by default")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="how often each thing is asked, times the default"
    )
    parser.add_argument("--keys", type=int, default=10_000, help="how many keys the list has")
    parser.add_argument(
        "--folder", type=Path, help="where our own store keeps its data (default: the temporary folder)"
    )
    parser.add_argument("--json", type=Path, help="write everything there, too")
    parser.add_argument("--largest", type=int, default=64 << 20, help="no bodies of more bytes than this")
    parser.add_argument(
        "--listing", type=int, metavar="KEYS", help="pages of a bucket of so many keys beside one of few"
    )
    parser.add_argument(
        "--beside", type=Path, metavar="CHECKOUT", help="an older checkout of this project: both in turns"
    )
    parser.add_argument("--rounds", type=int, default=4, help="how often each has its turn beside another")
    parser.add_argument("--no-floors", action="store_true", help="skip the machine's floors")
    parser.add_argument("--no-losses", action="store_true", help="skip the phases with two nodes down")
    return parser


if __name__ == "__main__":
    sys.exit(main())
