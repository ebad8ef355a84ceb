"""Disks that are full, on one node, two, all (T-R1): each node on a small file system of its own."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from s3d.drill.model import Bodies, Model
from tests.integration.client import PATIENCE_S, Client, Reply, credentials_of
from tests.integration.cluster import ANSWER_WITHIN_S, Cluster, wait_until
from tests.integration.tally import Tally

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(0)]

BUCKET = "full"
DISK_BYTES = 160 << 20
OBJECT_BYTES = 3 << 20
NOTICED_S_MAX = 180.0
RECOVERED_S_MAX = 300.0
ANSWER_S_MAX = 5.0
SLACK_S = float(os.environ.get("QUOIN_TR1_SLACK_S", "40"))  # for a machine that does other things as well
SETTINGS = "[storage]\nsegment_bytes = 4194304\n[gateway]\ncondemned_grace_s = 1.0\nrepair_interval_s = 0.2\n"
MakeTally = Callable[..., Tally]


@pytest.fixture(scope="module")
def small(module_folder: Path) -> Iterator[Cluster]:
    """Five nodes with an ext4 of `DISK_BYTES` each."""
    with ExitStack() as stack:
        store = stack.enter_context(Cluster.create(module_folder, together=True, settings=SETTINGS))
        for node in store.nodes:
            stack.callback(_mounted(module_folder / f"disk-{node}", module_folder / f"node-{node}"))
        stack.callback(store.close)
        store.start_all()
        yield store


def _mounted(image: Path, folder: Path) -> Callable[[], object]:
    """A new file system on `folder`; what takes it away again."""
    with image.open("wb") as file:
        file.truncate(DISK_BYTES)
    folder.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
    done = subprocess.run(["mount", "-o", "loop", str(image), str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip(f"file systems cannot be mounted here: {done.stderr.decode()}")
    return lambda: subprocess.run(["umount", "-l", str(folder)], check=True)


def test_full_disks_refuse_and_recover(small: Cluster, tally: MakeTally):
    rounds, ledger = tally("T-R1", variable="QUOIN_TR1_ROUNDS", default=1), Model(Bodies(17))
    with Client(small.endpoint(), credentials_of(small), timeout_s=ANSWER_WITHIN_S) as client:
        assert client.request("PUT", f"/{BUCKET}").status == 200
        number = 0
        for turn in rounds.rounds():
            for full in (1, 2, 5):
                nodes = [small.nodes[(turn + step) % len(small.nodes)] for step in range(full)]
                ballast = [_fill(small.folder / f"node-{node}") for node in nodes]
                _until_full(small, full)
                for _ in range(5):
                    number += 1
                    reply = _put(client, ledger, number, OBJECT_BYTES // 6)
                    assert (reply.status, reply.code) == ((507, "StorageFull") if full == 5 else (200, ""))
                    assert len(reply.headers["x-quoin-near-full"].split(",")) >= full
                _judge(small, ledger)
                for file in ballast:
                    file.unlink()
                _until_full(small, 0)
                number += 1
                assert _put(client, ledger, number).status == 200
                small.wait_healed(deadline_s=RECOVERED_S_MAX)
            rounds.hold()


def test_deleting_makes_room_without_a_restart(small: Cluster):
    """Filled with objects until there is no room; then half of them go."""
    ledger, began = Model(Bodies(19)), 1 << 20
    with Client(small.endpoint(), credentials_of(small), timeout_s=ANSWER_WITHIN_S) as client:
        number = began
        while (reply := _put(client, ledger, number)).status == 200:
            number += 1
        assert (reply.status, reply.code) == (507, "StorageFull") and number > began + 20
        _judge(small, ledger)
        for gone in range(began, number, 2):
            assert client.delete(BUCKET, f"{gone}").status == 204
            ledger.settle(f"{gone}", None)
        wait_until(
            lambda: _put(client, ledger, number + 1).status == 200,
            within_s=RECOVERED_S_MAX,
            what="there is room again",
        )
        _judge(small, ledger)


def _fill(folder: Path) -> Path:
    """Takes nearly all that is free."""
    file = folder / "ballast"
    with file.open("wb") as opened:
        try:
            while True:
                opened.write(bytes(1 << 18))
                opened.flush()
        except OSError:
            pass
    return file


def _until_full(store: Cluster, count: int) -> None:
    """Until every gateway knows of so many full nodes."""
    for node in store.nodes:
        wait_until(
            lambda node=node: store.metric("quoin_nodes_full", node) == count,
            within_s=NOTICED_S_MAX,
            what=f"{count} nodes are full",
        )


def _put(client: Client, ledger: Model, number: int, size_bytes: int = OBJECT_BYTES) -> Reply:
    """The answer, in time; asked again on 503, as a machine that does other things has nodes that seem down."""
    key, (content, body) = str(number), ledger.bodies.object_of(number, size_bytes)

    def answer() -> Reply | None:
        began_s = time.monotonic()
        reply = client.put(BUCKET, key, body)
        assert time.monotonic() - began_s < ANSWER_S_MAX + SLACK_S, reply
        return reply if reply.status != 503 else None

    reply: Reply = wait_until(answer, within_s=RECOVERED_S_MAX, what="an answer that is not 503")
    if reply.status == 200:
        ledger.settle(key, content)
    else:
        assert reply.status == 507, reply
    return reply


def _judge(store: Cluster, ledger: Model) -> None:
    """Everything acknowledged is read right: a full disk reads."""
    with Client(store.endpoint(2), credentials_of(store), patience_s=PATIENCE_S) as client:
        for key in ledger.keys(""):
            reply = client.get(BUCKET, key)
            assert reply.status in (200, 404), reply
            fault = ledger.judge_read(key, reply.body if reply.status == 200 else None)
            assert not fault, fault
