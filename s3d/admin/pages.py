"""Owns what a gateway says about itself and its cluster under /-/, where no bucket can be; never what is ordered."""

import json
from collections.abc import Iterable
from typing import Final

from s3d.access.policy import Resource, evaluate
from s3d.admin import metrics, orders
from s3d.admin.backup import HEADERS, backup
from s3d.admin.counters import Counters
from s3d.admin.explain import explain
from s3d.admin.gauges import gauges
from s3d.admin.status import STANDS_STILL_S, cluster_status
from s3d.operations.call import Store
from s3d.operations.reply import Reply
from s3d.protocol.errors import S3Error
from s3d.protocol.routing import Request, Target, parse_headers, parse_query
from s3d.protocol.signature import Verifier
from shardd.contract.blobs import NodeId

RETRY_AFTER_S: Final = 2
ADMIN: Final = "/-/admin/"

RawHeaders = Iterable[tuple[bytes, bytes]]


class Pages:
    """Health, readiness and metrics for everybody; status for administrators. `node`: whose pages they are."""

    def __init__(self, store: Store, counters: Counters, *, node: NodeId | None = None) -> None:
        self._store = store
        self._node = node
        self._counters = counters
        self._verifier = Verifier(store.cluster.region, store.accounts.secret_of)

    async def answer(self, method: str, target: str, headers: RawHeaders) -> Reply:
        """The page that `target` names. Raises S3Error: MethodNotAllowed, NoSuchKey, AccessDenied and its kin."""
        path = target.partition("?")[0]
        order = path.removeprefix(ADMIN)
        if method == "POST" and order in orders.PERMISSIONS:
            request = _request(method, target, headers)
            self._require(orders.PERMISSIONS[order], request)
            return _json(await orders.obey(self._store, order, request.target.query))
        if method not in ("GET", "HEAD"):
            raise S3Error("MethodNotAllowed", Method=method)
        match path:
            case "/-/health":
                return _text(200, "alive\n")
            case "/-/ready":
                return self._ready()
            case "/-/metrics":
                return self._metrics()
            case "/-/admin/status":
                self._require("admin:Status", _request(method, target, headers))
                return _json(cluster_status(self._store))
            case "/-/admin/explain":
                request = _request(method, target, headers)
                self._require("admin:Explain", request)
                return _json(await explain(self._store, request.target.query))
            case "/-/admin/backup":
                self._require("admin:Backup", _request(method, target, headers))
                if method == "HEAD":  # how long a snapshot is, only its making would tell
                    return Reply(headers=HEADERS, length=-1)
                return await backup(self._store)
        raise S3Error("NoSuchKey", Key=path)

    def _ready(self) -> Reply:
        """200 when a PUT would be acknowledged now, and the node's own shard server takes part in it."""
        fleet = self._store.blobs.fleet
        if self._store.log.closed:
            cause = "a PUT would not be acknowledged: the metadata log takes no commands"
        elif (waits_s := self._store.log.waits_s()) > STANDS_STILL_S:
            cause = f"the metadata log has waited for its turn for {waits_s:.1f} s"
        elif not self._store.blobs.can_write():  # everybody may ask: how many, not which
            taking = f"{len(fleet.choices()[-1])} of {len(fleet.nodes)} nodes take new shards"
            cause = f"a PUT would not be acknowledged: {taking}"
        elif self._node is not None and self._node not in fleet.nodes:
            cause = f"node {self._node} is not a member; s3ctl node add {self._node} makes it one"
        elif self._node is not None and self._node not in fleet.prompt():
            cause = f"the shard server of node {self._node} is slow or down"
        else:
            return _text(200, "ready\n")
        reply = _text(503, f"not ready: {cause}\n")
        reply.headers = [*reply.headers, ("Retry-After", str(RETRY_AFTER_S))]
        return reply

    def _metrics(self) -> Reply:
        page = metrics.text(self._counters.of_node(), gauges(self._store))
        return Reply(headers=(("Content-Type", metrics.CONTENT_TYPE),), body=(page.encode(),))

    def _require(self, permission: str, request: Request) -> None:
        verified = self._verifier.verify(request, now_s=self._store.clock_us() / 1_000_000)
        principal = self._store.accounts.find(verified.access_key) if verified.access_key else None
        if not evaluate(principal, permission, Resource()).allowed:
            raise S3Error("AccessDenied")


def _request(method: str, raw_target: str, headers: RawHeaders) -> Request:
    path, _, raw_query = raw_target.partition("?")
    target = Target(path, raw_query, "", "", parse_query(raw_query) if raw_query else {})
    return Request(method, target, parse_headers(headers))


def _text(status: int, text: str) -> Reply:
    return Reply(status, headers=(("Content-Type", "text/plain; charset=utf-8"),), body=(text.encode(),))


def _json(value: object) -> Reply:
    return Reply(headers=(("Content-Type", "application/json"),), body=(json.dumps(value).encode(),))
