"""https: clients as their users set them up, buckets named by the host, a renewed certificate, limits; real processes.

Names under s3.test are those of this machine for the clients here, as a name server would have them.
"""

import hashlib
import os
import shlex
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.integration.cluster import AWS, ROOT, Cluster, environment, wait_until
from tests.s3d.web_certificates import Files, WebAuthority

pytestmark = pytest.mark.cluster

DOMAIN = "s3.test"
PATIENCE_S = 120.0
SETTINGS = f"""
[gateway]
tls_certificate = "web.pem"
tls_key = "web.key"
tls_authority = "authority.pem"
domains = ["{DOMAIN}"]
[[auth]]
access_key_id = "ADMIN"
secret_access_key = "secret-of-admin"
policy = [{{ bucket = "*", actions = ["*"] }}]
[[auth]]
access_key_id = "LIMITED"
secret_access_key = "secret-of-limited"
account_id = "000000000002"
policy = [{{ bucket = "*", actions = ["*"] }}]
[[limits]]
account_id = "000000000002"
requests_per_s = 3
burst = 1
"""
RESOLVER = f"""
import socket, sys
from awscli.clidriver import main
ask = socket.getaddrinfo
socket.getaddrinfo = lambda host, *more, **named: ask(
    "127.0.0.1" if str(host).endswith("{DOMAIN}") else host, *more, **named
)
sys.exit(main())
"""
LARGE = os.urandom(1 << 16) * 256


class Store:
    """A node that speaks https, and how its clients reach it."""

    def __init__(self, folder: Path) -> None:
        self.authority = WebAuthority(folder)
        self.files = Files(folder / "web.pem", folder / "web.key")
        self.authority.issue(self.files, "127.0.0.1", DOMAIN, f"*.{DOMAIN}")
        self.cluster = Cluster(folder, nodes=1, data=1, parity=0, together=True, settings=SETTINGS)
        self.port = self.cluster.s3_ports[1]

    def s3ctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [str(ROOT / "bin/s3ctl"), "-config", str(self.cluster.config), *words]
        return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=PATIENCE_S)

    def exports(self) -> dict[str, str]:
        """What `eval "$(s3ctl env)"` adds to a shell."""
        printed = self.s3ctl("env")
        assert printed.returncode == 0, printed.stderr
        pairs = (shlex.split(line)[1].partition("=") for line in printed.stdout.splitlines())
        return {name: value for name, _, value in pairs}

    def client(
        self, key: str = "ADMIN", *, host: str = "127.0.0.1", style: str = "path", **options: Any
    ) -> Any:
        return boto3.session.Session().client(
            "s3",
            endpoint_url=f"https://{host}:{self.port}",
            aws_access_key_id=key,
            aws_secret_access_key=f"secret-of-{key.lower()}",
            region_name="us-east-1",
            verify=str(self.authority.path),
            config=Config(signature_version="s3v4", s3={"addressing_style": style}, proxies={}, **options),
        )

    def serial(self) -> int:
        """The number of the certificate that a new client sees."""
        context = self.authority.client()
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S) as plain,
            context.wrap_socket(plain, server_hostname=f"a-bucket.{DOMAIN}") as client,
        ):
            shown = client.getpeercert()
            assert shown is not None
            return int(str(shown["serialNumber"]), 16)

    def page(self, name: str) -> str:
        https = urllib.request.HTTPSHandler(context=self.authority.client())
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), https)
        with opener.open(f"https://127.0.0.1:{self.port}/-/{name}", timeout=PATIENCE_S) as reply:
            return str(reply.read().decode())


@pytest.fixture(scope="module")
def store(module_folder: Path) -> Iterator[Store]:
    made = Store(module_folder)
    with made.cluster:
        made.cluster.start(1)
        yield made


