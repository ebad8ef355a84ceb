"""Owns the proof of what s3ctl prints: exports that a shell takes, a table for people, and its exit status."""

import subprocess
from pathlib import Path

import pytest

from s3d.access import administrator
from s3d.ctl import explain, tables
from s3d.ctl.__main__ import main
from shardd.contract.cluster import AuthConfig
from shardd.contract.cluster_file import load
from tests.s3d.ctl.one_node import ONE_NODE
from tests.s3d.web_certificates import WebAuthority

TEXT = 'region = "eu-central-1"\n' + ONE_NODE
METADATA = {"waits_s": 0.0, "stopped": [], "snapshot_us": 86_400_000_000, "snapshot_late": False}
Output = pytest.CaptureFixture[str]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "cluster.toml"
    path.write_text(TEXT)
    administrator.make(load(path).secrets_path)
    return path


def test_env_is_what_a_shell_takes(config: Path, capsys: Output) -> None:
    assert main(["-config", str(config), "env"]) == 0
    printed = capsys.readouterr().out
    key = administrator.read(config.parent / "data/cluster")
    shell = subprocess.run(
        [
            "sh",
            "-ec",
            f'{printed}\necho "$AWS_ACCESS_KEY_ID,$AWS_SECRET_ACCESS_KEY,$AWS_ENDPOINT_URL,$AWS_DEFAULT_REGION"',
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    expected = f"{key.access_key_id},{key.secret_access_key},http://127.0.0.1:2,eu-central-1\n"
    assert shell.stdout == expected


def test_a_page_that_cannot_be_written_is_told_before_the_drill(config: Path, capsys: Output) -> None:
    page = config.parent / "no folder" / "page.html"
    words = ["-config", str(config), "drill", "--running", "--faults", "none", "--page", str(page)]
    assert main(words) == 1
    assert "No such file" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["drill", "--running", "--faults", "none"], ["verify"]])
