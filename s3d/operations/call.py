"""Owns what a handler is given: the request's facts, who asks, its body, and the store below; never an answer."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from s3d.access.accounts import Accounts, Principal
from s3d.access.audit import Audit
from s3d.access.request_facts import Arrival, RequestFacts
from s3d.blobs.store import Blobs
from s3d.metadata.commands import Command
from s3d.metadata.log import Log
from s3d.metadata.outcomes import Outcome
from s3d.metadata.rows import BucketRow
from s3d.metadata.state import State
from s3d.protocol.errors import S3Error
from s3d.protocol.routing import Operation, Request
from s3d.protocol.signature import Verified
from shardd.contract.blobs import new_blob_id
from shardd.contract.cluster import Cluster

NOT_JUDGED: Final = 0
FOUND_NOTHING: Final = -1


class RawBody(Protocol):
    """The body of a request as HTTP frames it; aws-chunked is still on it."""

    async def piece(self) -> bytes:
        """The bytes that came since the last call; b"" at the end."""


@dataclass(frozen=True, slots=True)
class Store:
    """What all calls of a gateway stand on. `clock_us`: microseconds since 1970."""

    cluster: Cluster
    log: Log
    state: State
    blobs: Blobs
    accounts: Accounts
    clock_us: Callable[[], int]
    audit: Audit = field(default_factory=lambda: Audit(None))

    @property
    def grace_us(self) -> int:
        """How long condemned shards stay for readers that began before."""
        return int(self.cluster.gateway.condemned_grace_s * 1_000_000)

    def write_id(self, now_us: int) -> bytes:
        """A new id for one command."""
        return new_blob_id(now_us // 1_000)

    async def apply(self, command: Command) -> Outcome:
        """The outcome of one command, durable."""
        return (await self.log.append((command,)))[0]


@dataclass(slots=True)
class Call:
    """One request; handlers are given authorised ones only.

    `row` is its bucket as it was when the request was allowed; None where it names none. `remote`: the address that
    it came from. `judged`: the sequence of the version that the decision was about, where it was about one.
    """

    operation: Operation
    request: Request
    verified: Verified
    principal: Principal | None
    body: RawBody
    store: Store
    now_us: int
    row: BucketRow | None = None
    judged: int = NOT_JUDGED
    remote: str = ""
    secure: bool = False
    request_id: str = ""

    @property
    def bucket(self) -> BucketRow:
        """The bucket that the request names."""
        assert self.row is not None, "only operations on a bucket ask for it"
        return self.row

    @property
    def account(self) -> str:
        """The account that asks; "" where nobody is signed in."""
        return self.principal.account if self.principal is not None else ""

    @property
    def key(self) -> bytes:
        """The key that the request names, as UTF-8."""
        return self.request.target.key.encode()

    @property
    def facts(self) -> RequestFacts:
        """What the request says of the keys that conditions of policies ask for."""
        came = Arrival(self.remote, self.now_us, self.secure)
        return RequestFacts(self.request, self.verified, self.principal, came=came)

    def argument(self, name: str, default: str = "") -> str:
        """A parameter of the query."""
        return self.request.target.query.get(name, default)

    def header(self, name: str) -> str:
        """A header by its lower-case name; "" where it did not come."""
        return self.request.headers.get(name, "")

    def number(self, name: str, default: int, *, most: int) -> int:
        """A parameter of the query that counts: 0 to 2^31-1, cut to `most`. Raises InvalidArgument."""
        text = self.request.target.query.get(name)
        if text is None or text == "":
            return default
        if not (text.isascii() and text.isdigit()) or len(text) > 10 or int(text) > 0x7FFF_FFFF:
            raise S3Error(
                "InvalidArgument",
                f"Provided {name} not an integer or within integer range",
                ArgumentName=name,
                ArgumentValue=text[:64],
            )
        return min(int(text), most)

    async def apply(self, command: Command) -> Outcome:
        """The outcome of the command that this call makes; an error in it is raised as S3 names it."""
        outcome = await self.store.apply(command)
        if outcome.error:
            raise S3Error(outcome.error)
        return outcome
