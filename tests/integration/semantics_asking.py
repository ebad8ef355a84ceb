"""Owns how a drawn number becomes a bucket, a key, a condition; both are asked, and must agree; never a rule."""

import time
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from hashlib import md5
from itertools import count
from random import Random
from typing import Any, ClassVar
from urllib.parse import quote

from hypothesis.stateful import RuleBasedStateMachine

from tests.integration.client import Client, Reply
from tests.integration.semantics_model import Model
from tests.integration.semantics_state import DIGESTS, Bucket, Upload, Version
from tests.integration.semantics_values import SPOKEN, Ask, Expected, document, faults

LONG = "l" * 510  # with what follows, longer than a key of the metadata's tables can be
KEYS = (
    "a",
    "a/",
    "a/b",
    "a/b/c",
    "a/c d+e",
    "b",
    "b&<é>/1",
    "b&<é>/2",
    "\U0001f600/z",
    "\uffee",
    LONG + "/x",
    LONG + "/y",
)
PREFIXES = ("", "", "a", "a/", "a/b", "b&", "é", LONG)
DELIMITERS = ("", "", "/", "/", "b", "/x")
SIZES = (0, 1, 30, 30, 300, 300, 300, 5_000, 5_000, 70_000, 200_000, 1_100_000)
PART_SIZES = (1, 30, 300, 300, 5_000, 5_000, 70_000, 70_000, 5 << 20)
ABOUT: Sequence[Mapping[str, str]] = (
    {},
    {},
    {"content-type": "text/plain", "x-amz-meta-a": "1"},
    {"cache-control": "max-age=5", "x-amz-meta-b": "two words"},
    {"x-amz-storage-class": "STANDARD_IA"},
    {"x-amz-tagging": "k=v&l=w%20x"},
)
READ_CONDITIONS = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
RANGES = ("0-0", "5-", "-7", "100000-199999", "0-99999999", "99999999-", "-0")
CHECKS = ("", "", "", "", "", "right", "right", "right", "right", "wrong", "wrong md5")
PAST, FUTURE = datetime(2001, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)

_examples = count(1)


@lru_cache(maxsize=64)
def body_of(size: int, which: int) -> bytes:
    """One of a few bodies of a size."""
    return Random(size * 31 + which).randbytes(size)


def pick(which: int, choices: Sequence[Any]) -> Any:
    """One of `choices`, by a number."""
    return choices[which % len(choices)]


class Wire:
    """The gateways of a store, each asked by chance."""

    def __init__(self, clients: Sequence[Client], name: str) -> None:
        self.clients, self.name = clients, name
        self.random = Random(0)
        self.answers = Counter[tuple[str, int, str]]()

    def send(self, ask: Ask) -> Reply:
        """The answer of one of the gateways."""
        method, named = SPOKEN[ask.operation]
        body = document(ask)
        headers = [*ask.headers.items()]
        if ask.operation == "DeleteObjects":
            headers.append(("content-md5", b64encode(md5(body, usedforsecurity=False).digest()).decode()))
        reply = self.random.choice(self.clients).request(
            method,
            f"/{ask.bucket}" + (f"/{ask.key}" if ask.key else ""),
            query=[*named.items(), *ask.query.items()],
            headers=headers,
            body=body,
        )
        self.answers[ask.operation, reply.status, reply.code] += 1
        return reply

    @property
    def asked(self) -> int:
        """How many requests there were."""
        return self.answers.total()


