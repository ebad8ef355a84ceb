"""multipart/form-data: what a browser means comes out, the same wherever the bytes are cut; the rest is refused."""

import itertools
import os
import random

import pytest
from hypothesis import given, settings, strategies as st

from s3d.protocol.errors import S3Error
from s3d.protocol.form import FIELDS_BYTES_MAX, FIELDS_MAX, FormReader
from s3d.protocol.form_data import (
    EPILOGUE_BYTES_MAX,
    PART_HEADERS_BYTES_MAX,
    PART_HEADERS_MAX,
    Event,
    FormParser,
    Part,
    PartEnd,
    boundary_of,
    is_form,
)

FORMS = int(os.environ.get("QUOIN_DAMAGED_FORMS", "5000"))
BOUNDARY = b"XbX"
FORM = (
    b'--XbX\r\nContent-Disposition: form-data; name="key"\r\n\r\na\r\nb\r\n'
    b'--XbX\r\ncontent-disposition: form-data;name="n"; filename="f"\r\nContent-Type: text/plain\r\n\r\n\r\n'
    b'--XbX\r\nContent-Disposition: form-data; name="file"; filename="C:\\d\\y.txt"\r\n\r\n'
    b"\r\n-\r\n--Xb\r\n\r\n--Xb--\r--XbX\r\n--XbX\r\n"
    b'Content-Disposition: form-data; name="submit"\r\n\r\nUpload\r\n--XbX--\r\n'
)
FILE = b"\r\n-\r\n--Xb\r\n\r\n--Xb--\r--XbX"

Said = list[tuple[str, str | None, bytes]]


def pieces(data: bytes, sizes: st.DataObject | None = None, step: int = 0) -> list[bytes]:
    """The bytes as a socket may give them: cut by Hypothesis, or every `step`; in one piece by default."""
    if sizes is None:
        return [data[at : at + step] for at in range(0, len(data), step)] if step else [data]
    cuts = sizes.draw(st.lists(st.integers(0, len(data)), max_size=12))
    bounds = [0, *sorted(cuts), len(data)]
    return [data[start:stop] for start, stop in itertools.pairwise(bounds) if start < stop]


def parts(sent: list[bytes]) -> Said:
    """(name, filename, bytes) of each part. Raises S3Error."""
    parser = FormParser(BOUNDARY)
    said: Said = []
    events: list[Event] = [event for data in sent for event in parser.feed(data)]
    parser.finish()
    for event in events:
        if isinstance(event, Part):
            said.append((event.name, event.filename, b""))
        elif event is not PartEnd.WHOLE:
            name, filename, value = said[-1]
            said[-1] = (name, filename, value + event)
    assert sum(event is PartEnd.WHOLE for event in events) == len(said)
    return said


def read(sent: list[bytes]) -> tuple[dict[str, str], str, bytes] | str:
    """(fields, filename, file) of a form, or the code with which it is refused."""
    reader = FormReader(BOUNDARY)
    try:
        file = b"".join(piece for data in sent for piece in reader.feed(data))
        reader.finish()
    except S3Error as error:
        return error.code
    return reader.fields, reader.filename, file


def form(*said: tuple[str, str | None, bytes], headers: str = "", end: bytes = b"\r\n--XbX--\r\n") -> bytes:
    """A form as browsers write it."""
    body = b""
    for name, filename, value in said:
        shown = f'form-data; name="{name}"' + ("" if filename is None else f'; filename="{filename}"')
        body += b"\r\n--XbX\r\nContent-Disposition: " + shown.encode() + f"\r\n{headers}\r\n".encode() + value
    return body[2:] + end


@pytest.mark.parametrize("step", [0, *range(1, 40)])
def test_parts_come_out_as_they_went_in(step: int) -> None:
    assert parts(pieces(FORM, step=step)) == [
        ("key", None, b"a\r\nb"),
        ("n", "f", b""),
        ("file", "C:\\d\\y.txt", FILE),
        ("submit", None, b"Upload"),
    ]