@pytest.fixture(scope="module", autouse=True)
def names() -> Iterator[None]:
    """Every name under s3.test is this machine."""
    ask = socket.getaddrinfo

    def asked(host: Any, *more: Any, **named: Any) -> Any:
        return ask("127.0.0.1" if str(host).endswith(DOMAIN) else host, *more, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", asked)
        yield


@pytest.fixture(scope="module")
def large(store: Store) -> str:
    """The key of an object of 16 MiB in the bucket `large`."""
    client = store.client()
    client.create_bucket(Bucket="large")
    client.put_object(Bucket="large", Key="object", Body=LARGE)
    client.close()
    return "object"


def test_the_command_line_with_a_bundle(store: Store, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(LARGE[: 9 << 20])
    keys = {"AWS_ACCESS_KEY_ID": "ADMIN", "AWS_SECRET_ACCESS_KEY": "secret-of-admin"}
    bundle = str(store.authority.path)

    def aws(*words: str, **more: str) -> subprocess.CompletedProcess[bytes]:
        command = [str(AWS), "--endpoint-url", f"https://127.0.0.1:{store.port}", "s3", *words]
        return subprocess.run(
            command, env=environment() | keys | more, capture_output=True, timeout=PATIENCE_S
        )

    assert aws("mb", "s3://bundle", "--ca-bundle", bundle).returncode == 0
    assert aws("cp", str(tmp_path / "body"), "s3://bundle/body", AWS_CA_BUNDLE=bundle).returncode == 0
    assert aws("cp", "s3://bundle/body", str(tmp_path / "back"), AWS_CA_BUNDLE=bundle).returncode == 0
    assert (tmp_path / "back").read_bytes() == LARGE[: 9 << 20]
    unknown = aws("ls")
    assert unknown.returncode != 0 and b"SSL validation failed" in unknown.stderr


def test_what_s3ctl_prints_is_all_that_the_command_line_needs(store: Store, tmp_path: Path) -> None:
    """Its endpoint is the domain; who wants buckets named by the host says so in the configuration of the tool."""
    virtual = tmp_path / "config"
    virtual.write_text("[default]\ns3 =\n    addressing_style = virtual\n")
    exports = store.exports() | {"AWS_CONFIG_FILE": str(virtual)}
    assert exports["AWS_ENDPOINT_URL"] == f"https://{DOMAIN}:{store.port}"

    def aws(*words: str) -> str:
        command = [sys.executable, "-c", RESOLVER, "--debug", *words]
        done = subprocess.run(
            command, env=environment() | exports, capture_output=True, text=True, timeout=PATIENCE_S
        )
        assert done.returncode == 0, done.stderr[-2_000:]
        assert f"https://by-host.{DOMAIN}:{store.port}" in done.stderr
        return done.stdout

    (tmp_path / "file").write_bytes(LARGE[: 9 << 20])
    aws("s3", "mb", "s3://by-host")
    aws("s3", "cp", str(tmp_path / "file"), "s3://by-host/a key/ü")
    assert "9437184 ü" in aws("s3", "ls", "s3://by-host/a key/")
    aws("s3", "rb", "--force", "s3://by-host")


def test_status_and_pages_over_https(store: Store) -> None:
    def is_told() -> bool:
        told = store.s3ctl("status")
        return told.returncode == 0 and "writes are acknowledged" in told.stdout

    def is_ready() -> bool:
        with suppress(OSError):  # 503 is one, of a machine that does other things as well
            return store.page("ready") == "ready\n"
        return False

    wait_until(is_told, within_s=PATIENCE_S, what="the status says that it takes writes")
    wait_until(is_ready, within_s=PATIENCE_S, what="it is ready")
    doubted = environment() | {"SSL_CERT_FILE": os.devnull}
    without = store.cluster.folder / "no-authority.toml"
    without.write_text(store.cluster.config.read_text().replace('tls_authority = "authority.pem"\n', ""))
    command = [str(ROOT / "bin/s3ctl"), "-config", str(without), "status"]
    refused = subprocess.run(command, env=doubted, capture_output=True, text=True, timeout=PATIENCE_S)
    assert refused.returncode == 1 and "CERTIFICATE_VERIFY_FAILED" in refused.stderr


def test_boto3_in_both_styles_reads_and_writes_the_same_objects(store: Store, large: str) -> None:
    path, host = store.client(), store.client(host=DOMAIN, style="virtual")
    seen: list[str] = []
    host.meta.events.register("before-send.s3", lambda request, **_: seen.append(request.url))
    host.create_bucket(Bucket="both")
    settings = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
    source = store.cluster.folder / "source"
    source.write_bytes(LARGE)
    host.upload_file(str(source), "both", "dir/ü #+", Config=settings)
    assert path.get_object(Bucket="both", Key="dir/ü #+")["Body"].read() == LARGE
    got = host.get_object(Bucket="large", Key=large, Range="bytes=1000000-12999999")["Body"].read()
    assert hashlib.sha256(got).digest() == hashlib.sha256(LARGE[1_000_000:13_000_000]).digest()
    for client in (path, host):
        url = client.generate_presigned_url("get_object", Params={"Bucket": "both", "Key": "dir/ü #+"})
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=store.authority.client()))
        with opener.open(url, timeout=PATIENCE_S) as reply:
            assert reply.read() == LARGE
    for key in ("-/health", "a//b/", "..", "?acl"):
        host.put_object(Bucket="both", Key=key, Body=key.encode())
        assert path.get_object(Bucket="both", Key=key)["Body"].read() == key.encode()
    assert [entry["Key"] for entry in host.list_objects_v2(Bucket="both")["Contents"]] == sorted(
        ["dir/ü #+", "-/health", "a//b/", "..", "?acl"]
    )
    with pytest.raises(ClientError, match="NoSuchBucket"):
        host.list_objects_v2(Bucket="neither")
    assert seen and all(f"{DOMAIN}:{store.port}/" in url and f"{store.port}/both" not in url for url in seen)
    path.close()
    host.close()


