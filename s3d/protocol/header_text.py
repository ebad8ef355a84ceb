"""Owns header values that are no UTF-8: as text that can be kept, and back as they came; never what they mean.

A header is bytes (RFC 9110, 5.5), and Python's clients write user metadata in ISO-8859-1, yet sign it in UTF-8. Each byte
that is part of no UTF-8 is kept as a code point of private use. A signature covers the text, not which of both it is in.
"""

from typing import Final

from s3d.protocol.errors import S3Error

_KEPT_FROM: Final = 0x10FE80
_ESCAPED_FROM: Final = 0xDC80  # where Python's surrogateescape has byte 0x80
_BYTES: Final = 128

_KEEP: Final = {_ESCAPED_FROM + at: _KEPT_FROM + at for at in range(_BYTES)}
_ESCAPE: Final = {kept: escaped for escaped, kept in _KEEP.items()}


def kept_text(raw: bytes) -> str:
    """Any bytes as text that UTF-8 can encode. Raises InvalidArgument where they hold our own code points."""
    text = raw.decode("utf-8", "surrogateescape")
    if text.translate(_ESCAPE) != text:
        raise S3Error("InvalidArgument", "A header holds code points of private use that the store keeps.")
    return text.translate(_KEEP)


def sent_text(kept: str) -> str:
    """The text whose bytes, encoded with surrogateescape, are the ones that came."""
    return kept if kept.isascii() else kept.translate(_ESCAPE)


def signed_text(kept: str) -> str:
    """The text that a client signed: where its bytes are no UTF-8, they are ISO-8859-1."""
    sent = sent_text(kept)
    return kept if sent == kept else sent.encode("utf-8", "surrogateescape").decode("iso-8859-1")
