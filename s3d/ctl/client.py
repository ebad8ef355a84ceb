"""Owns signed requests to the administrators' API of a running cluster: the first gateway that answers is asked.

Over https a gateway is believed only with a certificate that is valid for the name that clients use; there is no way
round that.
"""

import argparse
import http.client
import json
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from html import unescape
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from s3d.protocol.sigv4 import Key, signed_headers
from shardd.contract.cluster import AuthConfig, Cluster, NodeConfig
from shardd.contract.errors import QuoinError

CONNECT_S: Final = 2.0
REPLY_S: Final = 2.0
REPLY_SIZE_MAX: Final = 64 << 20

T = TypeVar("T")

# The key that may do an action, and the nodes to ask, as the flags of a command have them.
Asker = Callable[[Cluster, argparse.Namespace, str], tuple[AuthConfig, tuple[NodeConfig, ...]]]

_ERROR: Final = re.compile(r"<Code>([^<]*)</Code>(?:<Message>([^<]*)</Message>)?")


class NoAnswerError(QuoinError):
    """No gateway answers, or one answers with an error; the message says which."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, with which key, and how long a gateway may be silent; the path as `ask` takes it."""

    key: AuthConfig
    path: str
    within_s: float


def ask(
    cluster: Cluster, nodes: Iterable[NodeConfig], *, key: AuthConfig, path: str, within_s: float = REPLY_S
) -> Any:
    """The JSON document at `path` (as /-/admin/status) of the first of `nodes` whose gateway answers.

    What orders something has its method in front: "POST /-/admin/nodes/drain?node=6".
    A query on it has its names in order, and is encoded as SigV4 wants it. A gateway that is silent for `within_s` is
    passed over.

    Raises NoAnswerError where none can be reached, or one refuses.
    """

    def take(reply: http.client.HTTPResponse) -> Any:
        return json.loads(reply.read(REPLY_SIZE_MAX))

    return fetch(cluster, nodes, question=Question(key, path, within_s), take=take)


def fetch(
    cluster: Cluster,
    nodes: Iterable[NodeConfig],
    *,
    question: Question,
    take: Callable[[http.client.HTTPResponse], T],
) -> T:
    """What `take` makes of the reply, as `ask` gets it; it may be called again, for another gateway."""
    reasons = []
    for node in nodes:
        try:
            return _fetch(cluster, node, question=question, take=take)
        except OSError as error:
            reasons.append(f"{cluster.endpoint(node)}: {error.strerror or error}")
    raise NoAnswerError("no gateway answers:\n  " + "\n  ".join(reasons))


def _fetch(
    cluster: Cluster,
    node: NodeConfig,
    *,
    question: Question,
    take: Callable[[http.client.HTTPResponse], T],
) -> T:
    key, endpoint = question.key, cluster.endpoint(node)
    method, _, target = question.path.rpartition(" ")
    method, (path, _, query) = method or "GET", target.partition("?")
    connection = http.client.HTTPConnection(node.host, node.s3_port, timeout=CONNECT_S)
    try:
        if endpoint.startswith("https:"):
            connection.sock = _secured(cluster, node)
        else:
            connection.connect()
        connection.sock.settimeout(question.within_s)
        headers = signed_headers(
            Key(key.access_key_id, key.secret_access_key, cluster.region),
            (method, path, query),
            headers=[("host", f"{node.host}:{node.s3_port}")],
            now_s=time.time(),
        )
        connection.request(method, target, headers=dict(headers))
        reply = connection.getresponse()
        if reply.status == 200:
            return take(reply)
        said = reply.read(500).decode(errors="replace")
    except http.client.HTTPException as error:
        raise NoAnswerError(f"{endpoint}: not the answer of a gateway: {error!r}") from error
    finally:
        connection.close()
    raise NoAnswerError(f"{method} {endpoint}{target}: {reply.status} {_told(said)}")


def _told(said: str) -> str:
    """What an error document tells people; all of it where it is none of S3's."""
    found = _ERROR.search(said)
    return unescape(": ".join(filter(None, found.groups()))) if found else said


def _secured(cluster: Cluster, node: NodeConfig) -> ssl.SSLSocket:
    """A connection to a gateway that has shown its certificate. Raises OSError, of which SSLError is one."""
    context = ssl.create_default_context(cafile=cluster.gateway.tls_authority)
    plain = socket.create_connection((node.host, node.s3_port), timeout=CONNECT_S)
    try:
        return context.wrap_socket(plain, server_hostname=urlsplit(cluster.endpoint(node)).hostname)
    except OSError:
        plain.close()
        raise