def test_a_certificate_is_renewed_under_a_client_that_reads(store: Store, large: str) -> None:
    client = store.client()
    body = client.get_object(Bucket="large", Key=large)["Body"]
    first = body.read(100_000)
    before = store.serial()
    renewed = store.authority.issue(store.files, "127.0.0.1", DOMAIN, f"*.{DOMAIN}")
    assert renewed != before
    wait_until(lambda: store.serial() == renewed, within_s=PATIENCE_S, what="the new certificate is shown")
    assert first + body.read() == LARGE
    good = store.files.key.read_bytes()
    store.files.key.write_bytes(b"-----BEGIN PRIVATE KEY-----\nhalf")
    log = store.cluster.log
    wait_until(
        lambda: b"the certificate in use stays: gateway.tls_key" in log.read_bytes(),
        within_s=PATIENCE_S,
        what="said",
    )
    assert store.serial() == renewed
    store.files.key.write_bytes(good)
    client.close()


def test_plain_http_is_told_what_is_spoken_here(store: Store) -> None:
    with socket.create_connection(("127.0.0.1", store.port), timeout=PATIENCE_S) as plain:
        plain.sendall(b"GET /large/object HTTP/1.1\r\nHost: h\r\n\r\n")
        said = b"".join(iter(lambda: plain.recv(65_536), b""))
    assert said.startswith(b"HTTP/1.1 400 ") and said.endswith(b"This port speaks https.\n")


def test_many_clients_at_once(store: Store, large: str) -> None:
    def read(number: int) -> bool:
        client = store.client()
        start = number * 1_000_000
        got = client.get_object(Bucket="large", Key=large, Range=f"bytes={start}-{start + 4_999_999}")
        body = got["Body"].read()
        client.close()
        return bool(body == LARGE[start : start + 5_000_000])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(12)))


def test_a_client_that_is_slowed_down_gets_through_by_itself(store: Store) -> None:
    client = store.client("LIMITED", retries={"total_max_attempts": 20})
    client.create_bucket(Bucket="limited")
    replies = (client.put_object(Bucket="limited", Key=str(number), Body=b"x") for number in range(100))
    assert any(reply["ResponseMetadata"]["RetryAttempts"] for reply in replies)
    impatient = store.client("LIMITED", retries={"total_max_attempts": 1})
    with pytest.raises(ClientError) as caught:
        for _ in range(1_000):
            impatient.list_objects_v2(Bucket="limited")
    assert caught.value.response["Error"]["Code"] == "SlowDown"
    assert caught.value.response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "1"

    def counted() -> bool:
        lines = store.page("metrics").splitlines()
        return any(line.startswith("quoin_limited_requests_total ") and line[-2:] != " 0" for line in lines)

    wait_until(counted, within_s=PATIENCE_S, what="the counter says so")
    for each in (client, impatient):
        each.close()


def test_the_end_waits_for_a_client_that_reads(store: Store, large: str) -> None:
    client = store.client()
    body = client.get_object(Bucket="large", Key=large)["Body"]
    first = body.read(100_000)
    statuses: list[int] = []
    stopping = threading.Thread(target=lambda: statuses.extend(store.cluster.stop()))
    stopping.start()
    wait_until(lambda: not _listens(store.port), within_s=PATIENCE_S, what="nobody new is served")
    assert first + body.read() == LARGE
    stopping.join()
    assert statuses == [0]
    client.close()
    store.cluster.start(1)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_key_of_another_certificate_ends_the_start(tmp_path: Path) -> None:
    authority = WebAuthority(tmp_path)
    files, other = authority.files(), authority.files()
    settings = f'[gateway]\ntls_certificate = "{files.certificate.name}"\ntls_key = "{other.key.name}"\n'
    with Cluster(tmp_path, nodes=1, data=1, parity=0, together=True, settings=settings) as cluster:
        command = [str(ROOT / "bin/s3d"), "-config", str(cluster.config)]
        ended = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=PATIENCE_S)
    assert ended.returncode == 2
    assert f"gateway.tls_key: {other.key}: is not the key of {files.certificate}" in ended.stderr
