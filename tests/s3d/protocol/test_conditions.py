"""Conditions, ranges and dates, as RFC 9110 and S3 read them."""

import pytest

from s3d.protocol.conditions import (
    Tags,
    WriteConditions,
    check_copy_source,
    check_read,
    http_date,
    parse_copy_range,
    parse_http_date,
    parse_modified,
    parse_range,
    parse_size,
    parse_tags,
    range_applies,
    read_write_conditions,
)
from s3d.protocol.errors import S3Error

ETAG = "0123456789abcdef0123456789abcdef"
OTHER = "f" * 32
MODIFIED_S = 1_763_712_000
BEFORE, AT, AFTER = (http_date(MODIFIED_S + offset) for offset in (-1, 0, 1))


def outcome(**conditions: str) -> str:
    """What a GET with these headers (underscores for dashes) comes to; "" where it is served."""
    headers = {name.replace("_", "-"): value for name, value in conditions.items()}
    try:
        check_read(headers, etag=ETAG, modified_s=MODIFIED_S)
    except S3Error as error:
        return error.code
    return ""


@pytest.mark.parametrize(
    ("conditions", "code"),
    [
        ({}, ""),
        ({"if_match": f'"{ETAG}"'}, ""),
        ({"if_match": ETAG}, ""),
        ({"if_match": "*"}, ""),
        ({"if_match": f'"{OTHER}", "{ETAG}"'}, ""),
        ({"if_match": f'"{OTHER}"'}, "PreconditionFailed"),
        ({"if_match": f'W/"{ETAG}"'}, "PreconditionFailed"),
        ({"if_match": ""}, "PreconditionFailed"),
        ({"if_match": '"unended'}, "InvalidArgument"),
        ({"if_none_match": f'"{ETAG}"'}, "NotModified"),
        ({"if_none_match": ETAG}, "NotModified"),
        ({"if_none_match": f'W/"{ETAG}"'}, "NotModified"),
        ({"if_none_match": f'"a","b" , "{ETAG}"'}, "NotModified"),
        ({"if_none_match": "*"}, "NotModified"),
        ({"if_none_match": f'"{OTHER}"'}, ""),
        ({"if_modified_since": BEFORE}, ""),
        ({"if_modified_since": AT}, "NotModified"),
        ({"if_modified_since": AFTER}, "NotModified"),
        ({"if_modified_since": "yesterday"}, ""),
        ({"if_unmodified_since": BEFORE}, "PreconditionFailed"),
        ({"if_unmodified_since": AT}, ""),
        ({"if_unmodified_since": "Tue, 99 Foo 2025"}, ""),
        # An entity tag decides, whatever the date beside it says.
        ({"if_match": ETAG, "if_unmodified_since": BEFORE}, ""),
        ({"if_match": OTHER, "if_unmodified_since": AFTER}, "PreconditionFailed"),
        ({"if_none_match": OTHER, "if_modified_since": AFTER}, ""),
        ({"if_none_match": ETAG, "if_modified_since": BEFORE}, "NotModified"),
        # 412 goes before 304.
        ({"if_match": OTHER, "if_none_match": ETAG}, "PreconditionFailed"),
        ({"if_match": ETAG, "if_none_match": ETAG}, "NotModified"),
    ],
)
def test_conditions_of_a_read(conditions: dict[str, str], code: str) -> None:
    assert outcome(**conditions) == code


def test_not_modified_carries_what_a_cache_needs() -> None:
    with pytest.raises(S3Error) as caught:
        check_read({"if-none-match": "*"}, etag=ETAG, modified_s=MODIFIED_S)
    assert (caught.value.status, caught.value.headers["ETag"]) == (304, f'"{ETAG}"')
    assert caught.value.headers["Last-Modified"] == AT


@pytest.mark.parametrize(
    ("condition", "value", "fails"),
    [
        ("if-match", ETAG, False),
        ("if-match", OTHER, True),
        ("if-none-match", ETAG, True),
        ("if-none-match", OTHER, False),
        ("if-modified-since", AT, True),
        ("if-modified-since", BEFORE, False),
        ("if-unmodified-since", BEFORE, True),
        ("if-unmodified-since", AT, False),
    ],
)
def test_conditions_of_a_copys_source(condition: str, value: str, fails: bool) -> None:
    headers = {f"x-amz-copy-source-{condition}": value, "if-match": OTHER}
    if not fails:
        check_copy_source(headers, etag=ETAG, modified_s=MODIFIED_S)
        return
    with pytest.raises(S3Error) as caught:
        check_copy_source(headers, etag=ETAG, modified_s=MODIFIED_S)
    assert caught.value.status == 412


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, WriteConditions()),
        ({"if-none-match": "*"}, WriteConditions(if_none_match="*")),
        ({"if-match": f'"{ETAG}"'}, WriteConditions(if_match=ETAG)),
        ({"if-match": ETAG}, WriteConditions(if_match=ETAG)),
        ({"if-match": "*"}, WriteConditions(if_match="*")),
        ({"if-none-match": ETAG}, WriteConditions(if_none_match=ETAG)),
        ({"if-none-match": f'"{ETAG}"'}, WriteConditions(if_none_match=ETAG)),
        ({"if-none-match": f'"{ETAG}", "{OTHER}"'}, "NotImplemented"),
        ({"if-none-match": "*", "if-match": ETAG}, "NotImplemented"),
        ({"if-match": f'"{ETAG}", "{OTHER}"'}, "NotImplemented"),
        ({"if-match": f'W/"{ETAG}"'}, "NotImplemented"),
        ({"if-match": '"'}, "InvalidArgument"),
    ],
)
def test_conditions_of_a_write(headers: dict[str, str], expected: WriteConditions | str) -> None:
    if isinstance(expected, WriteConditions):
        assert read_write_conditions(headers) == expected
        return
    with pytest.raises(S3Error) as caught:
        read_write_conditions(headers)
    assert caught.value.code == expected


