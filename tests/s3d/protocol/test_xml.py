"""XML: what goes out can be read by anybody, what comes in can hurt nobody."""

import gc
import os
import random
import time
import tracemalloc
from collections.abc import Iterator
from xml.etree import ElementTree
from xml.parsers import expat

import pytest
from hypothesis import given, strategies as st

from s3d.protocol.xml import DEPTH_MAX, DOCUMENT_BYTES_MAX, ELEMENTS_MAX, XmlError, escape, parse

DOCUMENTS = int(os.environ.get("QUOIN_EDITED_DOCUMENTS", "10000"))
MIB = 1 << 20
S3 = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def test_tree() -> None:
    root = parse(
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Delete {S3}>\n <Object><Key>a&amp;b &#x263A; ä</Key></Object>'
        "<Object><Key> <![CDATA[<c>]]></Key><!-- no --><VersionId/></Object><Quiet>true</Quiet></Delete>".encode()
    )
    assert root.name == "Delete"
    assert [node.text_of("Key") for node in root.children if node.name == "Object"] == ["a&b ☺ ä", " <c>"]
    assert (root.children[1].text_of("VersionId"), root.children[0].text_of("VersionId")) == ("", None)
    assert root.text_of("Quiet") == "true"
    assert root.find("Nothing") is None


def test_names_are_local_in_every_namespace() -> None:
    root = parse(b'<s3:Delete xmlns:s3="urn:x"><s3:Quiet>true</s3:Quiet></s3:Delete>')
    assert (root.name, root.text_of("Quiet")) == ("Delete", "true")


def test_byte_order_mark_and_ascii_are_utf8() -> None:
    assert parse(b"\xef\xbb\xbf<a>b</a>").text == "b"
    assert parse(b'<?xml version="1.0" encoding="us-ascii"?><a>b</a>').text == "b"


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
BOMBS = {
    "billion laughs": f'<!DOCTYPE a [<!ENTITY l0 "lol">{LAUGHS}]><a>&l9;</a>'.encode(),
    "quadratic": b'<!DOCTYPE a [<!ENTITY l "' + b"l" * 50_000 + b'">]><a>' + b"&l;" * 50_000 + b"</a>",
    "external entity": b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
    "external dtd": b'<!DOCTYPE a SYSTEM "http://127.0.0.1/a.dtd"><a/>',
    "dtd in other case": b"<!doctype a><a/>",
    "entity of nowhere": b"<a>&x;</a>",
    "utf-16": "<a>b</a>".encode("utf-16"),
    "utf-16 without mark": "<a>b</a>".encode("utf-16-le"),
    "utf-16 by name": b'<?xml version="1.0" encoding="UTF-16"?><a/>',
    "utf-7": b'<?xml version="1.0" encoding="utf-7"?>+ADwAIQ-DOCTYPE a+AD4-<a/>',
    "latin-1": '<?xml version="1.0" encoding="iso-8859-1"?><a>ä</a>'.encode("latin-1"),
    "not utf-8": b"<a>\xff</a>",
    "overlong": b"<a>\xc0\xbc</a>",
    "nul": b"<a>\x00</a>",
    "control": b"<a>\x01</a>",
    "control as reference": b"<a>&#1;</a>",
    "deep": b"<a>" * (DEPTH_MAX + 1) + b"</a>" * (DEPTH_MAX + 1),
    "a million deep": b"<a>" * 600_000,
    "wide": b"<a>" + b"<b/>" * ELEMENTS_MAX + b"</a>",
    "long": b"<a>" + b" " * DOCUMENT_BYTES_MAX + b"</a>",
    "100 MiB": b"<a>" + b"b" * (100 * MIB) + b"</a>",
    "empty": b"",
    "no xml": b"{}",
    "two roots": b"<a/><b/>",
    "unended": b"<a>",
    "twice the attribute": b'<a b="1" b="2"/>',
}


@pytest.fixture(autouse=True)
def _lone() -> Iterator[None]:
    """What other tests left in this process is no cost of the parser: the collector looks past it."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(name: str) -> None:
    """T-F4: refused within a second and 50 MiB."""
    bomb = BOMBS[name]
    begun = time.process_time()
    with pytest.raises(XmlError):
        parse(bomb)
    assert time.process_time() - begun < 1
    tracemalloc.start()
    with pytest.raises(XmlError):
        parse(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50 * MIB


@pytest.mark.parametrize("name", [name for name, bomb in BOMBS.items() if b"<!D" in bomb.upper()])
def test_the_parser_never_sees_a_dtd(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expat, "ParserCreate", None)
    with pytest.raises(XmlError):
        parse(BOMBS[name])


SLOW = {
    "text between elements": b"<a>" + (b"x" * 36 + b"<b/>") * (ELEMENTS_MAX - 1) + b"</a>",
    "text between comments": b"<a>" + b"x<!---->" * (DOCUMENT_BYTES_MAX // 9) + b"</a>",
    "text in references": b"<a>" + b"&amp;" * (DOCUMENT_BYTES_MAX // 6) + b"</a>",
    "text in sections": b"<a>" + b"<![CDATA[x]]>" * (DOCUMENT_BYTES_MAX // 14) + b"</a>",
    "attributes": b"<a " + b" ".join(b'a%d="b"' % n for n in range(100_000)) + b"/>",
    "one attribute": b'<a b="' + b"c" * MIB + b'"/>',
    "namespaces": b"<a " + b" ".join(b'xmlns:a%d="b"' % n for n in range(80_000)) + b"/>",
}


@pytest.mark.parametrize("name", SLOW)
def test_legal_documents_of_the_worst_form_cost_little(name: str) -> None:
    begun = time.process_time()
    parse(SLOW[name])
    assert time.process_time() - begun < 1


@given(st.text())
def test_escaped_text_comes_back(text: str) -> None:
    found = parse(f"<a>{escape(text)}</a>".encode()) if text.isprintable() else None
    if found is not None:
        assert found.text == text
        assert (
            ElementTree.fromstring(f'<a b="{escape(text)}"/>').get("b") == text
        )  # what everybody reads with


def test_escaping() -> None:
    assert escape("plain ä ☺") == "plain ä ☺"
    assert escape("<a href='x'>\"&") == "&lt;a href=&apos;x&apos;&gt;&quot;&amp;"
    assert escape("\x01\r\n\t\x7f\ufffe") == "&#x1;&#xd;\n\t&#x7f;&#xfffe;"


def test_edited_documents_are_read_or_refused() -> None:
    seed = random.SystemRandom().getrandbits(32)
    print(f"{DOCUMENTS} edited documents, seed {seed}")
    chance = random.Random(seed)
    keys = "<Object><Key>a&lt;b</Key></Object>"
    original = f"<?xml version='1.0'?><Delete {S3}>{keys}<Quiet>true</Quiet></Delete>".encode()
    read = 0
    for _ in range(DOCUMENTS):
        document = bytearray(original)
        for _ in range(chance.randint(1, 4)):
            start = chance.randrange(len(document))
            insert = chance.choice((b"", b"<", b">", b"&", b"<!", b"]]>", chance.randbytes(2), b"<a>" * 40))
            document[start : start + chance.randrange(4)] = insert
        try:
            parse(bytes(document))
            read += 1
        except XmlError:
            pass
    assert 0 < read < DOCUMENTS
