"""Owns the request's door: request -> Call -> authorise -> handler -> reply; errors -> XML; never a socket."""

import errno
import logging
import secrets
from dataclasses import replace
from typing import Final

from s3d.access.limits import Limits
from s3d.admin.counters import Counters
from s3d.admin.pages import Pages
from s3d.blobs.errors import NoBufferError, NoRoomError, NotEnoughShardsError
from s3d.http_parser import HttpProcessingError, LineTooLong
from s3d.message import BodyError, BodySilentError, Message
from s3d.metadata import damage
from s3d.metadata.log import LogClosedError
from s3d.metadata.rows import RowError
from s3d.metadata.state import StateDamagedError, StateFullError
from s3d.operations.authorise import authorise, check_owner, make_missing, record_disbelief
from s3d.operations.call import Call, Store
from s3d.operations.cors import shared_with
from s3d.operations.posts import open_form
from s3d.operations.reply import Reply, xml_reply
from s3d.operations.table import router
from s3d.protocol.authorization import Mechanism
from s3d.protocol.errors import S3Error
from s3d.protocol.hosts import Hosts
from s3d.protocol.routing import Handler, Request, is_admin_target, parse_headers, parse_target
from s3d.protocol.signature import PayloadMode, Verified, Verifier

NEAR_FULL_HEADER: Final = "x-quoin-near-full"
"""On replies to PUTs that were allowed to somebody: the nodes whose disks are nearly full."""

log = logging.getLogger(__name__)

# What a handler meets only when it reads: a body that is not the one that was signed.
_OF_SIGNED_BODIES: Final = ("SignatureDoesNotMatch", "XAmzContentSHA256Mismatch")

_SCARCE: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # another try may find some
_FORBIDDEN: Final = 403
_UNSIGNED: Final = Verified(Mechanism.ANONYMOUS, PayloadMode.UNSIGNED)


