"""Owns what is asked of a store, what is expected of it, and how a reply is held against that; never what S3 means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from tests.integration.client import Reply

# What says nothing about S3: HTTP's own, ids of the request, and what the disk of the machine is like.
UNWATCHED = frozenset(
    {"date", "server", "connection", "content-length", "x-amz-request-id", "x-amz-id-2", "keep-alive"}
    | {"x-quoin-near-full"}
)
CLOCK_SLACK_S = 2  # between the clock of the test and that of the store, in whole seconds of one machine


class Chosen:
    """A value that the store chooses: unknown until it is said for the first time, the same ever after."""

    def __init__(self, name: str, *, unlike: set[str] | None = None) -> None:
        """`unlike`: values that were chosen before, which this one must not be; it joins them."""
        self.name, self.value = name, ""
        self._unlike = unlike

    def __str__(self) -> str:
        return self.value

    def __repr__(self) -> str:
        return f"<{self.name} {self.value}>"

    def holds(self, said: str) -> bool:
        """Whether the store may say this."""
        if not self.value and said and (self._unlike is None or said not in self._unlike):
            self.value = said
            if self._unlike is not None:
                self._unlike.add(said)
        return bool(said) and said == self.value


class When(Chosen):
    """A time that the store chooses, in whole seconds: not before `after`, and about when it was asked."""

    def __init__(self, name: str, *, asked_s: float, after: "When | None" = None) -> None:
        super().__init__(name)
        self.second: int | None = None
        self._asked_s, self._after = asked_s, after

    def holds(self, said: str) -> bool:
        """Whether the store may say this, as an HTTP date or as ISO 8601."""
        date = datetime.fromisoformat(said) if said[:1].isdigit() else parsedate_to_datetime(said)
        second = int(date.replace(tzinfo=date.tzinfo or UTC).timestamp())
        if self.second is None and self._plausible(second):
            self.second = second
        return second == self.second

    def _plausible(self, second: int) -> bool:
        earliest = self._after.second if self._after is not None else None
        return (earliest is None or second >= earliest) and second >= self._asked_s - CLOCK_SLACK_S

    @property
    def known(self) -> int:
        """The second, or about the second where the store has not said it yet."""
        return int(self._asked_s) if self.second is None else self.second


Text = str | Chosen
Xml = tuple[str, Any]  # (name, text or children)


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: an operation of S3 by its name, and what its query, headers and document say.

    `items`: the keys of DeleteObjects as (key, version id), the parts of CompleteMultipartUpload as (number, ETag),
    the tags of PutObjectTagging as (key, value). `quiet`: DeleteObjects answers errors only. `behind`: the name that
    the continuation token in the query stands for, which only the store can read. `asked_s`: seconds since 1970.
    """

    operation: str
    bucket: str = ""
    key: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    items: Sequence[tuple[Any, str]] = ()
    quiet: bool = False
    behind: str = ""
    asked_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Expected:
    """What the answer must be: all of its headers but those UNWATCHED, and its body or its XML."""

    status: int = 200
    code: str = ""
    headers: Mapping[str, Text] = field(default_factory=dict)
    body: bytes = b""
    xml: Xml | None = None


def refused(status: int, code: str, **headers: Text) -> Expected:
    """An error; `headers` with underscores for hyphens."""
    return Expected(status, code, {name.replace("_", "-"): value for name, value in headers.items()})


