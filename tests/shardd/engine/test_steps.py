"""Owns T-C4 in one store: a process is killed before each call of compaction, overwrites, deletes; all is found right.

Which calls there are is seen in a run that lives. QUOIN_TC4_ROUNDS: how often each of them is died at; where it is not
set, some of them are, by QUOIN_SEED.
"""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shardd.engine.store import Delete, ShardStore
from tests.integration.tally import RecordProperty, Tally, seed
from tests.integration.tracing import Step, injecting, steps_in
from tests.shardd.engine.doomed import KEPT, NAMES, NEW, SIZE_BYTES, WORKS, prepare
from tests.shardd.engine.shards import (
    blob,
    commit,
    compact,
    content,
    open_store,
    put,
    read_all,
    segment_files,
)

ROUNDS = int(os.environ.get("QUOIN_TC4_ROUNDS", "0"))
SAMPLE = 2  # of each kind of work
ENDS_WITHIN_S = 180.0
# What changes a disk. `write` is left out: only what the process says goes that way.
CALLS = (
    "pwrite64",
    "pwritev",
    "writev",
    "fdatasync",
    "fsync",
    "msync",
    "sync_file_range",
    "ftruncate",
    "fallocate",
    "unlink",
    "unlinkat",
    "rename",
    "renameat",
)
Held = dict[int, tuple[int, bytes]]  # number: generation and bytes


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kills") / "store"
    prepare(folder)
    return folder


@contextmanager
def doomed(folder: Path, work: str) -> Iterator[subprocess.Popen[str]]:
    """The process, its store open, before it does its work."""
    command = [sys.executable, "-m", "tests.shardd.engine.doomed", str(folder), work]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "open\n"
            yield process
        finally:
            process.kill()


def run(template: Path, folder: Path, work: str, *, death: Step | None = None) -> list[Step]:
    """The work on a copy of the template, to its end or until death; the calls that were begun."""
    shutil.copytree(template, folder)
    log = folder.with_suffix(".log")
    with doomed(folder, work) as process:
        faults = (death.death,) if death else ()
        with injecting(process.pid, *faults, log=log, beside=CALLS):
            said, _ = process.communicate("go\n", timeout=ENDS_WITHIN_S)
    assert (process.returncode, said) == ((-9, "") if death else (0, "done\n")), log.read_text()
    return steps_in(log)


def held(store: ShardStore) -> Held:
    found = {}
    for number in NAMES:
        for _, generation, _ in store.stat(blob(number), 0).extents:
            found[number] = (generation, read_all(store, number))
    return found


def allowed(work: str, number: int, state: tuple[int, bytes] | None) -> bool:
    """May a store that died in its work have this of a shard?"""
    old, new = (1, content(SIZE_BYTES, number)), (2, content(SIZE_BYTES, NEW + number))
    if number not in KEPT:
        return state is None
    after = {"overwriting": new, "deletion": None}
    return state == old or (number in _touched(work) and state == after[work])


def _touched(work: str) -> range:
    return {"compaction": range(0), "overwriting": KEPT, "deletion": KEPT[::2]}[work]


def judge(folder: Path, work: str, where: str) -> None:
    """What a start finds, what it finds without its index, and after the work that was begun is done again."""
    store = open_store(folder)
    first = held(store)
    wrong = [number for number in NAMES if not allowed(work, number, first.get(number))]
    assert not wrong, f"{where}: shards {wrong}"
    late = [Delete(blob(number), 0, generation - 1) for number, (generation, _) in first.items()]
    commit(store, *late)
    assert held(store) == first, f"{where}: a delete of an earlier generation took something"
    assert not store.status(0).quarantined, where
    store.close()
    shutil.rmtree(folder / "index")
    store = open_store(folder)
    assert held(store) == first, f"{where}, without its index"
    compact(store)
    assert commit(store, put(NEW)) == ["ok"]
    assert held(store) == first, f"{where}, compacted"
    store.close()


@pytest.mark.parametrize("work", WORKS)
def test_a_store_that_dies_at_any_step_has_all_that_it_must(
    work: str, template: Path, tmp_path: Path, record_property: RecordProperty
) -> None:
    steps = run(template, tmp_path / "lives", work)
    calls = {step.call for step in steps}
    assert {"pwrite64", "fdatasync"} <= calls, calls
    if work == "compaction":
        assert len(segment_files(tmp_path / "lives")) < len(segment_files(template)), "no segment went"
        assert {"unlink", "rename", "fsync"} <= calls, calls
    chance = random.Random(seed())
    chosen = steps * ROUNDS if ROUNDS else chance.sample(steps, min(SAMPLE, len(steps)))
    tally = Tally(f"T-C4, {work}", variable="", default=len(chosen), record=record_property)
    print(f"{work}: {len(steps)} steps, of which {len(set(chosen))} are died at")
    for step in chosen:
        folder = tmp_path / "dies"
        seen = run(template, folder, work, death=step)
        assert seen[-1] == step and len(seen) == steps.index(step) + 1, f"died at {seen[-1]}, not at {step}"
        judge(folder, work, f"{work}, {step}")
        shutil.rmtree(folder)
        tally.hold()
    tally.close()
