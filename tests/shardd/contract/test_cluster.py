"""Owns the proof that cluster.toml is read strictly: defaults, resolved paths and secrets, and every refusal."""

from pathlib import Path

import pytest

from shardd.contract.blobs import NodeId
from shardd.contract.cluster import NodeConfig
from shardd.contract.cluster_file import load
from shardd.contract.errors import ConfigurationError

NODE = '[[nodes]]\nid = {id}\nhost = "127.0.0.1"\nport = {port}\npath = "data/node-{id}"\n'
TWO = (
    'version = "1.0"\n[rs]\ndata = 1\nparity = 1\n'
    + NODE.format(id=1, port=9991)
    + NODE.format(id=2, port=9992)
)
AUTH = '[[auth]]\naccess_key_id = "ALICE"\n'
REPOSITORY = Path(__file__).parents[3]


def written(folder: Path, text: str) -> Path:
    path = folder / "cluster.toml"
    path.write_text(text)
    return path


def refusal(path: Path, environment: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(path, environment or {})
    return str(caught.value)


def test_the_file_of_the_repository_is_five_nodes_of_which_two_may_die() -> None:
    cluster = load(REPOSITORY / "cluster.toml")
    assert [node.id for node in cluster.nodes] == [1, 2, 3, 4, 5]
    assert (cluster.rs.data, cluster.rs.parity, cluster.rs.spare) == (3, 2, 1)
    assert cluster.nodes[4] == NodeConfig(NodeId(5), "127.0.0.1", 9995, REPOSITORY / "data/node-5", 8085)


def test_relative_paths_start_at_the_folder_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, TWO.replace("data/node-2", "../elsewhere"))
    monkeypatch.chdir(tmp_path)
    cluster = load(Path("cluster.toml"))
    assert cluster.nodes[0].path == tmp_path / "data/node-1"
    assert cluster.nodes[1].path == tmp_path.parent / "elsewhere"
    assert cluster.metadata.path == tmp_path / "data/metadata"
    assert cluster.secrets_path == tmp_path / "data/cluster"


def test_what_is_not_named_has_its_default(tmp_path: Path) -> None:
    cluster = load(written(tmp_path, TWO + '[[buckets]]\nname = "photos"\n'))
    assert [node.s3_port for node in cluster.nodes] == [8081, 8082]
    assert cluster.rs.spare == 0
    assert cluster.buckets[0].region == cluster.region == "us-east-1"


def test_files_of_tls_are_beside_the_file_and_name_the_endpoints(tmp_path: Path) -> None:
    names = ("tls_certificate", "tls_key", "tls_authority")
    for name in names:
        (tmp_path / name).touch()
    named = "[gateway]\n" + "".join(f'{name} = "{name}"\n' for name in names)
    plain, cluster = load(written(tmp_path, TWO)), load(written(tmp_path, TWO + named))
    assert [getattr(cluster.gateway, name) for name in names] == [tmp_path / name for name in names]
    assert plain.endpoint(plain.nodes[1]) == "http://127.0.0.1:8082"
    assert cluster.endpoint(cluster.nodes[1]) == "https://127.0.0.1:8082"
    cluster = load(written(tmp_path, TWO + named + 'domains = ["s3.example.com", "localhost"]\n'))
    assert cluster.endpoint(cluster.nodes[1]) == "https://s3.example.com:8082"
    cluster = load(written(tmp_path, TWO.replace("127.0.0.1", "::1")))
    assert cluster.endpoint(cluster.nodes[0]) == "http://[::1]:8081"


def test_one_node_without_parity_is_a_cluster(tmp_path: Path) -> None:
    one = 'version = "1.0"\n[rs]\ndata = 1\nparity = 0\n' + NODE.format(id=1, port=9991)
    assert load(written(tmp_path, one)).rs.spare == 0