# How each operation is said in HTTP: method, and the parameters that name it.
SPOKEN: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "CreateBucket": ("PUT", {}),
    "HeadBucket": ("HEAD", {}),
    "DeleteBucket": ("DELETE", {}),
    "ListBuckets": ("GET", {}),
    "PutBucketVersioning": ("PUT", {"versioning": ""}),
    "GetBucketVersioning": ("GET", {"versioning": ""}),
    "PutObject": ("PUT", {}),
    "CopyObject": ("PUT", {}),
    "GetObject": ("GET", {}),
    "HeadObject": ("HEAD", {}),
    "DeleteObject": ("DELETE", {}),
    "DeleteObjects": ("POST", {"delete": ""}),
    "GetObjectAttributes": ("GET", {"attributes": ""}),
    "PutObjectTagging": ("PUT", {"tagging": ""}),
    "GetObjectTagging": ("GET", {"tagging": ""}),
    "DeleteObjectTagging": ("DELETE", {"tagging": ""}),
    "ListObjects": ("GET", {}),
    "ListObjectsV2": ("GET", {"list-type": "2"}),
    "ListObjectVersions": ("GET", {"versions": ""}),
    "ListMultipartUploads": ("GET", {"uploads": ""}),
    "CreateMultipartUpload": ("POST", {"uploads": ""}),
    "UploadPart": ("PUT", {}),
    "UploadPartCopy": ("PUT", {}),
    "CompleteMultipartUpload": ("POST", {}),
    "AbortMultipartUpload": ("DELETE", {}),
    "ListParts": ("GET", {}),
}


def document(ask: Ask) -> bytes:
    """The body of a request."""
    if ask.operation == "DeleteObjects":
        named = "".join(
            f"<Object><Key>{escape(key)}</Key>{f'<VersionId>{version}</VersionId>' if version else ''}</Object>"
            for key, version in ask.items
        )
        quiet = "<Quiet>true</Quiet>" if ask.quiet else ""
        return f"<Delete>{quiet}{named}</Delete>".encode()
    if ask.operation == "CompleteMultipartUpload":
        named = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>" for number, etag in ask.items
        )
        return f"<CompleteMultipartUpload>{named}</CompleteMultipartUpload>".encode()
    if ask.operation == "PutObjectTagging":
        named = "".join(
            f"<Tag><Key>{escape(key)}</Key><Value>{escape(value)}</Value></Tag>" for key, value in ask.items
        )
        return f"<Tagging><TagSet>{named}</TagSet></Tagging>".encode()
    return ask.body


def faults(expected: Expected, reply: Reply, *, head: bool = False) -> list[str]:
    """Everything in which a reply is not what was expected."""
    found = []
    if (reply.status, "" if head else reply.code) != (expected.status, "" if head else expected.code):
        return [f"{reply.status} {reply.code}, not {expected.status} {expected.code}: {reply.body[:400]!r}"]
    watched = {name: value for name, value in reply.headers.items() if name not in UNWATCHED}
    if expected.code or expected.xml is not None:
        watched.pop("content-type", None)
    for name in sorted(watched.keys() | expected.headers.keys()):
        wanted, said = expected.headers.get(name), watched.get(name)
        if name == "content-length":
            said = reply.headers.get(name)
        if wanted is None or said is None or not _holds(wanted, said):
            found.append(f"{name}: {said!r}, not {wanted!r}")
    if expected.xml is not None:
        _compare(expected.xml, _tree(ElementTree.fromstring(reply.body)), "", found)
    elif not expected.code and reply.body != expected.body:
        found.append(f"a body of {len(reply.body)} bytes, not that of {len(expected.body)}")
    return found


def _holds(wanted: Text, said: str) -> bool:
    return wanted.holds(said) if isinstance(wanted, Chosen) else wanted == said


def _tree(element: ElementTree.Element) -> Xml:
    name = element.tag.rpartition("}")[2]
    return (name, [_tree(child) for child in element]) if len(element) else (name, element.text or "")


def _compare(wanted: Xml, said: Xml, path: str, found: list[str]) -> None:
    """Children count in the order of their own kind; versions and delete markers are one kind."""
    path = f"{path}/{wanted[0]}"
    if isinstance(wanted[1], list):
        children = said[1] if isinstance(said[1], list) else []
        ours, theirs = sorted(wanted[1], key=_kind), sorted(children, key=_kind)
        if [name for name, _ in ours] != [name for name, _ in theirs]:
            found.append(f"{path}: {theirs}, not {ours}")
            return
        for one, other in zip(ours, theirs, strict=True):
            _compare(one, other, path, found)
    elif isinstance(said[1], list) or not _holds(wanted[1], said[1]):
        found.append(f"{path}: {said[1]!r}, not {wanted[1]!r}")


def _kind(child: Xml) -> str:
    return "Version" if child[0] == "DeleteMarker" else child[0]
