"""s3ctl drill in a store of its own: every fault, a verdict and its page; nothing is left of it however it ends."""

import asyncio
import json
import re
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from s3d.drill.facts import FULL
from s3d.drill.faults import FAULTS
from s3d.drill.processes import command_line, descendants
from tests.integration.cluster import wait_until
from tests.integration.drilling import broken_by_the_store, launched, s3ctl, told
from tests.integration.processes import group_lives
from tests.integration.tally import Tally, seed

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(0)]

GONE_S_MAX = 60.0
MakeTally = Callable[..., Tally]


def launchers_of(drill: asyncio.subprocess.Process) -> list[int]:
    """The launchers of a drill's own store."""
    return [pid for pid in descendants(drill.pid) if "s3d.daemon" in command_line(pid)]


async def test_a_store_of_its_own_is_struck_by_every_fault_and_holds(tmp_path: Path, tally: MakeTally):
    rounds = tally("X2, the drill", variable="QUOIN_DRILL_ROUNDS", default=1)
    page = tmp_path / "page.html"
    words = ["--rounds", str(rounds.asked), "--clients", "6", "--seconds", "1", "--seed", str(seed())]
    status, said = await s3ctl("drill", *words, "--page", str(page), "--json")
    found = json.loads(said)
    assert broken_by_the_store(found, short=rounds.asked == 1) == [], said
    assert (status == 0) == found["held"], said
    possible = [name for name in FAULTS if name != FULL or not found["remarks"]]
    assert [strike["fault"] for strike in found["strikes"][: len(possible)]] == possible
    assert set(FAULTS) - set(possible) <= {FULL} and all("for root" in remark for remark in found["remarks"])
    assert found["operations"] > 100 and found["keys_judged"] > 0
    assert f"{found['operations']:,} operations" in page.read_text()
    assert not re.search(r"https?:|src=|url\(|@import", page.read_text())
    rounds.held = rounds.asked


async def test_a_drill_that_is_killed_leaves_no_process(tmp_path: Path):
    async with launched("drill", "--faults", "none", "--clients", "1", TMPDIR=str(tmp_path)) as drill:
        await told(drill, "clients at work")
        launchers = launchers_of(drill)
        assert len(launchers) == 5 and all(map(group_lives, launchers))
        drill.kill()
        await drill.wait()
    gone = partial(wait_until, lambda: not any(map(group_lives, launchers)), within_s=GONE_S_MAX)
    await asyncio.to_thread(gone, what="no process of the store lives")


async def test_ctrl_c_gives_the_verdict_until_then_and_leaves_nothing(tmp_path: Path):
    page, folder = tmp_path / "page.html", tmp_path / "folder"
    folder.mkdir()
    words = [
        "drill",
        "--faults",
        "pause",
        "--rounds",
        "99",
        "--clients",
        "2",
        "--seconds",
        "1",
        "--json",
        "--page",
    ]
    async with launched(*words, str(page), TMPDIR=str(folder)) as drill:
        await told(drill, "healed")
        launchers = launchers_of(drill)
        drill.send_signal(signal.SIGINT)
        said, _ = await drill.communicate()
    found = json.loads(said)
    assert found["interrupted"] and found["operations"] and found["strikes"][0]["healed_s"]
    broken = [promise["name"] for promise in found["promises"] if not promise["held"]]
    assert drill.returncode == (1 if broken else 130) and broken_by_the_store(found) == [], found
    assert "interrupted" in page.read_text()
    assert len(launchers) == 5 and not any(map(group_lives, launchers)) and not list(folder.iterdir())


async def test_rolling_kills_are_hardly_seen_by_16_clients(tally: MakeTally):
    """T-N1 as the drill measures it; its stall is judged beside what the machine does before any fault."""
    rounds = tally("T-N1, by the drill", variable="QUOIN_TN1_ROUNDS", default=0)
    if not rounds.asked:
        pytest.skip("the campaign's; test_nodes.py has a short one")
    words = ["--faults", "kill", "--rounds", str(rounds.asked), "--seconds", "5", "--seed", str(seed())]
    status, said = await s3ctl("drill", *words)
    print(said)
    assert status == 0, said
    rounds.held = rounds.asked