def test_a_store_that_nobody_reaches_is_told_in_one_line(
    config: Path, capsys: Output, words: list[str]
) -> None:
    assert main(["-config", str(config), *words]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("s3ctl: no connection: ")


def test_a_secret_with_signs_of_the_shell_is_quoted(config: Path, capsys: Output) -> None:
    config.write_text(TEXT + '[[auth]]\naccess_key_id = "ALICE"\nsecret_access_key = "it\'s $HOME `x`"\n')
    assert main(["-config", str(config), "env"]) == 0
    shell = subprocess.run(
        ["sh", "-ec", f'{capsys.readouterr().out}\nprintf %s "$AWS_SECRET_ACCESS_KEY"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shell.stdout == "it's $HOME `x`"


def test_env_of_a_store_with_a_certificate(config: Path, capsys: Output) -> None:
    authority = WebAuthority(config.parent)
    files = authority.files()
    tls = f'[gateway]\ntls_certificate = "{files.certificate.name}"\ntls_key = "{files.key.name}"\n'
    config.write_text(TEXT + tls)
    assert main(["-config", str(config), "env"]) == 0
    printed = capsys.readouterr().out
    assert "export AWS_ENDPOINT_URL=https://127.0.0.1:2\n" in printed and "AWS_CA_BUNDLE" not in printed
    config.write_text(TEXT + tls + 'tls_authority = "authority.pem"\ndomains = ["s3.example.com"]\n')
    assert main(["-config", str(config), "env"]) == 0
    printed = capsys.readouterr().out
    assert "export AWS_ENDPOINT_URL=https://s3.example.com:2\n" in printed
    assert f"export AWS_CA_BUNDLE={authority.path}\n" in printed


def test_check_looks_at_the_certificate(config: Path, capsys: Output) -> None:
    authority = WebAuthority(config.parent)
    files, other = authority.files(), authority.files()
    text = f'{TEXT}[gateway]\ntls_certificate = "{files.certificate.name}"\ntls_key = "{other.key.name}"\n'
    config.write_text(text)
    with pytest.raises(SystemExit) as caught:
        main(["-config", str(config), "check"])
    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        f"{config}: gateway.tls_key: {other.key}: is not the key of {files.certificate}\n"
    )


KEYS = "".join(
    f'[[auth]]\naccess_key_id = "{name}"\nsecret_access_key = "12345678"\n{policy}\n'
    for name, policy in (
        ("NOTHING", ""),
        ("READER", 'policy = [{ bucket = "*", actions = ["s3:Get*"] }]'),
        ("ELSEWHERE", 'policy = [{ bucket = "b", actions = ["*"] }]'),
        ("ADMIN", 'policy = [{ bucket = "*", actions = ["admin:*"] }]'),
        ("ALL", 'policy = [{ bucket = "*", actions = ["*"] }]'),
    )
)


@pytest.mark.parametrize(
    ("words", "asks"), [(["status"], "ADMIN"), (["status", "-key", "READER"], "READER"), (["env"], "NOTHING")]
)
def test_status_is_asked_with_a_key_that_may(
    config: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch, words: list[str], asks: str
) -> None:
    asked: list[str] = []

    def ask(*_: object, key: AuthConfig, path: str) -> object:
        asked.append(key.access_key_id)
        return {
            "nodes": [],
            "degraded_blobs": 0,
            "condemned": 0,
            "writable": True,
            "metadata": METADATA,
            "jobs": [],
        }

    monkeypatch.setattr("s3d.ctl.client.ask", ask)
    config.write_text(TEXT + KEYS)
    assert main(["-config", str(config), *words]) == 0
    assert asked == [asks] or f"AWS_ACCESS_KEY_ID={asks}\n" in capsys.readouterr().out


def test_no_key_may_ask(config: Path, capsys: Output) -> None:
    config.write_text(TEXT + '[[auth]]\naccess_key_id = "NOTHING"\nsecret_access_key = "12345678"\n')
    assert main(["-config", str(config), "status"]) == 1
    assert 'one with policy = [{ bucket = "*", actions = ["admin:Status"] }] may' in capsys.readouterr().err
    assert main(["-config", str(config), "status", "-key", "NOBODY"]) == 1
    assert "no key NOBODY" in capsys.readouterr().err


def test_before_the_first_start_it_says_what_makes_the_key(config: Path, capsys: Output) -> None:
    (config.parent / "data/cluster" / administrator.CREDENTIALS_FILE).unlink()
    assert main(["-config", str(config), "env"]) == 1
    assert "the first start of s3d makes it" in capsys.readouterr().err


def test_status_of_a_cluster_that_is_down(config: Path, capsys: Output) -> None:
    assert main(["-config", str(config), "status"]) == 1
    assert "no gateway answers" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["backup", "restore"])
def test_a_file_that_is_not_there_is_nobody_elses_fault(
    config: Path, tmp_path: Path, capsys: Output, verb: str
) -> None:
    assert main(["-config", str(config), verb, str(tmp_path / "absent/file")]) == 1
    told = capsys.readouterr().err
    assert "No such file" in told and "absent" in told and "gateway" not in told


def test_check_reads_the_file(config: Path, capsys: Output) -> None:
    assert main(["-config", str(config), "check"]) == 0
    assert capsys.readouterr().out == f"{config}: 1 nodes, RS(1,0): ok\n"


@pytest.mark.parametrize("words", [["env", "-color"], ["dance"], []])
def test_wrong_words_end_with_status_2(config: Path, words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["-config", str(config), *words])
    assert caught.value.code == 2


def test_the_table_tells_who_is_down(capsys: Output) -> None:
    up = {"id": 1, "host": "h", "port": 9991, "up": True, "state": "full", "version": "0.1.0"}
    up |= {"quarantined": 2}
    facts = {"shards": 7, "shard_bytes": 1536, "free_bytes": 5 << 30, "total_bytes": 200 << 30}
    down = {"id": 2, "host": "h", "port": 9992, "up": False, "state": "down", "version": None}
    leaving = up | facts | {"id": 3, "state": "ok", "membership": "draining", "quarantined": 0}
    scrub = {"done_bytes": 1 << 30, "total_bytes": 2 << 30, "mb_per_s": 0.5, "left_s": 86_400.0}
    resting = dict.fromkeys(scrub, 0) | {"left_s": None}
    job = {"name": "reconcile/1", "done": 5, "total": 7, "found": 2, "finished": False}
    job |= {"mb_per_s": 1.5, "left_s": 4.2}
    jobs = [job, job | {"name": "reconcile/2", "finished": True}, job | {"name": "rebalance"}]
    jobs += [job | {"name": "repair", "found": 0, "mb_per_s": 0.0, "left_s": None, "waits_for": [2, 4]}]
    tables.show_status(
        {
            "nodes": [
                up | facts | {"scrub": scrub},
                down | {"scrub": None},
                leaving | {"scrub": scrub | {"left_s": 216_000.0}},
                down | {"id": 4, "membership": "draining", "scrub": resting},
            ],
            "degraded_blobs": 3,
            "condemned": 0,
            "writable": False,
            "refusal": "507: full are the nodes 1, 3",
            "metadata": METADATA | {"waits_s": 7.0, "stopped": [4711]},
            "jobs": jobs,
        },
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["1", "h:9991", "full", "7", "1.5", "KiB", "5.0", "GiB", "200", "GiB", "0.1.0"]
    assert lines[2].split() == ["2", "h:9992", "down", "-", "-", "-", "-", "-"]
    assert [line.split()[2:4] for line in lines[3:5]] == [["ok,", "draining"], ["down,", "draining"]]
    assert "degraded blobs: 3, condemned: 0; writes are refused with 507: full are the nodes 1, 3" in lines[5]
    assert "waits since 7 s; stopped with it open: process 4711" in lines[6]
    assert lines[7:] == [
        "node 1: 2 damaged records, to be made anew",
        "newest snapshot of the metadata: 1970-01-02 00:00:00 UTC",
        "scrub: 2.0 GiB of 4.0 GiB, 1 MB/s, 2.5 days left",
        "reconcile/1: 5 of 7, 2 found, 1.5 MB/s, 4 s left",
        "rebalance: 5 of 7, 2 shards moved, 1.5 MB/s, 4 s left",
        "repair: 5 of 7, waits for nodes 2, 4",
    ]


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (150 << 20, "150 MiB"),
        (1 << 50, "1.0 PiB"),
        (1 << 61, "2048 PiB"),
    ],
)
def test_sizes_are_read_by_people(count: int, shown: str) -> None:
    assert tables.size(count) == shown