class App:
    """Answers every request of one gateway."""

    def __init__(self, store: Store, pages: Pages, counters: Counters, *, host_id: str) -> None:
        self._store = store
        self._pages = pages
        self._counters = counters
        self._host_id = host_id
        self._router = router()
        self._verifier = Verifier(store.cluster.region, store.accounts.secret_of)
        cluster = store.cluster
        self._hosts = Hosts(cluster.gateway.domains) if cluster.gateway.domains else None
        self.limits = Limits(cluster.limits) if cluster.limits else None
        self._prefix = secrets.token_hex(4).upper()
        self._count = 0

    async def answer(self, message: Message) -> Reply:
        """The reply to one request. Raises nothing but CancelledError: this is the outer door."""
        self._count += 1
        request_id = f"{self._prefix}{self._count:08X}"
        name = "Unknown"
        call: Call | None = None
        hosted = self._hosts.bucket_of(message.raw_headers) if self._hosts is not None else ""
        try:
            if not hosted and is_admin_target(message.target):
                name = "Admin"
                reply = await self._pages.answer(message.method, message.target, message.raw_headers)
            else:
                call, handler = await self._admit(message, request_id, hosted)
                name = call.operation.name
                reply = await handler(call)
        except S3Error as error:
            if call is not None and error.code in _OF_SIGNED_BODIES:
                record_disbelief(call, error)
            reply = self._refusal(error, message.target, request_id)
        except BodySilentError:
            reply = self._refusal(S3Error("RequestTimeout"), message.target, request_id)
        except BodyError as error:
            reply = self._refusal(S3Error("IncompleteBody", str(error)), message.target, request_id)
        except (StateFullError, NoRoomError) as error:
            log.warning("%s %s: %s", request_id, name, error)
            reply = self._refusal(S3Error("StorageFull"), message.target, request_id)
        except NoBufferError as error:
            log.warning("%s %s: %s", request_id, name, error)
            reply = self._refusal(S3Error("SlowDown"), message.target, request_id)
        except (NotEnoughShardsError, LogClosedError) as error:
            log.warning("%s %s: %s", request_id, name, error)
            reply = self._refusal(S3Error("ServiceUnavailable"), message.target, request_id)
        except Exception as error:  # one of the two outer doors: nothing may pass it unanswered
            log.exception("request %s failed: %s", request_id, name)
            reply = self._refusal(S3Error(self._code_of(error)), message.target, request_id)
        sent_bytes = max(reply.length, 0) if message.method != "HEAD" else 0
        self._counters.answered(
            name, reply.status, received_bytes=message.body.received, sent_bytes=sent_bytes
        )
        if name != "Admin" and message.method != "OPTIONS":
            shared = shared_with(
                self._store.state, message.method, message.target, message.raw_headers, hosted=hosted
            )
            reply.headers = [*reply.headers, *shared] if shared else reply.headers
        reply.headers = [*reply.headers, ("x-amz-request-id", request_id), ("x-amz-id-2", self._host_id)]
        short = self._store.blobs.fleet.near_full()
        if short and message.method == "PUT" and _is_known(call) and reply.status != _FORBIDDEN:
            reply.headers.append((NEAR_FULL_HEADER, ",".join(map(str, sorted(short)))))
        return reply

    def refuse(self, error: HttpProcessingError) -> Reply:
        """The reply to bytes that are no HTTP request; the connection ends with it."""
        self._count += 1
        code = "RequestHeaderSectionTooLarge" if isinstance(error, LineTooLong) else "BadRequest"
        reply = self._refusal(S3Error(code), "", f"{self._prefix}{self._count:08X}")
        self._counters.answered("Unknown", reply.status, received_bytes=0, sent_bytes=reply.length)
        return reply

    async def _admit(self, message: Message, request_id: str, hosted: str) -> tuple[Call, Handler]:
        """The call that a request is, and its handler, once signature, operation and the right to it are settled."""
        now_us = self._store.clock_us()
        target = parse_target(message.target, hosted)
        request = Request(message.method, target, parse_headers(message.raw_headers))
        preflight = message.method == "OPTIONS"  # its query is of the request to come
        operation = self._router.resolve(
            replace(request, target=replace(target, query={})) if preflight else request
        )
        call = Call(
            operation,
            request,
            _UNSIGNED,
            None,
            message.body,
            self._store,
            now_us,
            remote=message.remote,
            secure=message.secure,
            request_id=request_id,
        )
        try:
            if not preflight:
                call.verified = self._verifier.verify(request, now_s=now_us / 1_000_000)
            if operation.name == "PostObject":
                await self._open_form(call)
        except S3Error as error:
            record_disbelief(call, error)
            raise
        if call.verified.access_key:
            call.principal = self._store.accounts.find(call.verified.access_key)
        if self.limits is not None:
            self.limits.spend(call.account, operation.permission, now_us / 1_000_000)
        if preflight and operation.handler is not None:
            return call, operation.handler
        try:
            authorise(call)
        except S3Error as error:
            if error.code != "NoSuchBucket" or not await make_missing(call):
                raise
            authorise(call)
        check_owner(call.row, call.request.headers.get("x-amz-expected-bucket-owner"))
        if operation.handler is None:
            raise S3Error("NotImplemented", f"{operation.name} is not implemented.")
        return call, operation.handler

    async def _open_form(self, call: Call) -> None:
        """Make of a form the PUT that it asks for. Raises S3Error."""
        call.request, call.verified, call.body = await open_form(
            call.request, call.verified, call.body, verifier=self._verifier, now_s=call.now_us / 1_000_000
        )

    def _code_of(self, error: Exception) -> str:
        """What S3 calls a fault that no operation knows; metadata that is damaged is marked so, and served no more."""
        if isinstance(error, (RowError, StateDamagedError)):
            damage.mark(self._store.state.path, error)
        scarce = isinstance(error, OSError) and error.errno in _SCARCE
        return "ServiceUnavailable" if scarce else "InternalError"

    def _refusal(self, error: S3Error, target: str, request_id: str) -> Reply:
        if error.status == 304:
            return Reply(304, headers=[*error.headers.items()], length=-1)
        resource = target.partition("?")[0]
        body = error.to_xml(resource=resource, request_id=request_id, host_id=self._host_id)
        return xml_reply(body, status=error.status, headers=[*error.headers.items()])


def _is_known(call: Call | None) -> bool:
    """Was the request allowed, and to somebody who signed it?"""
    return call is not None and call.principal is not None
