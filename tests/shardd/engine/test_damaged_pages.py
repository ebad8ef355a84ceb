"""Owns an index too big to walk whose pages are damaged: what dies of them is whole again after few starts."""

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from shardd.engine.soundness import LIVES, LIVES_MAX
from tests.integration.cluster import ROOT
from tests.shardd.engine.shards import commit, open_store, put

SHARDS = 400
PAGE = 4_096
HEADER = 16  # of a page: its number, kind, and where its entries lie
LEAF = b"\2\0"  # its kind, ten bytes into it
FEW = 10  # more than that have only the pages of extents
LIFE = """
import sys
from pathlib import Path
from shardd.contract.errors import ShardError
from shardd.engine import soundness
from tests.shardd.engine.shards import open_store, read_all
soundness.VERIFY_SIZE_MAX = 0
store, bad = open_store(Path(sys.argv[1]), segment_bytes=16 << 20), 0
for number in range(int(sys.argv[2])):
    try:
        assert read_all(store, number) == b"%d" % number
    except ShardError:
        bad += 1
store.close()
sys.exit(bad > 0)
"""


def live_once(folder: Path) -> int:
    """How a process ends that opens the store, with an index that it need not walk, and reads every shard."""
    command = [sys.executable, "-c", LIFE, str(folder), str(SHARDS)]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, timeout=180).returncode


@pytest.mark.parametrize("seed", range(3))
def test_a_process_that_dies_of_damaged_pages_dies_few_times(tmp_path: Path, seed: int) -> None:
    """The start itself meets none of them: only what is asked later does."""
    store = open_store(tmp_path, segment_bytes=16 << 20)
    for first in range(0, SHARDS, 50):
        commit(store, *(put(number, b"%d" % number) for number in range(first, first + 50)))
    store.close()
    pages = tmp_path / "index" / "data.mdb"
    chance, data = Random(seed), bytearray(pages.read_bytes())
    for at in range(2 * PAGE, len(data), PAGE):
        page = data[at : at + PAGE]
        entries = (int.from_bytes(page[12:14], "little") - HEADER) // 2
        if page[10:12] == LEAF and entries > FEW:
            data[at + HEADER : at + PAGE] = chance.randbytes(PAGE - HEADER)
    pages.write_bytes(data)
    ends = [live_once(tmp_path) for _ in range(LIVES_MAX + 2)]
    assert ends[0] != 0 and ends[-1] == 0, ends
    assert not (tmp_path / "index" / LIVES).exists()