@pytest.mark.parametrize("step", [0, 1, 3, 64])
def test_the_fields_are_those_before_the_file(step: int) -> None:
    assert read(pieces(FORM, step=step)) == ({"key": "a\r\nb", "n": ""}, "y.txt", FILE)


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\%'), max_size=20)
VALUES = st.lists(
    st.sampled_from([b"\r", b"\n", b"-", b"--", b"X", b"XbX", b"\r\n--Xb", b"a", b"\x00\xff"]), max_size=12
).map(b"".join)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(NAMES, st.none() | NAMES, VALUES), min_size=1, max_size=5), st.data())
def test_any_form_cut_anywhere(said: Said, data: st.DataObject) -> None:
    said = [(name, filename, value) for name, filename, value in said if b"\r\n--XbX" not in b"\r\n" + value]
    body = form(*said, headers="X-Other: ignored\r\n") if said else FORM
    whole = parts([body])
    assert not said or whole == said
    assert parts(pieces(body, data)) == whole


def edited(rng: random.Random) -> bytes:
    """The form with one to three of its bytes or stretches changed, lost or doubled."""
    body = FORM
    for _ in range(rng.randint(1, 3)):
        at, length = rng.randrange(len(body)), rng.choice((1, 1, 2, 9, 40))
        new = rng.choice((b"", b"\r", b"\n", b"-", b'"', b"\x00", b"\xff", body[at : at + length] * 2))
        body = body[:at] + new + body[at + length :]
    return body


def test_the_verdict_is_the_same_wherever_a_damaged_form_is_cut() -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    rng, refused = random.Random(seed), 0
    for number in range(FORMS):
        body = edited(rng)
        whole = read([body])
        cuts = sorted(rng.randrange(len(body) + 1) for _ in range(rng.randint(1, 8)))
        sent = [body[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(body)], strict=True)]
        assert read(sent) == whole, (seed, number, body)
        refused += isinstance(whole, str)
    print(f"{FORMS} damaged forms, {refused} of them refused; seed {seed}")
    assert FORMS // 4 < refused < FORMS


def test_a_form_that_is_cut_short_is_no_form() -> None:
    """Whatever is missing at its end, up to the last two signs that close it."""
    closed = FORM.removesuffix(b"\r\n")
    assert read([closed]) == read([FORM])
    for end in range(len(closed)):
        assert read([closed[:end]]) == "MalformedPOSTRequest"


MALFORMED = "MalformedPOSTRequest"
DISPOSITION = "Content-Disposition: form-data"


@pytest.mark.parametrize("step", [0, 1, 5])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--XbX",
        b"--XbX--",
        b"preamble\r\n" + FORM,
        b"\r\n" + FORM,
        b"--XbY" + FORM[5:],
        FORM.replace(b"--XbX\r\n", b"--XbX \r\n", 1),
        FORM.replace(b"--XbX\r\n", b"--XbX\n", 1),
        FORM + b"x" * EPILOGUE_BYTES_MAX,
        f'--XbX\r\n{DISPOSITION}; name="a"\r\n--XbX--'.encode(),
        form(("a", None, b"")).replace(b"form-data", b"attachment"),
        form(("a", None, b"")).replace(b'name="a"', b"name=a"),
        form(("a", None, b"")).replace(b'name="a"', b""),
        form(("a", None, b"")).replace(b'name="a"', b"name*=utf-8''a"),
        form(("a", None, b"")).replace(b'name="a"', b'name="a"; name="b"'),
        form(("a", None, b"")).replace(b'name="a"', b'name="\xff"'),
        form(("a", None, b"\xff"), ("file", "", b"")),
        form(("a", None, b""), headers='Content-Disposition: form-data; name="b"\r\n'),
        form(("a", None, b""), headers="Content-Transfer-Encoding: base64\r\n"),
        form(("a", None, b""), headers="X-Folded: a\r\n b\r\n"),
        form(("a", None, b""), headers="no colon\r\n"),
        form(("a", None, b""), headers="X-Control: \x01\r\n"),
        form(("a", None, b""), headers="X Space: a\r\n"),
        form(("a", None, b""), headers="".join(f"X-{n}: a\r\n" for n in range(PART_HEADERS_MAX))),
        form(("a", None, b""), headers=f"X-Long: {'x' * PART_HEADERS_BYTES_MAX}\r\n"),
    ],
)
def test_what_is_no_form(body: bytes, step: int) -> None:
    if body == b"--XbX--":
        assert read(pieces(body, step=step)) == "IncorrectNumberOfFilesInPostRequest"
    else:
        assert read(pieces(body, step=step)) == MALFORMED