def test_entity_tags() -> None:
    assert parse_tags('"a", W/"b",c ') == Tags(strong=("a", "c"), weak=("b",))
    assert parse_tags('"with,comma"').strong == ("with,comma",)
    with pytest.raises(S3Error):
        parse_tags(",".join(["a"] * 65))


@pytest.mark.parametrize(
    ("value", "size", "expected"),
    [
        ("bytes=0-0", 10, (0, 1)),
        ("bytes=2-5", 10, (2, 6)),
        ("bytes=2-", 10, (2, 10)),
        ("bytes=-3", 10, (7, 10)),
        ("bytes=-30", 10, (0, 10)),
        ("bytes=0-99", 10, (0, 10)),
        ("bytes=9-9", 10, (9, 10)),
        ("Bytes=0-1", 10, (0, 2)),
        ("bytes=0-9223372036854775807", 10, (0, 10)),
        ("bytes=10-", 10, 416),
        ("bytes=10-20", 10, 416),
        ("bytes=-0", 10, 416),
        ("bytes=0-", 0, 416),
        ("bytes=-1", 0, 416),
        ("bytes=5-2", 10, None),
        ("bytes=-", 10, None),
        ("bytes=", 10, None),
        ("bytes=a-b", 10, None),
        ("bytes= 0-1", 10, None),
        ("bytes=0-1_0", 10, None),
        ("bytes=+0-1", 10, None),
        ("bytes=0x0-1", 10, None),
        ("bytes=\u0660-\u0663", 10, None),
        ("bytes=0-99999999999999999999", 10, None),
        ("bytes=0-1,2-3", 10, None),
        ("bytes=" + ",".join(["0-1"] * 1_000), 10, None),
        ("lines=0-1", 10, None),
        ("0-1", 10, None),
    ],
)
def test_ranges(value: str, size: int, expected: tuple[int, int] | int | None) -> None:
    if expected != 416:
        assert parse_range(value, size) == expected
        return
    with pytest.raises(S3Error) as caught:
        parse_range(value, size)
    assert (caught.value.status, caught.value.headers["Content-Range"]) == (416, f"bytes */{size}")


@pytest.mark.parametrize("value", ["", "0-1", "bytes=-1", "bytes=0-", "bytes=3-2", "bytes=0-\u0661"])
def test_bad_ranges_of_a_copy(value: str) -> None:
    assert parse_copy_range("bytes=0-9", 10) == (0, 10)
    with pytest.raises(S3Error) as caught:
        parse_copy_range(value, 10)
    assert caught.value.code == "InvalidArgument"


def test_a_range_that_the_source_of_a_copy_has_not() -> None:
    with pytest.raises(S3Error) as caught:
        parse_copy_range("bytes=0-10", 10)
    assert (caught.value.code, caught.value.status) == ("InvalidRange", 416)


@pytest.mark.parametrize("value", ["", "yesterday", "-1", "2025-11-21T25:00:00Z"])
def test_dates_that_no_delete_takes(value: str) -> None:
    assert parse_modified("Fri, 21 Nov 2025 08:00:00 GMT") == parse_modified("2025-11-21T08:00:00Z")
    with pytest.raises(S3Error) as caught:
        parse_modified(value)
    assert caught.value.code == "InvalidArgument"


@pytest.mark.parametrize("value", ["", "-1", "1e3", "\u0661", "9" * 16])
def test_sizes_that_no_delete_takes(value: str) -> None:
    assert parse_size("12") == 12
    with pytest.raises(S3Error) as caught:
        parse_size(value)
    assert caught.value.code == "InvalidArgument"


def test_if_range() -> None:
    def applies(value: str) -> bool:
        return range_applies({"if-range": value}, etag=ETAG, modified_s=MODIFIED_S)

    assert range_applies({}, etag=ETAG, modified_s=MODIFIED_S)
    assert applies(f'"{ETAG}"')
    assert applies(AT)
    assert not any(map(applies, (f'"{OTHER}"', f'W/"{ETAG}"', BEFORE, AFTER)))


def test_dates() -> None:
    assert http_date(0) == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT") == 784_111_777
    assert parse_http_date("Sunday, 06-Nov-94 08:49:37 GMT") == 784_111_777
    assert parse_http_date("Sun Nov  6 08:49:37 1994") == 784_111_777
    assert parse_http_date("1994-11-06T08:49:37Z") == 784_111_777
    for value in ("", "x", "Sun, 99 Nov 1994 08:49:37 GMT", "9" * 50, "0000-01-01"):
        assert parse_http_date(value) is None
