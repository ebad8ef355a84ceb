"""Owns pages: of objects, versions, uploads, parts and buckets, by seeks over a view; never changes anything.

A page of objects, versions or uploads holds entries and common prefixes (what keys begin with up to the first
delimiter behind the prefix) in one order, at most `limit` of both. Behind a common prefix the walk seeks to the
first key that does not begin with it, whatever that skips. A page is truncated exactly where more would follow, and
its `next` continues behind it. Source: S3, ListObjectsV2, ListObjectVersions, ListMultipartUploads.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

from s3d.metadata import keys, tables
from s3d.metadata.rows import (
    BucketRow,
    ObjectRow,
    PartRow,
    RowMissingError,
    UploadRow,
    VersionRow,
    decode_row,
)
from s3d.metadata.tables import Table
from s3d.metadata.view import View

E = TypeVar("E")

PAGE_ENTRIES_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Query:
    """Which keys of a bucket: those that begin with `prefix`, rolled up at `delimiter` where there is one."""

    incarnation: int
    prefix: bytes = b""
    delimiter: bytes = b""
    limit: int = PAGE_ENTRIES_MAX


@dataclass(frozen=True, slots=True)
class Page(Generic[E]):
    """Entries in order, common prefixes in order. `next`: the key or prefix that the page ends with, if truncated."""

    entries: list[E]
    prefixes: list[bytes]
    truncated: bool = False
    next: bytes = b""
    next_id: str = ""  # with it, the version or upload that the page ends with; empty after a prefix


class ListedObject(NamedTuple):
    """A live key."""

    key: bytes
    row: ObjectRow


class ListedVersion(NamedTuple):
    """A version or delete marker; `latest`: the newest of its key."""

    key: bytes
    row: VersionRow
    latest: bool


class ListedUpload(NamedTuple):
    """An upload in progress."""

    key: bytes
    row: UploadRow


class _Layout(NamedTuple):
    """How a table holds S3 keys: what the rows of keys with a prefix begin with, and the key of a row."""

    table: Table
    begin: Callable[[int, bytes], bytes]
    key: Callable[[bytes], bytes]


_OBJECTS = _Layout(tables.CURRENT, keys.current_key, lambda at: at[8:])
_VERSIONS = _Layout(tables.VERSIONS, keys.partial_prefix, lambda at: keys.split_stack(at)[0])
_UPLOADS = _Layout(tables.UPLOADS, keys.partial_prefix, lambda at: keys.split_stack(at)[0])

_Met = tuple[
    bytes, bytes, bytes | None
]  # an S3 key, its row's key and its row; or a common prefix, a row's key, None


def list_objects(view: View, query: Query, *, after: bytes = b"") -> Page[ListedObject]:
    """A page of live keys behind `after`: a key, or the common prefix that the page before ended with."""
    page: Page[ListedObject] = Page([], [])
    start = _behind(_OBJECTS, query, after, keys.current_key(query.incarnation, after) + b"\0")
    last = b""
    for name, at, raw in _walk(view, _OBJECTS, query, start):
        if len(page.entries) + len(page.prefixes) >= query.limit:
            return _truncated(page, last)
        if raw is None:
            page.prefixes.append(name)
        else:
            page.entries.append(ListedObject(name, decode_row(ObjectRow, at, raw)))
        last = name
    return page


def list_versions(
    view: View, query: Query, *, after: bytes = b"", after_version: str = ""
) -> Page[ListedVersion]:
    """A page of versions, newest first within a key, behind version `after_version` of the key `after`.

    Without `after_version`, behind all versions of that key. A version that is gone ends no page: the walk goes on
    behind where it stood.
    """
    page: Page[ListedVersion] = Page([], [])
    begin = keys.stack_prefix(query.incarnation, after)
    start = keys.after_prefix(begin)
    previous = b""
    if after_version:
        start = _version_place(view, query.incarnation, after, after_version) + b"\0"
        newest = view.reads.seek(tables.VERSIONS, begin)
        # Where the page before ended with what was the newest until it went, the next one is the newest now.
        previous = after if newest and newest[0] < start else b""
    last = (b"", "")
    for name, at, raw in _walk(view, _VERSIONS, query, _behind(_VERSIONS, query, after, start)):
        if len(page.entries) + len(page.prefixes) >= query.limit:
            return _truncated(page, *last)
        if raw is None:
            page.prefixes.append(name)
            last = (name, "")
        else:
            row = decode_row(VersionRow, at, raw)
            page.entries.append(ListedVersion(name, row, name != previous))
            last = (name, row.version_id)
        previous = name
    return page


def list_uploads(
    view: View, query: Query, *, after: bytes = b"", after_upload: str = ""
) -> Page[ListedUpload]:
    """A page of uploads in order of key and id, behind upload `after_upload` of the key `after`.

    Without `after_upload`, behind all uploads of that key.
    """
    page: Page[ListedUpload] = Page([], [])
    start = keys.after_prefix(keys.stack_prefix(query.incarnation, after))
    if after_upload:
        start = keys.upload_key(query.incarnation, after, after_upload) + b"\0"
    last = (b"", "")
    for name, at, raw in _walk(view, _UPLOADS, query, _behind(_UPLOADS, query, after, start)):
        if len(page.entries) + len(page.prefixes) >= query.limit:
            return _truncated(page, *last)
        if raw is None:
            page.prefixes.append(name)
            last = (name, "")
        else:
            row = decode_row(UploadRow, at, raw)
            page.entries.append(ListedUpload(name, row))
            last = (name, row.upload)
    return page


def list_parts(
    view: View, upload: str, *, after: int = 0, limit: int = PAGE_ENTRIES_MAX
) -> tuple[list[PartRow], bool]:
    """Parts of an upload behind the number `after`, and whether more follow."""
    rows = list(islice(view.parts(upload, after), limit + 1))
    return rows[:limit], limit > 0 and len(rows) > limit


def list_buckets(
    view: View, account: str, *, prefix: str = "", after: str = "", limit: int | None = None
) -> tuple[list[BucketRow], bool]:
    """Buckets of an account behind the name `after`, and whether more follow; without a limit, all."""
    owned = keys.account_prefix(account)
    first = owned + prefix.encode()
    start = max(first, owned + after.encode() + b"\0") if after else first
    rows: list[BucketRow] = []
    for at, _ in view.reads.scan(tables.ACCOUNT_BUCKETS, start, keys.after_prefix(first)):
        if limit is not None and len(rows) >= limit:
            return rows, True
        row = view.bucket(at[len(owned) :].decode())
        if row is None:
            raise RowMissingError(f"the bucket of {at!r}")
        rows.append(row)
    return rows, False


def _walk(view: View, layout: _Layout, query: Query, start: bytes) -> Iterator[_Met]:
    """Every row of the query from `start` on, or the common prefix in place of all that begin with it."""
    begin = layout.begin(query.incarnation, query.prefix)
    stop = keys.after_prefix(begin)
    start = max(begin, start)
    searched, delimiter = len(query.prefix), query.delimiter
    while True:
        for at, raw in view.reads.scan(layout.table, start, stop):
            key = layout.key(at)
            cut = key.find(delimiter, searched) if delimiter else -1
            if cut >= 0:
                rolled = key[: cut + len(delimiter)]
                yield rolled, at, None
                start = keys.after_prefix(layout.begin(query.incarnation, rolled))
                break
            yield key, at, raw
        else:
            return


def _behind(layout: _Layout, query: Query, after: bytes, start: bytes) -> bytes:
    """Where to go on: behind all of `after` where that is a common prefix itself, else at `start`.

    A marker inside of a common prefix does not hide the prefix, as long as keys behind the marker begin with it.
    """
    if not after:
        return b""
    if query.delimiter and after.startswith(query.prefix):
        cut = after.find(query.delimiter, len(query.prefix))
        if cut >= 0 and cut + len(query.delimiter) == len(after):
            return keys.after_prefix(layout.begin(query.incarnation, after))
    return start


def _version_place(view: View, incarnation: int, key: bytes, version_id: str) -> bytes:
    """Where a version stands, or would if it were still there."""
    row = view.find(incarnation, key, version_id)
    if row is not None:
        return keys.version_key(incarnation, key, row.sequence)
    gone = keys.sequence_from(version_id)
    return keys.version_key(incarnation, key, gone) if gone else keys.stack_prefix(incarnation, key)


def _truncated(page: Page[E], last: bytes, last_id: str = "") -> Page[E]:
    if not last:  # a page of nothing, which was asked for: there is nothing to go on from
        return page
    return Page(page.entries, page.prefixes, True, last, last_id)