@pytest.mark.parametrize("step", [0, 1, 7, 1_000])
def test_every_limit_is_where_it_is_said(step: int) -> None:
    def code(body: bytes) -> str:
        said = read(pieces(body, step=step))
        return said if isinstance(said, str) else ""

    headers = len(f'{DISPOSITION}; name="a"\r\nX: ')
    block = {
        add: form(("a", None, b""), headers=f"X: {'x' * (PART_HEADERS_BYTES_MAX - headers + add)}\r\n")
        for add in (0, 1)
    }
    assert (code(block[0]), code(block[1])) == ("IncorrectNumberOfFilesInPostRequest", MALFORMED)
    assert code(form(("file", "", b""), end=b"\r\n--XbX--" + b"x" * EPILOGUE_BYTES_MAX)) == ""
    assert code(form(("file", "", b""), end=b"\r\n--XbX--" + b"x" * (EPILOGUE_BYTES_MAX + 1))) == MALFORMED
    around = len(f'{DISPOSITION}; name="a"') + len(f'{DISPOSITION}; name="file"')
    for add, expected in ((0, ""), (1, "MaxPostPreDataLengthExceededError")):
        field = b"x" * (FIELDS_BYTES_MAX - around + add)
        assert code(form(("a", None, field), ("file", None, b"x" * 100_000))) == expected
        assert code(form(("file", None, b"x" * 100_000), ("a", None, field))) == expected
    for count, expected in ((FIELDS_MAX, ""), (FIELDS_MAX + 1, "MaxPostPreDataLengthExceededError")):
        assert code(form(*((str(n), None, b"") for n in range(count)), ("file", None, b""))) == expected


def test_exactly_one_file() -> None:
    assert read([form(("key", None, b"a"))]) == "IncorrectNumberOfFilesInPostRequest"
    twice = form(("file", None, b"a"), ("File", None, b"b"))
    assert read([twice]) == "IncorrectNumberOfFilesInPostRequest"
    assert read([form(("FILE", "n", b"a"))]) == ({}, "n", b"a")


def test_fields_come_once_in_any_case() -> None:
    assert read([form(("kEy", None, b"a"), ("file", None, b""))]) == ({"key": "a"}, "", b"")
    assert read([form(("kEy", None, b"a"), ("Key", None, b"b"), ("file", None, b""))]) == "InvalidArgument"


@pytest.mark.parametrize(
    ("sent", "filename"),
    [
        ("y.txt", "y.txt"),
        ("../../y", "y"),
        ("C:\\\\d\\y", "y"),
        ("/etc/..", ".."),
        ("a/", ""),
        ("%22q%22", '"q"'),
        ('\\"q\\"', '"q"'),
        ("%0d%0ä", "%0d%0ä"),
        ("", ""),
    ],
)
def test_the_name_of_the_file_fills_the_fields(sent: str, filename: str) -> None:
    said = read([form(("key", None, b"u/${filename}/${filename}"), ("file", sent, b""))])
    assert said == ({"key": f"u/{filename}/{filename}"}, filename, b"")


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=XbX", b"XbX"),
        ('Multipart/Form-Data;charset=utf-8; Boundary="a b:c"; x=y', b"a b:c"),
        (f"multipart/form-data; boundary={'x' * 70}", b"x" * 70),
        (f"multipart/form-data; boundary={'x' * 71}", None),
        ("multipart/form-data", None),
        ("multipart/form-data; boundary=", None),
        ('multipart/form-data; boundary="a "', None),
        ('multipart/form-data; boundary="a\\b"', None),
        ("multipart/form-data; boundary=a; boundary=b", None),
        ("multipart/form-data; boundary=ä", None),
    ],
)
def test_boundaries(content_type: str, boundary: bytes | None) -> None:
    assert is_form(content_type)
    if boundary is not None:
        assert boundary_of(content_type) == boundary
    else:
        with pytest.raises(S3Error) as caught:
            boundary_of(content_type)
        assert caught.value.code == MALFORMED


@pytest.mark.parametrize(
    "content_type", ["", "multipart/mixed; boundary=a", "application/x-www-form-urlencoded"]
)
def test_other_bodies_are_no_forms(content_type: str) -> None:
    assert not is_form(content_type)


def test_a_parser_holds_a_line_at_most() -> None:
    parser = FormParser(BOUNDARY)
    list(parser.feed(FORM[: FORM.index(FILE)]))
    for _ in range(100):
        taken = [event for event in parser.feed(b"x" * 65_536 + b"\r\n--Xb") if isinstance(event, bytes)]
        assert sum(map(len, taken)) >= 65_536
