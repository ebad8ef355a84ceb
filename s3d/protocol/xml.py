"""Owns XML itself: escaping on the way out, a bounded tree on the way in; never what a document of S3 means."""

import re
from typing import Final
from xml.parsers import expat

from shardd.contract.errors import QuoinError

XML_DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
S3_NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"

DOCUMENT_BYTES_MAX: Final = 2 << 20
DEPTH_MAX: Final = 32
ELEMENTS_MAX: Final = 50_000  # 10,000 parts with their checksums are 40,001

# What cannot stand in XML text as it is. XML 1.0 has no way to write most control characters; S3 sends them as
# character references, which lenient parsers take, and strict clients ask for encoding-type=url instead.
_SPECIAL: Final = re.compile("[&<>\"'\x00-\x08\x0b-\x1f\x7f\ufffe\uffff]")
_REFERENCES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"}

_FORBIDDEN_MARKUP: Final = re.compile(rb"<!\s*(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_DECLARED_ENCODING: Final = re.compile(rb"""\A\s*<\?xml[^>]*?\sencoding\s*=\s*["']([^"']*)["']""")
_UTF8_BOM: Final = b"\xef\xbb\xbf"


class XmlError(QuoinError):
    """The bytes are no XML document that we read: the message says which rule they break."""


class Node:
    """One element: its local name, its text up to its first child, and its children in order."""

    __slots__ = ("children", "name", "text")

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = ""
        self.children: list[Node] = []

    def find(self, name: str) -> "Node | None":
        """The first child called `name`."""
        for child in self.children:
            if child.name == name:
                return child
        return None

    def text_of(self, name: str) -> str | None:
        """The text of the first child called `name`; None where there is none."""
        child = self.find(name)
        return None if child is None else child.text


def escape(text: str) -> str:
    """`text` as it stands between tags and in attributes."""
    return _SPECIAL.sub(_reference, text) if _SPECIAL.search(text) else text


def _reference(found: re.Match[str]) -> str:
    sign = found.group()
    return _REFERENCES.get(sign) or f"&#x{ord(sign):x};"


def parse(document: bytes) -> Node:
    """The root of `document`, which is UTF-8 of at most 2 MiB, without DTD, at most 32 levels deep. Or XmlError."""
    _check_bytes(document)
    builder = _Builder()
    parser = expat.ParserCreate("UTF-8", "}")
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.characters
    parser.StartDoctypeDeclHandler = _refuse_declaration
    parser.EntityDeclHandler = _refuse_declaration
    try:
        parser.Parse(document, True)
    except (expat.ExpatError, UnicodeError) as error:
        raise XmlError(f"not well-formed: {error}") from error
    assert builder.root is not None, "expat accepts no document without a root"
    return builder.root


def _check_bytes(document: bytes) -> None:
    """Refuse by looking at bytes only: nothing dangerous ever reaches the parser."""
    if len(document) > DOCUMENT_BYTES_MAX:
        raise XmlError("the document is longer than 2 MiB")
    if b"\x00" in document or not document.removeprefix(_UTF8_BOM).lstrip().startswith(b"<"):
        raise XmlError("not UTF-8")
    if _FORBIDDEN_MARKUP.search(document):
        raise XmlError("a DTD")
    declared = _DECLARED_ENCODING.match(document.removeprefix(_UTF8_BOM))
    if declared and declared.group(1).lower() not in (b"utf-8", b"utf8", b"us-ascii", b"ascii"):
        raise XmlError("not UTF-8")


def _refuse_declaration(*_: object) -> None:
    raise XmlError("a DTD")


class _Builder:
    """expat's handlers: they count as they build, so that a bomb ends where the limit is."""

    __slots__ = ("_elements", "_open", "root")

    def __init__(self) -> None:
        self.root: Node | None = None
        self._open: list[Node] = []
        self._elements = 0

    def start(self, name: str, _attributes: dict[str, str]) -> None:
        node = Node(name.rpartition("}")[2])
        self._elements += 1
        if len(self._open) >= DEPTH_MAX or self._elements > ELEMENTS_MAX:
            raise XmlError("too deep, or too many elements")
        if self._open:
            self._open[-1].children.append(node)
        else:
            self.root = node
        self._open.append(node)

    def end(self, _name: str) -> None:
        self._open.pop()

    def characters(self, data: str) -> None:
        node = self._open[-1]
        if not node.children:
            node.text = node.text + data if node.text else data
