"""Proves that a stopped process with the state open is found, and no other."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from s3d.admin.holders import stopped_holders
from s3d.metadata.state import State
from shardd.contract.cluster import MIB

HOLDER = """
import sys
from pathlib import Path
from s3d.metadata.state import State
state = State.open(Path(sys.argv[1]), 16 << 20)
print("open", flush=True)
sys.stdin.read()
"""


def test_only_a_stopped_process_with_the_state_open_is_found(tmp_path: Path) -> None:
    State.open(tmp_path / "state", 16 * MIB).close()
    command = [sys.executable, "-c", HOLDER]
    holders = [
        subprocess.Popen([*command, str(tmp_path / name)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for name in ("state", "other")
    ]
    try:
        for holder in holders:
            assert holder.stdout is not None and holder.stdout.readline() == b"open\n"
        assert stopped_holders(tmp_path / "state") == []
        for holder in holders:
            holder.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, holder.pid, os.WSTOPPED | os.WNOWAIT)
        assert stopped_holders(tmp_path / "state") == [holders[0].pid]
    finally:
        for holder in holders:
            holder.kill()
            holder.communicate()
