"""Owns what a request says of the keys that conditions ask for; never whether a condition holds.

Source: IAM user guide, "AWS global condition context keys"; service authorization reference, "Amazon S3".
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote

from s3d.access.accounts import Principal
from s3d.protocol.authorization import Mechanism
from s3d.protocol.routing import Request
from s3d.protocol.signature import Verified

Said = tuple[str, ...]

_QUERY_KEYS: Final = {
    "s3:prefix": "prefix",
    "s3:delimiter": "delimiter",
    "s3:max-keys": "max-keys",
    "s3:versionid": "versionId",
}
_HEADER_KEYS: Final = {
    "aws:useragent": "user-agent",
    "aws:referer": "referer",
    "s3:x-amz-content-sha256": "x-amz-content-sha256",
    "s3:if-match": "if-match",
    "s3:if-none-match": "if-none-match",
    "s3:object-lock-mode": "x-amz-object-lock-mode",
    "s3:object-lock-legal-hold": "x-amz-object-lock-legal-hold",
    "s3:object-lock-retain-until-date": "x-amz-object-lock-retain-until-date",
}
_AUTH_TYPES: Final = {
    Mechanism.HEADER: "REST-HEADER",
    Mechanism.HEADER_V2: "REST-HEADER",
    Mechanism.QUERY: "REST-QUERY-STRING",
    Mechanism.QUERY_V2: "REST-QUERY-STRING",
    Mechanism.FORM: "POST",
    Mechanism.FORM_V2: "POST",
}
_SIGNATURE_VERSIONS: Final = {
    Mechanism.HEADER: "AWS4-HMAC-SHA256",
    Mechanism.QUERY: "AWS4-HMAC-SHA256",
    Mechanism.FORM: "AWS4-HMAC-SHA256",
    Mechanism.HEADER_V2: "AWS",
    Mechanism.QUERY_V2: "AWS",
    Mechanism.FORM_V2: "AWS",
}
_TAG: Final = "s3:existingobjecttag/"
_NEW_TAG: Final = "s3:requestobjecttag/"


class Arrival(NamedTuple):
    """How a request came: from which address, when (microseconds since 1970), and whether over TLS."""

    remote: str
    now_us: int
    secure: bool = False


class RequestFacts:
    """What one request says; called with a key in lower case. Nothing is worked out before a condition asks.

    `prefix` stands for the one in the query where a question is about a single key: may it be listed?
    """

    __slots__ = (
        "_came",
        "_new_tags",
        "_owner",
        "_prefix",
        "_principal",
        "_request",
        "_tags",
        "_verified",
    )

    def __init__(
        self, request: Request, verified: Verified, principal: Principal | None, *, came: Arrival
    ) -> None:
        self._request = request
        self._verified = verified
        self._principal = principal
        self._came = came
        self._owner = ""
        self._tags: Mapping[str, str] = {}
        self._new_tags: Mapping[str, str] | None = None
        self._prefix: str | None = None

    def about(
        self,
        *,
        owner: str,
        tags: Mapping[str, str],
        prefix: str | None = None,
        new_tags: Mapping[str, str] | None = None,
    ) -> "RequestFacts":
        """The same request, about what `owner` owns and what has `tags`.

        `new_tags` stand for those of the header where a document has them.
        """
        facts = RequestFacts(self._request, self._verified, self._principal, came=self._came)
        facts._owner, facts._tags, facts._prefix, facts._new_tags = owner, tags, prefix, new_tags
        return facts

    def __call__(self, key: str) -> Said | None:
        """What is said of `key`; None where nothing is."""
        headers, query = self._request.headers, self._request.target.query
        if key in _QUERY_KEYS:
            if key == "s3:prefix" and self._prefix is not None:
                return (self._prefix,)
            return _one(query.get(_QUERY_KEYS[key]))
        if key in _HEADER_KEYS:
            return _one(headers.get(_HEADER_KEYS[key]))
        if key.startswith("s3:x-amz-"):
            value = headers.get(key[3:])
            if key == "s3:x-amz-copy-source" and value is not None:
                value = unquote(value).removeprefix("/")
            return _one(value)
        if key.startswith(_TAG):
            return _one(self._tags.get(key.removeprefix(_TAG)))
        if key.startswith(_NEW_TAG):
            return _one(self._tags_to_come().get(key.removeprefix(_NEW_TAG)))
        compute = _COMPUTED.get(key)
        return None if compute is None else compute(self)

    def _tags_to_come(self) -> Mapping[str, str]:
        if self._new_tags is not None:
            return self._new_tags
        return dict(parse_qsl(self._request.headers.get("x-amz-tagging", ""), keep_blank_values=True))

    def _tag_keys(self) -> Said | None:
        return tuple(self._tags_to_come()) or None

    def _address(self) -> Said | None:
        return _one(self._came.remote or None)

    def _secure(self) -> Said:
        return ("true" if self._came.secure else "false",)

    def _time(self) -> Said:
        return (datetime.fromtimestamp(self._came.now_us / 1_000_000, UTC).isoformat(),)

    def _epoch(self) -> Said:
        return (str(self._came.now_us // 1_000_000),)

    def _username(self) -> Said | None:
        return None if self._principal is None else (self._principal.access_key,)

    def _account(self) -> Said | None:
        return None if self._principal is None else (self._principal.account,)

    def _arn(self) -> Said | None:
        return None if self._principal is None else (self._principal.identity.arn,)

    def _principal_type(self) -> Said:
        return ("Anonymous" if self._principal is None else "User",)

    def _auth_type(self) -> Said | None:
        return _one(_AUTH_TYPES.get(self._verified.mechanism))

    def _signature_version(self) -> Said | None:
        return _one(_SIGNATURE_VERSIONS.get(self._verified.mechanism))

    def _resource_account(self) -> Said | None:
        return _one(self._owner or None)


def _one(value: str | None) -> Said | None:
    return None if value is None else (value,)


_COMPUTED: Final[Mapping[str, Callable[[RequestFacts], Said | None]]] = {
    "aws:sourceip": RequestFacts._address,
    "aws:securetransport": RequestFacts._secure,
    "aws:currenttime": RequestFacts._time,
    "aws:epochtime": RequestFacts._epoch,
    "aws:username": RequestFacts._username,
    "aws:userid": RequestFacts._username,
    "aws:principalaccount": RequestFacts._account,
    "aws:principalarn": RequestFacts._arn,
    "aws:principaltype": RequestFacts._principal_type,
    "aws:principalisawsservice": lambda _: ("false",),
    "aws:viaawsservice": lambda _: ("false",),
    "aws:resourceaccount": RequestFacts._resource_account,
    "s3:resourceaccount": RequestFacts._resource_account,
    "s3:requestobjecttagkeys": RequestFacts._tag_keys,
    "s3:authtype": RequestFacts._auth_type,
    "s3:signatureversion": RequestFacts._signature_version,
}