class Asking(RuleBasedStateMachine):
    """A store and its model, asked the same. `wire` is the store, which all examples share."""

    wire: ClassVar[Wire]

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.prefix = f"{self.wire.name}-{next(_examples)}-"
        self.wire.random.seed(0)

    def ask(self, operation: str, bucket: str = "", key: str = "", **said: Any) -> tuple[Expected, Reply]:
        """Both answers to a request; AssertionError where they are not the same."""
        ask = Ask(operation, bucket, key, asked_s=time.time(), **said)
        expected = self.model.answer(ask)
        reply = self.wire.send(ask)
        found = faults(expected, reply, head=operation.startswith("Head"))
        assert not found, "\n".join((f"{operation} {bucket} {key[:20]} {said!r:.500}", *found))
        return expected, reply

    # What a request names, by the numbers that were drawn for it.

    def bucket(self, which: int) -> Bucket:
        """One of two buckets, or now and then one that may not be there."""
        name = self.prefix + ("c" if which == 63 else pick(which, "aaab"))
        return self.model.buckets.get(name) or Bucket(name, None)  # type: ignore[arg-type]

    def key(self, which: int, bucket: Bucket) -> str:
        """A key: mostly one that has a version."""
        return str(
            pick(which // 8, KEYS) if which % 8 == 7 or not bucket.keys else pick(which, sorted(bucket.keys))
        )

    def version(self, which: int, bucket: Bucket, key: str) -> dict[str, str]:
        """The query that names a version, or none; some of another key's, or of none."""
        own = [str(each.id) for each in bucket.keys.get(key, ())]
        others = [str(each.id) for versions in bucket.keys.values() for each in versions]
        found = pick(which // 2, [*own, *own, *own, "null", *others[:1]]) if which % 2 else ""
        return {"versionId": found} if found else {}

    def upload(self, which: int) -> tuple[Bucket, Upload] | None:
        """An upload in progress."""
        found = [(bucket, each) for bucket in self.model.buckets.values() for each in bucket.uploads]
        return pick(which, found) if found else None

    def condition(self, which: int, names: Sequence[str], version: Version | None) -> dict[str, str]:
        """A condition, three times of four none; on what is there, or was never there."""
        if which < 48:
            return {}
        name = pick(which, names)
        if name.endswith("since"):
            second = (
                datetime.fromtimestamp(version.when.known, UTC) if version and version.when.second else PAST
            )
            return {name: format_datetime(pick(which // 4, (PAST, FUTURE, second)), usegmt=True)}
        etag = version.etag if version and version.etag else "0" * 32
        return {name: pick(which // 4, ("*", f'"{etag}"', etag, f'"{"f" * 32}"'))}

    @staticmethod
    def claims(which: int, body: bytes) -> dict[str, str]:
        """Checksums that are said of a body."""
        check = pick(which, CHECKS)
        if check == "wrong md5":
            return {"content-md5": b64encode(md5(body + b"!", usedforsecurity=False).digest()).decode()}
        algorithm = pick(which // 8, [*DIGESTS])
        said = b64encode(DIGESTS[algorithm](body if check == "right" else body + b"!")).decode()
        return {f"x-amz-checksum-{algorithm.lower()}": said} if check else {}

    def source(self, at: int, key: int, version: int, condition: int) -> dict[str, str]:
        """The headers that name what is copied."""
        bucket = self.bucket(at)
        name = self.key(key, bucket)
        query = self.version(version, bucket, name)
        found = bucket.find(name, query["versionId"]) if query else bucket.live(name)
        conditions = self.condition(condition, READ_CONDITIONS, found)
        text = quote(f"{bucket.name}/{name}") + "".join(f"?versionId={each}" for each in query.values())
        said = {f"x-amz-copy-source-{header}": value for header, value in conditions.items()}
        return said | {"x-amz-copy-source": text}

    def list_query(self, which: tuple[int, int, int, int], limit: str) -> dict[str, str]:
        """The parameters that every list takes."""
        prefix, delimiter, most, encoded = which
        query = {"prefix": pick(prefix, PREFIXES), "delimiter": pick(delimiter, DELIMITERS)}
        query = {name: value for name, value in query.items() if value}
        if most % 3:
            query[limit] = str(pick(most // 3, (0, 1, 1, 2, 2, 3, 1_000, 5_000)))
        return query | ({"encoding-type": "url"} if encoded % 2 else {})

    def last_name(self, bucket: Bucket, query: Mapping[str, str], behind: str) -> str:
        """The name that a page ends with."""
        plain = {name: said for name, said in query.items() if name in ("prefix", "delimiter", "max-keys")}
        ask = Ask("ListObjects", bucket.name, query=plain | {"marker": behind})
        rows = list(self.model.answer(ask).xml[1])  # type: ignore[index]
        names = [
            dict(row[1]).get("Key") or dict(row[1])["Prefix"]
            for row in rows
            if row[0] in ("Contents", "CommonPrefixes")
        ]
        return max(names, key=str.encode)
