"""Header values of any bytes: kept as text, given back as they came, and signed as clients sign them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3d.protocol.errors import S3Error
from s3d.protocol.header_text import kept_text, sent_text, signed_text

OURS = range(0x10FE80, 0x10FF00)


@given(st.binary(max_size=64).filter(lambda raw: b"\xf4\x8f" not in raw))
def test_bytes_come_back(raw: bytes) -> None:
    kept = kept_text(raw)
    kept.encode()
    assert sent_text(kept).encode("utf-8", "surrogateescape") == raw


@given(st.text(st.characters(max_codepoint=OURS.start - 1), max_size=64))
def test_utf_8_is_kept_as_it_is(text: str) -> None:
    assert kept_text(text.encode()) == sent_text(text) == signed_text(text) == text


def test_latin_1_is_signed_as_the_text_that_it_is() -> None:
    kept = kept_text("Hello World\xe9".encode("iso-8859-1"))
    assert signed_text(kept) == "Hello World\xe9"
    assert signed_text(kept_text(b"\xc3\xa9\xe9")) == "\u00c3\u00a9\u00e9"


def test_our_own_code_points_are_nobodys() -> None:
    for ours in (OURS[0], OURS[-1]):
        with pytest.raises(S3Error) as caught:
            kept_text(chr(ours).encode())
        assert caught.value.code == "InvalidArgument"
        assert kept_text(chr(OURS.stop).encode()) == chr(OURS.stop)
