"""Owns the proof that s3ctl signs as a gateway verifies, asks the next node where one is silent, says what failed."""

import http.server
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from s3d.ctl import client
from shardd.contract.blobs import NodeId
from shardd.contract.cluster import AuthConfig, Cluster, GatewayConfig, NodeConfig
from tests.s3d.web_certificates import Files, WebAuthority

KEY = AuthConfig("ALICE", secret_access_key="a-secret-of-alice")
REGION = "eu-central-1"
Serve = Callable[..., NodeConfig]


def ask(*nodes: NodeConfig, **gateway: Any) -> Any:
    cluster = Cluster("1.0", nodes, region=REGION, gateway=GatewayConfig(**gateway))
    return client.ask(cluster, nodes, key=KEY, path="/-/admin/status")


def node(port: int) -> NodeConfig:
    return NodeConfig(NodeId(1), "127.0.0.1", port=1, path=Path("/nowhere"), s3_port=port)


@pytest.fixture
def silent() -> Iterator[NodeConfig]:
    """A node whose port is bound, but nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield node(bound.getsockname()[1])


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Makes gateways that answer every GET with one status and body, over TLS with the files of a certificate."""
    servers: list[http.server.HTTPServer] = []
    threads: list[threading.Thread] = []

    def make(status: int, body: bytes, files: Files | None = None) -> NodeConfig:
        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
        if files is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(files.certificate, files.key)
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        servers.append(server)
        threads.append(threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}))
        threads[-1].start()
        return node(server.server_port)

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()
    for thread in threads:
        thread.join()


def test_the_next_node_is_asked(silent: NodeConfig, serve: Serve) -> None:
    status = {"nodes": [], "writable": True}
    answering = serve(200, json.dumps(status).encode())
    assert ask(silent, answering) == status


def test_nobody_answers(silent: NodeConfig) -> None:
    with pytest.raises(client.NoAnswerError, match=rf"127\.0\.0\.1:{silent.s3_port}: Connection refused"):
        ask(silent)


def test_a_refusal_is_told_and_nobody_else_asked(silent: NodeConfig, serve: Serve) -> None:
    refusing = serve(403, b"<Error><Code>AccessDenied</Code><Message>You &amp; I.</Message></Error>")
    with pytest.raises(
        client.NoAnswerError, match=r"^GET http://[0-9.:]+/-/.*: 403 AccessDenied: You & I\.$"
    ):
        ask(refusing, silent)
    with pytest.raises(client.NoAnswerError, match=r": 502 bad gateway$"):
        ask(serve(502, b"bad gateway"))


def test_a_gateway_is_believed_with_its_certificate_alone(serve: Serve, tmp_path: Path) -> None:
    """The name that clients use is held against it, by the authority that the file names; nothing skips that."""
    (tmp_path / "other").mkdir()
    authority, other = WebAuthority(tmp_path), WebAuthority(tmp_path / "other")
    plain, named = authority.files(), authority.files("s3.example.com")
    for files, believed, domains, works in (
        (plain, authority, (), True),
        (plain, other, (), False),
        (plain, None, (), False),
        (named, authority, (), False),
        (named, authority, ("s3.example.com",), True),
        (plain, authority, ("s3.example.com",), False),
    ):
        path = None if believed is None else believed.path
        gateway = {"tls_certificate": files.certificate, "tls_authority": path, "domains": domains}
        answering = serve(200, b"{}", files)
        if works:
            assert ask(answering, **gateway) == {}
            continue
        with pytest.raises(
            client.NoAnswerError, match=r"https://[a-z0-9.]+:[0-9]+: .*CERTIFICATE_VERIFY_FAILED"
        ):
            ask(answering, **gateway)
