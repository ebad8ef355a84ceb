"""Start and stop: five launchers at once agree, a second is refused, children come back, nothing is left behind."""

import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import MakeCluster
from tests.integration.cluster import ROOT, Cluster, environment, wait_until
from tests.integration.processes import group_lives

pytestmark = pytest.mark.cluster

PATIENCE_S = 120.0
KEYS = ("ca.pem", "ca.key", "cluster.id", "admin-credentials")


def launcher(cluster: Cluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A launcher that is expected to end by itself."""
    return subprocess.run(
        [str(ROOT / "bin/s3d"), "-config", str(cluster.config), *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def ctl(cluster: Cluster, *arguments: str) -> str:
    done = subprocess.run(
        [str(ROOT / "bin/s3ctl"), "-config", str(cluster.config), *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("folder", [Path(os.sys.executable).parent, Path("/usr/bin")], ids=str)
def test_a_stranger_starts_it_pastes_what_the_readme_says_and_has_an_object(
    cluster: Cluster, tmp_path: Path, folder: Path
) -> None:
    """With the aws of the environment, and with the system's, which may be older."""
    if not (folder / "aws").exists():
        pytest.skip(f"no aws in {folder}: bin/programs gets Debian's")
    bucket = f"first-{folder.parent.name}"
    (tmp_path / "README.md").write_text("hello")
    assert f"AWS_ENDPOINT_URL={cluster.endpoint(1)}" in ctl(cluster, "env")
    _, start, _ = (ROOT / "README.md").read_text().split("```\n", 2)
    _, pasted = start.split("\n", 1)  # the first line is bin/s3d
    pasted = pasted.replace("bin/s3ctl", f"{ROOT}/bin/s3ctl -config {cluster.config}")
    done = subprocess.run(
        ["sh", "-e"],
        input=pasted.replace("s3://first", f"s3://{bucket}"),
        cwd=tmp_path,
        env=environment() | {"PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("5 README.md")


def test_five_launchers_at_the_same_moment_agree(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    cluster.start_all()
    folder = cluster.folder / "data/cluster"
    assert set(KEYS) <= {path.name for path in folder.iterdir()}
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    cluster.client(1).create_bucket(Bucket="agreed")
    for node in cluster.nodes:
        cluster.client(node).put_object(Bucket="agreed", Key=f"from-{node}", Body=b"x")
    for node in cluster.nodes:
        page = cluster.client(node).list_objects_v2(Bucket="agreed")
        assert [item["Key"] for item in page["Contents"]] == [f"from-{n}" for n in cluster.nodes]


def test_one_of_five_is_ready_alone(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    cluster.start(3)
    assert cluster.get("/-/health", 3)[0] == 200
    assert cluster.get("/-/ready", 3)[0] == 503
    status = json.loads(ctl(cluster, "-node", "3", "status", "--json"))
    assert not any(node["up"] for node in status["nodes"] if node["id"] != 3)
    wait_until(lambda: node_is_up(cluster, 3, by=3), within_s=PATIENCE_S, what="it reaches itself")


def test_a_second_start_is_refused_and_says_why(cluster: Cluster, make_cluster: MakeCluster) -> None:
    again = launcher(cluster, "-node", "2")
    assert again.returncode == 2
    assert f"node 2: the data folder {cluster.folder / 'node-2'} is in use by process " in again.stderr

    other = make_cluster()
    text = other.config.read_text().replace(f"port = {other.ports[1]}\n", f"port = {cluster.ports[4]}\n")
    other.config.write_text(text)
    same_port = launcher(other, "-node", "1")
    assert same_port.returncode == 2
    assert f"udp port {cluster.ports[4]} of 127.0.0.1 is in use by another s3d" in same_port.stderr


def test_a_foreign_program_on_the_port_is_named(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    with socket.create_server(("127.0.0.1", cluster.s3_ports[2])):
        refused = launcher(cluster)
    assert refused.returncode == 2
    assert (
        f"node 2: tcp port {cluster.s3_ports[2]} of 127.0.0.1 is in use by another program" in refused.stderr
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("-node", "9"), "no node 9; there are 1, 2, 3, 4, 5"), (("-color",), "unrecognized arguments: -color")],
)
def test_wrong_flags_end_with_status_2(
    make_cluster: MakeCluster, arguments: tuple[str, ...], said: str
) -> None:
    refused = launcher(make_cluster(), *arguments)
    assert refused.returncode == 2
    assert said in refused.stderr


def test_a_wrong_file_ends_with_status_2_and_its_place(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(settings="[storage]\nsegment_bites = 1\n")
    refused = launcher(cluster)
    assert refused.returncode == 2
    assert f"{cluster.config}: storage.segment_bites: unknown key (line " in refused.stderr


def test_killed_children_are_started_again(cluster: Cluster) -> None:
    killed = [cluster.shard_server_pid(1), *cluster.gateway_pids(2)]
    for pid in killed:
        os.kill(pid, signal.SIGKILL)

    def back() -> bool:
        now = [*cluster.pids("shardd.daemon", 1), *cluster.gateway_pids(2)]
        return len(now) == 2 and not set(now) & set(killed) and answers(cluster, 2)

    wait_until(back, within_s=PATIENCE_S, what="both children are back")
    log = cluster.log.read_text()
    assert "node 1: shard server was killed by signal 9; starting it again in 0.25 s" in log
    assert "node 2: gateway 0 was killed by signal 9" in log


def answers(cluster: Cluster, node: int) -> bool:
    try:
        return cluster.get("/-/health", node)[0] == 200
    except OSError:
        return False


def test_kill_9_of_the_launcher_leaves_nothing_and_all_starts_again(cluster: Cluster) -> None:
    cluster.client(1).create_bucket(Bucket="kept")
    cluster.client(1).put_object(Bucket="kept", Key="k", Body=b"bytes" * 1000)
    group = cluster.kill_launcher(1)
    wait_until(
        lambda: not group_lives(group), within_s=PATIENCE_S, what="the children ended with their launcher"
    )
    started_s = time.monotonic()
    cluster.start_all()
    took_s = time.monotonic() - started_s
    print(f"serving again {took_s:.1f} s after kill -9")
    assert cluster.client(5).get_object(Bucket="kept", Key="k")["Body"].read() == b"bytes" * 1000


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_request_in_flight_is_finished_before_the_end(cluster: Cluster, how: signal.Signals) -> None:
    """Ctrl-C reaches every process of a terminal's group at once; SIGTERM only the launcher."""
    cluster.client(1).create_bucket(Bucket="last")
    url = cluster.client(2).generate_presigned_url("put_object", Params={"Bucket": "last", "Key": "slow"})
    body = b"z" * 300_000
    (pid,) = cluster.pids("s3d.daemon")
    with closing(
        http.client.HTTPConnection("127.0.0.1", cluster.s3_ports[2], timeout=PATIENCE_S)
    ) as connection:
        connection.putrequest("PUT", url.removeprefix(cluster.endpoint(2)))
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body[:150_000])
        if how is signal.SIGINT:
            os.killpg(os.getpgid(pid), how)
        else:
            os.kill(pid, how)
        wait_until(
            lambda: not answers(cluster, 2), within_s=PATIENCE_S, what="new clients are not taken any more"
        )
        connection.send(body[150_000:])
        reply = connection.getresponse()
        assert reply.status == 200, (reply.read(), cluster.log.read_text())
    assert cluster.stop() == [0]
    log = cluster.log.read_text()
    assert "did not end in time" not in log
    assert "Traceback" not in log
    cluster.start_all()
    assert cluster.client(1).get_object(Bucket="last", Key="slow")["Body"].read() == body


def test_workers_share_a_port_and_their_counters(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(nodes=1, data=1, parity=0, workers=2)
    cluster.start_all()
    assert len(cluster.gateway_pids(1)) == 2
    client = cluster.client(1)
    client.create_bucket(Bucket="counted")
    wait_until(
        lambda: 'operation="CreateBucket"' in cluster.get("/-/metrics")[1],
        within_s=PATIENCE_S,
        what="the counter is on the page of both",
    )
    wait_until(
        lambda: "\nquoin_snapshots_made_total 1\n" in cluster.get("/-/metrics")[1],
        within_s=PATIENCE_S,
        what="one of both made the first snapshot",
    )


def test_auth_of_the_file_replaces_the_administrators_key(make_cluster: MakeCluster) -> None:
    auth = (
        '[[auth]]\naccess_key_id = "ALICE"\nsecret_access_key = "alice-has-a-secret"\n'
        'policy = [{ bucket = "*", actions = ["*"] }]\n'
    )
    cluster = make_cluster(nodes=1, data=1, parity=0, settings=auth)
    cluster.start_all()
    assert not (cluster.folder / "data/cluster/admin-credentials").exists()
    assert "AWS_ACCESS_KEY_ID=ALICE" in ctl(cluster, "env")
    cluster.client(1, keys=("ALICE", "alice-has-a-secret")).create_bucket(Bucket="hers")
    wait_until(lambda: node_is_up(cluster, 1, by=1), within_s=PATIENCE_S, what="the node is up")


def test_a_shard_server_runs_alone_and_keeps_its_folder(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    cluster.start(2)
    command = [str(ROOT / "bin/shardd"), "-config", str(cluster.config), "-node", "1"]
    with cluster.log.open("ab") as log, subprocess.Popen(command, env=environment(), stderr=log) as alone:
        try:
            wait_until(lambda: node_is_up(cluster, 1, by=2), within_s=PATIENCE_S, what="node 1 is up")
            refused = launcher(cluster, "-node", "1")
            assert refused.returncode == 2
            assert f"is in use by process {alone.pid}" in refused.stderr
        finally:
            alone.terminate()
        assert alone.wait(PATIENCE_S) == 0


def node_is_up(cluster: Cluster, node: int, *, by: int) -> bool:
    status = json.loads(ctl(cluster, "-node", str(by), "status", "--json"))
    return {entry["id"]: bool(entry["up"]) for entry in status["nodes"]}[node]
