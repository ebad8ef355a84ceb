"""Owns the comparison with an older checkout: a store of each, the same phases in turns; never judges why."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from bench.measure import Bench, Figure, Server
from bench.pairs import Pair
from bench.store import OwnStore

GROWTH_MOST = 1.05

MakeBench = Callable[[Server], Bench]
MakeServer = Callable[[OwnStore, str], Server]


def compare(
    folder: Path, checkout: Path, *, rounds: int, server_of: MakeServer, bench_of: MakeBench
) -> Iterator[Pair]:
    """A pair for each phase: of the store of `checkout` (another one of this project), and of this one.

    Both run for the whole time. Phase by phase each has its turn, in every round with a new bucket; who begins
    changes with each round. CPU is counted for each store's own processes.
    """
    found: dict[str, tuple[list[Figure], list[Figure]]] = {}
    with ExitStack() as stack:
        stores = []
        for name, root in (("older", checkout), ("this", None)):
            (folder / name).mkdir()
            stores.append(stack.enter_context(OwnStore(folder / name, checkout=root)))
        for number in range(rounds):
            bucket = f"beside-{secrets.token_hex(4)}"
            older, this = (bench_of(server_of(store, bucket)) for store in stores)
            for one, other in _in_turns(older, this, number % 2 == 1):
                sides = found.setdefault(one.name, ([], []))
                sides[0].append(one)
                sides[1].append(other)
    for sides in found.values():
        yield Pair(*sides, most=GROWTH_MOST)


def _in_turns(older: Bench, this: Bench, swapped: bool) -> Iterator[tuple[Figure, Figure]]:
    """The figures of both, phase by phase; `swapped`: this store's turn comes first."""
    first, second = (this, older) if swapped else (older, this)
    for one, other in zip(first.whole(), second.whole(), strict=True):
        yield (other, one) if swapped else (one, other)