def test_a_secret_comes_from_the_file_a_file_beside_it_or_the_environment(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from-a-file\n")
    text = TWO
    for key, source in {
        "A-1": 'secret_access_key = "from-the-toml"',
        "A-2": 'secret_access_key_file = "secret"',
        "A-3": 'secret_access_key_env = "QUOIN_TEST_SECRET"',
    }.items():
        text += f'[[auth]]\naccess_key_id = "{key}"\n{source}\n'
    cluster = load(written(tmp_path, text), {"QUOIN_TEST_SECRET": "from-the-environment"})
    assert [entry.secret_access_key for entry in cluster.auth] == [
        "from-the-toml",
        "from-a-file",
        "from-the-environment",
    ]


REFUSED = {
    "unknown key at the top": ("color = 1\n" + TWO, "color: unknown key (line 1)"),
    "unknown key in a node": (TWO + "color = 1\n", "nodes[1].color: unknown key (line 15)"),
    "unknown key in a table": (TWO.replace("data = 1", "date = 1"), "rs.date: unknown key (line 3)"),
    "no version": (TWO.partition("\n")[2], "version: missing"),
    "another version": (TWO.replace("1.0", "2.0"), "version: invalid enum value '2.0' (line 1)"),
    "no nodes": ('version = "1.0"\nnodes = []\n', "nodes: expected array of length >= 1 (line 2)"),
    "missing port": (TWO.replace("port = 9992\n", ""), "nodes[1].port: missing (line 10)"),
    "port too high": (TWO.replace("9992", "65536"), "nodes[1].port: expected int <= 65535 (line 13)"),
    "port zero": (TWO.replace("9992", "0"), "nodes[1].port: expected int >= 1 (line 13)"),
    "port in words": (TWO.replace("9992", '"a"'), "nodes[1].port: expected int, got str (line 13)"),
    "path empty": (TWO.replace("data/node-2", ""), "nodes[1].path: expected a path, got '' (line 14)"),
    "id zero": (TWO.replace("id = 2", "id = 0"), "nodes[1].id: expected int >= 1 (line 11)"),
    "host with a blank": (TWO.replace("127.0.0.1", "a b"), "nodes[0].host: expected str matching regex"),
    "duplicate id": (TWO.replace("id = 2", "id = 1"), "nodes[1].id: 1 is nodes[0].id too (line 11)"),
    "duplicate port": (TWO.replace("9992", "9991"), "nodes[1].port: 9991 is nodes[0].port too (line 13)"),
    "duplicate s3_port": (
        TWO + "s3_port = 8081\n",
        "nodes[1].s3_port: 8081 is nodes[0].s3_port too (line 15)",
    ),
    "duplicate path": (TWO.replace("node-2", "node-1"), "nodes[1].path: "),
    "path in a path": (TWO.replace("data/node-2", "data/node-1/x"), "nodes[0].path overlap (line 14)"),
    "path of the metadata": (TWO.replace("data/node-2", "data/metadata"), "metadata.path overlap (line 14)"),
    "more shards than nodes": (
        TWO.replace("parity = 1", "parity = 2"),
        "rs: data + parity is 3, but there are 2 nodes (line 2)",
    ),
    "no data shards": (TWO.replace("data = 1", "data = 0"), "rs.data: expected int >= 1 (line 3)"),
    "spare over parity": (
        TWO.replace("parity = 1", "parity = 1\nack_spare = 2"),
        "rs.ack_spare: 2 losses cannot be survived with parity 1 (line 5)",
    ),
    "etcd": (
        TWO + '[metadata]\nengine = "etcd"\n',
        'metadata.engine: this version has "local" only (line 16)',
    ),
    "watermarks": (TWO + "[storage]\nrefuse_above_full = 0.5\n", "storage.refuse_above_full: must be above"),
    "bucket name": (
        TWO + '[[buckets]]\nname = "No"\n',
        "buckets[0].name: 'No' is not a bucket name (line 16)",
    ),
    "bucket name of S3's own": (
        TWO + '[[buckets]]\nname = "sthree-x"\n',
        "buckets[0].name: 'sthree-x' is not a bucket name (line 16)",
    ),
    "bucket twice": (
        TWO + '[[buckets]]\nname = "abc"\n' * 2,
        "buckets[1].name: 'abc' is there twice (line 18)",
    ),
    "account": (TWO + AUTH + 'account_id = "12"\n', "auth[0].account_id: expected str matching regex"),
    "key twice": (TWO + (AUTH + 'secret_access_key = "12345678"\n') * 2, "auth[1].access_key_id: 'ALICE' is"),
    "no secret": (TWO + AUTH, "auth[0].secret_access_key: needs exactly one of"),
    "two secrets": (
        TWO + AUTH + 'secret_access_key = "12345678"\nsecret_access_key_env = "X"\n',
        "auth[0].secret_access_key: needs exactly one of",
    ),
    "short secret": (
        TWO + AUTH + 'secret_access_key = "1234567"\n',
        "auth[0].secret_access_key: a secret has",
    ),
    "unset variable": (
        TWO + AUTH + 'secret_access_key_env = "UNSET"\n',
        "auth[0].secret_access_key: a secret has",
    ),
    "absent secret file": (TWO + AUTH + 'secret_access_key_file = "gone"\n', "No such file or directory"),
    "a limit without a rate": (
        TWO + "[[limits]]\nburst = 1\n",
        "limits[0].requests_per_s: missing (line 15)",
    ),
    "a limit of nothing": (
        TWO + "[[limits]]\nrequests_per_s = 0\n",
        "limits[0].requests_per_s: expected float > 0.0 (line 16)",
    ),
    "a limit of an account in words": (
        TWO + '[[limits]]\nrequests_per_s = 1\naccount_id = "alice"\n',
        "limits[0].account_id: expected str matching regex",
    ),
    "a domain with a port": (
        TWO + '[gateway]\ndomains = ["s3.example.com:80"]\n',
        "gateway.domains[0]: expected",
    ),
    "a domain in capitals": (
        TWO + '[gateway]\ndomains = ["S3.example.com"]\n',
        "gateway.domains[0]: expected",
    ),
    "an empty domain": (TWO + '[gateway]\ndomains = [""]\n', "gateway.domains[0]: expected"),
    "a certificate without its key": (
        TWO + '[gateway]\ntls_certificate = "cluster.toml"\n',
        "gateway.tls_key: is needed beside tls_certificate (line 15)",
    ),
    "a key without its certificate": (
        TWO + '[gateway]\ntls_key = "cluster.toml"\n',
        "gateway.tls_certificate: is needed beside tls_key (line 15)",
    ),
    "an authority alone": (
        TWO + '[gateway]\ntls_authority = "cluster.toml"\n',
        "gateway.tls_certificate: is needed beside tls_authority (line 15)",
    ),
    "an absent key": (
        TWO + '[gateway]\ntls_certificate = "cluster.toml"\ntls_key = "gone"\n',
        "/gone: no such file (line 17)",
    ),
    "policy without actions": (
        TWO + AUTH + 'secret_access_key = "12345678"\npolicy = [{ bucket = "b" }]\n',
        "auth[0].policy[0].actions: missing (line 18)",
    ),
}


@pytest.mark.parametrize(("text", "expected"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_file_is_refused_with_file_place_and_reason(tmp_path: Path, text: str, expected: str) -> None:
    path = written(tmp_path, text)
    message = refusal(path)
    assert message.startswith(f"{path}: ")
    assert expected in message


def test_every_broken_rule_is_told_at_once(tmp_path: Path) -> None:
    message = refusal(written(tmp_path, TWO.replace("9992", "9991").replace("parity = 1", "parity = 5")))
    assert [line.split(": ")[1] for line in message.splitlines()] == ["rs", "nodes[1].port"]


def test_a_syntax_error_names_line_and_column(tmp_path: Path) -> None:
    path = written(tmp_path, 'version = "1.0"\n[rs\n')
    assert refusal(path).startswith(f"{path}:2:4: ")


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "gone.toml") == f"{tmp_path / 'gone.toml'}: No such file or directory"
    path = tmp_path / "cluster.toml"
    path.write_bytes(b'version = "\xff"')
    assert refusal(path) == f"{path}: byte 11 is not UTF-8"


def test_the_same_port_on_two_hosts_is_no_duplicate(tmp_path: Path) -> None:
    other = TWO.replace("9992", "9991").replace('id = 2\nhost = "127.0.0.1"', 'id = 2\nhost = "127.0.0.2"')
    assert len(load(written(tmp_path, other)).nodes) == 2