def test_an_object_that_cannot_be_read_is_lost_or_waits_for_nodes(capsys: Output) -> None:
    def told(losses: int, *states: str, repair: bool = False) -> str:
        places = [{"shard": n, "node": n + 1, "generation": 1, "stored_bytes": 1} for n in range(len(states))]
        shards = [place | {"state": state} for place, state in zip(places, states, strict=True)]
        blob = {"part": 1, "blob": "01a1", "codec": "isal", "k": 2, "m": 1, "shards": shards}
        facts = {"bucket": "b", "key": "k", "size": 2, "etag": "e", "blobs_left_out": 0, "losses": losses}
        explain.show(facts | {"blobs": [blob | {"awaits_repair": repair}]})
        return capsys.readouterr().out

    assert "survives the loss of any 1 more node\n" in told(1, "ok", "ok", "ok")
    waits = told(-1, "ok", "missing", "unreachable", repair=True)
    assert "start the nodes" in waits and "awaits repair" in waits
    lost = told(-1, "ok", "missing", "missing")
    assert "too few shards are left" in lost and "awaits repair" not in lost


def test_orders_about_nodes_carry_what_the_file_says(
    config: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def ask(*_: object, key: AuthConfig, path: str, within_s: float = 0.0) -> object:
        if path == "/-/admin/status":
            return {"nodes": [{"id": 1, "up": True}]}
        asked.append(path)
        return {"changed": len(asked) != 2}

    monkeypatch.setattr("s3d.ctl.client.ask", ask)
    for words in (["add", "1"], ["drain", "1"], ["remove", "1"], ["remove", "--force-lost", "1"]):
        assert main(["-config", str(config), "node", *words]) == 0
    said = capsys.readouterr().out.splitlines()
    assert asked[0].startswith("POST /-/admin/nodes/add?host=127.0.0.1&node=1&port=")
    assert asked[1:] == [
        "POST /-/admin/nodes/drain?node=1",
        "POST /-/admin/nodes/remove?node=1",
        "POST /-/admin/nodes/remove?lost=yes&node=1",
    ]
    assert "is a member" in said[0] and said[1] == "node 1: it was so already"
    assert main(["-config", str(config), "rebalance", "stop"]) == 0
    assert asked[-1] == "POST /-/admin/rebalance/stop"
    with pytest.raises(SystemExit):
        main(["-config", str(config), "node", "add", "77"])
    assert "no node 77" in capsys.readouterr().err


@pytest.mark.parametrize("answers_at_look", [1, 2, 0])
def test_a_node_that_was_added_and_does_not_answer_is_told_of(
    config: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch, answers_at_look: int
) -> None:
    looks = 0

    def ask(*_: object, key: AuthConfig, path: str, within_s: float = 0.0) -> object:
        nonlocal looks
        if path != "/-/admin/status":
            return {"changed": True}
        looks += 1
        return {"nodes": [{"id": 1, "up": looks == answers_at_look}]}

    monkeypatch.setattr("s3d.ctl.client.ask", ask)
    monkeypatch.setattr("s3d.ctl.nodes.LOOKS", 3)
    monkeypatch.setattr("s3d.ctl.nodes.LOOK_EVERY_S", 0.0)
    assert main(["-config", str(config), "node", "add", "1"]) == 0
    said = capsys.readouterr()
    assert "is a member" in said.out and looks == (answers_at_look or 3)
    assert ("node 1 does not answer: start it" in said.err) == (not answers_at_look)


def test_the_list_of_members_has_who_was_not_added(
    config: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = {"id": 9, "host": "h", "port": 7, "zone": "", "membership": "draining", "state": "ok"}
    monkeypatch.setattr("s3d.ctl.client.ask", lambda *_, **__: {"nodes": [member]})
    assert main(["-config", str(config), "node", "list"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1] == ["9", "h:7", "-", "draining", "ok"] and lines[2] == [
        "1",
        "-",
        "-",
        "not",
        "added",
        "-",
    ]
